"""Ranking metrics on tie groups: hand-computed values, and scikit-learn where definitions agree."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from mfcore.engines import PositiveRanks
from mfcore.errors import InvalidArgumentError
from mfcore.metrics import AUC, MAP, MRR, NDCG, Coverage, HitRate, Precision, Recall, TopKAccuracy
from mfcore.metrics._ranks import tie_groups, tie_groups_of_first, tie_groups_of_ranks

NAN = np.nan


def groups_of(scores, positives, n_missing=0):
    """Return the tie groups of one ranking with positives at the given positions of `scores`."""
    positions = np.array(positives, dtype=np.int64)
    n_relevant = np.array([len(positions) + n_missing])
    return tie_groups(np.array([scores], dtype=np.float64), np.zeros_like(positions), positions, n_relevant)


def value(metric, scores, positives, n_missing=0, ties="average"):
    (found,) = metric.values(groups_of(scores, positives, n_missing).resolved(ties))
    return found


# Positives at positions 2 and 5 of 6, a third one outside the catalogue.
SCORES = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
POSITIVES = [1, 4]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (HitRate(1), 0.0),
        (HitRate(2), 1.0),
        (Precision(5), 2 / 5),
        (Precision(10), 2 / 10),
        (Recall(2), 1 / 3),
        (Recall(5), 2 / 3),
        (TopKAccuracy(1), 0.0),
        (TopKAccuracy(5), 2 / 3),
        (MRR(), 1 / 2),
        (MRR(1), 0.0),
        (MAP(), (1 / 2 + 2 / 5) / 3),
        (MAP(2), (1 / 2) / 2),
        (NDCG(2), (1 / math.log2(3)) / (1 + 1 / math.log2(3))),
        (NDCG(), (1 / math.log2(3) + 1 / math.log2(6)) / (1 + 1 / math.log2(3) + 1 / math.log2(4))),
        # Negatives at 1, 3, 4, 6: the positives outrank 3 and 1 of 4, the missing one none.
        (AUC(), (3 + 1 + 0) / (3 * 4)),
    ],
)
def test_values_are_those_computed_by_hand(metric, expected):
    assert value(metric, SCORES, POSITIVES, n_missing=1) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("ties", "hit_rate", "ndcg", "reciprocal", "area"),
    [
        ("pessimistic", 0.0, 1 / math.log2(5), 1 / 4, 0.0),
        ("average", 2 / 4, (1 + 1 / math.log2(3) + 1 / 2 + 1 / math.log2(5)) / 4, 25 / 48, 0.5),
        ("optimistic", 1.0, 1.0, 1.0, 1.0),
    ],
)
def test_one_positive_tied_with_three_negatives(ties, hit_rate, ndcg, reciprocal, area):
    found = [value(m, [0.0] * 4, [0], ties=ties) for m in (HitRate(2), NDCG(), MRR(), AUC())]
    assert found == pytest.approx([hit_rate, ndcg, reciprocal, area])


def test_two_positives_tied_with_two_negatives_are_averaged_over_the_six_orders():
    # Positives at positions 12, 13, 14, 23, 24, 34.
    first_at = [1, 1, 1, 2, 2, 3]
    second_at = [2, 3, 4, 3, 4, 4]
    precision = [(1 / a + 2 / b) / 2 for a, b in zip(first_at, second_at, strict=True)]
    assert value(HitRate(1), [0.0] * 4, [1, 3]) == pytest.approx(3 / 6)
    assert value(MRR(), [0.0] * 4, [1, 3]) == pytest.approx(np.mean([1 / a for a in first_at]))
    assert value(MAP(), [0.0] * 4, [1, 3]) == pytest.approx(np.mean(precision))


def test_infinite_scores_are_ordinary_and_tie_with_each_other():
    scores = [np.inf, 1.0, -np.inf, -np.inf]
    assert value(MRR(), scores, [0]) == 1.0
    assert value(MRR(), scores, [2], ties="pessimistic") == pytest.approx(1 / 4)
    assert value(MRR(), scores, [2], ties="optimistic") == pytest.approx(1 / 3)


def test_a_ranking_whose_positives_are_all_outside_the_catalogue_scores_zero():
    metrics = [HitRate(3), Precision(3), Recall(3), TopKAccuracy(3), NDCG(3), NDCG(), MAP(3), MRR(), AUC()]
    assert [value(m, SCORES, [], n_missing=2) for m in metrics] == [0.0] * len(metrics)


@pytest.mark.parametrize(("ties", "share"), [("pessimistic", 0.0), ("average", 2 / 5), ("optimistic", 2 / 3)])
def test_the_top_k_accuracy_of_tied_positives_is_their_expected_share_of_the_positions(ties, share):
    # Three positives and two negatives share the positions 1 to 5, of which two count.
    assert value(TopKAccuracy(2), [0.0] * 5, [0, 2, 3], ties=ties) == pytest.approx(share)


def test_a_ranking_weighs_by_its_positives_in_top_k_accuracy_and_by_one_elsewhere():
    scores, rows, columns = np.zeros((2, 3)), np.array([0, 0, 1]), np.array([0, 2, 1])
    groups = tie_groups(scores, rows, columns, n_relevant=np.array([2, 4]))
    for ties in ("pessimistic", "average", "optimistic"):
        assert TopKAccuracy(1).weights(groups.resolved(ties)).tolist() == [2.0, 4.0]
        for metric in (HitRate(1), Precision(1), Recall(1), NDCG(), MAP(), MRR(), AUC()):
            assert metric.weights(groups.resolved(ties)).tolist() == [1.0, 1.0]


def test_auc_is_undefined_without_negatives():
    assert math.isnan(value(AUC(), [1.0, 2.0], [0, 1]))


def random_rankings(n_levels=None, n_rankings=50, n_items=40):
    """Return scores of `n_levels` distinct values (None: all distinct), relevance, and tie groups."""
    rng = np.random.default_rng(7)
    if n_levels is None:
        scores = rng.permuted(np.tile(np.arange(float(n_items)), (n_rankings, 1)), axis=1)
    else:
        scores = rng.integers(0, n_levels, (n_rankings, n_items)).astype(np.float64)
    relevance = rng.random((n_rankings, n_items)) < rng.uniform(0.03, 0.6, (n_rankings, 1))
    relevance[:, 0], relevance[:, 1] = True, False
    return scores, relevance, tie_groups(scores, *np.nonzero(relevance), relevance.sum(axis=1))


@pytest.mark.parametrize("n_levels", [None, 12, 3, 1])
def test_ndcg_and_auc_agree_with_scikit_learn_ties_included(n_levels):
    scores, relevance, groups = random_rankings(n_levels)
    for k in (1, 5, 20, None):
        ours = NDCG(k).values(groups)
        theirs = [ndcg_score([y], [s], k=k) for y, s in zip(relevance, scores, strict=True)]
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    areas = [roc_auc_score(y, s) for y, s in zip(relevance, scores, strict=True)]
    np.testing.assert_allclose(AUC().values(groups), areas, rtol=1e-12)


@pytest.mark.parametrize("ties", ["pessimistic", "average", "optimistic"])
def test_average_precision_agrees_with_scikit_learn_where_nothing_ties(ties):
    scores, relevance, groups = random_rankings()
    theirs = [average_precision_score(y, s) for y, s in zip(relevance, scores, strict=True)]
    np.testing.assert_allclose(MAP().values(groups.resolved(ties)), theirs, rtol=1e-11)


@pytest.mark.parametrize("ties", ["pessimistic", "average", "optimistic"])
def test_the_value_of_a_ranking_does_not_depend_on_the_rankings_beside_it(ties):
    scores, relevance, together = random_rankings(n_levels=6)
    for metric in (HitRate(3), Precision(3), Recall(3), TopKAccuracy(3), NDCG(3), MAP(3), MRR(3), AUC()):
        alone = [
            value(metric, s, np.flatnonzero(y), ties=ties) for s, y in zip(scores, relevance, strict=True)
        ]
        np.testing.assert_allclose(metric.values(together.resolved(ties)), alone, rtol=1e-12)


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_tie_groups_count_the_candidates_above_and_beside_each_group(share):
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 30, (20, 60)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = NAN
    relevance = (rng.random(scores.shape) < share) & ~np.isnan(scores)
    groups = tie_groups(scores, *np.nonzero(relevance), relevance.sum(axis=1))
    expected = [
        (row, np.sum(s > level), np.sum(s == level), np.sum(y & (s == level)))
        for row, (s, y) in enumerate(zip(scores, relevance, strict=True))
        for level in sorted(set(s[y].tolist()), reverse=True)
    ]
    found = list(zip(groups.ranking, groups.above, groups.size, groups.relevant, strict=True))
    assert found == expected
    np.testing.assert_array_equal(groups.n_candidates, np.sum(~np.isnan(scores), axis=1))


def test_both_ways_to_tie_groups_agree_on_a_single_positive():
    rng = np.random.default_rng(5)
    scores = rng.integers(0, 8, (30, 20)).astype(np.float64)
    scores[:, 1:][rng.random((30, 19)) < 0.2] = NAN
    first = np.zeros(30, dtype=np.int64)
    general = tie_groups(scores, np.arange(30), first, first + 1)
    for name in ("ranking", "above", "size", "relevant", "n_candidates", "n_relevant"):
        np.testing.assert_array_equal(getattr(tie_groups_of_first(scores), name), getattr(general, name))


@pytest.mark.parametrize("n_levels", [None, 6, 1])
def test_tie_groups_follow_from_the_ranks_of_positives(n_levels):
    scores, relevance, groups = random_rankings(n_levels)
    rows, columns = np.nonzero(relevance)
    levels = scores[rows, columns][:, np.newaxis]
    ranks = PositiveRanks(
        n_higher=np.sum(scores[rows] > levels, axis=1),
        n_tied=np.sum(scores[rows] == levels, axis=1),
        n_candidates=np.full(len(scores), scores.shape[1]),
    )
    found = tie_groups_of_ranks(ranks, rows, relevance.sum(axis=1))
    for name in ("ranking", "above", "size", "relevant", "n_candidates", "n_relevant"):
        np.testing.assert_array_equal(getattr(found, name), getattr(groups, name))


def test_coverage_breaks_ties_by_ascending_item_row():
    assert Coverage(2).covered(np.array([[1.0, 3.0, 1.0, 1.0]])).tolist() == [True, True, False, False]
    assert Coverage(3).covered(np.zeros((2, 5))).tolist() == [True, True, True, False, False]


def test_coverage_joins_the_lists_of_all_users():
    assert Coverage(1).covered(np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])).tolist() == [True, False, True]


def test_coverage_never_fills_a_list_with_items_that_are_no_candidates():
    scores = np.array([[NAN, -1.0, NAN, NAN], [-np.inf, 2.0, NAN, 1.0]])
    for k in (2, 3, 4, 9):
        assert Coverage(k).covered(scores).tolist() == [False, True, False, True]


def test_coverage_agrees_with_a_stable_sort():
    rng = np.random.default_rng(11)
    scores = rng.integers(0, 6, (12, 40)).astype(np.float64)
    scores[rng.random(scores.shape) < 0.3] = NAN
    for k in (1, 4, 30):
        expected = np.zeros(40, dtype=bool)
        for row in scores:
            order = np.argsort(-row, kind="stable")
            expected[[item for item in order[:k] if not np.isnan(row[item])]] = True
        np.testing.assert_array_equal(Coverage(k).covered(scores), expected)


def test_names_say_the_cutoff():
    metrics = [HitRate(10), NDCG(5), NDCG(), Precision(1), Recall(2), MAP(3), MAP(), MRR(), MRR(4), AUC()]
    names = ["HR@10", "NDCG@5", "NDCG", "Precision@1", "Recall@2", "MAP@3", "MAP", "MRR", "MRR@4", "AUC"]
    assert [metric.name for metric in metrics] == names
    assert Coverage(10).name == "Coverage@10"
    assert TopKAccuracy(100).name == "TopK@100"


def test_a_numpy_integer_is_a_cutoff_like_any_other():
    assert NDCG(np.int64(5)) == NDCG(5)
    assert repr(NDCG(np.int64(5))) == "NDCG(k=5)"


@pytest.mark.parametrize("kind", [HitRate, NDCG, Precision, Recall, TopKAccuracy, MAP, MRR, Coverage])
@pytest.mark.parametrize("k", [0, -3, 2.5, "10", True])
def test_a_cutoff_that_is_no_positive_integer_is_refused(kind, k):
    with pytest.raises(InvalidArgumentError, match=f"k of {kind.__name__} is .*at least 1"):
        kind(k)


@pytest.mark.parametrize("kind", [HitRate, Precision, Recall, TopKAccuracy, Coverage])
def test_a_metric_that_needs_a_cutoff_refuses_none(kind):
    with pytest.raises(InvalidArgumentError, match=f"k of {kind.__name__} is None"):
        kind(None)
