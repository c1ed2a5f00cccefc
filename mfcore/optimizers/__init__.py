"""How parameters move: one canonical rule each, the same on every engine.

A rule maps (parameter, gradient, two slots, coefficients) to (parameter, two slots), element by element. It
is written on the operators `xp` that the engine hands in, so one source serves numpy arrays, compiled numbers
and tensors. Coefficients are computed in float64 for each step, then rounded to the training dtype.

The gradients of an id that a batch repeats are summed before the rule is applied. A batch is one step,
counted from 1. Unless a rule is *sparse*, it is applied to every row in every step, with gradient 0
for rows that are not in the batch.
"""

from mfcore.optimizers._base import GradientOptimizer, Optimizer, Rule, Schedule
from mfcore.settings import registered

# In the order in which optimizers are listed, which is that of their definition.
# isort: off
from mfcore.optimizers._sgd import SGD
from mfcore.optimizers._adagrad import Adagrad
from mfcore.optimizers._rmsprop import RMSprop
from mfcore.optimizers._adam import Adam, AdamW, LazyAdam
from mfcore.optimizers._wals import SOLVERS, WALS
# isort: on

OPTIMIZERS = registered(Optimizer)

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
