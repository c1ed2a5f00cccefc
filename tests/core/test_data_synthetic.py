"""Synthetic data: exact sizes, distinct pairs, a long tail, and a truth that can be found again."""

import time

import numpy as np
import pytest

from mfcore.data import synthetic
from mfcore.errors import InvalidArgumentError


@pytest.fixture(scope="module")
def generated():
    return synthetic(200_000, seed=1)


def test_sizes_are_exact_and_pairs_distinct(generated):
    data = generated.interactions
    assert len(data) == 200_000
    assert len(data.seen.indices) == len(data)


def test_every_user_and_item_has_an_interaction(generated):
    assert generated.interactions.user_counts.min() >= 1
    assert generated.interactions.item_counts.min() >= 1


def test_popularity_and_activity_have_long_tails(generated):
    for counts in (generated.interactions.item_counts, generated.interactions.user_counts):
        ordered = np.sort(counts)[::-1]
        assert ordered[: len(ordered) // 10].sum() > 0.3 * ordered.sum()
        assert np.median(counts) < counts.mean()


def test_without_an_exponent_all_items_are_equally_popular():
    counts = synthetic(100_000, 2_000, 500, popularity_exponent=0.0).interactions.item_counts
    assert counts.max() < 1.5 * counts.mean()


def test_ratings_are_the_planted_scores_plus_noise():
    generated = synthetic(50_000, noise=0.25, rating_range=None, seed=2)
    data, truth = generated.interactions, generated.truth
    noise = data.values - truth.scores(data.users, data.items)
    assert noise.std() == pytest.approx(0.25, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.005)
    dots = np.einsum("nk,nk->n", truth.user_factors[data.users], truth.item_factors[data.items])
    assert dots.std() == pytest.approx(0.6, rel=0.1)


def test_without_noise_the_rating_is_the_score():
    generated = synthetic(1_000, noise=0.0, rating_range=None)
    data = generated.interactions
    assert np.array_equal(data.values, generated.truth.scores(data.users, data.items))


def test_ratings_keep_to_range_and_steps():
    values = synthetic(20_000, rating_range=(0.5, 5.0), step=0.5).interactions.values
    assert set(values.tolist()) == set(np.arange(0.5, 5.5, 0.5).tolist())


def test_a_full_matrix_can_be_generated():
    data = synthetic(600, n_users=20, n_items=30).interactions
    assert data.density == 1.0
    assert len(data.seen.indices) == 600


@pytest.mark.parametrize(
    "sizes", [(1, None, None), (1, 1, 1), (3, 5, 7), (7, 7, 2), (50, 1, 80), (50, 80, 1)]
)
def test_tiny_and_narrow_sizes_work(sizes):
    data = synthetic(*sizes).interactions
    assert len(data) == sizes[0]
    assert len(data.seen.indices) == len(data)


def test_a_seed_gives_one_data_set_and_another_seed_another():
    first, again, other = (synthetic(2_000, timestamps=True, seed=seed).interactions for seed in (4, 4, 5))
    for name in ("users", "items", "values", "timestamps"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_ratings": 0}, "n_ratings=0"),
        ({"n_ratings": 7, "n_users": 2, "n_items": 3}, "more than the 2 x 3 pairs"),
        ({"n_ratings": 7, "n_users": 0}, "n_users=0"),
        ({"n_ratings": 7, "n_items": 2**31}, "n_items=2147483648"),
        ({"n_ratings": 7, "n_factors": 0}, "n_factors=0"),
        ({"n_ratings": 7, "noise": -1}, "noise=-1"),
        ({"n_ratings": 7, "noise": float("nan")}, "noise=nan"),
        ({"n_ratings": 7, "rating_range": (5, 1)}, "rating_range"),
        ({"n_ratings": 7, "step": 0}, "step=0"),
    ],
)
def test_arguments_outside_their_domain_are_refused(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        synthetic(**arguments)


def test_more_than_one_block_joins_without_a_seam():
    from mfcore.data._synthetic import BLOCK_RATINGS

    started = time.perf_counter()
    data = synthetic(BLOCK_RATINGS * 5 // 4, n_factors=1).interactions
    # Linear in the size: 100 million would take about a hundred times as long.
    assert time.perf_counter() - started < 10
    assert len(data.seen.indices) == len(data)
    assert np.all(np.diff(data.users) >= 0)
