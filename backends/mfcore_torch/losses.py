"""Losses and outputs on tensors, after `mfcore.objectives` and `mfcore.specs.outputs`.

Each gives the loss and its derivative by the score, as the core's do: what automatic differentiation makes of
a kink or of a stable form is its own choice.
"""

import torch
from torch import Tensor

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


def pointwise(objective: Objective, output: Output, scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of each instance, [n], and its derivative by the score."""
    if isinstance(objective, Logistic):
        return softplus(scores) - targets * scores, torch.sigmoid(scores) - targets
    prediction, derivative = trained_through(output, scores)
    error = prediction - targets
    return 0.5 * error * error, error if derivative is None else error * derivative


def pairwise(differences: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of each difference of scores, [n], and its derivative by it."""
    return softplus(-differences), -torch.sigmoid(-differences)


def in_batch(
    objective: InBatchSoftmax, scores: Tensor, first: int, items: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the losses of some instances, [m], and the derivatives by their scores, [m, n].

    Parameters
    ----------
    scores : Tensor [m, n]
        Of the users of instances first, ..., first + m - 1 of the batch with the items of all n.
    items : int64 Tensor [n]
        The item rows of the batch.
    offsets : Tensor [n]
        What is subtracted from each item's logit.
    """
    z = scores / objective.temperature - offsets
    places = torch.arange(first, first + len(scores), device=scores.device)[:, None]
    if objective.remove_accidental_hits:
        others = places != torch.arange(len(items), device=scores.device)
        z = z.masked_fill((items[places] == items) & others, -torch.inf)
    z = z - z.max(dim=1, keepdim=True).values
    weights = z.exp()
    sums = weights.sum(dim=1, keepdim=True)
    losses = sums.log() - z.gather(1, places)
    slopes = (weights / sums).scatter_add(1, places, weights.new_full(places.shape, -1.0))
    return losses[:, 0], slopes / objective.temperature


def trained_through(output: Output, scores: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return what a squared loss compares with the target, and its derivative by the score; None for 1."""
    if isinstance(output, ReLU):
        return torch.relu(scores), (scores > 0).to(scores.dtype)
    if isinstance(output, Sigmoid):
        return _between(scores, 0.0, 1.0)
    if isinstance(output, RatingRange) and output.method == "sigmoid":
        return _between(scores, output.low, output.high)
    return scores, None


def softplus(scores: Tensor) -> Tensor:
    """Return log(1 + exp(score)), without overflow and, unlike PyTorch's own, without a cut-off."""
    return torch.relu(scores) + torch.log1p(torch.exp(-scores.abs()))


def _between(scores: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    probability = torch.sigmoid(scores)
    slope = probability * torch.sigmoid(-scores)
    return low + (high - low) * probability, (high - low) * slope
