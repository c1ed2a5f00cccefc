"""Losses and outputs on tensors, after `mfcore.objectives` and `mfcore.specs.outputs`.

Each gives the loss and its derivative by the score, as the core's do: what automatic differentiation makes of
a kink or of a stable form is its own choice.
"""

import math

import tensorflow as tf

from mfcore.engines import TrainingJob
from mfcore.objectives import BPR, InBatchSoftmax, Logistic, Objective, Squared, WeightedSquared
from mfcore.specs import Linear, Output, RatingRange, ReLU, Sigmoid

OBJECTIVES = (Squared, WeightedSquared, Logistic, BPR, InBatchSoftmax)
OUTPUTS = (Linear, ReLU, Sigmoid, RatingRange)


def unsupported(job: TrainingJob) -> str | None:
    """Return why the objective or the output function is not known here, or None."""
    for part, known in ((job.objective, OBJECTIVES), (job.spec.output, OUTPUTS)):
        if type(part) not in known:
            return f"it has no form of {type(part).__name__} on tensors; use backend='reference'"
    return None


def pointwise(
    objective: Objective, output: Output, scores: tf.Tensor, targets: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the loss of each instance, [n], and its derivative by the score."""
    if isinstance(objective, Logistic):
        return softplus(scores) - targets * scores, tf.sigmoid(scores) - targets
    prediction, derivative = trained_through(output, scores)
    error = prediction - targets
    return 0.5 * error * error, error if derivative is None else error * derivative


def pairwise(differences: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the loss of each difference of scores, [n], and its derivative by it."""
    return softplus(-differences), -tf.sigmoid(-differences)


def in_batch(
    objective: InBatchSoftmax, scores: tf.Tensor, places: tf.Tensor, items: tf.Tensor, offsets: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the losses of some instances, [m], and the derivatives by their scores, [m, n].

    Parameters
    ----------
    scores : tensor [m, n]
        Of the instances' users with the items of all n instances of the batch.
    places : int tensor [m]
        Which of the batch's instances these are.
    items : int tensor [n]
        The item rows of the batch.
    offsets : tensor [n]
        What is subtracted from each item's logit.
    """
    z = scores / objective.temperature - offsets
    own = tf.range(tf.size(items), dtype=places.dtype) == places[:, None]
    if objective.remove_accidental_hits:
        hits = (tf.gather(items, places)[:, None] == items) & ~own
        z = tf.where(hits, tf.constant(-math.inf, z.dtype), z)
    z = z - tf.reduce_max(z, axis=1, keepdims=True)
    weights = tf.exp(z)
    sums = tf.reduce_sum(weights, axis=1, keepdims=True)
    # Not a product with `own`: elsewhere z may be infinite.
    own_z = tf.reduce_sum(tf.where(own, z, tf.zeros_like(z)), axis=1)
    slopes = weights / sums - tf.cast(own, z.dtype)
    return tf.math.log(sums[:, 0]) - own_z, slopes / objective.temperature


def trained_through(output: Output, scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Return what a squared loss compares with the target, and its derivative by the score; None for 1."""
    if isinstance(output, ReLU):
        return tf.nn.relu(scores), tf.cast(scores > 0, scores.dtype)
    if isinstance(output, Sigmoid):
        return _between(scores, 0.0, 1.0)
    if isinstance(output, RatingRange) and output.method == "sigmoid":
        return _between(scores, output.low, output.high)
    return scores, None


def softplus(scores: tf.Tensor) -> tf.Tensor:
    """Return log(1 + exp(score)), without overflow and, unlike TensorFlow's own, without a cut-off."""
    return tf.nn.relu(scores) + tf.math.log1p(tf.exp(-tf.abs(scores)))


def _between(scores: tf.Tensor, low: float, high: float) -> tuple[tf.Tensor, tf.Tensor]:
    probability = tf.sigmoid(scores)
    slope = probability * tf.sigmoid(-scores)
    return low + (high - low) * probability, (high - low) * slope
