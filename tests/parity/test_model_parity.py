"""mfcore's own engines pass the suite that it ships: every model with every objective and optimizer.

The cells, what they are measured by and how much they may be off: `mfcore.testing`.
"""

from mfcore.testing.conformance import BackendConformance


class TestReference(BackendConformance):
    """In float32 the reference engine is compared with itself in float64: what rounding alone does."""

    backend = "reference"
    gaps = ()


class TestNumba(BackendConformance):
    backend = "numba"


class TestTorch(BackendConformance):
    backend = "torch"


class TestKeras(BackendConformance):
    backend = "keras"
