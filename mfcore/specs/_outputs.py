"""Output functions: from a score, on which losses and ranking work, to a prediction."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mfcore.errors import InvalidArgumentError
from mfcore.operators import NUMPY, Operators
from mfcore.settings import Settings
from mfcore.validation import require_number

Floats: TypeAlias = NDArray[np.floating]
Forward: TypeAlias = Callable[[Any, Any], tuple[Any, Any]]


@dataclass(frozen=True)
class Output(Settings, ABC):
    """A non-decreasing function from score to prediction.

    A subclass is a frozen dataclass with one method, `forward`; `constants` where it has numbers of its own,
    and `inverse` where models with biases are to start from the best constant prediction.

    Attributes
    ----------
    keeps_values : bool
        Whether a score that is a possible value is its own prediction, so that a least-squares solver, which
        fits the score itself, fits this output too.
    predicts_values : bool
        Whether predictions are values such as ratings, so that losses of scores and probabilities do not fit
        it.

    Examples
    --------
    Predictions that are counts, exp(score):

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from mfcore.specs import Output
    >>> @dataclass(frozen=True)
    ... class Exponential(Output):
    ...     def forward(self, xp):
    ...         def exponential(score, c):
    ...             rate = xp.exp(score)
    ...             return rate, rate
    ...         return exponential
    ...     def inverse(self, prediction):
    ...         return float(np.log(prediction))
    >>> Exponential().predict(np.array([0.0, 1.0]))
    array([1.        , 2.71828183])
    """

    keeps_values: ClassVar[bool] = False
    predicts_values: ClassVar[bool] = False

    @abstractmethod
    def forward(self, xp: Operators) -> Forward:
        """Return the function that training goes through.

        Parameters
        ----------
        xp : Operators

        Returns
        -------
        callable
            From (score, c) to what a loss compares with the target and its derivative by the score, each of
            the score's shape or a single number of `c`. `c` holds `constants` in the training dtype: a
            literal would widen a compiled number.
        """

    def constants(self) -> tuple[float, ...]:
        """Return the numbers that `forward` is given as `c`.

        Returns
        -------
        tuple of float
            Empty by default.

        Examples
        --------
        >>> import mfcore
        >>> mfcore.RatingRange(1, 5, method="sigmoid").constants()
        (0.0, 1.0, 1.0, 4.0)
        """
        return ()

    def predict(self, scores: Any, xp: Operators = NUMPY) -> Any:
        """Return the predictions: what `forward` gives first.

        Parameters
        ----------
        scores : array of any shape
            Of the library that `xp` belongs to.
        xp : Operators
            Numpy's by default.

        Returns
        -------
        array of the scores' dtype and shape

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> mfcore.ReLU().predict(np.array([-1.0, 2.0]))
        array([0., 2.])
        """
        return self.forward(xp)(scores, self.constants())[0]

    def inverse(self, prediction: float) -> float:
        """Return a score whose prediction is nearest to the given one; used for the global bias.

        Parameters
        ----------
        prediction : float

        Returns
        -------
        float

        Examples
        --------
        >>> import mfcore
        >>> mfcore.Sigmoid().inverse(0.5)
        0.0
        """
        return prediction


@dataclass(frozen=True)
class Linear(Output):
    """The prediction is the score.

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> mfcore.Linear().predict(np.array([-1.5, 7.0]))
    array([-1.5,  7. ])
    """

    keeps_values: ClassVar[bool] = True

    def constants(self) -> tuple[float, ...]:
        """Return (1,)."""
        return (1.0,)

    def forward(self, xp: Operators) -> Forward:
        """Return the function to (score, 1)."""
        return _identity


@dataclass(frozen=True)
class ReLU(Output):
    """The prediction is max(0, score).

    A squared loss is trained through it, so an instance with a negative score has no gradient.

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> mfcore.ReLU().predict(np.array([-1.5, 7.0]))
    array([0., 7.])
    """

    keeps_values: ClassVar[bool] = True
    predicts_values: ClassVar[bool] = True

    def constants(self) -> tuple[float, ...]:
        """Return (0, 1)."""
        return (0.0, 1.0)

    def forward(self, xp: Operators) -> Forward:
        """Return the function to max(0, score) and 1 where the score is positive."""

        def rectified(score: Any, c: Any) -> tuple[Any, Any]:
            return xp.relu(score), xp.where(score > c[0], c[1], c[0] * score)

        return rectified


@dataclass(frozen=True)
class Sigmoid(Output):
    """The prediction is 1 / (1 + exp(-score)), a probability; the logistic loss works on the score itself.

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> mfcore.Sigmoid().predict(np.array([0.0, 100.0]))
    array([0.5, 1. ])
    """

    def constants(self) -> tuple[float, ...]:
        """Return (0, 1, 0, 1): see `scaled_sigmoid`."""
        return (0.0, 1.0, 0.0, 1.0)

    def forward(self, xp: Operators) -> Forward:
        """Return the function to sigmoid(score) and its derivative."""
        return scaled_sigmoid(xp)

    def inverse(self, prediction: float) -> float:
        """Return log(p / (1 - p)), with p kept inside (0, 1)."""
        p = min(max(prediction, 1e-6), 1 - 1e-6)
        return float(np.log(p / (1 - p)))


@dataclass(frozen=True)
class RatingRange(Output):
    """Predictions lie in [low, high].

    With method="clip" the prediction is the score clipped to the range, and training sees the score itself,
    so a score outside the range still has a gradient. With method="sigmoid" the prediction is low + (high -
    low) sigmoid(score), and a squared loss is trained through it.

    Attributes
    ----------
    low, high : float
    method : "clip" or "sigmoid"

    Raises
    ------
    InvalidArgumentError
        low is not below high, or the method is neither of the two.

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> mfcore.RatingRange(1, 5).predict(np.array([0.3, 3.5, 7.0]))
    array([1. , 3.5, 5. ])
    >>> mfcore.RatingRange(1, 5, method="sigmoid").predict(np.array([0.0]))
    array([3.])
    """

    predicts_values: ClassVar[bool] = True

    low: float
    high: float
    method: Literal["clip", "sigmoid"] = "clip"

    def __post_init__(self) -> None:
        require_number("RatingRange: low", self.low)
        require_number("RatingRange: high", self.high)
        if self.low >= self.high:
            raise InvalidArgumentError(
                f"RatingRange: low is {self.low} and high {self.high}; low must be below high"
            )
        if self.method not in ("clip", "sigmoid"):
            raise InvalidArgumentError(
                f"RatingRange: method is {self.method!r}; it must be 'clip' or 'sigmoid'"
            )

    @property
    def keeps_values(self) -> bool:  # type: ignore[override]
        """Whether scores are clipped, after training."""
        return self.method == "clip"

    def constants(self) -> tuple[float, ...]:
        """Return (1,), or (0, 1, low, high - low) of the sigmoid."""
        return (1.0,) if self.method == "clip" else (0.0, 1.0, float(self.low), float(self.high - self.low))

    def forward(self, xp: Operators) -> Forward:
        """Return the identity (clip), or the scaled sigmoid and its derivative."""
        return _identity if self.method == "clip" else scaled_sigmoid(xp)

    def predict(self, scores: Any, xp: Operators = NUMPY) -> Any:
        """Return the scores brought into the range."""
        if self.method == "clip":
            return xp.minimum(xp.maximum(scores, self.low), self.high)
        return super().predict(scores, xp)

    def inverse(self, prediction: float) -> float:
        """Return the score of a prediction."""
        if self.method == "clip":
            return prediction
        return Sigmoid().inverse((prediction - self.low) / (self.high - self.low))


def scaled_sigmoid(xp: Operators) -> Forward:
    """Return the function to low + width sigmoid(score) and its derivative; c is (0, 1, low, width).

    The derivative is width e / (1 + e)^2 with e = exp(-abs(score)): s (1 - s) would cancel.
    """

    def squashed(score: Any, c: Any) -> tuple[Any, Any]:
        zero, one, low, width = c
        small = xp.exp(-xp.abs(score))
        inverse = one / (one + small)
        prediction = low + width * xp.where(score >= zero, inverse, small * inverse)
        return prediction, width * small * inverse * inverse

    return squashed


def _identity(score: Any, c: Any) -> tuple[Any, Any]:
    return score, c[0]
