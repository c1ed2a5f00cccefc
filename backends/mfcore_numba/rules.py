"""The update rules of `mfcore.optimizers`, compiled from their one source, for numbers and for rows.

A rule that is not sparse moves every row in every step, touched or not. The steps that leave a row alone are
made up for when it is next needed, from each step's own coefficients: the same operations in the same order,
on a row that is in registers already instead of one that is fetched for every step. Once a step no longer
changes the row in its precision, no later one does, and what is left is the decay of the slots.

For Adam in float32 there is a shorter way, `rested_at_once`, which sums these steps up.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from mfcore.optimizers import SGD, Adagrad, Adam, GradientOptimizer, Optimizer, RMSprop
from mfcore_numba.compiling import compiled
from mfcore_numba.vectors import root, same, zeros

SGD_RULE, ADAGRAD_RULE, RMSPROP_RULE, ADAM_RULE = range(4)
RULES = (SGD, Adagrad, RMSprop, Adam)

# Steps between two looks at whether a row that is made up for still changes.
PATIENCE = 8
# A step number that is never reached.
NEVER = np.iinfo(np.int64).max
# What is nothing beside 1, and the most idle steps until then, for which steps are summed up.
FADED, MOST_FADING = 1e-8, 512
# Steps that may be the first for that.
SMOOTH_STEPS = (100, 300, 1_000, 3_000, 10_000, 30_000)

_sgd = compiled(borrowing=True)(SGD.rule(root))
_adagrad = compiled(borrowing=True)(Adagrad.rule(root))
_rmsprop = compiled(borrowing=True)(RMSprop.rule(root))
_adam = compiled(borrowing=True)(Adam.rule(root))


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
        From this step on `rested_at_once` is exact to float32.
    kept : array [n_steps + 1, 3]
        What so many steps leave of a parameter and of its slots, their own moves aside.
    falls : array [n]
        (beta_1 / (1 - rate * decay))^1, ..., until nothing is left in float32.
    roots : array [n]
        beta_2^(1/2), beta_2^(2/2), ...
    rates, corrections : arrays [n_steps]
        Of each step rate / (1 - beta_1^t), and the square root of 1 / (1 - beta_2^t).
    """

    settled: int
    smooth: int
    kept: Any
    falls: Any
    roots: Any
    rates: Any
    corrections: Any


def idle_of(optimizer: GradientOptimizer, coefficients: Any, done: int) -> Idle:
    """Return what a call's steps do to untouched rows; `done` steps were taken before it."""
    dtype, none = coefficients.dtype, np.empty(0, dtype=coefficients.dtype)
    steps = np.arange(len(coefficients) + 1)[:, None]
    kept = (_kept_in_a_step(optimizer, float(coefficients[0, -1])) ** steps).astype(dtype)
    if not isinstance(optimizer, Adam):
        settled = 0 if _is_steady(optimizer) else NEVER
        return Idle(settled, NEVER, kept, none, none, none, none)
    powers = np.arange(1, fading_steps(optimizer) + 1)
    return Idle(
        settled=_later(settled_from(optimizer), done),
        smooth=_later(smooth_from(optimizer), done) if dtype == np.float32 else NEVER,
        kept=kept,
        falls=((optimizer.beta_1 / float(coefficients[0, 7])) ** powers).astype(dtype),
        roots=(optimizer.beta_2 ** (powers / 2)).astype(dtype),
        rates=coefficients[:, 0].copy(),
        corrections=np.sqrt(coefficients[:, 1]),
    )


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


def fading_steps(optimizer: Adam) -> int:
    """Return after how many idle steps the first moment is nothing beside what it was, in float32."""
    return MOST_FADING if not optimizer.beta_1 else math.ceil(math.log(FADED) / math.log(optimizer.beta_1))


def smooth_from(optimizer: Adam) -> int:
    """Return the step from which the series of `rested_at_once` may end after its cubic term.

    What it leaves out is the sum of beta_1^n e_n^4 beside the sum of beta_1^n, with e_n how much the root of
    the corrected second moment has changed n steps on.
    """
    n_fading = fading_steps(optimizer)
    if n_fading > MOST_FADING or not optimizer.beta_2 or not _is_steady(optimizer):
        return NEVER
    n = np.arange(1, n_fading + 1)
    weights = optimizer.beta_1**n
    for step in SMOOTH_STEPS:
        corrected = (1 - optimizer.beta_2**step) / (1 - optimizer.beta_2 ** (step + n))
        changes = 1 - np.sqrt(optimizer.beta_2**n * corrected)
        if weights @ changes**4 < 1e-7 * weights.sum():
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
    """Return what Adam makes of an untouched row in the steps in [first, stop), by a series.

    With k = 1 - rate * decay, the n-th step adds -k^(N - n) M_n m / (S_n a + epsilon) to the row, where
    a = sqrt(v), S_n = sqrt(beta_2^n / (1 - beta_2^t)) and M_n holds the falling first moment and the rate.
    S_n hardly changes while M_n fades; so 1 / (S_n a + epsilon) is expanded about S_1, to the cube, which
    leaves sums over n that are the same for all numbers of the row.
    """
    parameter, slot0, slot1 = row
    n_steps, one = stop - first, coefficients.dtype.type(1)
    n = min(n_steps, len(idle.falls))
    rates, corrections = idle.rates[first : first + n], idle.corrections[first : first + n]
    falls, roots = idle.falls[:n], idle.roots[:n]
    start = corrections[0] * roots[0]
    a0 = a1 = a2 = a3 = one - one
    for place in range(n):
        weight, change = rates[place] * falls[place], corrections[place] * roots[place] - start
        a0 += weight
        a1 += weight * change
        a2 += weight * change * change
        a3 += weight * change * change * change
    size = root(slot1)
    inverse = one / (start * size + coefficients[first, 6])
    ratio = size * inverse
    series = a0 - ratio * (a1 - ratio * (a2 - a3 * ratio))
    kept = idle.kept[n_steps]
    return kept[0] * (parameter - slot0 * inverse * series), kept[1] * slot0, kept[2] * slot1


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
