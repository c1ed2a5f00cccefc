"""Metrics of predicted ratings: how far predictions are from the ratings of the test interactions.

A prediction is the model's answer after its output function; a target is the rating that was held out. All
sums are taken in float64 over all test interactions alike, whichever user they belong to.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mfcore.metrics._ranks import FloatArray


class RatingMetric(ABC):
    """A metric that is a function of the mean of one loss per test interaction.

    Subclasses are frozen dataclasses; one written elsewhere is accepted by `evaluate` as any other.

    Attributes
    ----------
    higher_is_better : bool

    Examples
    --------
    The share of predictions that are off by more than one:

    >>> from dataclasses import dataclass
    >>> import mfcore
    >>> import numpy as np
    >>> from mfcore.metrics import RatingMetric
    >>> @dataclass(frozen=True)
    ... class Misses(RatingMetric):
    ...     @property
    ...     def name(self):
    ...         return "misses"
    ...
    ...     def losses(self, predictions, targets):
    ...         return (np.abs(predictions - targets) > 1).astype(np.float64)
    >>> data = mfcore.data.synthetic(2_000, n_users=100, n_items=200).interactions
    >>> train, test = mfcore.splits.ratio(data)
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), train, optimizer=wals, epochs=2, backend="reference")
    >>> 0 < mfcore.evaluate(model, test, [Misses()])["misses"] < 1
    True
    """

    higher_is_better: ClassVar[bool] = False

    @property
    @abstractmethod
    def name(self) -> str:
        """What the metric is called in an `Evaluation`."""

    @abstractmethod
    def losses(self, predictions: FloatArray, targets: FloatArray) -> FloatArray:
        """Return the loss of each prediction.

        Parameters
        ----------
        predictions, targets : float64 arrays [n]

        Returns
        -------
        float64 array [n]
        """

    def from_mean(self, mean_loss: FloatArray) -> FloatArray:
        """Return the metric, elementwise, from mean losses: over all interactions, or over a user's.

        Parameters
        ----------
        mean_loss : float64 array

        Returns
        -------
        float64 array of that shape

        Examples
        --------
        >>> import numpy as np
        >>> from mfcore import MAE, RMSE
        >>> RMSE().from_mean(np.array([4.0])).tolist(), MAE().from_mean(np.array([4.0])).tolist()
        ([2.0], [4.0])
        """
        return mean_loss


@dataclass(frozen=True)
class RMSE(RatingMetric):
    """Root mean squared error: sqrt(mean((prediction - target)^2)).

    Examples
    --------
    >>> import mfcore
    >>> import numpy as np
    >>> mfcore.RMSE().losses(np.array([3.4, 5.0]), np.array([3.0, 3.0])).round(2).tolist()
    [0.16, 4.0]
    """

    @property
    def name(self) -> str:
        """The name "RMSE"."""
        return "RMSE"

    def losses(self, predictions: FloatArray, targets: FloatArray) -> FloatArray:
        """Return the squared errors, float64 [n]."""
        return np.square(predictions - targets)

    def from_mean(self, mean_loss: FloatArray) -> FloatArray:
        """Return the square roots of mean squared errors."""
        return np.sqrt(mean_loss)


@dataclass(frozen=True)
class MAE(RatingMetric):
    """Mean absolute error: mean(|prediction - target|).

    Examples
    --------
    >>> import mfcore
    >>> import numpy as np
    >>> mfcore.MAE().losses(np.array([3.4, 5.0]), np.array([3.0, 3.0])).round(2).tolist()
    [0.4, 2.0]
    """

    @property
    def name(self) -> str:
        """The name "MAE"."""
        return "MAE"

    def losses(self, predictions: FloatArray, targets: FloatArray) -> FloatArray:
        """Return the absolute errors, float64 [n]."""
        return np.abs(predictions - targets)


@dataclass(frozen=True)
class RoundedMAE(RatingMetric):
    """Mean absolute error of predictions rounded to the nearest integer: mean(|round(prediction) - target|).

    A prediction half way between two integers goes to the even one (2.5 to 2, 3.5 to 4: `numpy.rint`).
    Targets are not rounded. The figure is not comparable with MAE, hence its own name: on whole-star ratings
    a model that is right to within half a star has a rounded MAE of 0.

    Examples
    --------
    >>> import mfcore
    >>> import numpy as np
    >>> mfcore.RoundedMAE().losses(np.array([3.4, 5.0]), np.array([3.0, 3.0])).round(2).tolist()
    [0.0, 2.0]
    """

    @property
    def name(self) -> str:
        """The name "rounded MAE"."""
        return "rounded MAE"

    def losses(self, predictions: FloatArray, targets: FloatArray) -> FloatArray:
        """Return the absolute errors of the rounded predictions, float64 [n]."""
        return np.abs(np.rint(predictions) - targets)
