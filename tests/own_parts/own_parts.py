"""Parts that are no part of mfcore: a model, initial values, an output, two losses and a rule."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from mfcore.objectives import PointwiseObjective, Squared
from mfcore.operators import NUMPY
from mfcore.optimizers import SGD
from mfcore.specs import MF, Initializer, Linear, Output


@dataclass(frozen=True)
class Alternating(Initializer):
    """Values of one size, the sign of which changes from row to row and from column to column."""

    size: float = 0.5

    def draw(self, name, shape, seed):
        return self.size * (-1.0) ** np.indices(shape).sum(axis=0)


@dataclass(frozen=True)
class HalfStars(Linear):
    """Predictions in whole or half stars."""

    def predict(self, scores, xp=NUMPY):
        return np.round(scores * 2) / 2


@dataclass(frozen=True)
class SteppedMF(MF):
    """Matrix factorisation that starts from alternating values; `weights` is there to be kept."""

    short_name: ClassVar[str] = "stepped-mf"

    output: Output = field(default_factory=HalfStars)
    init: Initializer = field(default_factory=Alternating)
    weights: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True)
class Capped(Squared):
    """The squared loss of values that are cut off above."""

    short_name: ClassVar[str] = "capped"

    cap: float = 4.0

    def targets(self, values, n_negatives):
        return np.minimum(values, values.dtype.type(self.cap))


@dataclass(frozen=True)
class Poisson(PointwiseObjective):
    """exp(s) - t s: counts with the expectation exp(s)."""

    short_name: ClassVar[str] = "poisson"

    def targets(self, values, n_negatives):
        return values

    def constants(self):
        return (1.0,)

    def terms(self, xp):
        def poisson(score, target, c):
            expected = xp.exp(score)
            return expected - target * score, c[0], expected - target

        return poisson


@dataclass(frozen=True)
class Warming(SGD):
    """Momentum, at a rate that grows for some epochs."""

    short_name: ClassVar[str] = "warming"

    momentum: float = 0.9
    epochs: int = 3

    def learning_rate_at(self, epoch):
        return super().learning_rate_at(epoch) * min(1.0, (epoch + 1) / self.epochs)
