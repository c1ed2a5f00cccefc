"""How parameters move: update rules, and weighted alternating least squares."""

from mfcore.optimizers._optimizers import (
    OPTIMIZERS,
    SGD,
    SOLVERS,
    WALS,
    Adagrad,
    Adam,
    AdamW,
    GradientOptimizer,
    LazyAdam,
    Optimizer,
    RMSprop,
    Rule,
    Schedule,
)

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "SOLVERS",
    "WALS",
    "Adagrad",
    "Adam",
    "AdamW",
    "GradientOptimizer",
    "LazyAdam",
    "Optimizer",
    "RMSprop",
    "Rule",
    "Schedule",
]
