"""Exact top-k over the whole catalogue, in blocks of users, so that memory stays bounded."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mfcore.data import SeenItems
from mfcore.specs import Floats

BLOCK_BYTES = 64 * 2**20


def top_k_of(scores: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the k best columns of each row.

    Ties are broken by ascending column. A score of -inf excludes its column.

    Parameters
    ----------
    scores : array [n, m], without NaN
    k : int

    Returns
    -------
    columns : int64 array [n, k], -1 where a row has fewer than k columns to offer
    scores : array [n, k], -inf there

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.model import top_k_of
    >>> top_k_of(np.array([[0.1, 0.7, 0.7], [-np.inf, 0.2, -np.inf]]), k=2)
    (array([[ 1,  2],
           [ 1, -1]]), array([[ 0.7,  0.7],
           [ 0.2, -inf]]))
    """
    n_rows, n_columns = scores.shape
    kept = min(k, n_columns)
    threshold = np.partition(scores, n_columns - kept, axis=1)[:, n_columns - kept]
    # Everything at or above the k-th best: partition alone would cut ties at the edge at random.
    rows, columns = np.nonzero((scores >= threshold[:, None]) & (scores > -np.inf))
    found = scores[rows, columns]
    order = np.lexsort((columns, -found, rows))
    rows, columns, found = rows[order], columns[order], found[order]
    positions = np.arange(len(rows)) - np.searchsorted(rows, rows)
    inside = positions < kept
    best = np.full((n_rows, k), -1, dtype=np.int64)
    best_scores = np.full((n_rows, k), -np.inf, dtype=scores.dtype)
    best[rows[inside], positions[inside]] = columns[inside]
    best_scores[rows[inside], positions[inside]] = found[inside]
    return best, best_scores


def top_k(
    score_catalogue: Callable[[NDArray[np.int64]], Floats],
    users: NDArray[np.int64],
    k: int,
    n_items: int,
    seen: SeenItems | None,
) -> tuple[NDArray[np.int64], Floats]:
    """Return the k best items of each user.

    Parameters
    ----------
    score_catalogue : callable
        From user rows [b] to scores [b, n_items].
    users : int64 array [n]
        Rows; -1 for a user without training data.
    k, n_items : int
    seen : SeenItems or None
        Items to leave out, per user.

    Returns
    -------
    items : int64 array [n, k], -1 where a list is shorter
    scores : array [n, k], -inf there

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.model import top_k
    >>> scores = np.array([[0.1, 0.7, 0.4], [0.3, 0.2, 0.9]])
    >>> top_k(lambda users: scores[users], users=np.array([1, 0]), k=1, n_items=3, seen=None)[0]
    array([[2],
           [1]])
    """
    block = max(1, BLOCK_BYTES // (8 * n_items))
    pieces = []
    for start in range(0, max(len(users), 1), block):
        chosen = users[start : start + block]
        scores = score_catalogue(chosen)
        if seen is not None:
            rows, items = seen_pairs(seen, chosen)
            scores[rows, items] = -np.inf
        pieces.append(top_k_of(scores, k))
    return np.concatenate([items for items, _ in pieces]), np.concatenate([found for _, found in pieces])


def seen_pairs(seen: SeenItems, users: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return all (user, item) pairs that these users have seen; row -1 has seen nothing.

    Parameters
    ----------
    seen : SeenItems
    users : int64 array [n]
        Rows.

    Returns
    -------
    positions : int64 array [n_pairs]
        In `users`.
    items : int32 array [n_pairs]
        Rows.

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> from mfcore.model import seen_pairs
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 6])
    >>> seen_pairs(data.seen, np.array([1, -1, 0]))
    (array([0, 2, 2]), array([1, 0, 1], dtype=int32))
    """
    known = np.maximum(users, 0)
    counts = np.where(users >= 0, seen.indptr[known + 1] - seen.indptr[known], 0)
    rows = np.repeat(np.arange(len(users)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, seen.indices[seen.indptr[known][rows] + within]
