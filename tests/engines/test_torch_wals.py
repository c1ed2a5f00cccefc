"""Alternating least squares on the torch engine: how rows are grouped, and what may go wrong."""

import numpy as np
import pytest

import mfcore
from mfcore.engines import STEP, registry
from mfcore.errors import DeviceMemoryError, InvalidArgumentError

torch = pytest.importorskip("torch", reason="torch is not installed on this Python")

from mfcore_torch import groups, wals  # noqa: E402
from mfcore_torch.solvers import factorise  # noqa: E402

SOLVERS = ["cholesky", "cg", "subspace"]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device here")


@pytest.fixture(scope="module")
def uneven():
    """Interactions of one user with 190 of 200 items, of 50 users with two each, and of 20 with none."""
    generator = np.random.default_rng(5)
    users = np.concatenate([np.zeros(190, np.int64), np.arange(1, 51), np.arange(1, 51)])
    items = np.concatenate([np.arange(190), generator.integers(0, 190, 50), np.full(50, 195)])
    return mfcore.Interactions.from_columns(
        users,
        items,
        generator.uniform(1, 5, len(users)),
        user_ids=mfcore.data.Vocabulary.range(71),
        item_ids=mfcore.data.Vocabulary.range(200),
    )


@pytest.fixture
def job(job_of, uneven):
    """A maker of jobs on uneven data, with biases and a weight for all other pairs."""

    def make(solver="cholesky", n_factors=6, optimizer=None, **settings):
        optimizer = {"l2": 0.05, "unobserved_weight": 0.1, "block_size": 4, **(optimizer or {})}
        return job_of(
            mfcore.MF(n_factors, biases=True, init=mfcore.Normal(0.1)),
            uneven,
            optimizer=mfcore.WALS(solver=solver, **optimizer),
            **settings,
        )

    return make


def trained(trainer, epochs=2):
    objectives = [trainer.run_epoch(epoch) for epoch in range(epochs)]
    return objectives[-1], trainer.parameters()


def assert_agree(found, expected, tolerance=1e-9):
    assert found[0] == pytest.approx(expected[0], rel=tolerance)
    for name, array in expected[1].items():
        assert np.linalg.norm(found[1][name] - array) <= tolerance * np.linalg.norm(array), name


def expected_of(job):
    return trained(registry.get("reference").trainer(job))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("at_once", [1, 20_000])
def test_rows_cut_into_segments_and_parts_give_the_same_answer(monkeypatch, job, solver, at_once):
    monkeypatch.setitem(groups.AT_ONCE, "cpu", at_once)
    monkeypatch.setattr(groups, "SEGMENT", 16)
    trainer = wals.WalsTrainer(job(solver))
    longest = trainer.groups["user"][0]
    assert sum(part.others.shape[1] for part in longest.parts) == 12
    assert len(longest.parts) == 12 if at_once == 1 else len(longest.parts) < 12
    assert_agree(trained(trainer), expected_of(job(solver)))


@pytest.mark.parametrize("solver", SOLVERS)
def test_rows_of_all_lengths_in_groups_give_the_same_answer(job, solver):
    assert_agree(trained(wals.WalsTrainer(job(solver))), expected_of(job(solver)))


def test_every_row_is_in_one_group_and_padding_is_bounded(job, uneven):
    trainer = wals.WalsTrainer(job())
    for side, counts in (("user", uneven.user_counts), ("item", uneven.item_counts)):
        rows = torch.cat([group.rows for group in trainer.groups[side]]).numpy()
        np.testing.assert_array_equal(np.sort(rows), np.arange(len(counts)))
        for group in trainer.groups[side]:
            length = sum(part.others[0].numel() for part in group.parts)
            assert (length - counts[group.rows.numpy()]).max() <= max(4, length / 8)


def test_a_product_takes_no_more_matrices_than_cuda_libraries_do(monkeypatch, job):
    monkeypatch.setattr(groups, "MATRICES_AT_ONCE", 3)
    monkeypatch.setattr(groups, "SEGMENT", 16)
    trainer = wals.WalsTrainer(job())
    tables = [part.others for side in trainer.groups.values() for group in side for part in group.parts]
    assert max(table.shape[0] * table.shape[1] for table in tables) == 3
    assert_agree(trained(trainer), expected_of(job()))


def test_a_row_without_interactions_and_without_a_weight_for_other_pairs_becomes_zero(job):
    _, parameters = trained(wals.WalsTrainer(job(optimizer={"unobserved_weight": 0.0})))
    assert not parameters["user_factors"][51:].any()
    assert not parameters["user_bias"][51:].any()


def test_conjugate_gradient_stops_each_row_where_it_has_converged(job):
    # Of 3 unknowns, so that after 3 of 40 steps all that is left to divide is rounding errors.
    plenty = job("cg", n_factors=2, optimizer={"steps": 40, "l2": 1.0})
    assert_agree(trained(wals.WalsTrainer(plenty)), expected_of(plenty), tolerance=1e-7)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_bits_do_not_depend_on_the_number_of_threads(monkeypatch, job, solver):
    monkeypatch.setitem(groups.AT_ONCE, "cpu", 20_000)
    one = trained(wals.WalsTrainer(job(solver, dtype="float32", threads=1)))
    for threads in (2, 3):
        objective, parameters = trained(wals.WalsTrainer(job(solver, dtype="float32", threads=threads)))
        assert objective == one[0]
        for name, array in parameters.items():
            np.testing.assert_array_equal(array, one[1][name])


def test_training_leaves_the_job_and_the_settings_of_torch_as_they_were(job):
    asked = job(threads=2)
    before = {name: array.copy() for name, array in asked.parameters.items()}
    threads = torch.get_num_threads()
    trained(wals.WalsTrainer(asked))
    assert torch.get_num_threads() == threads
    for name, array in before.items():
        np.testing.assert_array_equal(asked.parameters[name], array)


def test_what_it_hands_out_is_not_moved_by_later_epochs(job):
    trainer = wals.WalsTrainer(job())
    trainer.run_epoch(0)
    first, state = trainer.parameters(), trainer.optimizer_state()
    kept = first["user_factors"].copy()
    trainer.run_epoch(1)
    np.testing.assert_array_equal(first["user_factors"], kept)
    assert (state[STEP], trainer.optimizer_state()[STEP]) == (1, 2)


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("solver", ["cholesky", "subspace"])
def test_a_singular_system_is_an_error_that_names_the_row(job_of, side, solver):
    # Row 3 of the side has no interactions, and so small a ridge is 0 in float32.
    n_rows = {"user": 3, "item": 3, side: 4}
    data = mfcore.Interactions.from_columns(
        [0, 1, 2],
        [2, 0, 1],
        [3.0, 4.0, 2.0],
        user_ids=mfcore.data.Vocabulary.range(n_rows["user"]),
        item_ids=mfcore.data.Vocabulary.range(n_rows["item"]),
    )
    optimizer = mfcore.WALS(l2=1e-300, solver=solver)
    job = job_of(mfcore.MF(1, init=mfcore.Normal(1.0)), data, optimizer=optimizer, dtype="float32")
    message = rf"the system of {side} 3 is singular in float32: raise l2 \(it is 1e-300\)"
    with pytest.raises(InvalidArgumentError, match=message):
        wals.WalsTrainer(job).run_epoch(0)


@pytest.mark.parametrize("width", [1, 31, 32, 33, 100])
def test_systems_are_factorised_by_blocks_and_the_singular_ones_found(width):
    generator = torch.Generator().manual_seed(1)
    squares = torch.randn(5, width, width, generator=generator, dtype=torch.float64)
    systems = squares @ squares.mT + torch.eye(width)
    systems[3, -1, -1] = -1.0
    expected, _ = torch.linalg.cholesky_ex(systems)
    found = systems.clone()
    regular = factorise(found)
    assert regular.tolist() == [True, True, True, False, True]
    torch.testing.assert_close(found[regular].tril(), expected[regular])


@pytest.mark.parametrize("where", ["grouped", "Equations"], ids=["set-up", "epoch"])
def test_too_little_memory_says_what_is_needed_and_what_to_change(monkeypatch, job, where):
    def greedy(*arguments):
        return torch.empty(1 << 58, dtype=torch.uint8)

    monkeypatch.setattr(wals, where, greedy)
    needed = r"out of memory on cpu: .* needs about .*interactions by user and by item .*; lower n_factors"
    with pytest.raises(DeviceMemoryError, match=needed):
        trained(wals.WalsTrainer(job(threads=2)))


@needs_cuda
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_cuda_gives_the_answer_of_the_reference(job, solver, dtype):
    # A few steps of conjugate gradient make more of the roundings of float32 than a factorisation does.
    tolerance = {"float64": 1e-9, "float32": 1e-4 if solver == "cg" else 1e-5}[dtype]
    found = trained(wals.WalsTrainer(job(solver, dtype=dtype, device="cuda")))
    assert_agree(found, expected_of(job(solver)), tolerance)


@needs_cuda
@pytest.mark.parametrize("solver", SOLVERS)
def test_cuda_gives_the_same_bits_in_every_run(job, solver):
    runs = [trained(wals.WalsTrainer(job(solver, dtype="float32", device="cuda"))) for _ in range(2)]
    for name, array in runs[0][1].items():
        np.testing.assert_array_equal(array, runs[1][1][name])
