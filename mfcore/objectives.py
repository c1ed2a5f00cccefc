r"""What training minimises.

The objective of a batch B is the mean over its instances of

.. math:: w \, \ell(s, t) + \tfrac{l2}{2} \sum_{\theta \in \text{rows}(u, i)} \|\theta\|^2

plus :math:`\tfrac{l2\_dense}{2}` times the squared norm of the dense kernels. s is the score, t the
target, w the weight, and rows(u, i) are the embedding rows and biases that the instance touches; l2
belongs to the optimizer. Losses work on scores, never on probabilities.

The factor-2 convention: the squared loss is half the squared error, so that its gradient is the error
itself and plain SGD with batch_size 1 is the textbook update p += learning_rate * (e q - l2 p).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mfcore.checks import require_number
from mfcore.errors import InvalidArgumentError, InvalidDataError
from mfcore.specs.outputs import Floats, Linear, Output, Sigmoid, sigmoid

Values = NDArray[np.floating]


@dataclass(frozen=True)
class Objective(ABC):
    """A loss per instance, with the targets and weights that it reads from the interactions' values."""

    short_name: ClassVar[str]

    @abstractmethod
    def targets(self, values: Values, n_negatives: int) -> Values:
        """Return the target of each interaction; a sampled negative's target is 0."""

    def weights(self, values: Values) -> Values | None:
        """Return the weight of each interaction, or None for 1; a sampled negative's weight is 1."""
        return None

    @abstractmethod
    def loss(self, scores: Floats, targets: Floats, output: Output) -> tuple[Floats, Floats]:
        """Return the loss of each instance, and its derivative by the score.

        Parameters
        ----------
        scores, targets : arrays [n] of one floating dtype
        output : Output
            The spec's output function.

        Returns
        -------
        two arrays [n] of that dtype
        """

    def check(self, targets: Values, n_negatives: int, output: Output) -> None:  # noqa: B027, most fit all
        """Raise where the objective does not fit the data or the output function."""

    def best_constant(
        self, targets: Values, weights: Values | None, negative_weight: float, output: Output
    ) -> float:
        """Return the score of the best constant prediction.

        Parameters
        ----------
        targets, weights : arrays [n]
            Of the interactions.
        negative_weight : float
            Total weight of the instances whose target is 0: n * n_negatives for sampled negatives.
        output : Output
        """
        weight = np.ones(1) if weights is None else weights.astype(np.float64)
        positive_weight = len(targets) * float(weight[0]) if weights is None else float(weight.sum())
        total = float((weight * targets.astype(np.float64)).sum())
        return output.inverse(total / (positive_weight + negative_weight))


@dataclass(frozen=True)
class Squared(Objective):
    r"""Half the squared error, :math:`\tfrac12 (t - \text{output}(s))^2`; the target is the value.

    With an output function that is trained through (ReLU, Sigmoid, RatingRange by sigmoid) the derivative
    is taken through it.
    """

    short_name: ClassVar[str] = "squared"

    def targets(self, values: Values, n_negatives: int) -> Values:
        """Return the values."""
        return values

    def loss(self, scores: Floats, targets: Floats, output: Output) -> tuple[Floats, Floats]:
        """Return half the squared error and (output(s) - t) output'(s)."""
        prediction, derivative = output.train(scores)
        error = prediction - targets
        return error * error * scores.dtype.type(0.5), error * derivative


@dataclass(frozen=True)
class WeightedSquared(Squared):
    r"""The squared loss of implicit feedback: :math:`\tfrac{w}{2} (t - \text{output}(s))^2`.

    The target is 1 for an interaction and 0 for a negative; the weight is 1 + alpha * value for an
    interaction and 1 for a negative. Source: Hu, Koren & Volinsky, "Collaborative filtering for implicit
    feedback datasets", ICDM 2008.

    Attributes
    ----------
    alpha : float
        Not negative; 0 gives every interaction the weight 1.
    """

    short_name: ClassVar[str] = "weighted_squared"

    alpha: float = 0.0

    def __post_init__(self) -> None:
        require_number("WeightedSquared: alpha", self.alpha, at_least=0)

    def targets(self, values: Values, n_negatives: int) -> Values:
        """Return ones."""
        return np.ones_like(values)

    def weights(self, values: Values) -> Values | None:
        """Return 1 + alpha * value."""
        return None if self.alpha == 0 else 1 + values.dtype.type(self.alpha) * values


@dataclass(frozen=True)
class Logistic(Objective):
    r"""The logistic loss on the score, :math:`\log(1 + e^{s}) - t s`.

    It is the negative log-likelihood of a Bernoulli variable with probability sigmoid(s). With sampled
    negatives the target is 1 for an interaction; without, it is the value, a label in [0, 1].
    """

    short_name: ClassVar[str] = "logistic"

    def targets(self, values: Values, n_negatives: int) -> Values:
        """Return ones with sampled negatives, else the values."""
        return np.ones_like(values) if n_negatives else values

    def loss(self, scores: Floats, targets: Floats, output: Output) -> tuple[Floats, Floats]:
        """Return softplus(s) - t s in its stable form, and sigmoid(s) - t."""
        zero = scores.dtype.type(0)
        softplus = np.maximum(scores, zero) + np.log1p(np.exp(-np.abs(scores)))
        return softplus - targets * scores, sigmoid(scores) - targets

    def check(self, targets: Values, n_negatives: int, output: Output) -> None:
        """Require labels in [0, 1] that are not all alike, and an output that is a probability or the score.

        Raises
        ------
        InvalidDataError, InvalidArgumentError
        """
        if not isinstance(output, Linear | Sigmoid):
            raise InvalidArgumentError(
                f"the logistic objective works on the score; output {output} does not fit it: use"
                " Sigmoid() for probabilities or Linear() for scores"
            )
        if n_negatives:
            return
        outside = np.flatnonzero((targets < 0) | (targets > 1))
        if outside.size:
            raise InvalidDataError(
                f"the logistic objective without negatives needs values in [0, 1]; value"
                f" {targets[outside[0]]:g} at position {outside[0]} is not: pass n_negatives=4, say, to train"
                " on interactions against sampled negatives"
            )
        if targets.min() == targets.max():
            raise InvalidDataError(
                f"every value is {targets[0]:g}, so the logistic objective has nothing to tell apart: pass"
                " n_negatives=4, say, to train on interactions against sampled negatives"
            )

    def best_constant(
        self, targets: Values, weights: Values | None, negative_weight: float, output: Output
    ) -> float:
        """Return the log-odds of the mean target."""
        return super().best_constant(targets, weights, negative_weight, Sigmoid())


OBJECTIVES: dict[str, type[Objective]] = {
    objective.short_name: objective for objective in (Squared, WeightedSquared, Logistic)
}
