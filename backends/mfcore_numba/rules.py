"""The update rules of `mfcore.optimizers`, compiled from their one source, for numbers and for rows.

A rule that is not sparse moves every row in every step, touched or not. The steps that leave a row alone are
made up for when it is next needed, from the step's own coefficients: the same operations in the same order,
on a row that is in registers already instead of one that is fetched for every step. Once a step no longer
changes the row in its precision, no later one does, and what is left is the decay of the slots.
"""

import math

import numpy as np

from mfcore.optimizers import SGD, Adagrad, Adam, GradientOptimizer, Optimizer, RMSprop
from mfcore_numba.compiling import compiled
from mfcore_numba.vectors import root, same, zeros

SGD_RULE, ADAGRAD_RULE, RMSPROP_RULE, ADAM_RULE = range(4)

# Steps between two looks at whether a row that is made up for still changes.
PATIENCE = 8
# A step number that is never reached.
NEVER = np.iinfo(np.int64).max

_sgd = compiled()(SGD.rule(root))
_adagrad = compiled()(Adagrad.rule(root))
_rmsprop = compiled()(RMSprop.rule(root))
_adam = compiled()(Adam.rule(root))


def rule_of(optimizer: Optimizer) -> int | None:
    """Return the code of an optimizer's rule, or None where it has no compiled form."""
    for code, kind in enumerate((SGD, Adagrad, RMSprop, Adam)):
        if isinstance(optimizer, kind) and type(optimizer).rule is kind.rule:
            return code
    return None


def settled_from(optimizer: GradientOptimizer) -> int:
    """Return the step from which an untouched row that did not change in one step changes in no later one.

    Adam's step along a decaying first moment shrinks from one step to the next where
    beta_1 / sqrt(beta_2) * sqrt((1 - beta_2^(t + 1)) / (1 - beta_2^t)) < 1.
    """
    if not isinstance(optimizer, Adam):
        return 0
    if optimizer.decay:
        return NEVER
    for step in range(1, 1_000):
        growth = math.sqrt((1 - optimizer.beta_2 ** (step + 1)) / (1 - optimizer.beta_2**step))
        if optimizer.beta_1 * growth < 0.999 * math.sqrt(optimizer.beta_2):
            return step
    return NEVER


@compiled()
def moved(rule, parameter, gradient, slot0, slot1, c):
    """Return a number or a row after one step, and its slots."""
    if rule == SGD_RULE:
        return _sgd(parameter, gradient, slot0, slot1, c)
    if rule == ADAGRAD_RULE:
        return _adagrad(parameter, gradient, slot0, slot1, c)
    if rule == RMSPROP_RULE:
        return _rmsprop(parameter, gradient, slot0, slot1, c)
    return _adam(parameter, gradient, slot0, slot1, c)


@compiled()
def rested(rule, table, row, coefficients, first, stop, settled):
    """Return a row and its slots after the steps in [first, stop), none of which touched it.

    `table` is what the row belongs to, and row its (parameter, slot0, slot1). Steps are counted in
    `coefficients`; from `settled` on a row that stopped changing has stopped for good.
    """
    parameter, slot0, slot1 = row
    none = zeros(table)
    for step in range(first, stop):
        earlier = parameter
        parameter, slot0, slot1 = moved(rule, parameter, none, slot0, slot1, coefficients[step])
        if step >= settled and (step - first) % PATIENCE == 0 and same(parameter, earlier):
            keep0, keep1 = kept(rule, coefficients[step], stop - 1 - step)
            return parameter, keep0 * slot0, keep1 * slot1
    return parameter, slot0, slot1


@compiled()
def kept(rule, c, n_steps):
    """Return what n steps without a gradient leave of each slot."""
    zero = c.dtype.type(0)
    if rule == ADAM_RULE:
        return c[2] ** n_steps, c[4] ** n_steps
    if rule == RMSPROP_RULE:
        return c[2] ** n_steps, zero
    return c[1] ** n_steps, zero


@compiled()
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
