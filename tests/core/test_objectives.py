"""Objectives: value and derivative by the score, targets and weights, what does not fit them."""

import json
import math
from itertools import product

import numpy as np
import pytest

from mfcore import BPR, InBatchSoftmax, Linear, Logistic, RatingRange, ReLU, Sigmoid, Squared, WeightedSquared
from mfcore.errors import InvalidArgumentError, InvalidDataError
from mfcore.objectives import OBJECTIVES, PointwiseObjective
from mfcore.settings import from_dict, to_dict

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


def test_objectives_are_pointwise_or_say_what_else_they_compare():
    assert {name: kind.pairing for name, kind in OBJECTIVES.items()} == {
        "squared": "pointwise",
        "weighted_squared": "pointwise",
        "logistic": "pointwise",
        "bpr": "pairwise",
        "in_batch_softmax": "in-batch",
    }
    assert all(
        issubclass(kind, PointwiseObjective) == (kind.pairing == "pointwise") for kind in OBJECTIVES.values()
    )


@pytest.mark.parametrize("objective", [WeightedSquared(0.5), BPR(), InBatchSoftmax(0.2, logq=False)], ids=str)
def test_an_objective_comes_back_from_the_text_of_its_settings(objective):
    assert from_dict(json.loads(json.dumps(to_dict(objective)))) == objective


# BPR


def test_bpr_is_the_negative_log_likelihood_of_the_right_order():
    loss, slope = BPR().loss(SCORES)
    chance = 1 / (1 + np.exp(-SCORES))
    assert loss == pytest.approx(-np.log(chance), rel=1e-12)
    assert slope == pytest.approx(chance - 1, rel=1e-12)


def test_the_derivative_of_bpr_is_that_of_finite_differences(numeric_gradient):
    differences = SCORES.copy()

    def total():
        return BPR().loss(differences)[0].sum()

    numeric = numeric_gradient(total, differences)
    assert BPR().loss(differences)[1] == pytest.approx(numeric, abs=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bpr_of_extreme_differences_is_finite(dtype):
    loss, slope = BPR().loss(np.array([-1e4, 0, 1e4], dtype=dtype))
    assert loss.dtype == slope.dtype == dtype
    assert loss.tolist() == pytest.approx([1e4, math.log(2), 0])
    assert slope.tolist() == [-1, -0.5, 0]


def test_bpr_needs_negatives():
    BPR().check(np.ones(3), 1, Linear())
    with pytest.raises(InvalidArgumentError, match="sampled negatives; pass n_negatives=1 or more"):
        BPR().check(np.ones(3), 0, Linear())


# The in-batch softmax


def in_batch_by_loops(objective, scores, items, offsets):
    """Return the losses as the docstring's equation has them."""
    losses = []
    for b in range(len(items)):
        z = [scores[b, c] / objective.temperature - offsets[c] for c in range(len(items))]
        rivals = [
            c
            for c in range(len(items))
            if c == b or items[c] != items[b] or not objective.remove_accidental_hits
        ]
        losses.append(-math.log(math.exp(z[b]) / sum(math.exp(z[c]) for c in rivals)))
    return losses


@pytest.fixture
def scored_batch():
    """Scores of a batch of five instances, two of which show item 7, and what is subtracted from them."""
    generator = np.random.default_rng(5)
    items = np.array([3, 7, 1, 7, 0])
    return generator.normal(size=(5, 5)), items, np.log([0.1, 0.4, 0.2, 0.4, 0.3])


SOFTMAXES = [
    InBatchSoftmax(tau, remove_accidental_hits=remove) for tau, remove in product((1, 0.3), (True, False))
]


@pytest.mark.parametrize("objective", SOFTMAXES, ids=str)
def test_the_in_batch_softmax_is_that_of_its_equation(objective, scored_batch):
    scores, items, offsets = scored_batch
    losses, _ = objective.loss(scores, np.arange(5), items, offsets)
    assert losses == pytest.approx(in_batch_by_loops(objective, scores, items, offsets), rel=1e-12)


@pytest.mark.parametrize("objective", SOFTMAXES, ids=str)
def test_the_derivative_of_the_in_batch_softmax_is_that_of_finite_differences(
    objective, scored_batch, numeric_gradient
):
    scores, items, offsets = scored_batch

    def total():
        return objective.loss(scores, np.arange(5), items, offsets)[0].sum()

    numeric = numeric_gradient(total, scores)
    _, slopes = objective.loss(scores, np.arange(5), items, offsets)
    assert slopes == pytest.approx(numeric, abs=1e-8)


def test_some_instances_of_a_batch_have_the_losses_that_they_have_among_all(scored_batch):
    scores, items, offsets = scored_batch
    losses, slopes = InBatchSoftmax().loss(scores, np.arange(5), items, offsets)
    some = np.array([3, 1])
    part_losses, part_slopes = InBatchSoftmax().loss(scores[some], some, items, offsets)
    assert np.array_equal(part_losses, losses[some])
    assert np.array_equal(part_slopes, slopes[some])


def test_an_accidental_hit_is_no_negative(scored_batch):
    scores, items, offsets = scored_batch
    (kept, _), (removed, slopes) = (
        InBatchSoftmax(remove_accidental_hits=remove).loss(scores, np.arange(5), items, offsets)
        for remove in (False, True)
    )
    assert (removed[[1, 3]] < kept[[1, 3]]).all()
    assert np.array_equal(removed[[0, 2, 4]], kept[[0, 2, 4]])
    assert slopes[1, 3] == slopes[3, 1] == 0


def test_a_batch_of_one_item_alone_has_nothing_to_tell_apart():
    losses, slopes = InBatchSoftmax().loss(np.ones((3, 3)), np.arange(3), np.full(3, 7), np.zeros(3))
    assert not losses.any()
    assert not slopes.any()


def test_the_in_batch_softmax_does_not_change_what_it_is_given(scored_batch):
    scores, items, offsets = scored_batch
    copies = [array.copy() for array in scored_batch]
    InBatchSoftmax().loss(scores, np.arange(5), items, offsets)
    assert all(np.array_equal(array, copy) for array, copy in zip(scored_batch, copies, strict=True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_in_batch_softmax_of_extreme_scores_is_finite(dtype):
    scores = np.array([[1e4, -1e4], [1e4, -1e4]], dtype=dtype)
    losses, slopes = InBatchSoftmax(0.5).loss(scores, np.arange(2), np.arange(2), np.zeros(2, dtype))
    assert losses.dtype == slopes.dtype == dtype
    assert losses.tolist() == [0, 4e4]
    assert slopes.tolist() == [[0, 0], [2, -2]]


def test_the_in_batch_softmax_takes_no_sampled_negatives():
    InBatchSoftmax().check(np.ones(3), 0, Sigmoid())
    with pytest.raises(InvalidArgumentError, match=r"n_negatives is 4, but .* pass n_negatives=0"):
        InBatchSoftmax().check(np.ones(3), 4, Sigmoid())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0}, "InBatchSoftmax: temperature is 0; it must be a finite number above 0"),
        ({"temperature": float("inf")}, "InBatchSoftmax: temperature is inf; it must be a finite number"),
        ({"logq": 1}, "InBatchSoftmax: logq is 1; pass an instance such as True"),
        ({"remove_accidental_hits": None}, "InBatchSoftmax: remove_accidental_hits is None"),
    ],
    ids=["no temperature", "infinite temperature", "logq", "removal"],
)
def test_an_in_batch_softmax_refuses_settings_outside_their_domain(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        InBatchSoftmax(**arguments)


# Both


@pytest.mark.parametrize(("objective", "n_negatives"), [(BPR(), 2), (InBatchSoftmax(), 0)], ids=str)
@pytest.mark.parametrize("output", [ReLU(), RatingRange(1, 5)], ids=str)
def test_objectives_on_scores_refuse_outputs_that_are_no_probability(objective, n_negatives, output):
    with pytest.raises(InvalidArgumentError, match=rf"{objective.short_name}.*does not fit it: use Sigmoid"):
        objective.check(np.ones(3), n_negatives, output)


@pytest.mark.parametrize("objective", [BPR(), InBatchSoftmax()], ids=str)
def test_what_compares_scores_reads_no_values_and_starts_from_no_constant(objective):
    values = np.array([3.0, 5.0], dtype=np.float32)
    assert objective.targets(values, 1).tolist() == [1, 1]
    assert objective.weights(values) is None
    assert objective.best_constant(values, None, 8.0, Sigmoid()) == 0
