"""What training minimises."""

from mfcore.objectives._objectives import (
    BPR,
    OBJECTIVES,
    Comparison,
    InBatchSoftmax,
    Logistic,
    Objective,
    Pointwise,
    Squared,
    WeightedSquared,
)

__all__ = [
    "BPR",
    "OBJECTIVES",
    "Comparison",
    "InBatchSoftmax",
    "Logistic",
    "Objective",
    "Pointwise",
    "Squared",
    "WeightedSquared",
]
