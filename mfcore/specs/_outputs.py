"""Output functions: from a score, on which losses and ranking work, to a prediction."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mfcore.errors import InvalidArgumentError
from mfcore.settings import Settings
from mfcore.validation import require_number

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Output(Settings, ABC):
    """A non-decreasing function from score to prediction."""

    @abstractmethod
    def predict(self, scores: Floats) -> Floats:
        """Return the predictions, in the dtype and shape of the scores."""

    def train(self, scores: Floats) -> tuple[Floats, Floats]:
        """Return what a squared loss compares with the target, and its derivative by the score."""
        return scores, np.ones_like(scores)

    def inverse(self, prediction: float) -> float:
        """Return a score whose prediction is nearest to the given one; used for the global bias."""
        return prediction


@dataclass(frozen=True)
class Linear(Output):
    """The prediction is the score."""

    def predict(self, scores: Floats) -> Floats:
        """Return the scores."""
        return scores


@dataclass(frozen=True)
class ReLU(Output):
    """The prediction is max(0, score).

    A squared loss is trained through it, so an instance with a negative score moves nothing.
    """

    def predict(self, scores: Floats) -> Floats:
        """Return max(0, score)."""
        return np.maximum(scores, scores.dtype.type(0))

    def train(self, scores: Floats) -> tuple[Floats, Floats]:
        """Return max(0, score) and 1 where the score is positive."""
        return self.predict(scores), (scores > 0).astype(scores.dtype)


@dataclass(frozen=True)
class Sigmoid(Output):
    """The prediction is 1 / (1 + exp(-score)), a probability; the logistic loss works on the score itself."""

    def predict(self, scores: Floats) -> Floats:
        """Return the logistic function of the scores."""
        return sigmoid(scores)

    def train(self, scores: Floats) -> tuple[Floats, Floats]:
        """Return sigmoid(score) and its derivative."""
        return sigmoid(scores), sigmoid_slope(scores)

    def inverse(self, prediction: float) -> float:
        """Return log(p / (1 - p)), with p kept inside (0, 1)."""
        p = min(max(prediction, 1e-6), 1 - 1e-6)
        return float(np.log(p / (1 - p)))


@dataclass(frozen=True)
class RatingRange(Output):
    """Predictions lie in [low, high].

    With method="clip" the prediction is the score clipped to the range, and training sees the score
    itself: an out-of-range score is still pulled back. With method="sigmoid" the prediction is
    low + (high - low) sigmoid(score), and a squared loss is trained through it.

    Attributes
    ----------
    low, high : float
    method : "clip" or "sigmoid"
    """

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

    def predict(self, scores: Floats) -> Floats:
        """Return the scores brought into the range."""
        if self.method == "clip":
            return np.clip(scores, scores.dtype.type(self.low), scores.dtype.type(self.high))
        return self.train(scores)[0]

    def train(self, scores: Floats) -> tuple[Floats, Floats]:
        """Return the score itself (clip), or the scaled sigmoid and its derivative."""
        if self.method == "clip":
            return scores, np.ones_like(scores)
        low, width = scores.dtype.type(self.low), scores.dtype.type(self.high - self.low)
        return low + width * sigmoid(scores), width * sigmoid_slope(scores)

    def inverse(self, prediction: float) -> float:
        """Return the score of a prediction."""
        if self.method == "clip":
            return prediction
        return Sigmoid().inverse((prediction - self.low) / (self.high - self.low))


def sigmoid(scores: Floats) -> Floats:
    """Return 1 / (1 + exp(-score)), without overflow for scores of any size."""
    small = np.exp(-np.abs(scores))
    result: Floats = np.where(scores >= 0, 1 / (1 + small), small / (1 + small)).astype(scores.dtype)
    return result


def sigmoid_slope(scores: Floats) -> Floats:
    """Return the sigmoid's derivative, e / (1 + e)^2 with e = exp(-|score|); s (1 - s) would cancel."""
    small = np.exp(-np.abs(scores))
    result: Floats = small / np.square(1 + small)
    return result
