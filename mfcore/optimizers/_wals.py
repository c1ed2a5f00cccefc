"""Weighted alternating least squares."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from mfcore.errors import InvalidArgumentError
from mfcore.optimizers._base import Optimizer
from mfcore.validation import require_integer, require_number

SOLVERS = ("cholesky", "cg", "subspace")
ZERO_PAIRS = ("all", "unobserved")


@dataclass(frozen=True)
class WALS(Optimizer):
    r"""Weighted alternating least squares, for matrix factorisation.

    An epoch minimises over all users, then over all items,

    .. math:: \sum_{ui \in O} c_{ui} (t_{ui} - s_{ui})^2 + w_0 \sum_{ui \in Z} s_{ui}^2
              + \lambda \Big( \sum_u n_u^{\nu} \|p_u\|^2 + \sum_i n_i^{\nu} \|q_i\|^2 \Big)

    O are the interactions, c the objective's weights, t its targets (see `WeightedSquared` and
    `Squared`), :math:`w_0` the unobserved weight, and Z the pairs that it pulls to zero: all pairs, or
    those without an interaction. :math:`n_u` counts the pairs of the user's row by their weight with
    c = 1: the interactions plus w0 for each pair in Z; :math:`n_i` likewise. With biases, a row is
    (p_u, b_u), and scores include the biases.

    How the settings of other libraries map to these:

    - iALS, Rendle, Krichene, Zhang & Koren, "Revisiting the performance of iALS on item recommendation
      benchmarks", RecSys 2022, and irspack: zero_pairs="all", w0 = their alpha_0, the same l2 and nu.
    - Hu, Koren & Volinsky (2008): zero_pairs="unobserved", w0 = 1, nu = 0, and the same alpha in
      `WeightedSquared`, whose weight is 1 + alpha * value.
    - implicit: the same, except that its weight is alpha * value: for values of 1 pass its alpha - 1.
    - Spark ALS on ratings: w0 = 0, nu = 1, the same l2 (Spark multiplies it by the number of ratings). Its
      implicit variant cannot be expressed exactly: there l2 is multiplied by the number of observed pairs
      alone, while n_u here counts the unobserved ones too.

    Solvers, of the n_factors x n_factors system of each row:

    - "cholesky": exact.
    - "cg": `steps` steps of conjugate gradient from the row's present value. Takács, Pilászy & Tikk,
      "Applications of the conjugate gradient method for implicit feedback collaborative filtering",
      RecSys 2011.
    - "subspace": one pass over blocks of `block_size` factors, each solved exactly with the others fixed
      (iALS++). Rendle, Krichene, Zhang & Koren, "iALS++: speeding up matrix factorization with subspace
      optimization", 2021.

    Attributes
    ----------
    unobserved_weight : float
        w0, at least 0; 0 for ratings.
    l2 : float
        lambda, above 0.
    nu : float
        At least 0.
    solver : "cholesky", "cg" or "subspace"
    steps : int
        Of conjugate gradient.
    block_size : int
        Of the subspace solver.
    zero_pairs : "all" or "unobserved"
        Z.

    Raises
    ------
    InvalidArgumentError
        A number is outside its domain, or a name is not one of those listed.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.Interactions.from_columns([1, 1, 2, 2, 3], [5, 6, 5, 7, 6])
    >>> wals = mfcore.WALS(unobserved_weight=0.1, l2=0.01)
    >>> model = mfcore.fit(mfcore.MF(2), data, optimizer=wals, epochs=2, backend="reference")
    >>> model.recommend(1, k=1)[0].items
    array([7])
    """

    short_name: ClassVar[str] = "wals"

    unobserved_weight: float = 0.0
    l2: float = 0.1
    nu: float = 1.0
    solver: Literal["cholesky", "cg", "subspace"] = "cholesky"
    steps: int = 3
    block_size: int = 32
    zero_pairs: Literal["all", "unobserved"] = "all"

    def __post_init__(self) -> None:
        require_number("WALS: unobserved_weight", self.unobserved_weight, at_least=0)
        require_number("WALS: l2", self.l2, above=0)
        require_number("WALS: nu", self.nu, at_least=0)
        require_integer("WALS: steps", self.steps, 1)
        require_integer("WALS: block_size", self.block_size, 1)
        if self.solver not in SOLVERS:
            raise InvalidArgumentError(
                f"WALS: solver is {self.solver!r}; it must be one of {', '.join(SOLVERS)}"
            )
        if self.zero_pairs not in ZERO_PAIRS:
            raise InvalidArgumentError(
                f"WALS: zero_pairs is {self.zero_pairs!r}; it must be one of {', '.join(ZERO_PAIRS)}"
            )

    def terms(self, targets: Any, weights: Any) -> tuple[Any, Any]:
        """Return what each interaction adds to a row's system, beside w0 times the sum over all pairs.

        Parameters
        ----------
        targets : array [n]
        weights : array [n] or None for 1

        Returns
        -------
        a : array [n] in the targets' dtype
            The factor of f f' in the matrix.
        b : array [n] in the targets' dtype
            The factor of f on the right side.

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> wals = mfcore.WALS(unobserved_weight=1.0, zero_pairs="unobserved")
        >>> wals.terms(np.array([1.0]), np.array([3.0]))
        (array([2.]), array([3.]))
        """
        weights = np.ones_like(targets) if weights is None else weights
        overlap = self.unobserved_weight if self.zero_pairs == "unobserved" else 0.0
        return weights - targets.dtype.type(overlap), weights * targets

    def ridge(self, counts: Any, n_others: int) -> Any:
        """Return lambda * n^nu of each row; a row with n = 0 is given n = 1, to keep its system regular.

        Parameters
        ----------
        counts : array [n]
            The number of interactions of each row.
        n_others : int
            The number of rows of the other side.

        Returns
        -------
        float64 array [n]

        Examples
        --------
        >>> import mfcore
        >>> mfcore.WALS(l2=0.5, nu=1.0).ridge([4, 0], n_others=10)
        array([2. , 0.5])
        """
        counts = np.asarray(counts, dtype=np.float64)
        zero_pairs = n_others if self.zero_pairs == "all" else n_others - counts
        total = counts + self.unobserved_weight * zero_pairs
        return self.l2 * np.where(total > 0, total, 1.0) ** self.nu
