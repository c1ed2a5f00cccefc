"""Deferred steps of Adam, summed up: against the same steps taken one by one in float64."""

import numpy as np
import pytest

import mfcore
from mfcore.engines import deferred_updates
from mfcore.operators import NUMPY

ADAMS = {
    "adam": mfcore.Adam(),
    "decay": mfcore.AdamW(weight_decay=2**-3),
    "long memory": mfcore.Adam(beta_1=0.95, beta_2=1 - 2**-13),
    "large epsilon": mfcore.Adam(epsilon=0.01),
}
RATE = 2**-7
# Half the spacing of float32 beside 1.
ROUNDING = 2.0**-24


def summed_up(row, optimizer, step, n_steps):
    """Return a row that step `step` left, after so many deferred steps, by the sums."""
    plan = deferred_updates.DeferredAdam.make(optimizer, RATE, np.dtype(np.float32))
    decay = optimizer.beta_2**step
    terms = plan.sums[min(n_steps, len(plan.sums) - 1)]
    polyval = np.polynomial.polynomial.polyval
    sums = [polyval(plan.argument(decay), terms[j]) for j in range(deferred_updates.N_SUMS)]
    kept = (plan.kept**n_steps, optimizer.beta_1**n_steps, optimizer.beta_2**n_steps)
    c = (plan.start(decay), *sums, optimizer.epsilon, *kept, 1.0)
    return deferred_updates.catch_up_rule(NUMPY)(*row, c)


@pytest.mark.parametrize("later", [0, 7, 3_000, 100_000])
@pytest.mark.parametrize("optimizer", ADAMS)
def test_deferred_steps_summed_up_are_exact_to_float32(optimizer, later):
    optimizer = ADAMS[optimizer]
    first_step = deferred_updates.smooth_from(optimizer) + later
    rng = np.random.default_rng(0)
    first = rng.normal(size=50) * 10 ** rng.uniform(-6, 0, 50)
    # From rows whose last gradient was a hundred times the usual one, to those of which it was a hundredth.
    start = row = (np.zeros(50), first, first**2 * 10 ** rng.uniform(-4, 4, 50))
    rule = optimizer.rule(NUMPY)
    for n_steps in range(1, 700):
        row = rule(row[0], 0.0, *row[1:], optimizer.coefficients(first_step + n_steps, RATE))
        found = summed_up(start, optimizer, first_step, n_steps)
        np.testing.assert_allclose(found[0], row[0], rtol=2 * ROUNDING)
        np.testing.assert_allclose(found[1:], row[1:], rtol=1e-11)


@pytest.mark.parametrize(
    ("optimizer", "smooth"),
    [
        (mfcore.Adam(), 1_000),
        (mfcore.AdamW(), 1_000),
        (mfcore.Adam(beta_1=0.95, beta_2=0.9999), 3_000),
        (mfcore.Adam(beta_1=0.7, beta_2=0.99), None),
        (mfcore.Adam(beta_1=0.0), None),
        (mfcore.Adam(beta_1=0.99), None),
        (mfcore.Adam(beta_2=0.5), None),
        (mfcore.Adam(beta_2=0.0), None),
    ],
    ids=str,
)
def test_the_step_from_which_deferred_steps_can_be_summed_up(optimizer, smooth):
    assert deferred_updates.smooth_from(optimizer) == smooth
    plan = deferred_updates.DeferredAdam.make(optimizer, RATE, np.dtype(np.float32))
    assert (plan is None) == (smooth is None)


def test_deferred_steps_are_not_summed_up_where_somebody_else_sets_the_rate():
    class Rising(mfcore.Adam):
        def coefficients(self, step, learning_rate):
            return super().coefficients(step, learning_rate * step)

    assert deferred_updates.smooth_from(Rising()) is None


@pytest.mark.parametrize("decay", [0.2, 0.46, 0.9])
def test_a_weight_decay_that_outpaces_the_first_moment_is_not_summed_up(decay):
    optimizer = mfcore.AdamW(weight_decay=decay / RATE)
    assert deferred_updates.DeferredAdam.make(optimizer, RATE, np.dtype(np.float32)) is None


def test_nothing_is_summed_up_in_float64():
    assert deferred_updates.DeferredAdam.make(mfcore.Adam(), RATE, np.dtype(np.float64)) is None


@pytest.mark.parametrize("optimizer", ADAMS)
def test_rows_catch_up_in_float32_as_by_single_steps(optimizer):
    optimizer = ADAMS[optimizer]
    plan = deferred_updates.DeferredAdam.make(optimizer, RATE, np.dtype(np.float32))
    tables = deferred_updates.CatchUpTables.of(plan, np.asarray)
    rng = np.random.default_rng(1)
    latest = plan.smooth_from + np.array([0, 5, 900, 40_000])
    n_steps = np.array([0, 1, 37, 2_000])
    first = rng.normal(size=(4, 3))
    start = (rng.normal(size=(4, 3)), first, first**2 + 0.1)
    found = deferred_updates.catch_up(
        NUMPY,
        tuple(part.astype(np.float32) for part in start),
        latest=latest[:, None].astype(np.float32),
        steps=n_steps[:, None].astype(np.float32),
        n_steps=n_steps,
        tables=tables,
    )
    rule = optimizer.rule(NUMPY)
    for row in range(4):
        one = tuple(part[row] for part in start)
        for step in range(latest[row] + 1, latest[row] + n_steps[row] + 1):
            one = rule(one[0], 0.0, *one[1:], optimizer.coefficients(step, RATE))
        for moved, expected in zip(found, one, strict=True):
            assert moved.dtype == np.float32
            np.testing.assert_allclose(moved[row], expected, rtol=3e-5, atol=1e-7)
