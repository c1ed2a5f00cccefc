"""The reference engine's step: the gradient of the stated objective, summed over repeated ids."""

from itertools import pairwise

import numpy as np
import pytest

from mfcore import (
    MF,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    LazyAdam,
    Logistic,
    Normal,
    RatingRange,
    ReLU,
    RMSprop,
    Schedule,
    Sigmoid,
    Squared,
    WeightedSquared,
)
from mfcore.engines.reference import backend
from mfcore.sampling import Instances, epoch

OPTIMIZERS = [
    SGD(0.05, l2=0.02),
    SGD(0.05, l2=0.02, momentum=0.9),
    SGD(0.05, l2=0.02, momentum=0.9, nesterov=True),
    Adagrad(0.1),
    RMSprop(0.01),
    Adam(0.01, l2=0.02),
    AdamW(0.01),
    LazyAdam(0.01),
]


def name_of(optimizer):
    momentum = getattr(optimizer, "momentum", 0) and (" nesterov" if optimizer.nesterov else " momentum")
    return f"{type(optimizer).__name__}{momentum or ''}"


def batch_of(users, items, interactions, positive):
    columns = (np.array(column, dtype=np.int64) for column in (users, items, interactions))
    return Instances(*columns, np.array(positive, dtype=bool))


@pytest.fixture
def repeating(ratings):
    """A batch in which users and items repeat, with two negatives: one of a user's own, one of an item's."""
    by_user = np.argsort(ratings.users, kind="stable")[:9]
    users, items = ratings.users[by_user], ratings.items[by_user]
    negatives = [(users[0], 24), (users[4], items[1])]
    return batch_of(
        [*users, *(user for user, _ in negatives)],
        [*items, *(item for _, item in negatives)],
        [*by_user, by_user[0], by_user[4]],
        [True] * 9 + [False] * 2,
    )


@pytest.fixture(
    params=[
        (Squared(), RatingRange(1, 5)),
        (Squared(), RatingRange(1, 5, "sigmoid")),
        (Squared(), ReLU()),
        (WeightedSquared(0.5), Sigmoid()),
        (Logistic(), Sigmoid()),
    ],
    ids=str,
)
def trainer(request, ratings, job_of):
    """A trainer of the model with biases, before its first step."""
    objective, output = request.param
    spec = MF(3, biases=True, output=output, init=Normal(0.7))
    optimizer = SGD(0.1, l2=0.3)
    return backend.trainer(
        job_of(spec, ratings, objective=objective, optimizer=optimizer, n_negatives=1, batch_size=11)
    )


def test_the_gradient_of_a_batch_is_that_of_its_whole_objective(trainer, repeating, numeric_gradient):
    _, gradients = trainer.objective_and_gradients(repeating)
    assert set(gradients) == {"user_factors", "item_factors", "user_bias", "item_bias"}
    for name, gradient in gradients.items():
        numeric = numeric_gradient(
            lambda: trainer.objective_and_gradients(repeating)[0], trainer.values[name]
        )
        assert gradient == pytest.approx(numeric, abs=1e-8)


def test_the_objective_of_a_batch_is_the_mean_loss_and_the_decay_of_the_touched_rows(ratings, job_of):
    spec = MF(2, biases=True, init=Normal(0.5))
    trainer = backend.trainer(job_of(spec, ratings, optimizer=SGD(0.1, l2=0.4), batch_size=3))
    batch = epoch(ratings, trainer.job.sampling, seed=0, epoch=0).take(slice(0, 3))
    expected = 0.0
    for user, item, place in zip(batch.users, batch.items, batch.interactions, strict=True):
        p, q = trainer.values["user_factors"][user], trainer.values["item_factors"][item]
        biases = trainer.values["user_bias"][user], trainer.values["item_bias"][item]
        score = trainer.values["global_bias"].item() + sum(biases) + p @ q
        expected += 0.5 * (score - float(ratings.values[place])) ** 2 / 3
        expected += 0.4 / 2 * (p @ p + q @ q + sum(bias**2 for bias in biases)) / 3
    assert trainer.objective_and_gradients(batch)[0] == pytest.approx(expected, rel=1e-12)


def test_plain_sgd_with_batch_size_1_is_the_textbook_update(ratings, job_of):
    spec = MF(4, biases=True, init=Normal(0.3))
    job = job_of(spec, ratings, optimizer=SGD(learning_rate=0.05, l2=0.1), seed=4)
    assert (job.batch_size, job.sampling.order) == (1, "blocked")
    trainer = backend.trainer(job)
    values = trainer.parameters()
    mu, p, q = values["global_bias"].item(), values["user_factors"], values["item_factors"]
    b_user, b_item = values["user_bias"], values["item_bias"]
    for number in range(2):
        shown = epoch(ratings, job.sampling, seed=4, epoch=number)
        for u, i, place in zip(shown.users, shown.items, shown.interactions, strict=True):
            error = float(ratings.values[place]) - (mu + b_user[u] + b_item[i] + p[u] @ q[i])
            b_user[u] += 0.05 * (error - 0.1 * b_user[u])
            b_item[i] += 0.05 * (error - 0.1 * b_item[i])
            p[u], q[i] = (
                p[u] + 0.05 * (error * q[i] - 0.1 * p[u]),
                q[i] + 0.05 * (error * p[u] - 0.1 * q[i]),
            )
        trainer.run_epoch(number)
    for name, expected in values.items():
        assert trainer.values[name] == pytest.approx(expected, rel=1e-10), name


def test_gradients_of_an_id_that_a_batch_repeats_are_summed_before_the_rule(ratings, repeating, job_of):
    job = job_of(MF(3, init=Normal(0.5)), ratings, optimizer=Adagrad(0.1), n_negatives=1, batch_size=11)
    trainer = backend.trainer(job)
    before = trainer.parameters()["user_factors"]
    total = np.zeros_like(before)
    for place in range(11):
        alone = repeating.take(slice(place, place + 1))
        total += trainer.objective_and_gradients(alone)[1]["user_factors"] / 11
    trainer.step(repeating, 0.1)
    expected = before - 0.1 * total / (np.sqrt(0.1 + total**2) + 1e-7)
    assert trainer.values["user_factors"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=name_of)
def test_sparse_rules_leave_untouched_rows_and_their_state_alone(ratings, repeating, job_of, optimizer):
    job = job_of(MF(3, init=Normal(0.5)), ratings, optimizer=optimizer, batch_size=11)
    trainer = backend.trainer(job)
    other = batch_of([30, 31], [20, 21], [0, 1], [True, True])
    trainer.step(other, 0.05)
    before, state = trainer.parameters(), trainer.optimizer_state()
    trainer.step(repeating, 0.05)
    still = np.setdiff1d(np.arange(ratings.n_users), repeating.users)
    moved = [
        not np.array_equal(trainer.values["user_factors"][still], before["user_factors"][still]),
        *(
            not np.array_equal(trainer.state[name][still], state[name][still])
            for name in state
            if "user" in name
        ),
    ]
    assert any(moved) == (not optimizer.sparse)


@pytest.mark.parametrize("optimizer", [SGD(0.05, l2=0.1), Adagrad(0.1, l2=0.1)], ids=name_of)
def test_the_sparse_form_of_a_rule_without_memory_equals_its_dense_form(ratings, job_of, optimizer):
    dense = type("Dense", (type(optimizer),), {"sparse": property(lambda self: False)})(
        optimizer.learning_rate, l2=optimizer.l2
    )
    trainers = [
        backend.trainer(job_of(MF(3, biases=True), ratings, optimizer=rule, batch_size=32))
        for rule in (optimizer, dense)
    ]
    for trainer in trainers:
        trainer.run_epoch(0)
    for name, array in trainers[0].parameters().items():
        assert np.array_equal(array, trainers[1].values[name]), name


def test_decoupled_decay_shrinks_rows_that_no_batch_touches(ratings, job_of):
    trainer = backend.trainer(
        job_of(MF(3, init=Normal(0.5)), ratings, optimizer=AdamW(0.1, weight_decay=0.2), batch_size=400)
    )
    before = trainer.parameters()["user_factors"][39]
    trainer.run_epoch(0)
    trainer.run_epoch(1)
    assert trainer.values["user_factors"][39] == pytest.approx(before * (1 - 0.1 * 0.2) ** 2, rel=1e-12)


def test_steps_are_counted_across_epochs(ratings, job_of):
    trainer = backend.trainer(job_of(MF(2), ratings, optimizer=Adam(), batch_size=150))
    for number in range(2):
        trainer.run_epoch(number)
    assert trainer.optimizer_state()["step"].tolist() == [6]


def test_the_objective_of_an_epoch_weighs_a_shorter_last_batch_by_its_length(ratings, job_of):
    trainer = backend.trainer(job_of(MF(2), ratings, optimizer=SGD(1e-12), batch_size=150))
    shown = epoch(ratings, trainer.job.sampling, seed=0, epoch=0)
    whole, _ = trainer.objective_and_gradients(shown)
    assert trainer.run_epoch(0) == pytest.approx(whole, rel=1e-9)


def test_the_learning_rate_of_an_epoch_is_that_of_the_schedule(ratings, job_of):
    spec, schedule = MF(2), Schedule(0.1, factor=0.5, every=1)
    falling = backend.trainer(job_of(spec, ratings, optimizer=SGD(schedule), batch_size=50))
    falling.run_epoch(1)
    constant = backend.trainer(job_of(spec, ratings, optimizer=SGD(0.05), batch_size=50))
    constant.run_epoch(1)
    assert np.array_equal(falling.values["user_factors"], constant.values["user_factors"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=name_of)
def test_going_on_from_exported_state_gives_the_bits_of_an_uninterrupted_run(ratings, job_of, optimizer):
    spec = MF(3, biases=True)
    settings = {"optimizer": optimizer, "batch_size": 64, "n_negatives": 1, "objective": Logistic()}
    whole = backend.trainer(job_of(spec, ratings, **settings))
    objectives = [whole.run_epoch(number) for number in range(4)]

    first = backend.trainer(job_of(spec, ratings, **settings))
    assert [first.run_epoch(number) for number in range(2)] == objectives[:2]
    job = job_of(spec, ratings, **settings)
    object.__setattr__(job, "parameters", first.parameters())
    object.__setattr__(job, "optimizer_state", first.optimizer_state())
    second = backend.trainer(job)
    assert [second.run_epoch(number) for number in (2, 3)] == objectives[2:]
    for name, array in whole.parameters().items():
        assert np.array_equal(array, second.values[name]), name
    for name, array in whole.optimizer_state().items():
        assert np.array_equal(array, second.state[name]), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=name_of)
def test_arithmetic_in_float32_stays_in_float32(ratings, job_of, optimizer):
    trainer = backend.trainer(
        job_of(MF(3, biases=True), ratings, optimizer=optimizer, batch_size=64, dtype="float32")
    )
    trainer.run_epoch(0)
    state = trainer.optimizer_state()
    assert state.pop("step").dtype == np.int64
    assert {array.dtype for array in (*trainer.parameters().values(), *state.values())} == {np.dtype("f4")}


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=name_of)
def test_every_optimizer_lowers_the_objective(ratings, job_of, optimizer):
    trainer = backend.trainer(job_of(MF(3, biases=True), ratings, optimizer=optimizer, batch_size=16))
    objectives = [trainer.run_epoch(number) for number in range(8)]
    assert objectives[-1] < 0.9 * objectives[0]
    assert all(later < earlier * 1.05 for earlier, later in pairwise(objectives))


def test_a_job_is_left_as_it_was(ratings, job_of):
    job = job_of(MF(2), ratings, optimizer=Adam(), batch_size=50)
    before = {name: array.copy() for name, array in job.parameters.items()}
    trainer = backend.trainer(job)
    trainer.run_epoch(0)
    trainer.parameters()["user_factors"][:] = 0
    assert trainer.values["user_factors"].any()
    assert all(np.array_equal(array, before[name]) for name, array in job.parameters.items())
    assert job.optimizer_state["step"].tolist() == [0]


def test_the_reference_engine_says_that_it_runs_on_the_cpu(ratings, job_of):
    assert backend.unsupported(job_of(MF(2), ratings, device="auto")) is None
    assert "device is 'cuda'; pass device='cpu'" in backend.unsupported(job_of(MF(2), ratings, device="cuda"))
