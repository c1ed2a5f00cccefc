"""The suite that every engine passes, shipped for the authors of engines.

`conformance.BackendConformance` is a pytest class: subclass it, name your engine, and run pytest.
`verification` does the same without pytest, for `mfcore verify`. Both compare an engine with the reference
engine in float64, on the cells that `cells` defines.
"""

from mfcore.testing._arrays import ConformanceError
from mfcore.testing._cells import DTYPES, Cell, cells, every_cell
from mfcore.testing._deviations import Deviation, Outcome, in_float64
from mfcore.testing._examination import examine
from mfcore.testing._gaps import gaps_of, refusal
from mfcore.testing._known_answers import BOARDS, Board
from mfcore.testing._measures import ASPECTS, INITIAL, METRIC, STREAM, TOP_K, Measured, Measures
from mfcore.testing._references import References
from mfcore.testing._runs import RUNS, Run, judge

__all__ = [
    "ASPECTS",
    "BOARDS",
    "DTYPES",
    "INITIAL",
    "METRIC",
    "RUNS",
    "STREAM",
    "TOP_K",
    "Board",
    "Cell",
    "ConformanceError",
    "Deviation",
    "Measured",
    "Measures",
    "Outcome",
    "References",
    "Run",
    "cells",
    "every_cell",
    "examine",
    "gaps_of",
    "in_float64",
    "judge",
    "refusal",
]
