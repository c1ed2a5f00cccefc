"""Splits of interactions into a training and a test part.

Each is a pure function of the data in their order and, where it draws, of the seed (numpy's PCG64). The parts
keep the order of the data, the vocabularies and the item names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mfcore.data._interactions import Interactions
from mfcore.errors import InvalidArgumentError, InvalidDataError

Split: TypeAlias = tuple[Interactions, Interactions]


def ratio(data: Interactions, test: float = 0.2, seed: int = 0) -> Split:
    """Hold out a random share of the interactions.

    Parameters
    ----------
    data : Interactions
        n interactions.
    test : float
        Share of the test part, in (0, 1); its size is round(test x n), and at least 1.
    seed : int
        Seed of the permutation.

    Returns
    -------
    train, test : Interactions

    Raises
    ------
    InvalidArgumentError
        For a share outside (0, 1), and where it leaves nothing to train on.

    Examples
    --------
    >>> from mfcore import data, splits
    >>> ratings = data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> train, test = splits.ratio(ratings, test=0.2, seed=0)
    >>> len(train), len(test)
    (800, 200)
    """
    in_test = np.zeros(len(data), dtype=np.bool_)
    in_test[_permutation(len(data), seed)[: _test_size(data, test)]] = True
    return _parts(data, in_test)


def k_fold(data: Interactions, n_folds: int = 5, seed: int = 0) -> Iterator[Split]:
    """Cut the interactions into random folds, and hold out one after the other.

    Parameters
    ----------
    data : Interactions
        n interactions.
    n_folds : int
        Between 2 and n; the folds differ in size by one interaction at most.
    seed : int
        Seed of the permutation.

    Yields
    ------
    train, test : Interactions
        Every interaction is in exactly one test part.

    Raises
    ------
    InvalidArgumentError
        For a number of folds outside [2, n], when called.

    Examples
    --------
    >>> from mfcore import data, splits
    >>> ratings = data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> [(len(train), len(test)) for train, test in splits.k_fold(ratings, n_folds=3)]
    [(666, 334), (667, 333), (667, 333)]
    """
    if not 2 <= n_folds <= len(data):
        raise InvalidArgumentError(f"n_folds={n_folds} must be between 2 and the {len(data):,} interactions")
    folds = np.array_split(_permutation(len(data), seed), n_folds)
    return (_parts(data, _mask(len(data), fold)) for fold in folds)


def leave_one_out(data: Interactions) -> Split:
    """Hold out the last interaction of each user.

    The last one is that with the largest timestamp and, among equal ones, the later position. A user with a
    single interaction stays whole in the training part.

    Parameters
    ----------
    data : Interactions
        With timestamps.

    Returns
    -------
    train, test : Interactions

    Raises
    ------
    InvalidDataError
        Without timestamps, and where no user has two interactions.

    Examples
    --------
    >>> from mfcore import Interactions, splits
    >>> visits = Interactions.from_columns(
    ...     ["ann", "ann", "ann", "bob"], ["a", "b", "c", "a"], timestamps=[30, 10, 20, 5]
    ... )
    >>> train, test = splits.leave_one_out(visits)
    >>> test.user_ids[test.users].tolist(), test.item_ids[test.items].tolist()
    (['ann'], ['a'])
    """
    timestamps = _timestamps(data, "leave_one_out")
    order = np.lexsort((timestamps, data.users))
    lasts = order[np.cumsum(data.user_counts)[data.user_counts > 0] - 1]
    held_out = lasts[data.user_counts[data.users[lasts]] > 1]
    if len(held_out) == 0:
        raise InvalidDataError("no user has two interactions, so none can be left out; use splits.ratio")
    return _parts(data, _mask(len(data), held_out))


def temporal(data: Interactions, test: float = 0.2, *, after: int | None = None) -> Split:
    """Hold out the latest interactions of all users together.

    Parameters
    ----------
    data : Interactions
        With timestamps.
    test : float
        Share of the test part, in (0, 1): the latest round(test x n), at least 1; among equal timestamps the
        later positions.
    after : int, optional
        Hold out what is later than this timestamp instead, whatever the share.

    Returns
    -------
    train, test : Interactions

    Raises
    ------
    InvalidDataError
        Without timestamps.
    InvalidArgumentError
        For a share outside (0, 1), and where one of the parts would be empty.

    Examples
    --------
    >>> from mfcore import Interactions, splits
    >>> visits = Interactions.from_columns([1, 1, 2, 2], [1, 2, 1, 3], timestamps=[30, 10, 20, 40])
    >>> train, test = splits.temporal(visits, test=0.25)
    >>> test.timestamps.tolist()
    [40]
    >>> train, test = splits.temporal(visits, after=15)
    >>> train.timestamps.tolist()
    [10]
    """
    timestamps = _timestamps(data, "temporal")
    if after is None:
        latest = np.argsort(timestamps, kind="stable")[len(data) - _test_size(data, test) :]
        return _parts(data, _mask(len(data), latest))
    in_test = timestamps > after
    if in_test.all() or not in_test.any():
        raise InvalidArgumentError(
            f"after={after} leaves one part empty: the timestamps run from {timestamps.min()} to "
            f"{timestamps.max()}"
        )
    return _parts(data, in_test)


def _parts(data: Interactions, in_test: npt.NDArray[np.bool_]) -> Split:
    return data.select(~in_test), data.select(in_test)


def _mask(n: int, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(n, dtype=np.bool_)
    mask[positions] = True
    return mask


def _permutation(n: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.Generator(np.random.PCG64(seed)).permutation(n)


def _test_size(data: Interactions, share: float) -> int:
    if not 0 < share < 1:
        raise InvalidArgumentError(f"test={share} must be a share between 0 and 1, such as 0.2")
    size = max(1, round(share * len(data)))
    if size >= len(data):
        raise InvalidArgumentError(
            f"test={share} of {len(data):,} interactions leaves nothing to train on; choose a smaller share"
        )
    return size


def _timestamps(data: Interactions, name: str) -> npt.NDArray[np.int64]:
    if data.timestamps is None:
        raise InvalidDataError(
            f"splits.{name} goes by time, but the data have no timestamps: build them with timestamps=..., "
            "or use splits.ratio"
        )
    return data.timestamps
