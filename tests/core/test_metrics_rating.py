"""Rating metrics: hand-computed values and the rounding rule."""

import numpy as np
import pytest

from mfcore.metrics import MAE, RMSE, RoundedMAE

PREDICTIONS = np.array([1.0, 2.5, 3.5, 4.2])
TARGETS = np.array([2.0, 2.0, 4.0, 5.0])


@pytest.mark.parametrize(
    ("metric", "losses"),
    [
        (RMSE(), [1.0, 0.25, 0.25, 0.64]),
        (MAE(), [1.0, 0.5, 0.5, 0.8]),
        (RoundedMAE(), [1.0, 0.0, 0.0, 1.0]),
    ],
)
def test_losses_are_those_computed_by_hand(metric, losses):
    np.testing.assert_allclose(metric.losses(PREDICTIONS, TARGETS), losses)


def test_rmse_is_the_root_of_the_mean_loss_and_mae_the_mean_itself():
    assert RMSE().from_mean(np.array([0.25])) == pytest.approx(0.5)
    assert MAE().from_mean(np.array([0.25])) == pytest.approx(0.25)


def test_a_prediction_half_way_is_rounded_to_the_even_integer():
    halves = np.array([0.5, 1.5, 2.5, -0.5])
    np.testing.assert_array_equal(RoundedMAE().losses(halves, np.zeros(4)), [0.0, 2.0, 2.0, 0.0])


def test_rounded_mae_does_not_round_targets():
    np.testing.assert_allclose(RoundedMAE().losses(np.array([3.4]), np.array([3.5])), [0.5])


def test_rating_metrics_have_their_own_names_and_are_better_when_lower():
    assert [metric.name for metric in (RMSE(), MAE(), RoundedMAE())] == ["RMSE", "MAE", "rounded MAE"]
    assert not any(metric.higher_is_better for metric in (RMSE(), MAE(), RoundedMAE()))
