"""The logistic loss, of labels and of sampled negatives."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mfcore.errors import InvalidDataError
from mfcore.objectives._base import PointwiseObjective, Terms, Values, require_score
from mfcore.operators import Operators
from mfcore.specs import Output, Sigmoid


@dataclass(frozen=True)
class Logistic(PointwiseObjective):
    r"""The logistic loss on the score, :math:`\log(1 + e^{s}) - t s`.

    It is the negative log-likelihood of a Bernoulli variable with probability sigmoid(s). With sampled
    negatives the target is 1 for an interaction; without, it is the value, a label in [0, 1]. Source: He,
    Liao, Zhang, Nie, Hu & Chua, "Neural collaborative filtering", WWW 2017, equation 7.

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> loss, slope = mfcore.Logistic().loss(np.array([0.0]), np.array([1.0]))
    >>> loss.round(4).tolist(), slope.tolist()
    ([0.6931], [-0.5])
    """

    short_name: ClassVar[str] = "logistic"

    def targets(self, values: Values, n_negatives: int) -> Values:
        """Return ones with sampled negatives, else the values."""
        return np.ones_like(values) if n_negatives else values

    def constants(self) -> tuple[float, ...]:
        """Return (0, 1)."""
        return (0.0, 1.0)

    def terms(self, xp: Operators) -> Terms:
        """Return max(s, 0) - t s, 1 + exp(-abs(s)), and sigmoid(s) - t."""
        return logistic_terms(xp)

    def check(self, targets: Values, n_negatives: int, output: Output) -> None:
        """Require labels in [0, 1] that are not all alike, and an output that is a probability or the score.

        Raises
        ------
        InvalidDataError, InvalidArgumentError
        """
        require_score(self, output)
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
                f"every value is {targets[0]:g}, so the logistic objective has nothing to distinguish: pass"
                " n_negatives=4, say, to train on interactions against sampled negatives"
            )

    def best_constant(
        self, targets: Values, weights: Values | None, negative_weight: float, output: Output
    ) -> float:
        """Return the log-odds of the mean target."""
        return super().best_constant(targets, weights, negative_weight, Sigmoid())


def logistic_terms(xp: Operators) -> Terms:
    """Return the terms of log(1 + exp(s)) - t s in a form that never overflows; c is (0, 1)."""

    def logistic(score: Any, target: Any, c: Any) -> tuple[Any, Any, Any]:
        zero, one = c
        small = xp.exp(-xp.abs(score))
        inverse = one / (one + small)
        squashed = xp.where(score >= zero, inverse, small * inverse)
        return xp.maximum(score, zero) - target * score, one + small, squashed - target

    return logistic
