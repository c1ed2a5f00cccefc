"""The operators of `mfcore.operators` on single numbers: the `xp` of definitions that Numba compiles.

Kernels have the core's losses, outputs and rules compiled in; a person's own are compiled beside them, see
`own_parts`. Built-in rules run on whole rows as well (`vectors`), for which `sqrt` is all they need.
"""

import sys
from builtins import abs
from math import exp, expm1, isnan, log, log1p, tanh
from typing import Any

from mfcore_numba.compiling import compiled
from mfcore_numba.vectors import root as sqrt

# This module, as definitions are given it: Numba knows modules, but no objects with functions.
SCALARS: Any = sys.modules[__name__]

__all__ = [
    "SCALARS",
    "abs",
    "exp",
    "expm1",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "relu",
    "sigmoid",
    "sqrt",
    "tanh",
    "where",
]


@compiled(borrowing=True, inline=True)
def sigmoid(x):
    """Return 1 / (1 + exp(-x)), without overflow for x of any size."""
    one = type(x)(1)
    small = exp(-abs(x))
    inverse = one / (one + small)
    return inverse if x >= 0 else small * inverse


@compiled(borrowing=True, inline=True)
def relu(x):
    """Return max(x, 0); a NaN stays one."""
    return type(x)(0) if x <= 0 else x


@compiled(borrowing=True, inline=True)
def where(condition, x, y):
    """Return x where the condition holds, else y."""
    return x if condition else y


@compiled(borrowing=True, inline=True)
def maximum(x, y):
    """Return the larger of x and y, or NaN where one of them is."""
    return y if y > x or isnan(y) else x


@compiled(borrowing=True, inline=True)
def minimum(x, y):
    """Return the smaller of x and y, or NaN where one of them is."""
    return y if y < x or isnan(y) else x
