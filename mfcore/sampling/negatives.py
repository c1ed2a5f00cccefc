"""Uniform negatives, exact and without rejection.

A negative of a user is an item that the user has not seen in the training data. The user's m seen items
are kept in ascending order s_0 < s_1 < ...; before s_j there are s_j - j unseen items. So the r-th unseen
item is r + j, with j the number of seen items for which s_j - j <= r, found by binary search.
"""

import numpy as np

from mfcore.data.ids import Vocabulary
from mfcore.data.interactions import SeenItems
from mfcore.errors import InvalidDataError
from mfcore.sampling import philox
from mfcore.sampling.philox import Purpose, Words


def unseen_item(seen: SeenItems, users: Words, ranks: Words) -> Words:
    """Return the item of the given rank among those that each user has not seen.

    Parameters
    ----------
    seen : SeenItems
    users : int64 array [n]
        User rows.
    ranks : int64 array [n]
        In [0, n_items - number of items seen by that user).

    Returns
    -------
    int64 array [n] of item rows
    """
    first = seen.indptr[users]
    low, high = first.copy(), seen.indptr[users + 1].copy()
    active = np.flatnonzero(low < high)
    while active.size:
        middle = (low[active] + high[active]) // 2
        before = seen.indices[middle] - (middle - first[active]) <= ranks[active]
        low[active] = np.where(before, middle + 1, low[active])
        high[active] = np.where(before, high[active], middle)
        active = active[low[active] < high[active]]
    found: Words = ranks + (low - first)
    return found


def uniform_negatives(
    seen: SeenItems, n_items: int, users: Words, *, seed: int, epoch: int, instances: Words
) -> Words:
    """Draw one negative for each instance: a pure function of (seed, epoch, instance).

    Parameters
    ----------
    seen : SeenItems
        The training data's items per user. Items of a test set are not in it, and may be drawn.
    n_items : int
    users : int64 array [n]
        The user row of each instance.
    seed, epoch : int
    instances : int64 array [n]
        The number of each instance in the epoch's list before shuffling, q in `stream.epoch`.

    Returns
    -------
    int64 array [n] of item rows
    """
    word = philox.words(seed, Purpose.NEGATIVE, epoch, instances)
    n_unseen = n_items - (seen.indptr[users + 1] - seen.indptr[users])
    return unseen_item(seen, users, philox.bounded(word[0], word[1], n_unseen))


def require_unseen_items(seen: SeenItems, n_items: int, user_ids: Vocabulary) -> None:
    """Raise if a user of the training data has seen the whole catalogue: no negative exists for them.

    Raises
    ------
    InvalidDataError
        Names the first such user and says what to do.
    """
    full = np.flatnonzero(np.diff(seen.indptr) >= n_items)
    if full.size:
        raise InvalidDataError(
            f"user {user_ids[full[0]]!r} has seen all {n_items} items, so no negative can be drawn for them"
            f" ({full.size} such user{'s' if full.size > 1 else ''}); drop them from the training data, or"
            " train on ratings with n_negatives=0"
        )
