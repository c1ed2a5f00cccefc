"""Laws of the ranking metrics, against a definition that orders the candidates in every possible way."""

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfcore.data import SeenItems
from mfcore.metrics import AUC, MAP, MRR, NDCG, HitRate, Precision, Recall, TopKAccuracy
from mfcore.metrics._negatives import draw_negatives
from mfcore.metrics._ranks import tie_groups


def value_of_order(metric, relevant, n_relevant):
    """Return a metric of one ranking without ties, by its textbook definition.

    `relevant` says of each position, from the top, whether a positive holds it.
    """
    k = getattr(metric, "k", None)
    positions = [p for p, is_positive in enumerate(relevant, 1) if is_positive and (k is None or p <= k)]
    best = n_relevant if k is None else min(k, n_relevant)
    n_negatives = relevant.count(False)
    if isinstance(metric, AUC) and n_negatives == 0:
        return math.nan
    definitions = {
        HitRate: lambda: float(bool(positions)),
        Precision: lambda: len(positions) / k,
        Recall: lambda: len(positions) / n_relevant,
        TopKAccuracy: lambda: len(positions) / n_relevant,
        MRR: lambda: 1 / positions[0] if positions else 0.0,
        MAP: lambda: sum(found / p for found, p in enumerate(positions, 1)) / best,
        NDCG: lambda: gain(positions) / gain(range(1, best + 1)),
        AUC: lambda: sum(relevant[p:].count(False) for p in positions) / (n_relevant * n_negatives),
    }
    return definitions[type(metric)]()


def gain(positions):
    return sum(1 / math.log2(1 + p) for p in positions)


def values_of_all_orders(metric, scores, relevant, n_relevant):
    """Return the metric for every order of the candidates in which no score rises."""
    candidates = list(zip(scores, relevant, strict=True))
    return [
        value_of_order(metric, [is_positive for _, is_positive in order], n_relevant)
        for order in permutations(candidates)
        if all(above >= below for (above, _), (below, _) in pairwise(order))
    ]


@st.composite
def rankings(draw):
    """Draw scores with many ties, the positives among them, and how many positives are missing."""
    size = draw(st.integers(1, 6))
    scores = draw(st.lists(st.sampled_from([-math.inf, 0.0, 1.0, math.inf]), min_size=size, max_size=size))
    relevant = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    n_missing = draw(st.integers(0 if any(relevant) else 1, 2))
    return scores, relevant, n_missing


def groups_of(scores, relevant, n_missing):
    positions = np.flatnonzero(relevant)
    n_relevant = np.array([len(positions) + n_missing])
    return tie_groups(np.array([scores]), np.zeros_like(positions), positions, n_relevant)


metrics = st.one_of(
    st.builds(HitRate, st.integers(1, 7)),
    st.builds(Precision, st.integers(1, 7)),
    st.builds(Recall, st.integers(1, 7)),
    st.builds(TopKAccuracy, st.integers(1, 7)),
    st.builds(NDCG, st.none() | st.integers(1, 7)),
    st.builds(MAP, st.none() | st.integers(1, 7)),
    st.builds(MRR, st.none() | st.integers(1, 7)),
    st.just(AUC()),
)


@settings(deadline=None)
@given(metrics, rankings())
def test_tie_rules_are_the_worst_the_mean_and_the_best_over_all_orders_of_tied_candidates(metric, ranking):
    scores, relevant, n_missing = ranking
    orders = values_of_all_orders(metric, scores, relevant, sum(relevant) + n_missing)
    groups = groups_of(scores, relevant, n_missing)
    found = [metric.values(groups.resolved(t))[0] for t in ("pessimistic", "average", "optimistic")]
    assert found == pytest.approx([min(orders), np.mean(orders), max(orders)], abs=1e-12, nan_ok=True)


@settings(deadline=None)
@given(metrics, rankings(), st.sampled_from(["pessimistic", "average", "optimistic"]))
def test_metrics_see_the_order_of_scores_only(metric, ranking, ties):
    scores, relevant, n_missing = ranking
    stretched = np.sinh(np.clip(scores, -5, 5)) * 3 - 1
    before = metric.values(groups_of(scores, relevant, n_missing).resolved(ties))
    after = metric.values(groups_of(stretched, relevant, n_missing).resolved(ties))
    np.testing.assert_array_equal(before, after)


@settings(deadline=None)
@given(metrics, st.integers(2, 400), st.integers(1, 30), st.integers(0, 50))
def test_expectations_over_large_tie_groups_lie_between_the_extremes(metric, size, n_positives, n_above):
    relevant = np.arange(n_above + size) >= n_above + size - min(n_positives, size)
    scores = np.where(np.arange(n_above + size) < n_above, 1.0, 0.0)
    groups = groups_of(scores, relevant, n_missing=0)
    worst, mean, best = (
        metric.values(groups.resolved(t))[0] for t in ("pessimistic", "average", "optimistic")
    )
    if not math.isnan(mean):
        assert worst - 1e-9 <= mean <= best + 1e-9


@st.composite
def draws(draw):
    """Draw a catalogue, the closed items of some users, and a number of negatives that all users can have."""
    n_items = draw(st.integers(2, 12))
    closed = draw(
        st.lists(st.sets(st.integers(0, n_items - 1), max_size=n_items - 1), min_size=1, max_size=4)
    )
    n_negatives = draw(st.integers(1, n_items - max(map(len, closed))))
    return n_items, closed, n_negatives


def seen_items(closed):
    indptr = np.concatenate(([0], np.cumsum([len(items) for items in closed])))
    indices = np.array([item for items in closed for item in sorted(items)], dtype=np.int32)
    return SeenItems(indptr=indptr, indices=indices)


@settings(deadline=None)
@given(draws(), st.integers(0, 2**64 - 1))
def test_drawn_negatives_are_distinct_open_items_and_belong_to_the_interaction_alone(case, seed):
    n_items, closed, n_negatives = case
    owners = np.arange(len(closed))

    def drawn(users):
        return draw_negatives(
            seed=seed,
            n_negatives=n_negatives,
            n_items=n_items,
            user_rows=users + 100,
            item_rows=users + 7,
            closed=seen_items([closed[user] for user in users]),
            owners=np.arange(len(users)),
        )

    together = drawn(owners)
    for user, negatives in enumerate(together):
        assert len(set(negatives.tolist())) == n_negatives
        assert set(negatives.tolist()) <= set(range(n_items)) - closed[user]
        np.testing.assert_array_equal(drawn(owners[user : user + 1])[0], negatives)
