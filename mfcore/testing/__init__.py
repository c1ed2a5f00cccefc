"""The suite that every engine passes, shipped for the authors of engines.

`conformance.BackendConformance` is a pytest class: subclass it, name your engine, and run pytest.
`verification` does the same without pytest, for `mfcore verify`. Both compare an engine with the reference
engine in float64, on the cells that `cells` defines.
"""
