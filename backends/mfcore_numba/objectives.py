"""The core's losses and outputs, compiled from their one source, for all of which there is one kernel.

A code says at run time which of them a job has, so that a kernel is compiled once for all. A person's own are
compiled by themselves, and called by their address; see `own_parts`.
"""

from typing import Any, NamedTuple

import numpy as np

from mfcore.engines import TrainingJob
from mfcore.objectives import BPR, InBatchObjective, InBatchSoftmax, Logistic, Objective, Squared
from mfcore.specs import Linear, Output, RatingRange, ReLU, Sigmoid
from mfcore_numba.compiling import compiled
from mfcore_numba.operators import SCALARS
from mfcore_numba.own_parts import call_terms

SQUARED, LOGISTIC = 0, 1
IDENTITY, RELU, SIGMOID = 0, 1, 2

LOSSES = {Squared.terms: SQUARED, Logistic.terms: LOGISTIC, BPR.terms: LOGISTIC}
OUTPUTS = {Linear.forward: IDENTITY, ReLU.forward: RELU, Sigmoid.forward: SIGMOID}
# As many constants as the losses take, and the most that an output takes.
N_CONSTANTS, N_OUTPUT_CONSTANTS = 2, 4

_squared = compiled(borrowing=True, inline=True)(Squared().terms(SCALARS))
_logistic = compiled(borrowing=True, inline=True)(Logistic().terms(SCALARS))
_identity = compiled(borrowing=True, inline=True)(Linear().forward(SCALARS))
_relu = compiled(borrowing=True, inline=True)(ReLU().forward(SCALARS))
_sigmoid = compiled(borrowing=True, inline=True)(Sigmoid().forward(SCALARS))


class Loss(NamedTuple):
    """What comes after the score: a loss and an output of the core.

    Attributes
    ----------
    family, output : int
        Codes; the output's is that of the identity where the loss works on the score.
    c0, c1 : numbers
        The constants of the loss, and
    d0, d1, d2, d3 : numbers
        of the output, zeros where it has fewer: one by one, as parallel loops take no tuples within tuples.
    """

    family: int
    output: int
    c0: Any
    c1: Any
    d0: Any
    d1: Any
    d2: Any
    d3: Any


def built_in_loss(job: TrainingJob) -> Loss | None:
    """Return a job's loss, with its output, for kernels; None where the two are not compiled into them.

    That is so by what they do, not by their names: a subclass that keeps the formulas of a built-in loss is
    one.
    """
    objective, output, real = job.objective, job.spec.output, job.dtype.type
    if isinstance(objective, InBatchObjective):
        # Its kernels have a loss of their own.
        return no_loss(job.dtype)
    family = LOSSES.get(type(objective).terms)  # type: ignore[attr-defined]
    through_output = objective.through_output  # type: ignore[attr-defined]
    code = _output_code(output) if through_output else IDENTITY
    constants = objective.constants()  # type: ignore[attr-defined]
    if family is None or code is None or len(constants) != N_CONSTANTS:
        return None
    if family == LOGISTIC and through_output:
        return None
    output_constants = output.constants() if through_output else Linear().constants()
    padded = (*output_constants, *(0.0,) * N_OUTPUT_CONSTANTS)[:N_OUTPUT_CONSTANTS]
    return Loss(family, code, *map(real, (*constants, *padded)))


def no_loss(dtype: np.dtype[np.floating]) -> Loss:
    """Return what stands where kernels take their loss from elsewhere."""
    return Loss(LOGISTIC, IDENTITY, *(dtype.type(0),) * (N_CONSTANTS + N_OUTPUT_CONSTANTS))


def unsupported_in_batch(objective: Objective) -> str | None:
    """Return why the kernels of in-batch objectives do not take one, or None."""
    keeps = isinstance(objective, InBatchSoftmax) and (
        type(objective).matrix_terms is InBatchSoftmax.matrix_terms
    )
    if keeps or not isinstance(objective, InBatchObjective):
        return None
    return (
        "of the losses that score a batch's users with all its items it compiles the in-batch softmax alone;"
        f" for {type(objective).__name__} use backend='torch', 'keras' or 'reference'"
    )


def _output_code(output: Output) -> int | None:
    if type(output).forward is RatingRange.forward and isinstance(output, RatingRange):
        return IDENTITY if output.method == "clip" else SIGMOID
    return OUTPUTS.get(type(output).forward)


@compiled(borrowing=True)
def loss_terms(own, loss, score, target):
    """Return (linear, argument, slope): the loss is linear + log(argument), slope its derivative.

    `own` is the address of a person's own terms, or None.
    """
    if own is not None:
        return call_terms(own, score, target)
    c, output_c = (loss.c0, loss.c1), (loss.d0, loss.d1, loss.d2, loss.d3)
    if loss.family == LOGISTIC:
        return _logistic(score, target, c)
    if loss.output == RELU:
        prediction, derivative = _relu(score, output_c)
    elif loss.output == SIGMOID:
        prediction, derivative = _sigmoid(score, output_c)
    else:
        prediction, derivative = _identity(score, output_c)
    linear, argument, slope = _squared(prediction, target, c)
    return linear, argument, slope * derivative
