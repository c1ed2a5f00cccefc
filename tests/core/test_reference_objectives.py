"""The reference engine's step for every model and objective, against differences and written-out sums."""

import math
from itertools import product

import numpy as np
import pytest

from mfcore import (
    BPR,
    GMF,
    MF,
    SGD,
    Adam,
    InBatchSoftmax,
    Interactions,
    LazyAdam,
    Logistic,
    NeuMF,
    Normal,
    TwoTower,
)
from mfcore.data import Vocabulary
from mfcore.engines.reference import _gradient as gradient
from mfcore.engines.reference import backend
from mfcore.sampling import epoch


@pytest.fixture(scope="module")
def small():
    """26 interactions of 6 users with 7 items, one of them twice."""
    generator = np.random.default_rng(2)
    cells = generator.choice(42, size=25, replace=False)
    cells = np.append(cells, cells[0])
    values = generator.uniform(1, 5, size=26)
    return Interactions.from_columns(cells // 7, cells % 7, values, duplicates="keep")


@pytest.fixture
def trainer_of(small, job_of):
    """A maker of float64 trainers on the small data, all of whose parameters were moved off zero."""

    def make(spec, objective, **settings):
        defaults = {"optimizer": SGD(0.1, l2=0.3, l2_dense=0.2), "batch_size": 12}
        trainer = backend.trainer(job_of(spec, small, objective=objective, **{**defaults, **settings}))
        generator = np.random.default_rng(8)
        for name, array in trainer.values.items():
            trainer.values[name] = array + generator.normal(0, 0.1, size=array.shape).astype(array.dtype)
        return trainer

    return make


def first_batch(trainer, size=12):
    job = trainer.job
    return epoch(job.data, job.sampling, seed=job.seed, epoch=0).take(slice(0, size))


def repeats(rows):
    return len(np.unique(rows)) < len(rows)


def test_gradients_are_those_of_finite_differences(any_training, trainer_of, numeric_gradient):
    spec, objective, n_negatives = any_training
    trainer = trainer_of(spec, objective, n_negatives=n_negatives)
    batch = first_batch(trainer)
    assert repeats(batch.users)
    assert repeats(batch.items)
    _, gradients = trainer.objective_and_gradients(batch)
    assert list(gradients) == trainer.job.trained
    for name, found in gradients.items():
        numeric = numeric_gradient(lambda: trainer.objective_and_gradients(batch)[0], trainer.values[name])
        assert found == pytest.approx(numeric, abs=1e-8), name


def test_a_step_by_plain_sgd_goes_against_the_gradient(any_training, trainer_of):
    spec, objective, n_negatives = any_training
    trainer = trainer_of(spec, objective, n_negatives=n_negatives)
    batch, before = first_batch(trainer), trainer.parameters()
    objective_before, gradients = trainer.objective_and_gradients(batch)
    assert trainer.step(batch, 0.05) == objective_before
    for name, found in gradients.items():
        assert trainer.values[name] == pytest.approx(before[name] - 0.05 * found, rel=1e-12), name
    constants = set(before) - set(gradients)
    assert all(np.array_equal(trainer.values[name], before[name]) for name in constants)


def test_dense_kernels_decay_by_l2_dense_once_a_batch_and_their_biases_never(trainer_of):
    spec = NeuMF(2, (4, 3), init=Normal(0.5))
    decayed, plain = (
        trainer_of(spec, Logistic(), optimizer=SGD(0.1, l2_dense=l2_dense), n_negatives=2)
        for l2_dense in (0.4, 0.0)
    )
    batch = first_batch(plain)
    objective, gradients = decayed.objective_and_gradients(batch)
    objective_without, gradients_without = plain.objective_and_gradients(batch)
    kernels = ["dense_0/kernel", "output/kernel"]
    squares = sum(np.square(plain.values[name]).sum() for name in kernels)
    assert objective - objective_without == pytest.approx(0.4 / 2 * squares, rel=1e-9)
    for name, found in gradients.items():
        extra = 0.4 * plain.values[name] if name in kernels else 0.0
        assert found == pytest.approx(gradients_without[name] + extra, rel=1e-12), name


# BPR


def test_bpr_is_the_mean_over_triples_and_decays_the_rows_of_user_item_and_negative_once(trainer_of):
    trainer = trainer_of(MF(3, biases=True, init=Normal(0.5)), BPR(), n_negatives=2)
    batch, values = first_batch(trainer), trainer.values
    expected = 0.0
    for u, i, j in zip(batch.users, batch.items, batch.negatives, strict=True):
        p, q_i, q_j = values["user_factors"][u], values["item_factors"][i], values["item_factors"][j]
        b_i, b_j = values["item_bias"][i], values["item_bias"][j]
        difference = (b_i + p @ q_i) - (b_j + p @ q_j)
        squares = p @ p + q_i @ q_i + q_j @ q_j + b_i**2 + b_j**2
        expected += (math.log1p(math.exp(-difference)) + 0.3 / 2 * squares) / 12
    assert trainer.objective_and_gradients(batch)[0] == pytest.approx(expected, rel=1e-12)


def test_bpr_with_one_triple_a_batch_is_the_update_of_the_paper(trainer_of):
    trainer = trainer_of(MF(3, init=Normal(0.5)), BPR(), optimizer=SGD(0.1, l2=0.02), n_negatives=2)
    for batch in [first_batch(trainer, 30).take(slice(place, place + 1)) for place in range(30)]:
        u, i, j = batch.users[0], batch.items[0], batch.negatives[0]
        before = trainer.parameters()
        p, q_i, q_j = before["user_factors"][u], before["item_factors"][i], before["item_factors"][j]
        pull = 1 / (1 + math.exp(p @ (q_i - q_j)))
        trainer.step(batch, 0.1)
        assert trainer.values["user_factors"][u] == pytest.approx(p + 0.1 * (pull * (q_i - q_j) - 0.02 * p))
        assert trainer.values["item_factors"][i] == pytest.approx(q_i + 0.1 * (pull * p - 0.02 * q_i))
        assert trainer.values["item_factors"][j] == pytest.approx(q_j + 0.1 * (-pull * p - 0.02 * q_j))


@pytest.mark.parametrize("optimizer", [SGD(0.1), LazyAdam(0.1)], ids=lambda o: type(o).__name__)
def test_sparse_rules_move_the_rows_of_items_and_of_negatives_and_no_others(trainer_of, optimizer):
    trainer = trainer_of(GMF(2, init=Normal(0.5)), BPR(), optimizer=optimizer, n_negatives=1)
    batch, before = first_batch(trainer, 3), trainer.parameters()
    trainer.step(batch, 0.1)
    changed = np.flatnonzero((trainer.values["item_factors"] != before["item_factors"]).any(axis=1))
    assert changed.tolist() == np.union1d(batch.items, batch.negatives).tolist()
    changed = np.flatnonzero((trainer.values["user_factors"] != before["user_factors"]).any(axis=1))
    assert changed.tolist() == np.unique(batch.users).tolist()


def test_an_epoch_of_bpr_shows_each_interaction_with_each_of_its_negatives(trainer_of):
    trainer = trainer_of(MF(2), BPR(), optimizer=SGD(1e-12), n_negatives=3)
    assert trainer.job.n_instances == 26 * 3
    whole, _ = trainer.objective_and_gradients(first_batch(trainer, 26 * 3))
    assert trainer.run_epoch(0) == pytest.approx(whole, rel=1e-9)


# The in-batch softmax


def in_batch_by_loops(trainer, batch):
    """Return the objective without decay, as the equation of `InBatchSoftmax` has it."""
    job, objective = trainer.job, trainer.job.objective
    counts = np.bincount(job.data.items, minlength=job.data.n_items)
    total = 0.0
    for b in range(len(batch)):
        summed = 0.0
        for c in range(len(batch)):
            if c != b and batch.items[c] == batch.items[b] and objective.remove_accidental_hits:
                continue
            score = job.spec.score_pairs(trainer.values, batch.users[b : b + 1], batch.items[c : c + 1])[0]
            log_q = math.log(counts[batch.items[c]] / len(job.data)) if objective.logq else 0.0
            z = score / objective.temperature - log_q
            summed += math.exp(z)
            if c == b:
                own = z
        total += math.log(summed) - own
    return total / len(batch)


@pytest.mark.parametrize("spec", [MF(3, biases=True, init=Normal(0.5)), TwoTower(2, (4, 2), "tanh")], ids=str)
@pytest.mark.parametrize(
    "objective",
    [InBatchSoftmax(*setting) for setting in product((1.0, 0.3), (True, False), (True, False))],
    ids=str,
)
def test_the_in_batch_softmax_is_the_written_out_double_loop(trainer_of, spec, objective):
    trainer = trainer_of(spec, objective, optimizer=SGD(0.1))
    batch = first_batch(trainer)
    assert repeats(batch.items)
    found, _ = trainer.objective_and_gradients(batch)
    assert found == pytest.approx(in_batch_by_loops(trainer, batch), rel=1e-12)


@pytest.mark.parametrize(
    "setting",
    [{"remove_accidental_hits": False}, {"logq": False}, {"temperature": 0.5}],
    ids=["accidental hits", "logQ", "temperature"],
)
def test_every_setting_of_the_in_batch_softmax_changes_the_gradient(trainer_of, setting):
    spec = MF(3, init=Normal(0.5))
    one, other = (trainer_of(spec, InBatchSoftmax(**given)) for given in ({}, setting))
    batch = first_batch(one)
    assert repeats(batch.items)
    gradients, changed = (t.objective_and_gradients(batch)[1]["item_factors"] for t in (one, other))
    assert np.abs(gradients - changed).max() > 1e-3


def test_accidental_hits_do_not_matter_in_a_batch_of_distinct_items(trainer_of):
    spec = MF(3, init=Normal(0.5))
    removing, keeping = (
        trainer_of(spec, InBatchSoftmax(remove_accidental_hits=remove)) for remove in (True, False)
    )
    whole = first_batch(removing, 26)
    distinct = whole.take(np.unique(whole.items, return_index=True)[1])
    assert len(distinct) == 7
    assert removing.objective_and_gradients(distinct)[0] == keeping.objective_and_gradients(distinct)[0]


def test_log_q_is_the_logarithm_of_an_item_s_share_of_the_interactions(job_of):
    data = Interactions.from_columns([0, 1, 2, 0], [0, 0, 0, 1], item_ids=Vocabulary.range(3))
    job = job_of(MF(2), data, objective=InBatchSoftmax())
    assert job.log_q == pytest.approx([math.log(3 / 4), math.log(1 / 4), 0.0])
    assert job.log_q.dtype == np.float64
    assert not job_of(MF(2), data, objective=InBatchSoftmax(logq=False)).log_q.any()
    assert not job_of(MF(2), data).log_q.any()


@pytest.mark.parametrize("pairs_at_once", [1, 30], ids=["row by row", "two rows at a time"])
def test_a_batch_that_is_scored_in_pieces_is_the_same(trainer_of, monkeypatch, pairs_at_once):
    trainer = trainer_of(TwoTower(3, (4, 2), "tanh", init=Normal(0.5)), InBatchSoftmax())
    batch = first_batch(trainer)
    objective, gradients = trainer.objective_and_gradients(batch)
    monkeypatch.setattr(gradient, "PAIRS_AT_ONCE", pairs_at_once)
    in_pieces, pieces = trainer.objective_and_gradients(batch)
    assert in_pieces == pytest.approx(objective, rel=1e-13)
    for name, found in gradients.items():
        assert pieces[name] == pytest.approx(found, abs=1e-14), name


# All


def test_arithmetic_in_float32_stays_in_float32(any_training, trainer_of):
    spec, objective, n_negatives = any_training
    single, double = (
        trainer_of(spec, objective, n_negatives=n_negatives, dtype=dtype) for dtype in ("float32", "float64")
    )
    batch = first_batch(double)
    (rough, rough_gradients), (fine, gradients) = (t.objective_and_gradients(batch) for t in (single, double))
    assert rough == pytest.approx(fine, rel=1e-5)
    for name, found in rough_gradients.items():
        assert found.dtype == np.float32
        assert found == pytest.approx(gradients[name], abs=1e-5), name


@pytest.mark.parametrize(("objective", "n_negatives"), [(BPR(), 1), (InBatchSoftmax(), 0)], ids=str)
def test_what_adds_the_same_to_all_items_is_left_alone_where_items_are_compared(
    trainer_of, objective, n_negatives
):
    trainer = trainer_of(
        GMF(3, biases=True, init=Normal(0.5)), objective, optimizer=Adam(0.1, l2=0.5), n_negatives=n_negatives
    )
    before = trainer.parameters()
    trainer.run_epoch(0)
    still = [name for name, array in before.items() if np.array_equal(trainer.values[name], array)]
    assert still == ["output/bias", "user_bias", "global_bias"]
    assert not any(name.startswith(tuple(still)) for name in trainer.optimizer_state())


def test_training_lowers_the_objective(any_training, small, job_of):
    spec, objective, n_negatives = any_training
    settings = {"optimizer": Adam(0.05), "n_negatives": n_negatives, "batch_size": 13}
    trainer = backend.trainer(job_of(spec, small, objective=objective, **settings))
    objectives = [trainer.run_epoch(number) for number in range(12)]
    assert objectives[-1] < 0.95 * objectives[0]
