"""The update rules of `mfcore.optimizers`, compiled from their one source, for numbers and for rows.

A rule that is not sparse moves every row in every step. The steps of batches that do not have the row are
deferred: it catches up when it is next needed, by each step's own coefficients, with the same operations in
the same order, while it is in registers instead of being fetched for every step. Once a step no longer
changes the row in its precision, no later one does, and what is left is the decay of the slots.

For Adam in float32 there is a shorter way, that of `mfcore.engines.deferred_updates`, which sums these up. A
person's own rule takes its steps one by one; see `own_parts`.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from mfcore.engines import DeferredAdam, catch_up_rule
from mfcore.optimizers import SGD, Adagrad, Adam, GradientOptimizer, RMSprop
from mfcore_numba.compiling import compiled
from mfcore_numba.operators import SCALARS
from mfcore_numba.vectors import same, zeros

SGD_RULE, ADAGRAD_RULE, RMSPROP_RULE, ADAM_RULE, OWN_RULE = range(5)
RULES = (SGD, Adagrad, RMSprop, Adam)

# Steps between two looks at whether a row that catches up still changes.
PATIENCE = 8
# A step number that is never reached.
NEVER = np.iinfo(np.int64).max

_sgd = compiled(borrowing=True)(SGD.rule(SCALARS))
_adagrad = compiled(borrowing=True)(Adagrad.rule(SCALARS))
_rmsprop = compiled(borrowing=True)(RMSprop.rule(SCALARS))
_adam = compiled(borrowing=True)(Adam.rule(SCALARS))
_catch_up = compiled(borrowing=True)(catch_up_rule(SCALARS))


def rule_of(optimizer: GradientOptimizer) -> int:
    """Return the code of an optimizer's rule, `OWN_RULE` where kernels do not have it built in."""
    for code, kind in enumerate(RULES):
        if isinstance(optimizer, kind) and type(optimizer).rule is kind.rule:
            return code
    return OWN_RULE


class Deferred(NamedTuple):
    """What the steps of a call do to rows that their batches do not have.

    Attributes
    ----------
    settled : int
        From this step of the call on, a row that did not change in one step changes in no later one.
    smooth : int
        From this step on the deferred steps of Adam are summed up.
    kept : array [n_steps + 1, 3]
        What so many steps leave of a parameter and of its slots, their own moves aside.
    starts, arguments : arrays [n_steps + 1]
        After so many steps: S_1, and the argument of the sums.
    sums : array [n_fading + 1, 4, 6]
        As `mfcore.engines.DeferredAdam` has them.
    """

    settled: int
    smooth: int
    kept: Any
    starts: Any
    arguments: Any
    sums: Any


def deferred_steps(
    optimizer: GradientOptimizer, coefficients: Any, done: int, learning_rate: float
) -> Deferred:
    """Return what a call's steps do to rows that they defer; `done` steps were taken before it."""
    dtype = coefficients.dtype
    none, no_sums = np.empty(0, dtype=dtype), np.empty((0, 0, 0), dtype=dtype)
    if rule_of(optimizer) == OWN_RULE:
        return Deferred(NEVER, NEVER, np.empty((0, 0), dtype=dtype), none, none, no_sums)
    steps = np.arange(len(coefficients) + 1)
    kept = (_kept_in_a_step(optimizer, float(coefficients[0, -1])) ** steps[:, None]).astype(dtype)
    settled = NEVER
    if rule_of(optimizer) == ADAM_RULE:
        assert isinstance(optimizer, Adam)
        settled = _later(settled_from(optimizer), done)
        plan = DeferredAdam.make(optimizer, learning_rate, dtype)
        if plan is not None:
            decays = optimizer.beta_2 ** (done + steps)
            # Nothing is asked of steps before the series is smooth, which would divide by 0 at step 0.
            decays = np.minimum(decays, optimizer.beta_2**plan.smooth_from)
            return Deferred(
                settled,
                _later(plan.smooth_from, done),
                kept,
                plan.start(decays).astype(dtype),
                plan.argument(decays).astype(dtype),
                plan.sums.astype(dtype),
            )
    elif _is_steady(optimizer):
        settled = 0
    return Deferred(settled, NEVER, kept, none, none, no_sums)


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
    """Return the step from which a row in no batch that did not change in one step changes in no later one.

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
def caught_up(rule, like, row, coefficients, deferred, first, stop):
    """Return a row and its slots after the steps in [first, stop), which it has deferred.

    `like` says how wide the row is; row is (parameter, slot0, slot1). Steps are counted in `coefficients`.
    """
    if rule == ADAM_RULE and first >= deferred.smooth:
        return caught_up_at_once(row, coefficients, deferred, first, stop)
    parameter, slot0, slot1 = row
    none = zeros(like)
    for step in range(first, stop):
        earlier = parameter
        parameter, slot0, slot1 = moved(rule, parameter, none, slot0, slot1, coefficients[step])
        if step >= deferred.settled and (step - first) % PATIENCE == 0 and same(parameter, earlier):
            left = stop - 1 - step
            return parameter, deferred.kept[left, 1] * slot0, deferred.kept[left, 2] * slot1
    return parameter, slot0, slot1


@compiled(borrowing=True)
def caught_up_at_once(row, coefficients, deferred, first, stop):
    """Return the same of Adam's steps, summed up."""
    parameter, slot0, slot1 = row
    n_steps, argument = stop - first, deferred.arguments[first]
    terms = deferred.sums[min(n_steps, len(deferred.sums) - 1)]
    kept = deferred.kept[n_steps]
    c = (
        deferred.starts[first],
        terms[0, 0],
        polynomial(terms[1], argument),
        polynomial(terms[2], argument),
        polynomial(terms[3], argument),
        coefficients[first, 6],
        kept[0],
        kept[1],
        kept[2],
        type(argument)(1),
    )
    return _catch_up(parameter, slot0, slot1, c)


@compiled(borrowing=True)
def polynomial(terms, x):
    """Return the value of a polynomial at x, given its coefficients in rising order."""
    value = terms[len(terms) - 1]
    for power in range(len(terms) - 2, -1, -1):
        value = value * x + terms[power]
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
