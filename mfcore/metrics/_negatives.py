"""Negatives drawn for sampled ranking: a pure function of the seed and the test interaction.

Neither the model, nor the other interactions, nor the cut into blocks changes what an interaction is ranked
against, except through the items that are closed to its user.
"""

import numpy as np

from mfcore.data import SeenItems
from mfcore.metrics._ranks import IntArray
from mfcore.sampling import Purpose, bounded, philox4x32, split_seed, unseen_item


def draw_negatives(
    *,
    seed: int,
    n_negatives: int,
    n_items: int,
    user_rows: IntArray,
    item_rows: IntArray,
    closed: SeenItems,
    owners: IntArray,
) -> IntArray:
    """Draw for each interaction a set of distinct items, uniform over all sets without a closed item.

    Parameters
    ----------
    seed : int in [0, 2^64)
    n_negatives : int
        Size of each set. Each user must have at least that many items that are not closed.
    n_items : int
        Size of the catalogue.
    user_rows, item_rows : int64 arrays [n]
        The user and the item of each interaction, which name its random words.
    closed : SeenItems
        The items that may not be drawn for each user.
    owners : int64 array [n]
        The row in `closed` of each interaction's user.

    Returns
    -------
    int64 array [n, n_negatives]
        Item rows.

    Notes
    -----
    The set is drawn from the ranks 0 to n_open - 1 of the user's open items by Floyd's algorithm (Bentley &
    Floyd, "A sample of brilliance", CACM 1987), which takes 64 random bits per member and rejects nothing.
    """
    n_open = n_items - closed.counts[owners]
    high, low = _random_bits(seed, n_negatives, user_rows, item_rows)
    ranks = np.empty((n_negatives, len(owners)), dtype=np.int64)
    for step in range(n_negatives):
        newest = n_open - n_negatives + step
        drawn = bounded(high[step], low[step], newest + 1)
        taken = np.any(ranks[:step] == drawn, axis=0)
        ranks[step] = np.where(taken, newest, drawn)
    return unseen_item(closed, np.repeat(owners, n_negatives), ranks.T.ravel()).reshape(-1, n_negatives)


def _random_bits(
    seed: int, n_draws: int, user_rows: IntArray, item_rows: IntArray
) -> tuple[IntArray, IntArray]:
    """Return the high and the low 32 of 64 random bits, int64[>= n_draws, n] each."""
    # The four words of a counter serve two draws.
    blocks = np.arange((n_draws + 1) // 2)[:, np.newaxis]
    zero = np.zeros((len(blocks), len(user_rows)), dtype=np.int64)
    counter = (zero + blocks, zero + item_rows, zero + user_rows, zero + int(Purpose.EVALUATION))
    first_high, first_low, second_high, second_low = philox4x32(counter, split_seed(seed))
    high = np.stack([first_high, second_high], axis=1).reshape(-1, len(user_rows))
    low = np.stack([first_low, second_low], axis=1).reshape(-1, len(user_rows))
    return high, low
