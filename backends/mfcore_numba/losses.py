"""Losses and outputs on compiled scalars, after `mfcore.objectives` and `mfcore.specs.outputs`."""

import math
from typing import Any, NamedTuple

from mfcore.engines import TrainingJob
from mfcore.objectives import BPR, InBatchSoftmax, Logistic, Squared, WeightedSquared
from mfcore.specs import Linear, RatingRange, ReLU, Sigmoid
from mfcore_numba.compiling import compiled

SQUARED, LOGISTIC = 0, 1
LINEAR, RELU, SQUASHED = 0, 1, 2

OBJECTIVES = (Squared, WeightedSquared, Logistic, BPR, InBatchSoftmax)
OUTPUTS = (Linear, ReLU, Sigmoid, RatingRange)


class Head(NamedTuple):
    """What comes after the score: a loss and an output; where squashed, low + width * sigmoid(score).

    The loss of BPR is the logistic one of a difference of scores whose target is 1.
    """

    loss: int
    output: int
    low: Any
    width: Any


def head(job: TrainingJob) -> Head:
    """Return the codes of a job's objective and output."""
    real = job.dtype.type
    if isinstance(job.objective, Logistic | BPR | InBatchSoftmax):
        return Head(LOGISTIC, LINEAR, real(0), real(1))
    output = job.spec.output
    if isinstance(output, ReLU):
        return Head(SQUARED, RELU, real(0), real(1))
    if isinstance(output, Sigmoid):
        return Head(SQUARED, SQUASHED, real(0), real(1))
    if isinstance(output, RatingRange) and output.method == "sigmoid":
        return Head(SQUARED, SQUASHED, real(output.low), real(output.high - output.low))
    return Head(SQUARED, LINEAR, real(0), real(1))


def unsupported(job: TrainingJob) -> str | None:
    """Return why the objective or the output function is not known here, or None."""
    for part, known in ((job.objective, OBJECTIVES), (job.spec.output, OUTPUTS)):
        if type(part) not in known:
            return f"it has no compiled form of {type(part).__name__}; use backend='reference'"
    return None


@compiled(borrowing=True)
def loss_and_slope(head, score, target):
    """Return (linear, argument, slope): the loss is linear + log(argument), slope its derivative.

    Leaving the logarithm to the caller lets it take one of a product of many arguments.
    """
    kind = type(score)
    one, half = kind(1), kind(0.5)
    if head.loss == LOGISTIC:
        small = math.exp(-abs(score))
        inverse = one / (one + small)
        squashed = inverse if score >= 0 else small * inverse
        return max(score, kind(0)) - target * score, one + small, squashed - target
    prediction, derivative = score, one
    if head.output == RELU and score <= 0:
        prediction, derivative = kind(0), kind(0)
    elif head.output == SQUASHED:
        small = math.exp(-abs(score))
        inverse = one / (one + small)
        prediction = head.low + head.width * (inverse if score >= 0 else small * inverse)
        derivative = head.width * small * inverse * inverse
    error = prediction - target
    return half * error * error, one, error * derivative
