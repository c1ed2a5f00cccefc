"""Engines against the reference engine: weighted alternating least squares."""

import pytest

import mfcore

# Conjugate gradient is cut off before it has converged, along directions that rounding turns.
TOLERANCE = {
    ("cholesky", "float64"): 1e-9,
    ("cholesky", "float32"): 1e-5,
    ("subspace", "float64"): 1e-9,
    ("subspace", "float32"): 1e-5,
    ("cg", "float64"): 1e-9,
    ("cg", "float32"): 1e-4,
}
PROBLEMS = {
    "ratings": {"optimizer": {"l2": 0.05}},
    "ratings with biases": {"optimizer": {"l2": 0.05}, "biases": True},
    "implicit": {"optimizer": {"l2": 0.05, "unobserved_weight": 0.3}},
    "implicit, weighted": {
        "optimizer": {"l2": 0.05, "unobserved_weight": 0.3},
        "objective": mfcore.WeightedSquared(alpha=0.5),
    },
    "implicit, unobserved pairs only": {
        "optimizer": {"l2": 2.0, "nu": 0.0, "unobserved_weight": 1.0, "zero_pairs": "unobserved"},
        "objective": mfcore.WeightedSquared(alpha=0.5),
    },
    "implicit with biases": {
        "optimizer": {"l2": 0.05, "unobserved_weight": 0.3},
        "biases": True,
    },
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("solver", ["cholesky", "cg", "subspace"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_wals_agrees_with_the_reference(engine, ratings, job_of, deviation, problem, solver, dtype):
    settings = PROBLEMS[problem]
    job = job_of(
        mfcore.MF(7, biases=settings.get("biases", False), init=mfcore.Normal(0.1)),
        ratings,
        objective=settings.get("objective"),
        optimizer=mfcore.WALS(**settings["optimizer"], solver=solver, block_size=3),
        dtype=dtype,
    )
    found = deviation(engine, job, epochs=3)
    assert found.parameters <= TOLERANCE[solver, dtype]
    assert found.objective <= 1e-5


@pytest.mark.parametrize("side", ["user", "item"])
def test_the_objective_of_a_single_row_agrees_with_the_reference(engine, job_of, deviation, side):
    many, one = list(range(6)), [0] * 6
    users, items = (one, many) if side == "user" else (many, one)
    data = mfcore.Interactions.from_columns(users, items, [1.0, 2.0, 3.0, 4.0, 5.0, 2.5])
    for w0 in (0.0, 0.3):
        job = job_of(mfcore.MF(2, biases=True), data, optimizer=mfcore.WALS(l2=0.1, unobserved_weight=w0))
        assert deviation(engine, job, epochs=2).objective <= 1e-9
