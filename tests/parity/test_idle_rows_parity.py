"""Engines against the reference engine: rows that no step touches for hundreds of steps, or ever.

Rules with moments move such rows in every step. An engine may put these moves off and make up for them at
once: exactly, until the row comes to rest, or by a series where float32 cannot tell the difference. In
float32 deviations are measured of all arrays together, as in `test_model_parity`, but after six times as many
steps.
"""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

import mfcore
from mfcore.data import Vocabulary
from mfcore.engines import STEP, registry

TOLERANCE = {"float64": 1e-9, "float32": 1e-5}


def falling(initial):
    return mfcore.Schedule(initial, factor=0.5)


@pytest.fixture(scope="module")
def sparse():
    """900 ratings of 500 users and 500 items, a hundred of each without any: 300 steps of 3 an epoch."""
    rng = np.random.default_rng(3)
    pairs = rng.choice(400 * 400, size=900, replace=False)
    return mfcore.Interactions.from_columns(
        users=pairs // 400,
        items=pairs % 400,
        values=rng.uniform(1, 5, len(pairs)),
        user_ids=Vocabulary.range(500),
        item_ids=Vocabulary.range(500),
    )


def under_way(job, steps):
    """Return the job as if so many steps had been taken: rows at rest, rows that fly, and all between."""
    rng = np.random.default_rng(4)
    state = {STEP: np.array([steps])}
    for name, array in job.optimizer_state.items():
        if name == STEP:
            continue
        # Gradients differ from row to row by orders of magnitude, and some rows have never had one.
        sizes = 10 ** rng.uniform(-4, -1, len(array)) * (rng.random(len(array)) < 0.9)
        if name.endswith(("first_moment", "velocity")):
            drawn = (rng.normal(size=array.shape).T * sizes).T
        else:
            drawn = (rng.uniform(0.5, 2, array.shape).T * sizes**2).T
        state[name] = drawn.astype(array.dtype)
    return replace(job, optimizer_state=state)


def job_for(job_of, data, optimizer, dtype, steps):
    spec = mfcore.MF(7, biases=True, init=mfcore.Normal(0.1))
    return under_way(job_of(spec, data, optimizer=optimizer, batch_size=3, dtype=dtype), steps)


def within(engine, job, deviation, per_array=True):
    """Assert that two epochs are as close to the reference as the dtype allows."""
    found, allowed = deviation(engine, job, 2), TOLERANCE[job.dtype.name]
    per_array = per_array and job.dtype == np.float64
    assert (found.parameters if per_array else found.whole_parameters) <= allowed
    assert (found.state if per_array else found.whole_state) <= allowed
    assert found.objective <= allowed


ADAMS = {
    "adam": mfcore.Adam(falling(0.01), l2=0.02),
    "adamw": mfcore.AdamW(falling(2**-7), weight_decay=2**-3),
    "short memory": mfcore.Adam(falling(0.01), beta_1=0.7, beta_2=0.99),
    # A number of float32: 900 times the rounding of 0.9999 would be seen in the second moment.
    "long memory": mfcore.AdamW(falling(2**-7), weight_decay=2**-3, beta_1=0.95, beta_2=1 - 2**-13),
    "large epsilon": mfcore.Adam(falling(0.01), epsilon=0.01),
    "no first moment": mfcore.Adam(falling(0.001), beta_1=0.0),
}
OTHERS = {
    "rmsprop": mfcore.RMSprop(falling(0.01), l2=0.02),
    "momentum": mfcore.SGD(falling(0.1), momentum=0.9, l2=0.02),
    "nesterov": mfcore.SGD(falling(0.1), momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("steps", [0, 5_000])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("optimizer", [*ADAMS, *OTHERS])
def test_rows_that_rest_for_long_agree_with_the_reference(
    engine, sparse, job_of, deviation, optimizer, dtype, steps
):
    chosen = {**ADAMS, **OTHERS}[optimizer]
    within(engine, job_for(job_of, sparse, chosen, dtype, steps), deviation)


# What an engine's `Limits` call the instances that it trains on at once.
AT_ONCE = {"numba": "instances_at_once", "torch": "instances", "keras": "instances_at_once"}


@pytest.mark.parametrize("steps", [900, 5_000], ids=["some before they can rest", "all at rest"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_an_epoch_of_several_parts_agrees_with_the_reference(engine, sparse, job_of, deviation, dtype, steps):
    backend = registry.get(engine)
    if engine in AT_ONCE:
        limits = import_module(f"mfcore_{engine}.limits").Limits(**{AT_ONCE[engine]: 50})
        backend = replace(backend, limits=limits)
    within(backend, job_for(job_of, sparse, ADAMS["adam"], dtype, steps), deviation)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_rows_of_a_neural_model_that_is_shown_pairs_rest_as_well(engine, sparse, job_of, deviation, dtype):
    job = job_of(
        mfcore.NeuMF(7, (10, 9, 5), "tanh", init=mfcore.Normal(0.3)),
        sparse,
        objective="bpr",
        n_negatives=1,
        optimizer=mfcore.Adam(falling(0.01), l2=0.02, l2_dense=0.01, epsilon=1e-5),
        batch_size=3,
        dtype=dtype,
    )
    job = replace(job, optimizer_state={**job.optimizer_state, STEP: np.array([5_000])})
    # Some arrays hardly move.
    within(engine, job, deviation, per_array=False)


class TakingTurns(mfcore.SGD):
    """Momentum whose rate is 0 for five steps, then not for five, and so on."""

    def coefficients(self, step, learning_rate):
        return super().coefficients(step, learning_rate * (step // 5 % 2))


class TakingTurnsAdam(mfcore.Adam):
    """The same of Adam."""

    def coefficients(self, step, learning_rate):
        return super().coefficients(step, learning_rate * (step // 5 % 2))


class Restless(mfcore.Adam):
    """Adam that goes against its first moment where there is no gradient."""

    @staticmethod
    def rule(xp):
        adam = mfcore.Adam.rule(xp)

        def update(parameter, gradient, first, second, c):
            moved, first, second = adam(parameter, gradient, first, second, c)
            return moved + 2 * (gradient == 0) * (c[7] * parameter - moved), first, second

        return update


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    "optimizer", [TakingTurns(0.1, momentum=0.9), TakingTurnsAdam(0.01), Restless(0.01)], ids=str
)
def test_idle_rows_move_as_somebody_else_would_have_them(engine, sparse, job_of, deviation, optimizer, dtype):
    job = job_for(job_of, sparse, optimizer, dtype, 5_000)
    reason = registry.get(engine).unsupported(job)
    if reason:
        pytest.skip(f"{engine}: {reason}")
    within(engine, job, deviation)
