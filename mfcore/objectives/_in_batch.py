"""The objectives that score every user of a batch with every item of it."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mfcore.errors import InvalidArgumentError
from mfcore.objectives._base import RankingObjective, Values, require_score
from mfcore.operators import NUMPY, Operators
from mfcore.specs import Floats, Output
from mfcore.validation import require_instance, require_number

MatrixTerms: TypeAlias = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


@dataclass(frozen=True)
class InBatchObjective(RankingObjective):
    """Base of the objectives of the matrix of the scores of a batch's users with its items.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.objectives import InBatchObjective
    >>> isinstance(mfcore.InBatchSoftmax(), InBatchObjective), mfcore.InBatchSoftmax().pairing
    (True, 'in-batch')
    """

    pairing: ClassVar[Literal["in-batch"]] = "in-batch"

    @abstractmethod
    def matrix_terms(self, xp: Operators) -> MatrixTerms:
        """Return the losses as a function of (scores, own, hits, log_q).

        Parameters
        ----------
        xp : Operators

        Returns
        -------
        callable
            Of the scores [m, n] of the users of m of the batch's instances with the items of all n; `own`,
            bool [m, n], whether an entry is the instance's own item; `hits`, bool [m, n], whether it is
            another instance with the same item; and log_q [n] of the items. It returns the losses [m] and
            their derivatives by the scores, [m, n].
        """

    def loss(
        self, scores: Floats, positions: NDArray[np.integer], items: NDArray[np.integer], log_q: Floats
    ) -> tuple[Floats, Floats]:
        """Return the loss of some of a batch's instances, and its derivative by their scores, on numpy.

        Parameters
        ----------
        scores : array [m, n]
            Of the instances' users with the items of all n instances of the batch.
        positions : int array [m]
            The instances' positions in the batch.
        items : int array [n]
            The item rows of the batch.
        log_q : array [n]
            What is subtracted from each item's logit; zeros for nothing.

        Returns
        -------
        losses : array [m]
        grad_scores : array [m, n]

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> scores = np.array([[2.0, 0.0], [0.0, 2.0]])
        >>> softmax, items = mfcore.InBatchSoftmax(), np.array([7, 9])
        >>> losses, grad_scores = softmax.loss(scores, np.arange(2), items, np.zeros(2))
        >>> losses.round(4).tolist(), grad_scores.round(4).tolist()
        ([0.1269, 0.1269], [[-0.1192, 0.1192], [0.1192, -0.1192]])
        """
        own = positions[:, None] == np.arange(len(items))
        hits = (items[positions][:, None] == items) & ~own
        return self.matrix_terms(NUMPY)(scores, own, hits, log_q)

    def check(self, targets: Values, n_negatives: int, output: Output) -> None:
        """Require no sampled negatives, and an output that is a probability or the score.

        Raises
        ------
        InvalidArgumentError
        """
        require_score(self, output)
        if n_negatives:
            raise InvalidArgumentError(
                f"n_negatives is {n_negatives}, but the in-batch softmax takes the other items of the batch"
                " as negatives; pass n_negatives=0"
            )


@dataclass(frozen=True)
class InBatchSoftmax(InBatchObjective):
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

    Raises
    ------
    InvalidArgumentError
        The temperature is not above 0, or a switch is no bool.

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> scores = np.array([[2.0, 0.0], [0.0, 2.0]])
    >>> softmax = mfcore.InBatchSoftmax(temperature=0.5)
    >>> losses, grad_scores = softmax.loss(scores, np.arange(2), np.array([7, 9]), np.zeros(2))
    >>> losses.round(4).tolist()
    [0.0181, 0.0181]
    """

    short_name: ClassVar[str] = "in_batch_softmax"

    temperature: float = 1.0
    logq: bool = True
    remove_accidental_hits: bool = True

    def __post_init__(self) -> None:
        require_number("InBatchSoftmax: temperature", self.temperature, above=0)
        require_instance("InBatchSoftmax: logq", self.logq, bool, "True")
        require_instance("InBatchSoftmax: remove_accidental_hits", self.remove_accidental_hits, bool, "True")

    def matrix_terms(self, xp: Operators) -> MatrixTerms:
        """Return the cross-entropy of each row's own entry, and softmax(z) - 1[own], by tau."""

        def softmax(scores: Any, own: Any, hits: Any, log_q: Any) -> tuple[Any, Any]:
            z = self._divided(scores) - log_q
            # As numbers: passes that choose among entries take several times as long as sums and products.
            one_hot = xp.where(own, 0 * log_q + 1, 0 * log_q)
            own_z = xp.sum(z * one_hot, axis=1)
            if self.remove_accidental_hits:
                z = xp.where(hits, -float("inf"), z)
            largest = xp.max(z, axis=1)
            weights = xp.exp(z - largest[:, None])
            sums = xp.sum(weights, axis=1)
            grad_scores = self._divided(weights / sums[:, None] - one_hot)
            return xp.log(sums) - (own_z - largest), grad_scores

        return softmax

    def _divided(self, numbers: Any) -> Any:
        # A division by 1 would be one more pass over a large matrix.
        return numbers if self.temperature == 1 else numbers / self.temperature
