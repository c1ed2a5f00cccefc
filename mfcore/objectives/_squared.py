"""The squared losses, of ratings and of implicit feedback."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mfcore.objectives._base import PointwiseObjective, Terms, Values
from mfcore.operators import Operators
from mfcore.validation import require_number


@dataclass(frozen=True)
class Squared(PointwiseObjective):
    r"""Half the squared error, :math:`\tfrac12 (t - \text{output}(s))^2`; the target is the value.

    With an output function that is trained through (ReLU, Sigmoid, RatingRange by sigmoid) the derivative
    is taken through it.

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> loss, slope = mfcore.Squared().loss(np.array([3.0, 5.0]), np.array([4.0, 5.0]))
    >>> loss.tolist(), slope.tolist()
    ([0.5, 0.0], [-1.0, 0.0])
    """

    short_name: ClassVar[str] = "squared"
    through_output: ClassVar[bool] = True

    def targets(self, values: Values, n_negatives: int) -> Values:
        """Return the values."""
        return values

    def constants(self) -> tuple[float, ...]:
        """Return (1/2, 1)."""
        return (0.5, 1.0)

    def terms(self, xp: Operators) -> Terms:
        """Return half the squared error, 1, and the error, of a prediction."""

        def squared(prediction: Any, target: Any, c: Any) -> tuple[Any, Any, Any]:
            error = prediction - target
            return c[0] * error * error, c[1], error

        return squared


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

    Raises
    ------
    InvalidArgumentError
        alpha is negative or no number.

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> mfcore.WeightedSquared(alpha=2.0).weights(np.array([1.0, 3.0]))
    array([3., 7.])
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
