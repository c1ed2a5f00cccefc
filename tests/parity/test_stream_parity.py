"""The engines show the instances that `mfcore.sampling` defines, bit for bit."""

import numpy as np
import pytest

import mfcore
from mfcore import sampling

numba_stream = pytest.importorskip("mfcore_numba.stream", reason="numba is not installed on this Python")


@pytest.mark.parametrize("n_negatives", [0, 1, 5])
@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_numba_lists_the_reference_stream(ratings, job_of, n_negatives, seed):
    job = job_of(
        mfcore.MF(4),
        ratings,
        optimizer="adam",
        objective="weighted_squared",
        n_negatives=n_negatives,
        seed=seed,
    )
    for epoch in (0, 7):
        expected = sampling.epoch(ratings, job.sampling, seed=seed, epoch=epoch)
        listing = numba_stream.empty_listing(job, job.n_instances)
        numba_stream.list_instances(
            numba_stream.source(job),
            numba_stream.shuffle_of(job, epoch),
            epoch,
            0,
            job.n_instances,
            listing,
            0,
        )
        np.testing.assert_array_equal(listing.users, expected.users)
        np.testing.assert_array_equal(listing.items, expected.items)
        np.testing.assert_array_equal(listing.targets, expected.positive.astype(float))


def test_numba_lists_any_slice_alone(ratings, job_of):
    job = job_of(mfcore.MF(4), ratings, optimizer="adam", objective="logistic", n_negatives=3)
    expected = sampling.epoch(ratings, job.sampling, seed=job.seed, epoch=2)
    listing = numba_stream.empty_listing(job, 100)
    source, shuffle = numba_stream.source(job), numba_stream.shuffle_of(job, 2)
    numba_stream.list_instances(source, shuffle, 2, 1_234, 1_334, listing, 0)
    np.testing.assert_array_equal(listing.items, expected.items[1_234:1_334])


@pytest.fixture(scope="module")
def uneven():
    """200 users of whom each has seen between 1 and 39 of 41 items, some far more popular than others."""
    generator = np.random.default_rng(5)
    sizes = np.concatenate([[1, 1, 2, 39, 38], generator.integers(1, 40, size=195)])
    chances = 1 / np.arange(1, 42)
    seen = [generator.choice(41, size=size, replace=False, p=chances / chances.sum()) for size in sizes]
    data = mfcore.Interactions.from_columns(np.repeat(np.arange(200), sizes), np.concatenate(seen))
    assert data.item_counts.min() > 0
    return data


PLANS = {
    "popular": {"objective": "logistic", "n_negatives": 3, "popularity_exponent": 0.75},
    "paired": {"objective": "bpr", "n_negatives": 3},
    "paired, popular": {"objective": "bpr", "n_negatives": 3, "popularity_exponent": 0.75},
}
SLICES = {"all": (0, None), "the first": (0, 1), "some": (1_234, 3_456), "the last": (-1, None)}


@pytest.mark.parametrize("part", SLICES)
@pytest.mark.parametrize("plan", PLANS)
def test_pairs_and_negatives_by_popularity_are_the_reference_stream_s(uneven, job_of, plan, part):
    job = job_of(mfcore.MF(4), uneven, optimizer="adam", seed=11, **PLANS[plan])
    start, stop, _ = slice(*SLICES[part]).indices(job.n_instances)
    expected = sampling.epoch(uneven, job.sampling, seed=11, epoch=3)
    listing = numba_stream.empty_listing(job, stop - start)
    source, shuffle = numba_stream.source(job), numba_stream.shuffle_of(job, 3)
    numba_stream.list_instances(source, shuffle, 3, start, stop, listing, 0)
    columns = [expected.items] if expected.negatives is None else [expected.items, expected.negatives]
    items = np.stack([column[start:stop] for column in columns], axis=1).ravel()
    np.testing.assert_array_equal(listing.items, items)
    np.testing.assert_array_equal(listing.users, np.repeat(expected.users[start:stop], len(columns)))


def test_a_listing_is_written_where_it_is_wanted_and_nowhere_else(uneven, job_of):
    job = job_of(mfcore.MF(4), uneven, optimizer="adam", **PLANS["paired"])
    listing = numba_stream.empty_listing(job, 50)
    listing.items.fill(-7)
    numba_stream.list_instances(
        numba_stream.source(job), numba_stream.shuffle_of(job, 0), 0, 20, 40, listing, 10
    )
    expected = sampling.epoch(uneven, job.sampling, seed=job.seed, epoch=0)
    np.testing.assert_array_equal(listing.items[10:50:2], expected.items[20:40])
    np.testing.assert_array_equal(listing.items[11:50:2], expected.negatives[20:40])
    assert set(listing.items[:10]) == set(listing.items[50:]) == {-7}


def test_every_rank_and_every_place_on_the_line_is_an_item_of_its_own(uneven, job_of):
    """All of them are looked up, ends of stretches included, which draws hardly ever hit."""
    job = job_of(mfcore.MF(4), uneven, optimizer="adam", **PLANS["popular"])
    source, seen = numba_stream.source(job), uneven.seen
    weights = 1 + np.arange(41) % 3
    starts = np.concatenate([[0], np.cumsum(weights)])
    # Of each seen item, the weight before it that its user has not seen.
    before = [starts[own] - np.cumsum(weights[own]) + weights[own] for own in map(seen.of, range(200))]
    light = source._replace(starts=starts, unseen_before=np.concatenate(before))
    for user in range(200):
        unseen = np.setdiff1d(np.arange(41), seen.of(user))
        ranks, places = np.arange(len(unseen)), np.arange(weights[unseen].sum())
        numba_stream.find_unseen(seen.indptr, seen.indices, np.full(len(ranks), user), ranks)
        np.testing.assert_array_equal(ranks, unseen)
        numba_stream.find_popular(light, np.full(len(places), user), places)
        np.testing.assert_array_equal(places, np.repeat(unseen, weights[unseen]))
