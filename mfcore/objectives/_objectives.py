r"""What training minimises.

The objective of a batch B is the mean over its instances of

.. math:: w \, \ell(s, t) + \tfrac{l2}{2} \sum_{\theta \in \text{rows}(u, i)} \|\theta\|^2

plus :math:`\tfrac{l2\_dense}{2}` times the squared norm of the dense kernels. s is the score, t the
target, w the weight, and rows(u, i) are the embedding rows and biases that the instance touches; l2
belongs to the optimizer. Losses work on scores, never on probabilities.

An instance is a pair (u, i) with a target; a pairwise objective's is a triple (u, i, j) of a user, an
interaction's item and a negative, and its score the difference s_ui - s_uj; that of the in-batch softmax is
an interaction (u, i), scored against the items of all instances of the batch.

The factor-2 convention: the squared loss is half the squared error, so that its gradient is the error
itself and plain SGD with batch_size 1 is the textbook update p += learning_rate * (e q - l2 p).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mfcore.errors import InvalidArgumentError, InvalidDataError
from mfcore.settings import Settings, registered
from mfcore.specs import Floats, Linear, Output, Sigmoid, sigmoid
from mfcore.validation import require_instance, require_number

Values = NDArray[np.floating]
Rows = NDArray[np.integer]


@dataclass(frozen=True)
class Objective(Settings, ABC):
    """What training minimises, with the targets and weights that it reads from the interactions' values.

    Attributes
    ----------
    short_name : str
    pairing : "pointwise", "pairwise" or "in-batch"
        What an instance is scored as: a pair of user and item, the difference of two pairs, or a row of the
        matrix of all the batch's users and items.
    """

    short_name: ClassVar[str]
    pairing: ClassVar[Literal["pointwise", "pairwise", "in-batch"]]

    @abstractmethod
    def targets(self, values: Values, n_negatives: int) -> Values:
        """Return the target of each interaction; a sampled negative's target is 0."""

    def weights(self, values: Values) -> Values | None:
        """Return the weight of each interaction, or None for 1; a sampled negative's weight is 1."""
        return None

    def check(self, targets: Values, n_negatives: int, output: Output) -> None:
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
class Pointwise(Objective):
    """Base of the objectives whose instances are pairs, each with a score and a target of its own."""

    pairing: ClassVar[Literal["pointwise"]] = "pointwise"

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


@dataclass(frozen=True)
class Squared(Pointwise):
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
class Logistic(Pointwise):
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
        return softplus(scores) - targets * scores, sigmoid(scores) - targets

    def check(self, targets: Values, n_negatives: int, output: Output) -> None:
        """Require labels in [0, 1] that are not all alike, and an output that is a probability or the score.

        Raises
        ------
        InvalidDataError, InvalidArgumentError
        """
        _require_score(self, output)
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


@dataclass(frozen=True)
class Comparison(Objective):
    """Base of the objectives that compare a user's items with one another.

    What adds the same to all of a user's scores cancels in them, and no value is asked of an interaction.
    """

    def targets(self, values: Values, n_negatives: int) -> Values:
        """Return ones."""
        return np.ones_like(values)

    def best_constant(
        self, targets: Values, weights: Values | None, negative_weight: float, output: Output
    ) -> float:
        """Return 0: constants cancel."""
        return 0.0


@dataclass(frozen=True)
class BPR(Comparison):
    r"""Bayesian personalised ranking, :math:`\log(1 + e^{-d})` of the difference :math:`d = s_{ui} - s_{uj}`.

    i is the item of an interaction of user u, and j a sampled negative. An epoch shows each interaction with
    each of its n_negatives negatives. l2 counts the rows of u, i and j once an instance. Source: Rendle,
    Freudenthaler, Gantner & Schmidt-Thieme, "BPR: Bayesian personalized ranking from implicit feedback",
    UAI 2009.
    """

    short_name: ClassVar[str] = "bpr"
    pairing: ClassVar[Literal["pairwise"]] = "pairwise"

    def loss(self, differences: Floats) -> tuple[Floats, Floats]:
        """Return softplus(-d) and its derivative by d, -sigmoid(-d); arrays [n]."""
        return softplus(-differences), -sigmoid(-differences)

    def check(self, targets: Values, n_negatives: int, output: Output) -> None:
        """Require negatives, and an output that is a probability or the score.

        Raises
        ------
        InvalidArgumentError
        """
        _require_score(self, output)
        if not n_negatives:
            raise InvalidArgumentError(
                "the BPR objective compares interactions with sampled negatives; pass n_negatives=1 or more"
            )


@dataclass(frozen=True)
class InBatchSoftmax(Comparison):
    r"""The in-batch softmax: each instance's item against the items of the whole batch.

    .. math:: \ell_b = -\log \frac{e^{z_{bb}}}{\sum_{c \in C_b} e^{z_{bc}}}, \qquad
              z_{bc} = s(u_b, i_c) / \tau - \log q(i_c)

    :math:`C_b` are the instances of the batch, without those other than b that show the same item
    (accidental hits), if these are to be removed. :math:`q(i)` is the share of the interactions that are with
    item i, the chance with which a batch shows it; without it popular items are punished for being drawn as
    negatives more often. The mean over the batch is minimised, where others take the sum: the same learning
    rate means a smaller step here for rules whose step grows with the gradient.

    Source: Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations",
    RecSys 2019.

    Attributes
    ----------
    temperature : float
        tau, above 0.
    logq : bool
        Whether log q is subtracted.
    remove_accidental_hits : bool
    """

    short_name: ClassVar[str] = "in_batch_softmax"
    pairing: ClassVar[Literal["in-batch"]] = "in-batch"

    temperature: float = 1.0
    logq: bool = True
    remove_accidental_hits: bool = True

    def __post_init__(self) -> None:
        require_number("InBatchSoftmax: temperature", self.temperature, above=0)
        require_instance("InBatchSoftmax: logq", self.logq, bool, "True")
        require_instance("InBatchSoftmax: remove_accidental_hits", self.remove_accidental_hits, bool, "True")

    def loss(self, scores: Floats, places: Rows, items: Rows, offsets: Floats) -> tuple[Floats, Floats]:
        """Return the loss of some of a batch's instances, and its derivative by their scores.

        Parameters
        ----------
        scores : array [m, n]
            Of the instances' users with the items of all n instances of the batch.
        places : int array [m]
            Which of the batch's instances these are.
        items : int array [n]
            The item rows of the batch.
        offsets : array [n]
            What is subtracted from each item's z: log q, or zeros.

        Returns
        -------
        arrays [m] and [m, n]
        """
        rows = np.arange(len(places))
        z = scores / scores.dtype.type(self.temperature) - offsets
        if self.remove_accidental_hits:
            hits = items[places][:, None] == items
            hits[rows, places] = False
            z[hits] = -np.inf
        z -= z.max(axis=1, keepdims=True)
        weights = np.exp(z)
        sums = weights.sum(axis=1, keepdims=True)
        losses = np.log(sums[:, 0]) - z[rows, places]
        slopes = weights / sums
        slopes[rows, places] -= 1
        return losses, slopes / scores.dtype.type(self.temperature)

    def check(self, targets: Values, n_negatives: int, output: Output) -> None:
        """Require no sampled negatives, and an output that is a probability or the score.

        Raises
        ------
        InvalidArgumentError
        """
        _require_score(self, output)
        if n_negatives:
            raise InvalidArgumentError(
                f"n_negatives is {n_negatives}, but the in-batch softmax takes the other items of the batch"
                " as negatives; pass n_negatives=0"
            )


def softplus(scores: Floats) -> Floats:
    """Return log(1 + exp(score)), without overflow for scores of any size."""
    result: Floats = np.maximum(scores, scores.dtype.type(0)) + np.log1p(np.exp(-np.abs(scores)))
    return result


def _require_score(objective: Objective, output: Output) -> None:
    if not isinstance(output, Linear | Sigmoid):
        raise InvalidArgumentError(
            f"the objective {objective.short_name!r} works on the score; output {output} does not fit it: use"
            " Sigmoid() for probabilities or Linear() for scores"
        )


OBJECTIVES = registered(Objective)  # type: ignore[type-abstract]
