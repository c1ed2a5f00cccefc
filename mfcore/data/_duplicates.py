"""What becomes of a (user, item) pair that occurs more than once."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from mfcore.errors import InvalidArgumentError

Policy: TypeAlias = Literal["error", "last", "first", "mean", "sum", "max", "keep"]
POLICIES: tuple[str, ...] = get_args(Policy)


def check_policy(policy: str) -> None:
    """Raise InvalidArgumentError where `policy` is not one of POLICIES."""
    if policy not in POLICIES:
        raise InvalidArgumentError(f"duplicates={policy!r} is unknown; choose one of {', '.join(POLICIES)}")


def pair_keys(
    users: npt.NDArray[np.int32], items: npt.NDArray[np.int32], n_items: int
) -> npt.NDArray[np.int64]:
    """Return one int64 [n] for each pair, equal where the pairs are: user x n_items + item."""
    # In int32, which the rows are stored in, this product wraps from 46,341 users and items on.
    return users.astype(np.int64) * n_items + items


def has_duplicates(keys: npt.NDArray[np.int64]) -> bool:
    """Return whether any of the keys [n] occurs twice."""
    if np.all(keys[1:] > keys[:-1]):
        return False
    ascending = np.sort(keys)
    return bool(np.any(ascending[1:] == ascending[:-1]))


def first_repetition(keys: npt.NDArray[np.int64]) -> tuple[int, int, int]:
    """Return where the first repeated pair stands first, where again, and how many rows are repetitions."""
    order = np.argsort(keys, kind="stable")
    repeats = keys[order][1:] == keys[order][:-1]
    again = order[1:][repeats]
    second = int(again.min())
    return int(np.argmax(keys == keys[second])), second, len(again)


def merge(
    keys: npt.NDArray[np.int64],
    values: npt.NDArray[np.floating[Any]],
    timestamps: npt.NDArray[np.int64] | None,
    policy: str,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Leave one row of each pair.

    Parameters
    ----------
    keys : int64 [n]
        One number for each (user, item) pair.
    values : floating [n]
    timestamps : int64 [n] or None
        Decide what is first and last; equal ones, and None, leave it to the position.
    policy : str
        "last" or "first" keep that row; "mean", "sum" and "max" keep the last row and its timestamp, with
        the mean, sum or maximum of the pair's values, computed in float64.

    Returns
    -------
    positions : int64 [m]
        The rows that stay, ascending.
    values : float64 [m]
        Their values.
    """
    order = (
        np.argsort(keys, kind="stable") if timestamps is None else np.lexsort((timestamps, keys))
    )  # both sorts are stable: the position decides last
    ascending = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], ascending[1:] != ascending[:-1])))
    ends = np.append(starts[1:], len(keys))
    kept = order[starts if policy == "first" else ends - 1]
    grouped = values.astype(np.float64)[order]
    if policy == "sum":
        merged = np.add.reduceat(grouped, starts)
    elif policy == "mean":
        merged = np.add.reduceat(grouped, starts) / (ends - starts)
    elif policy == "max":
        merged = np.maximum.reduceat(grouped, starts)
    else:
        merged = values.astype(np.float64)[kept]
    by_position = np.argsort(kept)
    return kept[by_position], merged[by_position]
