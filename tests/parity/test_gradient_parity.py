"""Engines against the reference engine: gradient optimizers.

Every cell has repeated ids, an uneven last batch, a change of the learning rate and regularisation, and
takes about 100 steps.
"""

from dataclasses import replace

import pytest

import mfcore

TOLERANCE = {"float64": 1e-9, "float32": 1e-5}


def falling(initial):
    return mfcore.Schedule(initial, factor=0.5)


# Rates at which a hundred steps move the parameters well beyond the rounding of float32.
OPTIMIZERS = {
    "sgd": mfcore.SGD(learning_rate=falling(0.5), l2=0.02),
    "momentum": mfcore.SGD(learning_rate=falling(0.1), momentum=0.9, l2=0.02),
    "nesterov": mfcore.SGD(learning_rate=falling(0.1), momentum=0.9, nesterov=True, l2=0.02),
    "adagrad": mfcore.Adagrad(learning_rate=falling(0.5), l2=0.02),
    "rmsprop": mfcore.RMSprop(learning_rate=falling(0.01), l2=0.02),
    "adam": mfcore.Adam(learning_rate=falling(0.01), l2=0.02),
    "adamw": mfcore.AdamW(learning_rate=falling(0.01), weight_decay=0.1),
    "lazyadam": mfcore.LazyAdam(learning_rate=falling(0.01), l2=0.02),
}
STEP_BY_STEP = mfcore.SGD(learning_rate=falling(0.05), l2=0.02)
HEADS = {
    "squared": {"objective": "squared"},
    "squared, relu": {"objective": "squared", "output": mfcore.ReLU()},
    "squared, sigmoid": {
        "objective": "squared",
        "output": mfcore.Sigmoid(),
        "data": "labels",
        "n_negatives": 1,
        "faster": 10,  # a sigmoid's slope is at most 1/4
    },
    "squared, range": {"objective": "squared", "output": mfcore.RatingRange(1, 5)},
    "squared, squashed range": {"objective": "squared", "output": mfcore.RatingRange(0.5, 5.5, "sigmoid")},
    "weighted": {"objective": mfcore.WeightedSquared(alpha=0.5), "n_negatives": 1},
    "logistic": {"objective": "logistic", "n_negatives": 1},
}


def optimizer_of(optimizer, settings):
    faster = settings.pop("faster", 1)
    if faster == 1 or not isinstance(optimizer, mfcore.SGD):
        return optimizer
    return replace(optimizer, learning_rate=falling(optimizer.learning_rate.initial * faster))


def within(found, dtype):
    assert found.parameters <= TOLERANCE[dtype]
    assert found.state <= TOLERANCE[dtype]
    assert found.objective <= TOLERANCE[dtype]


# The last varies slowest: tests of one kernel follow one another, so that processes compile different ones.
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("biases", [False, True], ids=["plain", "biased"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_batches_agree_with_the_reference(engine, request, job_of, deviation, optimizer, head, biases, dtype):
    settings = dict(HEADS[head])
    data = request.getfixturevalue(settings.pop("data", "ratings"))
    output = settings.pop("output", mfcore.Linear())
    spec = mfcore.MF(7, biases=biases, output=output, init=mfcore.Normal(0.1))
    batch_size = 23 * (1 + settings.get("n_negatives", 0))
    chosen = optimizer_of(OPTIMIZERS[optimizer], settings)
    job = job_of(spec, data, optimizer=chosen, batch_size=batch_size, dtype=dtype, **settings)
    within(deviation(engine, job, epochs=2), dtype)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("n_factors", [1, 16, 37])
def test_single_steps_in_the_blocked_order_agree(
    engine, request, job_of, deviation, monkeypatch, head, n_factors, dtype
):
    monkeypatch.setattr("mfcore.sampling.grid.WORTH_CUTTING", 100)
    settings = dict(HEADS[head])
    data = request.getfixturevalue(settings.pop("data", "ratings"))
    spec = mfcore.MF(
        n_factors, biases=True, output=settings.pop("output", mfcore.Linear()), init=mfcore.Normal(0.1)
    )
    chosen = optimizer_of(STEP_BY_STEP, settings)
    job = job_of(spec, data, optimizer=chosen, batch_size=1, dtype=dtype, **settings)
    assert job.sampling.order == "blocked"
    within(deviation(engine, job, epochs=2), dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lazyadam"])
def test_steps_shared_among_threads_agree(engine, ratings, job_of, deviation, optimizer, dtype):
    job = job_of(
        mfcore.MF(200, biases=True, init=mfcore.Normal(0.1)),
        ratings,
        optimizer=optimizer_of(OPTIMIZERS[optimizer], {"faster": 4}),  # a large batch moves less
        batch_size=500,
        dtype=dtype,
    )
    within(deviation(engine, job, epochs=30), dtype)
