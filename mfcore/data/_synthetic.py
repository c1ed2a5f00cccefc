"""Synthetic ratings with a known truth, from a thousand to a hundred million.

The planted model is that of biased matrix factorisation,

    score(u, i) = global_bias + user_bias[u] + item_bias[i] + user_factors[u] . item_factors[i],

and a rating is the score plus normal noise, clipped to the range and optionally rounded to steps. Who rates
what does not depend on the score: item popularity follows a Zipf-Mandelbrot law,
p(i) ~ (rank(i) + n_items / 100)^-a, and user activity a log-normal one, as in real catalogues.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mfcore.data._ids import MAX_ROWS, Vocabulary
from mfcore.data._interactions import Interactions
from mfcore.errors import InvalidArgumentError

BLOCK_RATINGS = 2**20  # what is held in memory at a time, beside the result
TABLE_SIZE = 2**20
REDRAWS = 8
ACTIVITY_SIGMA = 1.0  # of the logarithm
PRODUCT_STD, BIAS_STD = 0.6, 0.4
TIME_SPAN = 10 * 365 * 24 * 3600


@dataclass(frozen=True, eq=False)
class PlantedModel:
    """The model that ratings are drawn from.

    Attributes
    ----------
    user_factors : float32 array [n_users, n_factors]
    item_factors : float32 array [n_items, n_factors]
    user_bias : float32 array [n_users]
    item_bias : float32 array [n_items]
    global_bias : float
    """

    user_factors: npt.NDArray[np.float32] = field(repr=False)
    item_factors: npt.NDArray[np.float32] = field(repr=False)
    user_bias: npt.NDArray[np.float32] = field(repr=False)
    item_bias: npt.NDArray[np.float32] = field(repr=False)
    global_bias: float

    def scores(self, users: npt.NDArray[Any], items: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the scores of pairs, without noise and clipping.

        Parameters
        ----------
        users, items : integer arrays [n]
            Rows.

        Returns
        -------
        float32 array [n]
        """
        dots = np.einsum("nk,nk->n", self.user_factors[users], self.item_factors[items])
        scores: npt.NDArray[np.float32] = dots + self.user_bias[users] + self.item_bias[items]
        return scores + np.float32(self.global_bias)


@dataclass(frozen=True, eq=False)
class SyntheticData:
    """Generated interactions and the truth behind them.

    Attributes
    ----------
    interactions : Interactions
        Ordered by user, then item; ids 0..n_users - 1 and 0..n_items - 1.
    truth : PlantedModel
        Its factors and biases, and `scores` of pairs of rows.

    Examples
    --------
    >>> from mfcore.data import synthetic
    >>> made = synthetic(1_000, n_users=50, n_items=40, noise=0.0, rating_range=None)
    >>> ratings = made.interactions
    >>> bool((made.truth.scores(ratings.users, ratings.items) == ratings.values).all())
    True
    """

    interactions: Interactions
    truth: PlantedModel


def synthetic(
    n_ratings: int,
    n_users: int | None = None,
    n_items: int | None = None,
    *,
    n_factors: int = 8,
    noise: float = 0.5,
    popularity_exponent: float = 1.0,
    rating_range: tuple[float, float] | None = (1.0, 5.0),
    step: float | None = None,
    timestamps: bool = False,
    seed: int = 0,
) -> SyntheticData:
    """Generate ratings of distinct (user, item) pairs from a planted model.

    Parameters
    ----------
    n_ratings : int
        Number of interactions, exactly.
    n_users, n_items : int, optional
        Sizes of the two sides; None takes n_ratings^0.7 and 6 sqrt(n_ratings), about the shape of MovieLens.
        Every user and item has an interaction, as far as n_ratings reaches.
    n_factors : int
        Rank of the planted product; the product has standard deviation 0.6 whatever the rank, biases 0.4.
    noise : float
        Standard deviation of the noise, in units of the rating.
    popularity_exponent : float
        The exponent a of the law of item popularity, p(i) ~ (rank(i) + n_items / 100)^-a; 0 makes all items
        equally popular.
    rating_range : (float, float) or None
        Lowest and highest rating, around whose upper middle the scores lie; None clips nothing.
    step : float, optional
        Round ratings to multiples of this above the lowest one, such as 1 or 0.5; None does not round.
    timestamps : bool
        Add uniformly drawn times: ten years of Unix seconds.
    seed : int
        The result is a pure function of all arguments.

    Returns
    -------
    SyntheticData

    Raises
    ------
    InvalidArgumentError
        For sizes below 1, more ratings than pairs, and parameters outside their domain.

    Examples
    --------
    >>> from mfcore.data import synthetic
    >>> synthetic(1_000, n_users=50, n_items=40, step=1.0).interactions
    Interactions(1,000 interactions, 50 users × 40 items, density 50.000%, values 1 to 5)
    """
    if n_ratings < 1:
        raise InvalidArgumentError(f"n_ratings={n_ratings} must be at least 1")
    n_users = max(1, round(n_ratings**0.7)) if n_users is None else n_users
    n_items = max(1, round(6 * n_ratings**0.5)) if n_items is None else n_items
    _check_sizes(n_ratings, {"n_users": n_users, "n_items": n_items, "n_factors": n_factors})
    _check_law(noise, popularity_exponent, rating_range, step)
    truth_seed, pairs_seed, noise_seed, times_seed = np.random.SeedSequence(seed).spawn(4)
    truth = _plant(n_users, n_items, n_factors, _centre(rating_range), _generator(truth_seed))
    noise_generator = _generator(noise_seed)
    users, items = np.empty(n_ratings, dtype=np.int32), np.empty(n_ratings, dtype=np.int32)
    values = np.empty(n_ratings, dtype=np.float32)
    start = 0
    pairs = _pairs(n_ratings, n_users, n_items, popularity_exponent, _generator(pairs_seed))
    for block_users, block_items in pairs:
        block = slice(start, start + len(block_users))
        users[block], items[block] = block_users, block_items
        deviations = noise_generator.standard_normal(len(block_users), dtype=np.float32)
        ratings = truth.scores(block_users, block_items) + np.float32(noise) * deviations
        values[block] = _onto_scale(ratings, rating_range, step)
        start = block.stop
    interactions = Interactions(
        users=users,
        items=items,
        values=values,
        timestamps=_times(n_ratings, _generator(times_seed)) if timestamps else None,
        user_ids=Vocabulary.range(n_users),
        item_ids=Vocabulary.range(n_items),
    )
    return SyntheticData(interactions, truth)


def _check_sizes(n_ratings: int, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        if not 1 <= size <= MAX_ROWS:
            raise InvalidArgumentError(f"{name}={size} must be between 1 and {MAX_ROWS}")
    if n_ratings > sizes["n_users"] * sizes["n_items"]:
        raise InvalidArgumentError(
            f"n_ratings={n_ratings} is more than the {sizes['n_users']} x {sizes['n_items']} pairs; enlarge "
            "n_users or n_items"
        )


def _check_law(
    noise: float,
    popularity_exponent: float,
    rating_range: tuple[float, float] | None,
    step: float | None,
) -> None:
    if not (noise >= 0 and popularity_exponent >= 0):
        raise InvalidArgumentError(
            f"noise={noise} and popularity_exponent={popularity_exponent} must not be negative"
        )
    if rating_range is not None and not rating_range[0] < rating_range[1]:
        raise InvalidArgumentError(f"rating_range={rating_range} must be (lowest, highest)")
    if step is not None and not step > 0:
        raise InvalidArgumentError(f"step={step} must be positive, or None")


def _generator(seed: np.random.SeedSequence) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _centre(rating_range: tuple[float, float] | None) -> float:
    # People rate what they like, so the mean of real ratings lies above the middle: 3.5 of 1 to 5.
    return 0.0 if rating_range is None else rating_range[0] + 0.625 * (rating_range[1] - rating_range[0])


def _plant(
    n_users: int, n_items: int, n_factors: int, centre: float, generator: np.random.Generator
) -> PlantedModel:
    # A sum of n_factors products of two normals of scale s has standard deviation s^2 sqrt(n_factors).
    scale = np.float32((PRODUCT_STD / n_factors**0.5) ** 0.5)
    return PlantedModel(
        user_factors=scale * generator.standard_normal((n_users, n_factors), dtype=np.float32),
        item_factors=scale * generator.standard_normal((n_items, n_factors), dtype=np.float32),
        user_bias=np.float32(BIAS_STD) * generator.standard_normal(n_users, dtype=np.float32),
        item_bias=np.float32(BIAS_STD) * generator.standard_normal(n_items, dtype=np.float32),
        global_bias=centre,
    )


def _onto_scale(
    ratings: npt.NDArray[np.float32], rating_range: tuple[float, float] | None, step: float | None
) -> npt.NDArray[np.float32]:
    low, high = (0.0, np.inf) if rating_range is None else rating_range
    if step is not None:
        ratings = np.float32(low) + np.float32(step) * np.rint((ratings - np.float32(low)) / np.float32(step))
    return ratings if rating_range is None else np.clip(ratings, np.float32(low), np.float32(high))


def _times(n_ratings: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    first = 1_262_304_000  # 2010-01-01
    return generator.integers(first, first + TIME_SPAN, size=n_ratings)


def _pairs(
    n_ratings: int, n_users: int, n_items: int, exponent: float, generator: np.random.Generator
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yield user and item rows of distinct pairs, block by block, n_ratings in all."""
    counts = _activity(n_ratings, n_users, n_items, generator)
    popularity = _popularity(n_items, exponent, generator)
    ends = np.cumsum(counts)
    assigned_users, assigned_items = _one_for_each_item(ends, n_items, generator)
    bounds = np.searchsorted(ends, np.arange(BLOCK_RATINGS, n_ratings, BLOCK_RATINGS))
    firsts = np.unique(np.concatenate(([0], bounds, [n_users]))).tolist()
    # Item i fills a share of the table that is its popularity, so a uniform slot draws by popularity.
    slots = np.maximum(1, np.rint(popularity * max(TABLE_SIZE, 4 * n_items))).astype(np.int64)
    table = np.repeat(np.arange(n_items), slots)
    for first, last in pairwise(firsts):
        in_block = slice(*np.searchsorted(assigned_users, (first, last)))
        assigned = np.sort((assigned_users[in_block] - first) * n_items + assigned_items[in_block])
        keys = _draw_block(counts[first:last], assigned, table, popularity, generator)
        yield first + keys // n_items, keys % n_items


def _activity(
    n_ratings: int, n_users: int, n_items: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return how many items each user rates, int64 [n_users]: 1 to n_items each, n_ratings in all."""
    weights = generator.lognormal(sigma=ACTIVITY_SIGMA, size=n_users)
    counts = np.zeros(n_users, dtype=np.int64)
    counts[np.argsort(-weights)[:n_ratings]] = 1
    while (left := n_ratings - int(counts.sum())) > 0:
        open_weights = np.where(counts < n_items, weights, 0.0)
        more = np.minimum(left * open_weights / open_weights.sum(), n_items - counts).astype(np.int64)
        if not more.any():
            more[np.argsort(-open_weights)[:left]] = 1
        counts += more
    return counts


def _popularity(n_items: int, exponent: float, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the probability of each item, float64 [n_items], in no particular order."""
    law = np.power(np.arange(1, n_items + 1) + n_items / 100, -exponent, dtype=np.float64)
    return generator.permutation(law / law.sum())


def _one_for_each_item(
    ends: npt.NDArray[np.int64], n_items: int, generator: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Assign each item to a user with ratings left, ascending by user; none where ratings are too few.

    `ends` [n_users] are the cumulated numbers of ratings.
    """
    n_ratings = int(ends[-1])
    if n_ratings < n_items:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    spread = np.arange(n_items) * n_ratings // n_items
    return np.searchsorted(ends, spread, side="right"), generator.permutation(n_items)


def _draw_block(
    counts: npt.NDArray[np.int64],
    assigned: npt.NDArray[np.int64],
    table: npt.NDArray[np.int64],
    popularity: npt.NDArray[np.float64],
    generator: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Return the keys user x n_items + item of a block's users, ascending, the `assigned` ones among them."""
    n_users, n_items = len(counts), len(popularity)
    keys = assigned
    for _ in range(REDRAWS):
        missing = counts - np.bincount(keys // n_items, minlength=n_users)
        if not missing.any():
            return keys
        users = np.repeat(np.arange(n_users), missing)
        drawn = users * n_items + table[generator.integers(len(table), size=len(users))]
        keys = np.sort(np.concatenate((keys, drawn)))
        keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))]
    # Left are users who rate much of the catalogue, for whom nearly every draw repeats an earlier one.
    missing = counts - np.bincount(keys // n_items, minlength=n_users)
    rest = [
        user * n_items + _draw_rest(keys, user, int(missing[user]), popularity, generator)
        for user in np.flatnonzero(missing).tolist()
    ]
    return np.sort(np.concatenate((keys, *rest)))


def _draw_rest(
    keys: npt.NDArray[np.int64],
    user: int,
    n_missing: int,
    popularity: npt.NDArray[np.float64],
    generator: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Return further items of one user, drawn by popularity without replacement.

    The first arrivals of exponential clocks with the popularities as rates are such a draw (Efraimidis and
    Spirakis, "Weighted random sampling with a reservoir", 2006).
    """
    n_items = len(popularity)
    taken = slice(*np.searchsorted(keys, (user * n_items, (user + 1) * n_items)))
    arrivals = generator.standard_exponential(n_items) / popularity
    arrivals[keys[taken] - user * n_items] = np.inf
    return np.argpartition(arrivals, n_missing - 1)[:n_missing]
