"""Objectives: value and derivative by the score, targets and weights, what does not fit them."""

import numpy as np
import pytest

from mfcore import Linear, Logistic, RatingRange, ReLU, Sigmoid, Squared, WeightedSquared
from mfcore.errors import InvalidArgumentError, InvalidDataError

SCORES = np.array([-3.0, -0.4, 0.3, 1.7, 4.0])
TARGETS = np.array([1.0, 0.0, 0.5, 1.0, 0.2])
CASES = [
    *[(Squared(), output) for output in (Linear(), ReLU(), Sigmoid())],
    *[(Squared(), RatingRange(0, 2, method)) for method in ("clip", "sigmoid")],
    (WeightedSquared(2.0), Linear()),
    (Logistic(), Linear()),
    (Logistic(), Sigmoid()),
]


def logit(p):
    return np.log(p / (1 - p))


@pytest.mark.parametrize(("objective", "output"), CASES, ids=str)
def test_the_derivative_is_that_of_finite_differences(objective, output, numeric_gradient):
    scores = SCORES.copy()

    def total():
        return objective.loss(scores, TARGETS, output)[0].sum()

    numeric = numeric_gradient(total, scores)
    assert objective.loss(scores, TARGETS, output)[1] == pytest.approx(numeric, abs=1e-8)


@pytest.mark.parametrize(("objective", "output"), CASES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_scores_give_finite_losses_of_their_dtype(objective, output, dtype):
    scores = np.array([-1e4, 1e4, -1e4, 1e4, 0], dtype=dtype)
    targets = np.array([0, 0, 1, 1, 1], dtype=dtype)
    loss, slope = objective.loss(scores, targets, output)
    assert loss.dtype == slope.dtype == dtype
    assert np.isfinite(loss).all()
    assert np.isfinite(slope).all()
    assert (loss >= 0).all()


def test_the_squared_loss_is_half_the_squared_error_so_that_its_derivative_is_the_error():
    loss, slope = Squared().loss(np.array([3.0]), np.array([5.0]), Linear())
    assert (loss.item(), slope.item()) == (2.0, -2.0)


def test_the_logistic_loss_is_the_negative_log_likelihood():
    p = 1 / (1 + np.exp(-SCORES))
    loss, slope = Logistic().loss(SCORES, TARGETS, Sigmoid())
    assert loss == pytest.approx(-TARGETS * np.log(p) - (1 - TARGETS) * np.log(1 - p), rel=1e-12)
    assert slope == pytest.approx(p - TARGETS, rel=1e-12)


def test_the_logistic_loss_of_a_hopeless_score_is_the_score():
    loss, _ = Logistic().loss(np.array([-1e4, 1e4]), np.array([1.0, 0.0]), Linear())
    assert loss.tolist() == [1e4, 1e4]


def test_a_score_outside_a_clipped_range_is_still_pulled_back():
    _, slope = Squared().loss(np.array([7.0]), np.array([5.0]), RatingRange(1, 5))
    assert slope.item() == 2.0


def test_a_negative_score_under_relu_moves_nothing():
    _, slope = Squared().loss(np.array([-0.5]), np.array([3.0]), ReLU())
    assert slope.item() == 0.0


@pytest.mark.parametrize(
    ("objective", "n_negatives", "targets"),
    [
        (Squared(), 0, [0.5, 1.0]),
        (Squared(), 4, [0.5, 1.0]),
        (WeightedSquared(3.0), 0, [1.0, 1.0]),
        (Logistic(), 0, [0.5, 1.0]),
        (Logistic(), 4, [1.0, 1.0]),
    ],
    ids=["squared", "squared, negatives", "weighted squared", "logistic", "logistic, negatives"],
)
def test_targets_are_the_values_or_ones(objective, n_negatives, targets):
    values = np.array([0.5, 1.0], dtype=np.float32)
    assert objective.targets(values, n_negatives).tolist() == targets


def test_weights_grow_with_the_values_by_alpha():
    values = np.array([0.5, 2.0], dtype=np.float32)
    assert WeightedSquared(4.0).weights(values).tolist() == [3.0, 9.0]
    assert WeightedSquared().weights(values) is None
    assert Squared().weights(values) is None


@pytest.mark.parametrize(
    ("objective", "output", "weights", "negative_weight", "expected"),
    [
        (Squared(), Linear(), None, 0.0, 2.0),
        (Squared(), Linear(), None, 3.0, 1.0),
        (Squared(), Linear(), [1.0, 1.0, 4.0], 0.0, 2.5),
        (Squared(), RatingRange(0, 4, "sigmoid"), None, 0.0, 0.0),
        (Logistic(), Linear(), None, 21.0, logit(0.25)),
    ],
    ids=["mean", "mean with negatives", "weighted mean", "score of the mean", "log-odds"],
)
def test_the_best_constant_is_the_score_of_the_mean_target(
    objective, output, weights, negative_weight, expected
):
    weights = None if weights is None else np.array(weights, dtype=np.float32)
    found = objective.best_constant(np.array([1, 2, 3], dtype=np.float32), weights, negative_weight, output)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("objective", "output"), CASES, ids=str)
def test_no_constant_is_better_than_the_best_one(objective, output):
    targets = np.array([0.1, 0.5, 0.9, 0.4])
    best = objective.best_constant(targets, None, 2.0, output)
    together = np.append(targets, [0.0, 0.0])

    def total(score):
        return objective.loss(np.full(6, score), together, output)[0].sum()

    assert total(best) <= min(total(best - 1e-3), total(best + 1e-3)) + 1e-12


def test_the_logistic_objective_refuses_values_that_are_no_labels():
    with pytest.raises(InvalidDataError, match=r"values in \[0, 1\]; value 4 at position 1.*n_negatives=4"):
        Logistic().check(np.array([1.0, 4.0]), 0, Linear())


def test_the_logistic_objective_refuses_labels_that_are_all_alike():
    with pytest.raises(InvalidDataError, match=r"every value is 1.*n_negatives=4"):
        Logistic().check(np.ones(3), 0, Linear())


def test_the_logistic_objective_takes_any_values_with_sampled_negatives():
    Logistic().check(np.ones(3), 4, Sigmoid())


@pytest.mark.parametrize("output", [ReLU(), RatingRange(1, 5)], ids=str)
def test_the_logistic_objective_refuses_outputs_that_are_no_probability(output):
    with pytest.raises(InvalidArgumentError, match=r"does not fit it: use Sigmoid\(\)"):
        Logistic().check(np.array([0.0, 1.0]), 0, output)


def test_alpha_must_not_be_negative():
    with pytest.raises(
        InvalidArgumentError, match="WeightedSquared: alpha is -1; it must be a finite number"
    ):
        WeightedSquared(-1)
