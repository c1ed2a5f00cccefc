"""The update rules of `mfcore.optimizers`, compiled from their one source."""

import numpy as np

from mfcore.optimizers import SGD, Adagrad, Adam, Optimizer, RMSprop
from mfcore_numba.compiling import compiled

SGD_RULE, ADAGRAD_RULE, RMSPROP_RULE, ADAM_RULE = range(4)

_sgd = compiled()(SGD.rule(np.sqrt))
_adagrad = compiled()(Adagrad.rule(np.sqrt))
_rmsprop = compiled()(RMSprop.rule(np.sqrt))
_adam = compiled()(Adam.rule(np.sqrt))


def rule_of(optimizer: Optimizer) -> int | None:
    """Return the code of an optimizer's rule, or None where it has no compiled form."""
    for code, kind in enumerate((SGD, Adagrad, RMSprop, Adam)):
        if isinstance(optimizer, kind) and type(optimizer).rule is kind.rule:
            return code
    return None


@compiled()
def move(rule, parameter, gradient, slot0, slot1, c):
    """Apply a rule to flat arrays in place, and set the gradient to zero for the next step."""
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
    gradient[:] = zero
