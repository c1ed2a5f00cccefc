"""WALS in the reference engine: every half step ends in the minimum of the stated objective."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest

from mfcore import MF, WALS, GlorotUniform, Interactions, Normal, Squared, WeightedSquared, fit
from mfcore.data import Vocabulary
from mfcore.engines.reference import backend
from mfcore.engines.reference._wals import conjugate_gradient, subspace_pass


@dataclass(frozen=True)
class Problem:
    """What is minimised."""

    optimizer: WALS
    objective: Squared
    biases: bool = False


@pytest.fixture(
    params=[
        pytest.param((WALS(l2=0.3, nu=1.0), Squared()), id="ratings"),
        pytest.param((WALS(l2=0.3, nu=0.0), Squared()), id="ratings, plain lambda"),
        pytest.param((WALS(0.2, l2=0.05, nu=0.5), WeightedSquared()), id="all pairs"),
        pytest.param((WALS(0.2, l2=0.05, nu=1.0), WeightedSquared(2.0)), id="all pairs, weighted"),
        pytest.param(
            (WALS(1.0, l2=0.5, nu=0.0, zero_pairs="unobserved"), WeightedSquared(2.0)), id="unobserved pairs"
        ),
        pytest.param(
            (WALS(0.3, l2=0.1, nu=1.0, zero_pairs="unobserved"), Squared()), id="unobserved pairs, ratings"
        ),
    ]
)
def without_biases(request):
    return Problem(*request.param)


@pytest.fixture(params=[False, True], ids=["factors only", "with biases"])
def problem(request, without_biases):
    return replace(without_biases, biases=request.param)


def whole_objective(values, data, problem):
    """The objective of `WALS` as its docstring has it, over the dense matrix of all pairs."""
    optimizer, objective = problem.optimizer, problem.objective
    scores = values["user_factors"] @ values["item_factors"].T
    rows = {side: values[f"{side}_factors"] for side in ("user", "item")}
    if "global_bias" in values:
        scores = scores + values["global_bias"] + values["user_bias"][:, None] + values["item_bias"]
        rows = {side: np.column_stack([rows[side], values[f"{side}_bias"]]) for side in rows}
    given = data.values.astype(np.float64)
    targets, weights = given, np.ones_like(given)
    if isinstance(objective, WeightedSquared):
        targets, weights = np.ones_like(given), 1 + objective.alpha * given
    total = float(weights @ (targets - scores[data.users, data.items]) ** 2)
    zero = np.ones_like(scores)
    if optimizer.zero_pairs == "unobserved":
        zero[data.users, data.items] = 0
    total += optimizer.unobserved_weight * float((zero * scores**2).sum())
    for axis, side in enumerate(("user", "item")):
        counts = data.user_counts if side == "user" else data.item_counts
        pairs = counts + optimizer.unobserved_weight * zero.sum(axis=1 - axis)
        pairs = np.where(pairs > 0, pairs, 1.0)
        total += optimizer.l2 * float(pairs**optimizer.nu @ (rows[side] ** 2).sum(axis=1))
    return total


def trainer_of(job_of, data, problem, *, dtype="float64", **solver):
    optimizer = replace(problem.optimizer, **solver)
    spec = MF(3, biases=problem.biases, init=Normal(0.5))
    return backend.trainer(job_of(spec, data, objective=problem.objective, optimizer=optimizer, dtype=dtype))


@pytest.mark.parametrize("side", ["user", "item"])
def test_a_half_step_ends_where_the_gradient_of_the_objective_is_zero(
    ratings, job_of, numeric_gradient, problem, side
):
    trainer = trainer_of(job_of, ratings, problem)
    trainer._half(side, "item" if side == "user" else "user")
    for name in [f"{side}_factors", *([f"{side}_bias"] if problem.biases else [])]:
        slopes = numeric_gradient(
            lambda: whole_objective(trainer.values, ratings, problem), trainer.values[name], step=1e-3
        )
        # The objective is quadratic in one side: central differences are exact up to rounding.
        assert slopes == pytest.approx(np.zeros_like(slopes), abs=1e-7)


def test_an_epoch_returns_the_whole_objective_by_the_number_of_interactions(ratings, job_of, problem):
    trainer = trainer_of(job_of, ratings, problem)
    found = trainer.run_epoch(0)
    assert found == pytest.approx(whole_objective(trainer.values, ratings, problem) / 400, rel=1e-12)


@pytest.mark.parametrize(
    "solver",
    [{"solver": "cholesky"}, {"solver": "cg", "steps": 1}, {"solver": "subspace", "block_size": 2}],
    ids=lambda settings: settings["solver"],
)
def test_the_objective_never_increases(ratings, job_of, problem, solver):
    trainer = trainer_of(job_of, ratings, problem, **solver)
    objectives = [
        whole_objective(trainer.values, ratings, problem) / len(ratings),
        *(trainer.run_epoch(number) for number in range(6)),
    ]
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(objectives))
    assert objectives[-1] < 0.8 * objectives[0]


@pytest.mark.parametrize(
    "solver",
    [{"solver": "cg", "steps": 50}, {"solver": "subspace", "block_size": 4}],
    ids=["many conjugate gradient steps", "one block"],
)
def test_iterative_solvers_taken_to_the_end_give_the_exact_solution(ratings, job_of, problem, solver):
    exact = trainer_of(job_of, ratings, problem)
    iterative = trainer_of(job_of, ratings, problem, **solver)
    for number in range(2):
        exact.run_epoch(number)
        iterative.run_epoch(number)
    for name, expected in exact.parameters().items():
        assert iterative.values[name] == pytest.approx(expected, rel=1e-7, abs=1e-9), name


IMPLICIT = Problem(WALS(0.2, l2=0.05), WeightedSquared(), biases=True)


def test_blocks_of_one_factor_still_reach_the_exact_solution_in_the_end(ratings, job_of):
    exact = trainer_of(job_of, ratings, IMPLICIT)
    blocks = trainer_of(job_of, ratings, IMPLICIT, solver="subspace", block_size=1)
    # With the items fixed, repeated passes over the blocks converge to the minimum of each row.
    exact._half("user", "item")
    for _ in range(200):
        blocks._half("user", "item")
    assert blocks.values["user_factors"] == pytest.approx(exact.values["user_factors"], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    "solver",
    [{"solver": "cholesky"}, {"solver": "cg", "steps": 25}, {"solver": "subspace"}],
    ids=lambda settings: settings["solver"],
)
def test_float32_follows_float64(ratings, job_of, solver):
    runs = {}
    for dtype in ("float32", "float64"):
        trainer = trainer_of(job_of, ratings, IMPLICIT, dtype=dtype, **solver)
        for number in range(3):
            trainer.run_epoch(number)
        runs[dtype] = trainer.parameters()
        assert {array.dtype for array in runs[dtype].values()} == {np.dtype(dtype)}
    for name, expected in runs["float64"].items():
        assert runs["float32"][name] == pytest.approx(expected, rel=1e-3, abs=1e-4), name


@pytest.mark.parametrize("solver", ["cholesky", "subspace"])
def test_a_row_without_interactions_becomes_zero_when_only_ratings_count(ratings, job_of, solver):
    trainer = trainer_of(job_of, ratings, Problem(WALS(), Squared(), biases=True), solver=solver)
    trainer.run_epoch(0)
    assert not trainer.values["user_factors"][39].any()
    assert not trainer.values["item_bias"][24].any()


def test_conjugate_gradient_on_a_row_without_interactions_ends_in_silence(ratings, job_of):
    trainer = trainer_of(job_of, ratings, Problem(WALS(), Squared()), dtype="float32", solver="cg", steps=60)
    for number in range(3):
        trainer.run_epoch(number)
    assert np.abs(trainer.values["user_factors"][39]).max() < 1e-6


def test_a_repeated_interaction_counts_twice(job_of):
    vocabularies = {"user_ids": Vocabulary.range(3), "item_ids": Vocabulary.range(3)}
    twice = Interactions.from_columns(
        [0, 0, 1, 2], [0, 0, 1, 2], [4, 2, 3, 1], duplicates="keep", **vocabularies
    )
    problem = Problem(WALS(0.1, l2=0.1), Squared())
    trainer = trainer_of(job_of, twice, problem)
    assert trainer.run_epoch(0) == pytest.approx(
        whole_objective(trainer.values, twice, problem) / 4, rel=1e-12
    )


def test_going_on_from_exported_parameters_gives_the_bits_of_an_uninterrupted_run(ratings, job_of):
    whole, first, second = (trainer_of(job_of, ratings, IMPLICIT, solver="cg") for _ in range(3))
    objectives = [whole.run_epoch(number) for number in range(3)]
    first.run_epoch(0)
    second.values = first.parameters()
    assert [second.run_epoch(number) for number in (1, 2)] == objectives[1:]


@pytest.fixture
def system():
    generator = np.random.default_rng(2)
    root = generator.normal(size=(6, 6))
    return root @ root.T + np.eye(6), generator.normal(size=6), generator.normal(size=6)


def test_conjugate_gradient_is_exact_after_as_many_steps_as_unknowns(system):
    matrix, right, start = system
    assert conjugate_gradient(matrix, right, start, 6) == pytest.approx(
        np.linalg.solve(matrix, right), rel=1e-8
    )


def test_the_first_step_of_conjugate_gradient_is_the_steepest_descent(system):
    matrix, right, start = system
    residual = right - matrix @ start
    length = (residual @ residual) / (residual @ matrix @ residual)
    assert conjugate_gradient(matrix, right, start, 1) == pytest.approx(start + length * residual, rel=1e-12)


def test_conjugate_gradient_stays_at_a_solution(system):
    matrix, right, _ = system
    solution = np.linalg.solve(matrix, right)
    assert conjugate_gradient(matrix, right, solution, 20) == pytest.approx(solution, rel=1e-12)


def test_a_subspace_pass_solves_one_block_after_the_other(system):
    matrix, right, start = system
    x = start.copy()
    for block in (slice(0, 4), slice(4, 6)):
        inside = matrix[block, block]
        outside = right[block] - matrix[block] @ x + inside @ x[block]
        x[block] = np.linalg.solve(inside, outside)
    assert subspace_pass(matrix, right, start, 4) == pytest.approx(x, rel=1e-10)


@pytest.mark.parametrize("seed", [1, 10, 13, 14])
def test_factors_that_shrink_to_nothing_do_not_stop_conjugate_gradient(seed):
    """Biases alone explain these ratings; the squares of what is left to factors underflow in float32."""
    data = Interactions.from_columns([0, 1], [0, 0], item_ids=Vocabulary.range(2))
    spec = MF(1, biases=True, init=GlorotUniform())
    model = fit(spec, data, optimizer=WALS(l2=0.1, solver="cg"), epochs=9, seed=seed, backend="reference")
    assert np.abs(model.parameters["item_factors"]).max() < 1e-6
