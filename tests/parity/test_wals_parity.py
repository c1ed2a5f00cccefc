"""Engines against the reference engine: WALS on data of a single row, beside the cells."""

import pytest

import mfcore
from mfcore.engines import registry


@pytest.mark.parametrize("side", ["user", "item"])
def test_the_objective_of_a_single_row_agrees_with_the_reference(engine, job_of, deviation, side):
    many, one = list(range(6)), [0] * 6
    users, items = (one, many) if side == "user" else (many, one)
    data = mfcore.Interactions.from_columns(users, items, [1.0, 2.0, 3.0, 4.0, 5.0, 2.5])
    for w0 in (0.0, 0.3):
        job = job_of(mfcore.MF(2, biases=True), data, optimizer=mfcore.WALS(l2=0.1, unobserved_weight=w0))
        reason = registry.get(engine).unsupported(job)
        if reason:
            pytest.skip(f"{engine}: {reason}")
        assert deviation(engine, job, epochs=2).objective <= 1e-9
