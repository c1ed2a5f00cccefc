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
