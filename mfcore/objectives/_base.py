"""What an objective is: targets and weights from values, and the loss of instances."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mfcore.errors import InvalidArgumentError
from mfcore.operators import NUMPY, Operators
from mfcore.settings import Settings
from mfcore.specs import Floats, Linear, Output

Values: TypeAlias = NDArray[np.floating]
Terms: TypeAlias = Callable[[Any, Any, Any], tuple[Any, ...]]


@dataclass(frozen=True)
class Objective(Settings, ABC):
    """What training minimises, with the targets and weights that it reads from the interactions' values.

    Attributes
    ----------
    short_name : str
        The name by which `fit` and the command line know it.
    pairing : "pointwise", "pairwise" or "in-batch"
        What an instance is scored as: a pair of user and item, the difference of two pairs, or a row of the
        matrix of all the batch's users and items.
    ranks_items : bool
        Whether it compares a user's items with one another, so that what adds the same to all of a user's
        scores cancels.

    Examples
    --------
    >>> import mfcore
    >>> [(one.pairing, one.ranks_items) for one in (mfcore.Squared(), mfcore.BPR(), mfcore.InBatchSoftmax())]
    [('pointwise', False), ('pairwise', True), ('in-batch', True)]
    """

    short_name: ClassVar[str]
    pairing: ClassVar[Literal["pointwise", "pairwise", "in-batch"]]
    ranks_items: ClassVar[bool] = False

    @abstractmethod
    def targets(self, values: Values, n_negatives: int) -> Values:
        """Return the target of each interaction; a sampled negative's target is 0.

        Parameters
        ----------
        values : array [n]
            Of the interactions.
        n_negatives : int
            Sampled negatives per interaction.

        Returns
        -------
        array [n] in the values' dtype
        """

    def weights(self, values: Values) -> Values | None:
        """Return the weight of each interaction, or None for 1; a sampled negative's weight is 1.

        Parameters
        ----------
        values : array [n]
            Of the interactions.

        Returns
        -------
        array [n] in the values' dtype, or None

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> mfcore.WeightedSquared(alpha=2.0).weights(np.array([1.0, 3.0]))
        array([3., 7.])
        """
        return None

    def check(self, targets: Values, n_negatives: int, output: Output) -> None:
        """Require that the objective fits the data and the output; by default everything does.

        Parameters
        ----------
        targets : array [n]
            Of the interactions.
        n_negatives : int
            Sampled negatives per interaction.
        output : Output
            Of the spec.

        Raises
        ------
        InvalidDataError, InvalidArgumentError
            It does not; names the value and the remedy.

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> mfcore.Logistic().check(np.array([0.0, 3.0]), 0, mfcore.Sigmoid())
        Traceback (most recent call last):
            ...
        mfcore.errors.InvalidDataError: the logistic objective without negatives needs...
        """

    def best_constant(
        self, targets: Values, weights: Values | None, negative_weight: float, output: Output
    ) -> float:
        """Return the score of the best constant prediction, the initial value of a global bias.

        It is output.inverse(sum(w t) / (sum(w) + negative_weight)).

        Parameters
        ----------
        targets, weights : arrays [n]
            Of the interactions; weights may be None, for 1.
        negative_weight : float
            Total weight of the instances whose target is 0: n * n_negatives for sampled negatives.
        output : Output
            Of the spec.

        Returns
        -------
        float

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> mfcore.Squared().best_constant(np.array([3.0, 5.0]), None, 0.0, mfcore.Linear())
        4.0
        """
        weight = np.ones(1) if weights is None else weights.astype(np.float64)
        positive_weight = len(targets) * float(weight[0]) if weights is None else float(weight.sum())
        total = float((weight * targets.astype(np.float64)).sum())
        return output.inverse(total / (positive_weight + negative_weight))


@dataclass(frozen=True)
class ScoreObjective(Objective):
    r"""Base of the objectives whose loss is a function of one score: pointwise and pairwise ones.

    The loss of an instance is :math:`\text{linear} + \log(\text{argument})`, so that a kernel takes one
    logarithm of many arguments' product.

    Attributes
    ----------
    through_output : bool
        Whether `terms` is given the prediction, so that training goes through the output function; else the
        score.

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> from mfcore.objectives import ScoreObjective
    >>> isinstance(mfcore.BPR(), ScoreObjective), isinstance(mfcore.InBatchSoftmax(), ScoreObjective)
    (True, False)
    >>> mfcore.BPR().constants(), mfcore.BPR().gives_slope
    ((0.0, 1.0), True)
    """

    through_output: ClassVar[bool] = False

    @abstractmethod
    def terms(self, xp: Operators) -> Terms:
        """Return the loss as a function of (score, target, c).

        Parameters
        ----------
        xp : Operators

        Returns
        -------
        callable
            From the score of each instance (the prediction where `through_output`; the difference of two
            scores of a pairwise objective), its target (1 in a pairwise objective) and `constants` in the
            training dtype to (linear, argument, slope), each of the score's shape or a number of `c`. The
            slope is the loss's derivative by the first argument. It may be left out, (linear, argument):
            engines that differentiate do so then, and those that do not (the reference, numba) refuse.
        """

    def constants(self) -> tuple[float, ...]:
        """Return the numbers that `terms` is given as `c`: a literal would widen a compiled number.

        Returns
        -------
        tuple of float
            Empty by default.
        """
        return ()

    @cached_property
    def gives_slope(self) -> bool:
        """Whether `terms` gives the derivative."""
        ones = np.ones(1)
        return len(self.terms(NUMPY)(ones, ones, self.constants())) > 2

    def loss(
        self, scores: Floats, targets: Floats | None = None, output: Output | None = None
    ) -> tuple[Floats, Floats]:
        """Return the loss of each instance, and its derivative by the score, on numpy.

        Parameters
        ----------
        scores, targets : arrays [n] of one floating dtype
            Scores, or of a pairwise objective differences of scores; targets are 1 where not given.
        output : Output, optional
            The spec's output function; `Linear()` where not given.

        Returns
        -------
        losses, grad_scores : arrays [n] of that dtype

        Raises
        ------
        InvalidArgumentError
            The loss leaves its slope out.

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> loss, slope = mfcore.Squared().loss(np.array([3.0, 5.0]), np.array([4.0, 5.0]))
        >>> loss.tolist(), slope.tolist()
        ([0.5, 0.0], [-1.0, 0.0])
        """
        if not self.gives_slope:
            raise InvalidArgumentError(
                f"{type(self).__name__}.terms gives (linear, argument) without the slope, which is asked for:"
                " return (linear, argument, slope)"
            )
        real = scores.dtype.type
        targets = np.ones_like(scores) if targets is None else targets
        output = Linear() if output is None else output
        c, output_c = (tuple(map(real, part.constants())) for part in (self, output))
        linear, argument, slope = score_terms(self, output, NUMPY)(scores, targets, c, output_c)
        losses = np.broadcast_to(total_loss(NUMPY, linear, argument), scores.shape)
        return losses, np.broadcast_to(slope, scores.shape)


@dataclass(frozen=True)
class PointwiseObjective(ScoreObjective):
    """Base of the objectives whose instances are pairs, each with a score and a target of its own.

    Examples
    --------
    A loss of one's own, for counts: the negative log-likelihood of a Poisson variable whose rate is exp(s).

    >>> from dataclasses import dataclass
    >>> from typing import ClassVar
    >>> import numpy as np
    >>> from mfcore.objectives import PointwiseObjective
    >>> @dataclass(frozen=True)
    ... class Poisson(PointwiseObjective):
    ...     short_name: ClassVar[str] = "docs_poisson"
    ...     def targets(self, values, n_negatives):
    ...         return values
    ...     def constants(self):
    ...         return (1.0,)
    ...     def terms(self, xp):
    ...         def poisson(score, target, c):
    ...             rate = xp.exp(score)
    ...             return rate - target * score, c[0], rate - target
    ...         return poisson
    >>> loss, slope = Poisson().loss(np.array([0.0, 1.0]), np.array([2.0, 0.0]))
    >>> loss.round(4).tolist(), slope.round(4).tolist()
    ([1.0, 2.7183], [-1.0, 2.7183])
    """

    pairing: ClassVar[Literal["pointwise"]] = "pointwise"


@dataclass(frozen=True)
class RankingObjective(Objective):
    """Base of the objectives that compare a user's items with one another.

    What adds the same to all of a user's scores cancels in them, so user biases stay as they are. Values are
    not read: every interaction's target is 1.

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> mfcore.BPR().targets(np.array([3.0, 5.0]), 1)
    array([1., 1.])
    """

    ranks_items: ClassVar[bool] = True

    def targets(self, values: Values, n_negatives: int) -> Values:
        """Return ones."""
        return np.ones_like(values)

    def best_constant(
        self, targets: Values, weights: Values | None, negative_weight: float, output: Output
    ) -> float:
        """Return 0: constants cancel."""
        return 0.0


@dataclass(frozen=True)
class PairwiseObjective(RankingObjective, ScoreObjective):
    r"""Base of the objectives of a difference :math:`s_{ui} - s_{uj}`, of an interaction and a negative.

    `terms` is given the difference, and 1 as target.

    Examples
    --------
    A hinge: the interaction's item is to score higher than the negative by a margin.

    >>> from dataclasses import dataclass
    >>> from typing import ClassVar
    >>> import numpy as np
    >>> from mfcore.objectives import PairwiseObjective
    >>> @dataclass(frozen=True)
    ... class PairwiseHinge(PairwiseObjective):
    ...     short_name: ClassVar[str] = "docs_pairwise_hinge"
    ...     margin: float = 1.0
    ...     def constants(self):
    ...         return (self.margin, 0.0, 1.0)
    ...     def terms(self, xp):
    ...         def hinge(difference, target, c):
    ...             margin, zero, one = c
    ...             room = margin - difference
    ...             return xp.maximum(room, zero), one, xp.where(room > zero, zero * room - one, zero * room)
    ...         return hinge
    >>> loss, slope = PairwiseHinge().loss(np.array([-1.0, 0.5, 2.0]))
    >>> loss.tolist(), slope.tolist()
    ([2.0, 0.5, 0.0], [-1.0, -1.0, -0.0])
    """

    pairing: ClassVar[Literal["pairwise"]] = "pairwise"

    def check(self, targets: Values, n_negatives: int, output: Output) -> None:
        """Require negatives, and an output that is a probability or the score.

        Raises
        ------
        InvalidArgumentError
        """
        require_score(self, output)
        if not n_negatives:
            raise InvalidArgumentError(
                f"the objective {self.short_name!r} compares interactions with sampled negatives; pass"
                " n_negatives=1 or more"
            )


def score_terms(
    objective: ScoreObjective,
    output: Output,
    xp: Operators,
    compiled: Callable[[Any], Any] = lambda function: function,
) -> Callable[[Any, Any, Any, Any], tuple[Any, ...]]:
    """Return an objective's terms as a function of the score, through the output where it is trained through.

    Parameters
    ----------
    objective : ScoreObjective
    output : Output
    xp : Operators
    compiled : callable
        What the engine makes of a plain function: itself, or a compiled one.

    Returns
    -------
    callable
        From (score, target, c, output_c), where c and output_c are the constants of the two, to (linear,
        argument, slope), or (linear, argument) of an objective that leaves its slope out.

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> from mfcore.objectives import score_terms
    >>> from mfcore.operators import NUMPY
    >>> squared, output = mfcore.Squared(), mfcore.Sigmoid()
    >>> terms = score_terms(squared, output, NUMPY)
    >>> terms(np.array([0.0]), np.array([1.0]), squared.constants(), output.constants())
    (array([0.125]), 1.0, array([-0.125]))
    """
    terms = compiled(objective.terms(xp))
    if not objective.through_output:

        def of_score(score: Any, target: Any, c: Any, output_c: Any) -> Any:
            return terms(score, target, c)

        return of_score
    forward = compiled(output.forward(xp))
    if not objective.gives_slope:

        def of_prediction_without_slope(score: Any, target: Any, c: Any, output_c: Any) -> Any:
            return terms(forward(score, output_c)[0], target, c)

        return of_prediction_without_slope

    def of_prediction(score: Any, target: Any, c: Any, output_c: Any) -> Any:
        prediction, derivative = forward(score, output_c)
        linear, argument, slope = terms(prediction, target, c)
        return linear, argument, slope * derivative

    return of_prediction


def total_loss(xp: Operators, linear: Any, argument: Any) -> Any:
    """Return linear + log(argument), where the argument may be a plain number.

    Parameters
    ----------
    xp : Operators
    linear, argument : arrays of one shape, or numbers
        As `ScoreObjective.terms` gives them.

    Returns
    -------
    array of that shape, or float

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.objectives import total_loss
    >>> from mfcore.operators import NUMPY
    >>> total_loss(NUMPY, np.array([2.0, 3.0]), 1.0)
    array([2., 3.])
    """
    if isinstance(argument, int | float | np.generic):
        return linear if argument == 1 else linear + log(argument)
    return linear + xp.log(argument)


def require_score(objective: Objective, output: Output) -> None:
    """Raise where predictions are values such as ratings, to which a loss on the score does not apply.

    Parameters
    ----------
    objective : Objective
    output : Output

    Raises
    ------
    InvalidArgumentError
        Names the output and those that fit.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.objectives import require_score
    >>> require_score(mfcore.BPR(), mfcore.Linear())
    >>> require_score(mfcore.BPR(), mfcore.ReLU())
    Traceback (most recent call last):
        ...
    mfcore.errors.InvalidArgumentError: the objective 'bpr' works on the score; output...
    """
    if output.predicts_values:
        raise InvalidArgumentError(
            f"the objective {objective.short_name!r} works on the score; output {output} does not fit it: use"
            " Sigmoid() for probabilities or Linear() for scores"
        )
