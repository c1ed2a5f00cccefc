"""Bayesian personalised ranking."""

from dataclasses import dataclass
from typing import ClassVar

from mfcore.objectives._base import PairwiseObjective, Terms
from mfcore.objectives._logistic import logistic_terms
from mfcore.operators import Operators


@dataclass(frozen=True)
class BPR(PairwiseObjective):
    r"""Bayesian personalised ranking, :math:`\log(1 + e^{-d})` of the difference :math:`d = s_{ui} - s_{uj}`.

    i is the item of an interaction of user u, and j a sampled negative. An epoch shows each interaction with
    each of its n_negatives negatives. l2 counts the rows of u, i and j once an instance. Source: Rendle,
    Freudenthaler, Gantner & Schmidt-Thieme, "BPR: Bayesian personalized ranking from implicit feedback",
    UAI 2009.

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> loss, slope = mfcore.BPR().loss(np.array([0.0]))
    >>> loss.round(4).tolist(), slope.tolist()
    ([0.6931], [-0.5])
    """

    short_name: ClassVar[str] = "bpr"

    def constants(self) -> tuple[float, ...]:
        """Return (0, 1)."""
        return (0.0, 1.0)

    def terms(self, xp: Operators) -> Terms:
        """Return those of the logistic loss of the difference, whose target is 1."""
        return logistic_terms(xp)
