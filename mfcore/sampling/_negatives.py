"""Negatives, exact and without rejection.

A negative of a user is an item that the user has not seen in the training data, so a negative is never one of
the user's interactions there; items of a validation or test set are not known here, and may be drawn.

Uniform negatives: the user's m seen items are kept in ascending order s_0 < s_1 < ...; before s_j there
are s_j - j unseen items. So the r-th unseen item is r + j, with j the number of seen items for which
s_j - j <= r, found by binary search.

Negatives by popularity^alpha: item i has an integer weight w_i, proportional to (number of its training
interactions)^alpha, and spans [c_i, c_i + w_i) of the line of all weights. Before s_j lie c_{s_j} minus the
weights of s_0, ..., s_{j-1} of unseen items. A position r on the line of unseen weights is moved past the
weights of the j seen items before it, found by one binary search, and a second one finds the item that spans
it. Items without training interactions are never drawn, unless alpha is 0: then the draw is the uniform one.
"""

from dataclasses import dataclass

import numpy as np

from mfcore.data import SeenItems, Vocabulary
from mfcore.errors import InvalidDataError
from mfcore.sampling import philox
from mfcore.sampling.philox import Purpose, Words

MAXIMUM_WEIGHT = 2**31 - 1


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

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.data import SeenItems
    >>> from mfcore.sampling import unseen_item
    >>> seen = SeenItems(indptr=np.array([0, 2]), indices=np.array([0, 2]))  # of items 0 to 4
    >>> unseen_item(seen, users=np.array([0, 0, 0]), ranks=np.array([0, 1, 2])).tolist()
    [1, 3, 4]
    """
    first = seen.indptr[users]
    unseen_before = seen.indices - (np.arange(len(seen.indices)) - np.repeat(seen.indptr[:-1], seen.counts))
    low = _first_above(unseen_before, first, seen.indptr[users + 1], ranks)
    items: Words = ranks + (low - first)
    return items


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
    seed : int in [0, 2^64)
    epoch : int
    instances : int64 array [n]
        The number of each instance in the epoch's list before shuffling: see `mfcore.sampling.epoch`.

    Returns
    -------
    int64 array [n]
        Item rows.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore import Interactions
    >>> data = Interactions.from_columns(["ann", "ann", "bob"], ["a", "c", "b"])
    >>> from mfcore.sampling import uniform_negatives
    >>> users, instances = np.array([0, 0, 0]), np.array([1, 3, 5])
    >>> uniform_negatives(
    ...     data.seen, data.n_items, users, seed=0, epoch=0, instances=instances
    ... ).tolist()  # the one item that ann has not seen
    [1, 1, 1]
    """
    word = philox.words(seed, Purpose.NEGATIVE, epoch, instances)
    n_unseen = n_items - (seen.indptr[users + 1] - seen.indptr[users])
    return unseen_item(seen, users, philox.bounded(word[0], word[1], n_unseen))


@dataclass(frozen=True, eq=False)
class PopularityTable:
    """What it takes to draw a user's unseen items by popularity^alpha.

    Attributes
    ----------
    starts : int64 array [n_items + 1]
        c: where each item's span begins on the line of weights, and where the line ends; below 2^31.
    unseen_before : int64 array [n_seen]
        For each seen item, in the order of `SeenItems.indices`: the weight of the user's unseen items before
        it.
    unseen_weight : int64 array [n_users]
        The weight of all items that the user has not seen.

    Examples
    --------
    >>> from mfcore import Interactions
    >>> from mfcore.sampling import PopularityTable
    >>> data = Interactions.from_columns(["ann", "bob", "cat", "cat"], ["a", "a", "a", "b"])
    >>> table = PopularityTable.make(data.seen, data.item_counts, exponent=1.0)
    >>> weights = table.starts[1:] - table.starts[:-1]
    >>> round(float(weights[0] / weights[1]), 6)  # a has three interactions, b one
    3.0
    """

    starts: Words
    unseen_before: Words
    unseen_weight: Words

    @classmethod
    def make(cls, seen: SeenItems, item_counts: Words, exponent: float) -> "PopularityTable":
        """Return the table of a training set whose items have so many interactions each.

        A weight is 1 + floor(share * (2^31 - 1 - n_items)) for an item with interactions, where share is its
        part of the sum of count^exponent.

        Parameters
        ----------
        seen : SeenItems
        item_counts : int64 array [n_items]
            Number of interactions of each item, not all 0.
        exponent : float
            alpha, at least 0.

        Returns
        -------
        PopularityTable

        Examples
        --------
        >>> from mfcore import Interactions
        >>> data = Interactions.from_columns(["ann", "ann", "bob"], ["a", "c", "b"])
        >>> from mfcore.sampling import PopularityTable
        >>> table = PopularityTable.make(data.seen, data.item_counts, exponent=0.75)
        >>> bool((table.unseen_weight > 0).all())
        True
        """
        # Relative to the largest count, so that no exponent overflows.
        popularity = np.where(item_counts > 0, (item_counts / item_counts.max()) ** float(exponent), 0.0)
        shares = popularity / popularity.sum()
        budget = MAXIMUM_WEIGHT - len(item_counts)
        weights = np.where(item_counts > 0, 1 + np.floor(shares * budget).astype(np.int64), 0)
        starts = np.concatenate([[0], np.cumsum(weights)])
        of_seen = weights[seen.indices]
        before = np.concatenate([[0], np.cumsum(of_seen)])
        of_user = before[seen.indptr]
        seen_before = before[:-1] - np.repeat(of_user[:-1], seen.counts)
        return cls(
            starts=starts,
            unseen_before=starts[seen.indices] - seen_before,
            unseen_weight=starts[-1] - np.diff(of_user),
        )


def popular_negatives(
    table: PopularityTable,
    seen: SeenItems,
    users: Words,
    *,
    seed: int,
    epoch: int,
    instances: Words,
) -> Words:
    """Draw one negative for each instance by popularity^alpha: a pure function of (seed, epoch, instance).

    Parameters
    ----------
    table : PopularityTable
    seen : SeenItems
        That the table was made from.
    users : int64 array [n]
        The user row of each instance.
    seed : int in [0, 2^64)
    epoch : int
    instances : int64 array [n]
        The number of each instance in the epoch's list before shuffling: see `mfcore.sampling.epoch`.

    Returns
    -------
    int64 array [n]
        Item rows.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore import Interactions
    >>> data = Interactions.from_columns(["ann", "ann", "bob"], ["a", "c", "b"])
    >>> from mfcore.sampling import PopularityTable, popular_negatives
    >>> table = PopularityTable.make(data.seen, data.item_counts, exponent=0.75)
    >>> users, instances = np.array([0, 0, 0]), np.array([1, 3, 5])
    >>> popular_negatives(table, data.seen, users, seed=0, epoch=0, instances=instances).tolist()
    [1, 1, 1]
    """
    word = philox.words(seed, Purpose.NEGATIVE, epoch, instances)
    position = philox.bounded(word[0], word[1], table.unseen_weight[users])
    first = seen.indptr[users]
    above = _first_above(table.unseen_before, first, seen.indptr[users + 1], position)
    n_before = above - first
    # The weight of all seen items before the position follows from the last of them: where its span ends on
    # the whole line, less the unseen weight before it.
    last = np.maximum(above - 1, 0)
    passed = np.where(n_before > 0, table.starts[seen.indices[last] + 1] - table.unseen_before[last], 0)
    items: Words = np.searchsorted(table.starts, position + passed, side="right") - 1
    return items


def _first_above(values: Words, low: Words, high: Words, bounds: Words) -> Words:
    """Return, for ascending values[low:high] of each row, the first index whose value is above the bound."""
    low, high = low.copy(), high.copy()
    active = np.flatnonzero(low < high)
    while active.size:
        middle = (low[active] + high[active]) // 2
        before = values[middle] <= bounds[active]
        low[active] = np.where(before, middle + 1, low[active])
        high[active] = np.where(before, high[active], middle)
        active = active[low[active] < high[active]]
    return low


def require_unseen_items(seen: SeenItems, n_items: int, user_ids: Vocabulary) -> None:
    """Raise if a user of the training data has seen the whole catalogue: no negative exists for them.

    Parameters
    ----------
    seen : SeenItems
    n_items : int
    user_ids : Vocabulary
        For the message.

    Raises
    ------
    InvalidDataError
        Names the first such user and says what to do.

    Examples
    --------
    >>> from mfcore import Interactions
    >>> from mfcore.sampling import require_unseen_items
    >>> data = Interactions.from_columns(["ann", "ann", "bob"], ["a", "b", "b"])
    >>> require_unseen_items(data.seen, data.n_items, data.user_ids)
    Traceback (most recent call last):
        ...
    mfcore.errors.InvalidDataError: user 'ann' has seen all 2 items, so no negative can be drawn ...
    """
    full = np.flatnonzero(np.diff(seen.indptr) >= n_items)
    if full.size:
        raise InvalidDataError(
            f"user {user_ids[full[0]]!r} has seen all {n_items} items, so no negative can be drawn for them"
            f" ({full.size} such user{'s' if full.size > 1 else ''}); drop them from the training data, or"
            " train on ratings with n_negatives=0"
        )


def require_unseen_weight(table: PopularityTable, user_ids: Vocabulary) -> None:
    """Raise if a user has seen every item that has a weight: no negative exists for them.

    Parameters
    ----------
    table : PopularityTable
    user_ids : Vocabulary
        For the message.

    Raises
    ------
    InvalidDataError
        Names the first such user and says what to do.

    Examples
    --------
    >>> from mfcore import Interactions
    >>> data = Interactions.from_columns(["ann", "ann", "bob"], ["a", "c", "b"])
    >>> from mfcore.sampling import PopularityTable, require_unseen_weight
    >>> table = PopularityTable.make(data.seen, data.item_counts, exponent=0.75)
    >>> require_unseen_weight(table, data.user_ids)  # everyone has an item left
    """
    full = np.flatnonzero(table.unseen_weight <= 0)
    if full.size:
        raise InvalidDataError(
            f"user {user_ids[full[0]]!r} has seen every item that has training interactions, so no negative"
            f" can be drawn for them by popularity ({full.size} such user{'s' if full.size > 1 else ''});"
            " drop them from the training data, or pass popularity_exponent=0 to draw among all items"
        )
