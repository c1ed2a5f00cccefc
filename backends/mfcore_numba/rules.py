"""The update rules of `mfcore.optimizers`, compiled from their one source, for numbers and for rows.

A rule that is not sparse moves every row in every step, touched or not. The steps that leave a row alone are
made up for when it is next needed, from each step's own coefficients: the same operations in the same order,
on a row that is in registers already instead of one that is fetched for every step. Once a step no longer
changes the row in its precision, no later one does, and what is left is the decay of the slots.

For Adam in float32 there is a shorter way, that of `mfcore.engines.deferred_updates`, which sums these up.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from mfcore.engines import deferred_updates as core
from mfcore.optimizers import SGD, Adagrad, Adam, GradientOptimizer, Optimizer, RMSprop
from mfcore_numba.compiling import compiled
from mfcore_numba.vectors import root, same, zeros

SGD_RULE, ADAGRAD_RULE, RMSPROP_RULE, ADAM_RULE = range(4)
RULES = (SGD, Adagrad, RMSprop, Adam)

# Steps between two looks at whether a row that is made up for still changes.
PATIENCE = 8
# A step number that is never reached.
NEVER = np.iinfo(np.int64).max

_sgd = compiled(borrowing=True)(SGD.rule(root))
_adagrad = compiled(borrowing=True)(Adagrad.rule(root))
_rmsprop = compiled(borrowing=True)(RMSprop.rule(root))
_adam = compiled(borrowing=True)(Adam.rule(root))
_rest = compiled(borrowing=True)(core.rest(root))


def rule_of(optimizer: Optimizer) -> int | None:
    """Return the code of an optimizer's rule, or None where it has no compiled form."""
    for code, kind in enumerate(RULES):
        if isinstance(optimizer, kind) and type(optimizer).rule is kind.rule:
            return code
    return None


class Idle(NamedTuple):
    """What the steps of a call do to rows that they do not touch.

    Attributes
    ----------
    settled : int
        From this step of the call on, a row that did not change in one step changes in no later one.
    smooth : int
        From this step on the idle steps of Adam are summed up.
    kept : array [n_steps + 1, 3]
        What so many steps leave of a parameter and of its slots, their own moves aside.
    starts, places : arrays [n_steps + 1]
        After so many steps: S_1, and the argument of the sums.
    sums : array [n_fading + 1, 4, 6]
        As `mfcore.engines.deferred_updates.IdleAdam` has them.
    """

    settled: int
    smooth: int
    kept: Any
    starts: Any
    places: Any
    sums: Any


def idle_of(optimizer: GradientOptimizer, coefficients: Any, done: int, learning_rate: float) -> Idle:
    """Return what a call's steps do to untouched rows; `done` steps were taken before it."""
    dtype = coefficients.dtype
    steps = np.arange(len(coefficients) + 1)
    kept = (_kept_in_a_step(optimizer, float(coefficients[0, -1])) ** steps[:, None]).astype(dtype)
    settled = NEVER
    if isinstance(optimizer, Adam):
        settled = _later(settled_from(optimizer), done)
        summed = core.IdleAdam.make(optimizer, learning_rate, float(coefficients[0, -1]))
        if summed is not None and dtype == np.float32:
            decays = optimizer.beta_2 ** (done + steps)
            # Nothing is asked of the places before the series is smooth, which would divide by 0 at step 0.
            decays = np.minimum(decays, optimizer.beta_2**summed.smooth_from)
            return Idle(
                settled,
                _later(summed.smooth_from, done),
                kept,
                summed.start(decays, np.sqrt).astype(dtype),
                summed.place(decays).astype(dtype),
                summed.sums.astype(dtype),
            )
    elif _is_steady(optimizer):
        settled = 0
    none = np.empty(0, dtype=dtype)
    return Idle(settled, NEVER, kept, none, none, np.empty((0, 0, 0), dtype=dtype))


def _kept_in_a_step(optimizer: GradientOptimizer, kept: float) -> Any:
    """Return what a step leaves of a parameter, which is `kept` for Adam, and of each of its slots."""
    if isinstance(optimizer, Adam):
        return np.array([kept, optimizer.beta_1, optimizer.beta_2])
    if isinstance(optimizer, RMSprop):
        return np.array([1.0, optimizer.rho, 0.0])
    return np.array([1.0, getattr(optimizer, "momentum", 1.0), 0.0])


def _is_steady(optimizer: GradientOptimizer) -> bool:
    """Return whether a call's coefficients are the core's: but for Adam's corrections, the same in all steps.

    Those of a subclass, say with a rate that rises from step to step, need not be.
    """
    return any(type(optimizer).coefficients is kind.coefficients for kind in RULES)


def _later(step: int, done: int) -> int:
    return NEVER if step == NEVER else max(0, step - done)


def settled_from(optimizer: Adam) -> int:
    """Return the step from which an untouched row that did not change in one step changes in no later one.

    Adam's step along a decaying first moment shrinks from one step to the next where
    beta_1 / sqrt(beta_2) * sqrt((1 - beta_2^(t + 1)) / (1 - beta_2^t)) < 1.
    """
    if optimizer.decay or not _is_steady(optimizer):
        return NEVER
    for step in range(1, 1_000):
        growth = math.sqrt((1 - optimizer.beta_2 ** (step + 1)) / (1 - optimizer.beta_2**step))
        if optimizer.beta_1 * growth < 0.999 * math.sqrt(optimizer.beta_2):
            return step
    return NEVER


@compiled(borrowing=True)
def moved(rule, parameter, gradient, slot0, slot1, c):
    """Return a number or a row after one step, and its slots."""
    if rule == SGD_RULE:
        return _sgd(parameter, gradient, slot0, slot1, c)
    if rule == ADAGRAD_RULE:
        return _adagrad(parameter, gradient, slot0, slot1, c)
    if rule == RMSPROP_RULE:
        return _rmsprop(parameter, gradient, slot0, slot1, c)
    return _adam(parameter, gradient, slot0, slot1, c)


@compiled(borrowing=True)
def rested(rule, like, row, coefficients, idle, first, stop):
    """Return a row and its slots after the steps in [first, stop), none of which touched it.

    `like` says how wide the row is; row is (parameter, slot0, slot1). Steps are counted in `coefficients`.
    """
    if rule == ADAM_RULE and first >= idle.smooth:
        return rested_at_once(row, coefficients, idle, first, stop)
    parameter, slot0, slot1 = row
    none = zeros(like)
    for step in range(first, stop):
        earlier = parameter
        parameter, slot0, slot1 = moved(rule, parameter, none, slot0, slot1, coefficients[step])
        if step >= idle.settled and (step - first) % PATIENCE == 0 and same(parameter, earlier):
            left = stop - 1 - step
            return parameter, idle.kept[left, 1] * slot0, idle.kept[left, 2] * slot1
    return parameter, slot0, slot1


@compiled(borrowing=True)
def rested_at_once(row, coefficients, idle, first, stop):
    """Return what Adam makes of an untouched row in the steps in [first, stop), summed up."""
    parameter, slot0, slot1 = row
    n_steps, place = stop - first, idle.places[first]
    terms = idle.sums[min(n_steps, len(idle.sums) - 1)]
    kept = idle.kept[n_steps]
    c = (
        idle.starts[first],
        terms[0, 0],
        polynomial(terms[1], place),
        polynomial(terms[2], place),
        polynomial(terms[3], place),
        coefficients[first, 6],
        kept[0],
        kept[1],
        kept[2],
        type(place)(1),
    )
    return _rest(parameter, slot0, slot1, c)


@compiled(borrowing=True)
def polynomial(terms, place):
    """Return the value of a polynomial, given its coefficients in rising order."""
    value = terms[len(terms) - 1]
    for power in range(len(terms) - 2, -1, -1):
        value = value * place + terms[power]
    return value


@compiled(borrowing=True)
def move(rule, parameter, gradient, slot0, slot1, c):
    """Apply a rule to flat arrays in place; slots that it does not keep are empty."""
    zero = gradient.dtype.type(0)
    if rule == SGD_RULE and len(slot0) == 0:
        for j in range(len(parameter)):
            parameter[j] = _sgd(parameter[j], gradient[j], zero, zero, c)[0]
    elif rule == SGD_RULE:
        for j in range(len(parameter)):
            parameter[j], slot0[j], _ = _sgd(parameter[j], gradient[j], slot0[j], zero, c)
    elif rule == ADAGRAD_RULE:
        for j in range(len(parameter)):
            parameter[j], slot0[j], _ = _adagrad(parameter[j], gradient[j], slot0[j], zero, c)
    elif rule == RMSPROP_RULE:
        for j in range(len(parameter)):
            parameter[j], slot0[j], _ = _rmsprop(parameter[j], gradient[j], slot0[j], zero, c)
    else:
        for j in range(len(parameter)):
            parameter[j], slot0[j], slot1[j] = _adam(parameter[j], gradient[j], slot0[j], slot1[j], c)
