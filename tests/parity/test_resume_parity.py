"""A run that changes its engine on the way is the run that the reference engine would have done alone."""

from functools import cache
from itertools import permutations

import numpy as np
import pytest

import mfcore
from mfcore.engines import registry
from mfcore.training import make_job

INIT = mfcore.Normal(0.3)
# With an uneven last batch and a rate that falls.
BATCHES = {"batch_size": 230, "seed": 9, "dtype": "float64"}


def falling(initial):
    return mfcore.Schedule(initial, factor=0.5)


RUNS = {
    "MF by Adam": (mfcore.MF(7, biases=True, init=INIT), {"optimizer": mfcore.Adam(falling(0.02), l2=0.02)}),
    "NeuMF by Adam": (
        mfcore.NeuMF(7, (10, 9, 5), "tanh", init=INIT),
        {
            "optimizer": mfcore.Adam(falling(0.02), l2=0.02, l2_dense=0.01, epsilon=1e-5),
            "objective": "logistic",
            "n_negatives": 1,
        },
    ),
    "GMF by momentum": (
        mfcore.GMF(7, biases=True, init=INIT),
        {
            "optimizer": mfcore.SGD(falling(0.2), momentum=0.9, l2=0.02),
            "objective": "bpr",
            "n_negatives": 2,
            "popularity_exponent": 0.5,
        },
    ),
    "two towers by Adagrad": (
        mfcore.TwoTower(7, (9, 5), "tanh", init=INIT),
        {"optimizer": mfcore.Adagrad(falling(0.1), l2=0.02), "objective": "in_batch_softmax"},
    ),
    "MF by single steps": (
        mfcore.MF(7, biases=True, init=INIT),
        {"optimizer": mfcore.SGD(falling(0.02), l2=0.02), "batch_size": 1},
    ),
    "MF by WALS": (mfcore.MF(7, init=INIT), {"optimizer": mfcore.WALS(l2=0.1)}),
}


@pytest.fixture(scope="module")
def some(ratings):
    """900 of the ratings: too few single steps an epoch for an engine to compile them on this occasion."""
    return ratings.select(np.arange(900))


@pytest.fixture(scope="module")
def alone(some):
    """A function that returns a run's job and its model, as the reference engine trains it throughout."""

    @cache
    def train(run):
        return job_for(run, some), fit(run, some, backend="reference", epochs=3)

    return train


def fit(run, data, **settings):
    spec, own = RUNS[run]
    return mfcore.fit(spec, data, **{**BATCHES, **own, **settings})


def job_for(run, data):
    spec, own = RUNS[run]
    return make_job(spec, data, **{"threads": 1, **BATCHES, **own})


def require_able(engine, job):
    try:
        reason = registry.get(engine).unsupported(job)
    except registry.BackendMissingError as error:
        reason = str(error)
    if reason:
        pytest.skip(f"{engine}: {reason}")


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("engines", [*permutations(registry.names(), 2)], ids=" then ".join)
def test_a_run_that_changes_its_engine_is_the_reference_s(some, alone, engines, run):
    job, whole = alone(run)
    for engine in engines:
        require_able(engine, job)
    begun = fit(run, some, backend=engines[0], epochs=1)
    ended = fit(run, some, backend=engines[1], epochs=3, resume=begun)
    assert ended.parameters.keys() == whole.parameters.keys()
    for name, array in whole.parameters.items():
        moved = np.linalg.norm(array - job.parameters[name])
        assert np.linalg.norm(ended.parameters[name] - array) <= 1e-9 * moved
    assert ended.optimizer_state.keys() == whole.optimizer_state.keys()
    for name, array in whole.optimizer_state.items():
        assert np.linalg.norm(ended.optimizer_state[name] - array) <= 1e-9 * np.linalg.norm(array)
    objectives = [model.history.columns()["objective"] for model in (ended, whole)]
    np.testing.assert_allclose(*objectives, rtol=1e-9)
