"""The items that each user has interacted with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mfcore.data._columns import read_only
from mfcore.errors import InvalidArgumentError


@dataclass(frozen=True, eq=False)
class SeenItems:
    """The distinct items of each user, as the rows of a sparse matrix without values.

    Attributes
    ----------
    indptr : int64 array [n_users + 1]
        The items of user row u are ``indices[indptr[u]:indptr[u + 1]]``.
    indices : int32 array [n_pairs]
        Item rows, ascending and unique within a user.

    Examples
    --------
    >>> from mfcore import Interactions
    >>> seen = Interactions.from_columns(["ann", "bob", "ann"], ["b", "a", "a"]).seen
    >>> seen.indptr.tolist(), seen.indices.tolist(), seen.counts.tolist()
    ([0, 2, 3], [0, 1, 0], [2, 1])
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "indptr", read_only(self.indptr))
        object.__setattr__(self, "indices", read_only(self.indices))

    @property
    def n_users(self) -> int:
        """Number of user rows."""
        return len(self.indptr) - 1

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """Number of distinct items of each user, int64 [n_users]."""
        return read_only(np.diff(self.indptr))

    def of(self, user_row: int) -> npt.NDArray[np.int32]:
        """Return the item rows of one user.

        Parameters
        ----------
        user_row : int

        Returns
        -------
        int32 array [counts[user_row]]
            Ascending; a view.

        Raises
        ------
        InvalidArgumentError
            For a row outside [0, n_users).

        Examples
        --------
        >>> from mfcore import Interactions
        >>> Interactions.from_columns(["ann", "bob", "ann"], ["b", "a", "a"]).seen.of(0).tolist()
        [0, 1]
        """
        if not 0 <= user_row < self.n_users:
            raise InvalidArgumentError(f"user row {user_row} is outside the {self.n_users} users")
        return self.indices[self.indptr[user_row] : self.indptr[user_row + 1]]
