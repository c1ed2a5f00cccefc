"""Idle steps of Adam, summed up: against the same steps taken one by one in float64."""

import numpy as np
import pytest

import mfcore
from mfcore.engines import deferred_updates as idle

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
    """Return a row that step `step` left, after so many idle steps, by the sums."""
    found = idle.IdleAdam.make(optimizer, RATE, 1 - RATE * optimizer.decay)
    decay = optimizer.beta_2**step
    terms = found.sums[min(n_steps, len(found.sums) - 1)]
    sums = [np.polynomial.polynomial.polyval(found.place(decay), terms[j]) for j in range(idle.N_SUMS)]
    kept = (found.kept**n_steps, optimizer.beta_1**n_steps, optimizer.beta_2**n_steps)
    return idle.rest(np.sqrt)(*row, (found.start(decay, np.sqrt), *sums, optimizer.epsilon, *kept, 1.0))


@pytest.mark.parametrize("later", [0, 7, 3_000, 100_000])
@pytest.mark.parametrize("optimizer", ADAMS)
def test_idle_steps_summed_up_are_exact_to_float32(optimizer, later):
    optimizer = ADAMS[optimizer]
    first_step = idle.smooth_from(optimizer) + later
    rng = np.random.default_rng(0)
    first = rng.normal(size=50) * 10 ** rng.uniform(-6, 0, 50)
    # From rows whose last gradient was a hundred times the usual one, to those of which it was a hundredth.
    start = row = (np.zeros(50), first, first**2 * 10 ** rng.uniform(-4, 4, 50))
    rule = optimizer.rule(np.sqrt)
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
def test_the_step_from_which_idle_steps_can_be_summed_up(optimizer, smooth):
    assert idle.smooth_from(optimizer) == smooth
    assert (idle.IdleAdam.make(optimizer, RATE, 1.0) is None) == (smooth is None)


def test_idle_steps_are_not_summed_up_where_somebody_else_sets_the_rate():
    class Rising(mfcore.Adam):
        def coefficients(self, step, learning_rate):
            return super().coefficients(step, learning_rate * step)

    assert idle.smooth_from(Rising()) is None
