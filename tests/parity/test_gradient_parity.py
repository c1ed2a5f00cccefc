"""Engines against the reference engine: widths and batches other than those of the cells."""

from dataclasses import replace
from importlib import import_module

import pytest

import mfcore
from mfcore.engines import registry
from mfcore.testing._cells import small_data_cut
from mfcore.testing._measures import OF_PARAMETERS


def falling(initial):
    return mfcore.Schedule(initial, factor=0.5)


def within(found, dtype):
    assert found.parameters <= OF_PARAMETERS[dtype]
    assert found.state <= OF_PARAMETERS[dtype]
    assert found.objective <= OF_PARAMETERS[dtype]


@pytest.mark.parametrize("dtype", OF_PARAMETERS)
@pytest.mark.parametrize("n_factors", [1, 16, 37])
def test_single_steps_in_the_blocked_order_agree(engine, ratings, job_of, deviation, n_factors, dtype):
    job = job_of(
        mfcore.MF(n_factors, biases=True, init=mfcore.Normal(0.1)),
        ratings.select(range(400)),
        optimizer=mfcore.SGD(falling(0.05), l2=0.02),
        batch_size=1,
        dtype=dtype,
    )
    assert job.sampling.order == "blocked"
    with small_data_cut():
        within(deviation(engine, job, epochs=2), dtype)


@pytest.mark.parametrize("dtype", OF_PARAMETERS)
@pytest.mark.parametrize(
    "optimizer",
    [
        # A large batch moves less.
        pytest.param(mfcore.SGD(falling(2), l2=0.02), id="sgd"),
        pytest.param(mfcore.Adam(falling(0.01), l2=0.02), id="adam"),
        pytest.param(mfcore.LazyAdam(falling(0.01), l2=0.02), id="lazy adam"),
    ],
)
def test_steps_shared_among_threads_agree(engine, ratings, job_of, deviation, optimizer, dtype):
    backend = registry.get(engine)
    if engine == "numba":
        backend = replace(backend, limits=import_module("mfcore_numba.limits").Limits(worth_sharing=1))
    job = job_of(
        mfcore.MF(7, biases=True, init=mfcore.Normal(0.1)),
        ratings,
        optimizer=optimizer,
        batch_size=500,
        threads=2,
        dtype=dtype,
    )
    within(deviation(backend, job, epochs=30), dtype)
