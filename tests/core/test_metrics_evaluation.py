"""`evaluate` and its protocols: what is ranked against what, on small cases and the published NCF files."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from mfcore.data import Interactions, SeenItems, Vocabulary, read_ncf
from mfcore.engines import PositiveRanks
from mfcore.errors import InvalidArgumentError, InvalidDataError
from mfcore.metrics import (
    AUC,
    MAE,
    MAP,
    MRR,
    NDCG,
    RMSE,
    Coverage,
    FullRanking,
    GivenNegatives,
    HitRate,
    Precision,
    RankingMetric,
    Recall,
    RoundedMAE,
    SampledRanking,
    TopKAccuracy,
    evaluate,
    evaluate_quality,
)
from mfcore.metrics._held_out import HeldOut
from mfcore.metrics._negatives import draw_negatives
from mfcore.model import seen_pairs

RANKERS = [HitRate(3), NDCG(3), NDCG(), Precision(3), Recall(3), TopKAccuracy(3), MAP(3), MRR(), AUC()]


class TableModel:
    """A model that reads its scores from a table [n_users + 1, n_items + 1], cold-start answers last."""

    def __init__(self, train, table):
        self.user_ids, self.item_ids, self.seen = train.user_ids, train.item_ids, train.seen
        self.table = np.asarray(table)
        self.asked = []

    def score_pairs(self, user_rows, item_rows):
        self.asked.append((user_rows, item_rows))
        return self.table[user_rows, item_rows]

    def predict_pairs(self, user_rows, item_rows):
        return 2 * self.score_pairs(user_rows, item_rows)

    def score_catalogue(self, user_rows):
        return self.table[user_rows, :-1]


class WholeTableModel(TableModel):
    """A model that hands out its own array instead of a copy."""

    def score_catalogue(self, user_rows):
        return self.table[:-1, :-1]


class RankingTableModel(TableModel):
    """A model that ranks positives itself, unless one of its scores is NaN."""

    catalogues = 0

    def positive_ranks(self, user_rows, rows, items, exclude_seen):
        table = super().score_catalogue(user_rows)
        if np.isnan(table).any():
            return None
        candidate = np.ones(table.shape, dtype=bool)
        if exclude_seen:
            candidate[seen_pairs(self.seen, user_rows)] = False
        candidate[rows, items] = True
        scores, levels = np.where(candidate, table, np.nan)[rows], table[rows, items][:, np.newaxis]
        n_higher, n_tied = np.sum(scores > levels, axis=1), np.sum(scores == levels, axis=1)
        return PositiveRanks(n_higher, n_tied, np.sum(candidate, axis=1))

    def score_catalogue(self, user_rows):
        self.catalogues += 1
        return super().score_catalogue(user_rows)


def interactions(pairs, *, like=None, values=None, **vocabularies):
    users, items = zip(*pairs, strict=True)
    if like is not None:
        vocabularies = {"user_ids": like.user_ids, "item_ids": like.item_ids}
    return Interactions.from_columns(list(users), list(items), values, duplicates="keep", **vocabularies)


TRAIN = interactions(
    [("ann", "a"), ("ann", "b"), ("bob", "c"), ("cy", "e")],
    user_ids=Vocabulary(["ann", "bob", "cy"]),
    item_ids=Vocabulary(["a", "b", "c", "d", "e"]),
)
TEST = interactions([("bob", "a"), ("ann", "e"), ("ann", "c"), ("bob", "d")], like=TRAIN)
TABLE = [
    # a    b    c    d    e    cold item
    [9.0, 8.0, 1.0, 2.0, 3.0, 0.0],  # ann has seen a and b: e, d, c
    [1.0, 4.0, 9.0, 2.0, 3.0, 0.0],  # bob has seen c: b, e, d, a
    [5.0, 4.0, 3.0, 2.0, 1.0, 9.0],  # cy
    [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],  # unknown users
]


@pytest.fixture
def model():
    return TableModel(TRAIN, TABLE)


@pytest.fixture(scope="module")
def split(shared_data):
    return read_ncf(shared_data / "ml-1m-ncf")


def random_case(n_users=40, n_items=60, seed=0, n_levels=15):
    """Return a model with many tied scores, and test interactions, several a user."""
    rng = np.random.default_rng(seed)
    train_part, test_part = np.split(rng.permutation(n_users * n_items)[:900], [600])
    vocabularies = {"user_ids": Vocabulary.range(n_users), "item_ids": Vocabulary.range(n_items)}
    train = Interactions.from_columns(train_part // n_items, train_part % n_items, **vocabularies)
    test = Interactions.from_columns(test_part // n_items, test_part % n_items, **vocabularies)
    table = rng.integers(0, n_levels, (n_users + 1, n_items + 1)).astype(np.float32)
    return TableModel(train, table), test


class TestFullRanking:
    def test_candidates_are_all_items_but_those_seen_in_training(self, model):
        found = evaluate(model, TEST, [MRR(), MAP(), Recall(1), AUC()])
        np.testing.assert_allclose(found.per_user("MRR"), [1, 1 / 3])
        np.testing.assert_allclose(found.per_user("MAP"), [(1 + 2 / 3) / 2, (1 / 3 + 2 / 4) / 2])
        assert found["Recall@1"] == (1 / 2 + 0) / 2
        np.testing.assert_allclose(found.per_user("AUC"), [1 / 2, 0])

    def test_seen_items_compete_when_asked_to(self, model):
        found = evaluate(model, TEST, [MRR()], FullRanking(exclude_seen=False))
        np.testing.assert_allclose(found.per_user("MRR"), [1 / 3, 1 / 4])

    def test_a_test_item_that_training_has_seen_stays_a_candidate(self, model):
        again = interactions([("ann", "b")], like=TRAIN)
        assert evaluate(model, again, [MRR()])["MRR"] == 1.0

    def test_a_test_item_listed_twice_is_one_positive(self, model):
        # Of e, d, c, which ann has not seen, d and c are positives.
        twice = interactions([("ann", "d"), ("ann", "d"), ("ann", "c")], like=TRAIN)
        once = interactions([("ann", "d"), ("ann", "c")], like=TRAIN)
        for one in (model, RankingTableModel(TRAIN, TABLE)):
            found = evaluate(one, twice, RANKERS)
            assert dict(found) == dict(evaluate(one, once, RANKERS))
            assert evaluate(one, twice, [Recall(2)])["Recall@2"] == 1 / 2

    @pytest.mark.parametrize("ties", ["pessimistic", "average", "optimistic"])
    @pytest.mark.parametrize("exclude_seen", [True, False])
    def test_a_model_that_says_where_positives_stand_is_not_asked_for_scores(self, ties, exclude_seen):
        plain, test = random_case()
        model, protocol = RankingTableModel(plain, plain.table), FullRanking(exclude_seen, ties)
        again = Interactions.from_columns(
            np.append(test.users, [0, 99]), np.append(test.items, [plain.seen.of(0)[0], 3])
        )
        assert dict(evaluate(model, again, RANKERS, protocol)) == dict(
            evaluate(plain, again, RANKERS, protocol)
        )
        assert model.catalogues == 0

    def test_such_a_model_is_asked_for_scores_where_lists_are_to_be_seen(self):
        plain, test = random_case()
        model, metrics = RankingTableModel(plain, plain.table), [NDCG(5), Coverage(2), Coverage(9)]
        assert dict(evaluate(model, test, metrics)) == dict(evaluate(plain, test, metrics))
        assert model.catalogues == 1

    def test_an_item_outside_the_catalogue_is_a_miss_that_counts(self, model):
        test = interactions([("ann", "e"), ("ann", "zz")])
        found = evaluate(model, test, [Recall(5), HitRate(5), AUC()])
        assert dict(found) == {"Recall@5": 0.5, "HR@5": 1.0, "AUC": 0.5}

    def test_an_unknown_user_is_ranked_by_the_cold_start_answer(self, model):
        test = interactions([("zoe", "e"), ("zoe", "c")])
        assert evaluate(model, test, [MAP()])["MAP"] == pytest.approx((1 + 2 / 3) / 2)

    def test_ids_are_translated_where_the_vocabularies_differ(self, model):
        own_rows = interactions([("bob", "d"), ("ann", "c"), ("bob", "a"), ("ann", "e")])
        assert own_rows.item_ids != TRAIN.item_ids
        assert dict(evaluate(model, own_rows, RANKERS)) == dict(evaluate(model, TEST, RANKERS))

    def test_a_catalogue_without_any_test_item_is_refused(self, model):
        with pytest.raises(InvalidDataError, match="no test item is in the model's catalogue"):
            evaluate(model, interactions([("ann", "zz")]), [MRR()])

    def test_the_model_keeps_its_own_array_intact(self):
        model = WholeTableModel(TRAIN, TABLE)
        test = interactions([("ann", "e"), ("bob", "d"), ("cy", "a")], like=TRAIN)
        evaluate(model, test, [MRR(), Coverage(2)])
        np.testing.assert_array_equal(model.table, TABLE)

    def test_integer_scores_are_ranked_like_floats(self, model):
        whole = TableModel(TRAIN, np.array(TABLE, dtype=np.int64))
        assert dict(evaluate(whole, TEST, RANKERS)) == dict(evaluate(model, TEST, RANKERS))

    def test_coverage_counts_the_items_that_any_user_would_be_shown(self, model):
        found = evaluate(model, TEST, [Coverage(1), Coverage(2), Coverage(10)])
        # Lists: ann e, d, c; bob b, e, d, a.
        assert dict(found) == {"Coverage@1": 2 / 5, "Coverage@2": 3 / 5, "Coverage@10": 1.0}

    @pytest.mark.parametrize("ties", ["pessimistic", "average", "optimistic"])
    def test_the_size_of_a_batch_changes_nothing(self, ties):
        model, test = random_case()
        metrics = [*RANKERS, Coverage(4)]
        whole = evaluate(model, test, metrics, FullRanking(ties=ties))
        for batch_users in (1, 7, 1000):
            parts = evaluate(model, test, metrics, FullRanking(ties=ties), batch_users=batch_users)
            assert dict(parts) == pytest.approx(dict(whole), rel=1e-13)


class TestSampledRanking:
    @pytest.mark.parametrize(
        ("ties", "expected"), [("pessimistic", 0.0), ("average", 0.1), ("optimistic", 1.0)]
    )
    def test_a_constant_model_hits_one_in_ten_at_ten_of_a_hundred(self, ties, expected):
        vocabularies = {"user_ids": Vocabulary.range(30), "item_ids": Vocabulary.range(500)}
        train = Interactions.from_columns(np.arange(30), np.arange(30), **vocabularies)
        test = Interactions.from_columns(np.arange(30), np.arange(30) + 100, **vocabularies)
        model = TableModel(train, np.zeros((31, 501)))
        found = evaluate(model, test, [HitRate(10)], SampledRanking(ties=ties))
        assert found["HR@10"] == pytest.approx(expected)

    def test_each_positive_meets_distinct_items_that_its_user_has_not_met(self):
        model, test = random_case()
        evaluate(model, test, [MRR()], SampledRanking(n_negatives=20))
        users, items = (
            np.concatenate(rows).reshape(len(test), 21) for rows in zip(*model.asked, strict=True)
        )
        assert sorted(zip(users[:, 0], items[:, 0], strict=True)) == sorted(
            zip(test.users, test.items, strict=True)
        )
        for user, candidates in zip(users[:, 0].tolist(), items.tolist(), strict=True):
            negatives = set(candidates[1:])
            assert len(negatives) == 20
            assert negatives.isdisjoint(model.seen.of(user).tolist())
            assert negatives.isdisjoint(test.items[test.users == user].tolist())

    def test_the_positives_of_a_user_meet_different_negatives(self):
        model, _ = random_case()
        test = interactions([(0, 1), (0, 2)], like=model)
        evaluate(model, test, [MRR()], SampledRanking(n_negatives=10))
        ((_, items),) = model.asked
        first, second = items.reshape(2, 11)[:, 1:].tolist()
        assert set(first) != set(second)

    def test_seen_items_may_be_drawn_when_asked_for(self, model):
        test = interactions([("ann", "e")], like=TRAIN)
        found = evaluate(model, test, [MRR()], SampledRanking(n_negatives=4, exclude_seen=False))
        assert found["MRR"] == pytest.approx(1 / 3)

    def test_the_draw_depends_on_the_seed_and_not_on_batches_or_other_users(self):
        model, test = random_case()
        protocol = SampledRanking(n_negatives=10, seed=3)
        whole = evaluate(model, test, [NDCG()], protocol)
        again = evaluate(model, test, [NDCG()], protocol, batch_users=3)
        np.testing.assert_array_equal(whole.per_user("NDCG"), again.per_user("NDCG"))
        some = np.unique(test.users)[5:9]
        part = evaluate(model, test.select(np.isin(test.users, some)), [NDCG()], protocol)
        np.testing.assert_array_equal(
            part.per_user("NDCG"), whole.per_user("NDCG")[np.isin(whole.users, some)]
        )
        other = evaluate(model, test, [NDCG()], SampledRanking(n_negatives=10, seed=4))
        assert other["NDCG"] != whole["NDCG"]

    def test_negatives_are_uniform_over_the_open_items(self):
        n_rankings, closed = 20_000, [2, 3, 7]
        drawn = draw_negatives(
            seed=1,
            n_negatives=4,
            n_items=10,
            user_rows=np.arange(n_rankings),
            item_rows=np.zeros(n_rankings, dtype=np.int64),
            closed=SeenItems(indptr=np.array([0, 3]), indices=np.array(closed, dtype=np.int32)),
            owners=np.zeros(n_rankings, dtype=np.int64),
        )
        sets, counts = np.unique(np.sort(drawn, axis=1), axis=0, return_counts=True)
        assert len(sets) == math.comb(7, 4)
        expected = n_rankings / math.comb(7, 4)
        # 34 degrees of freedom: 66 is the 99.9 % quantile.
        assert np.sum((counts - expected) ** 2 / expected) < 66

    def test_the_draw_is_pinned(self):
        drawn = draw_negatives(
            seed=11,
            n_negatives=6,
            n_items=1_000,
            user_rows=np.array([0, 5]),
            item_rows=np.array([7, 2**20]),
            closed=SeenItems(indptr=np.array([0, 3]), indices=np.array([2, 3, 7], dtype=np.int32)),
            owners=np.array([0, 0]),
        )
        assert drawn.tolist() == [[815, 269, 570, 883, 646, 463], [167, 659, 723, 15, 311, 894]]

    def test_a_test_item_that_is_listed_twice_or_was_seen_is_closed_once(self, model):
        # ann has seen a and b: d and e are left beside c, and c, d and e beside b.
        for pairs, n_open in ([("ann", "c"), ("ann", "c")], 2), ([("ann", "b")], 3):
            test = interactions(pairs, like=TRAIN)
            evaluate(model, test, [MRR()], SampledRanking(n_negatives=n_open))
            with pytest.raises(InvalidArgumentError, match=f"has only {n_open} items to draw from"):
                evaluate(model, test, [MRR()], SampledRanking(n_negatives=n_open + 1))

    def test_a_test_interaction_that_is_listed_twice_has_two_rankings(self, model):
        # With all that is left as negatives: c ranks third, d first.
        test = interactions([("cy", "c"), ("cy", "c"), ("bob", "b")], like=TRAIN)
        found = evaluate(model, test, [MRR()], SampledRanking(n_negatives=3))
        assert found["MRR"] == pytest.approx((1 / 3 + 1 / 3 + 1) / 3)

    def test_a_user_who_leaves_too_few_items_is_named(self, model):
        with pytest.raises(InvalidArgumentError, match="user 'ann' has only 1 items to draw from"):
            evaluate(model, TEST, [MRR()], SampledRanking(n_negatives=2))

    def test_metrics_are_means_over_interactions_and_per_user_means_within_the_user(self, model):
        test = interactions([("ann", "e"), ("ann", "c"), ("cy", "d")], like=TRAIN)
        found = evaluate(model, test, [MRR()], SampledRanking(n_negatives=1))
        # ann has only d left as a negative: e ranks first, c second.
        by_user = found.per_user("MRR")
        assert by_user[0] == pytest.approx((1 + 1 / 2) / 2)
        assert found["MRR"] == pytest.approx((2 * by_user[0] + by_user[1]) / 3)

    def test_unknown_users_and_items_are_scored_by_the_cold_start_answer(self, model):
        test = interactions([("zoe", "zz"), ("cy", "zz")])
        assert evaluate(model, test, [MRR()], SampledRanking(n_negatives=4))["MRR"] == 1.0

    @pytest.mark.parametrize("argument", [{"n_negatives": 0}, {"seed": -1}, {"seed": 2**64}, {"seed": 1.5}])
    def test_arguments_outside_their_domain_are_refused(self, argument):
        (name,) = argument
        with pytest.raises(InvalidArgumentError, match=f"{name} is .* integer"):
            SampledRanking(**argument)


class TestGivenNegatives:
    def test_each_positive_is_ranked_among_its_own_row(self, model):
        # TEST: bob a, ann e, ann c, bob d.
        negatives = np.array([[1, 2], [0, 3], [3, 4], [0, 4]], dtype=np.int32)
        found = evaluate(model, TEST, [MRR(), HitRate(1)], GivenNegatives(negatives))
        np.testing.assert_allclose(found.per_user("MRR"), [(1 / 2 + 1 / 3) / 2, (1 / 3 + 1 / 2) / 2])
        assert found["HR@1"] == 0.0

    def test_the_positive_and_a_repetition_among_the_negatives_are_no_further_candidates(self, model):
        test = interactions([("ann", "c")], like=TRAIN)
        for row, expected in [([3, 2, 3, 4], 1 / 3), ([3, 2, 2], 1 / 2), ([2, 2], 1.0)]:
            found = evaluate(model, test, [MRR()], GivenNegatives(np.array([row])))
            assert found["MRR"] == pytest.approx(expected)

    def test_negatives_are_rows_of_the_test_and_may_be_unknown_to_the_model(self, model):
        test = interactions([("ann", "d"), ("bob", "new")])
        assert test.item_ids.ids.tolist() == ["d", "new"]
        found = evaluate(model, test, [MRR()], GivenNegatives(np.array([[1], [0]])))
        np.testing.assert_allclose(found.per_user("MRR"), [1.0, 1 / 2])

    @pytest.mark.parametrize("negatives", [[1, 2], [[1.0, 2.0]], np.empty((4, 0), dtype=int)])
    def test_anything_but_a_table_of_integers_is_refused(self, negatives):
        with pytest.raises(InvalidArgumentError, match="negatives has shape"):
            GivenNegatives(np.asarray(negatives))

    def test_the_table_cannot_be_changed_through_the_protocol_and_stays_the_caller_s(self):
        negatives = np.zeros((4, 2), dtype=int)
        protocol = GivenNegatives(negatives)
        with pytest.raises(ValueError, match="read-only"):
            protocol.negatives[0, 0] = 1
        negatives[0, 0] = 1
        assert protocol.negatives[0, 0] == 1

    def test_a_table_of_another_length_is_refused(self, model):
        with pytest.raises(InvalidArgumentError, match="negatives has 3 rows and test 4 interactions"):
            evaluate(model, TEST, [MRR()], GivenNegatives(np.zeros((3, 2), dtype=int)))

    @pytest.mark.parametrize("row", [-1, 5])
    def test_a_row_outside_the_vocabulary_is_named(self, model, row):
        negatives = np.zeros((4, 2), dtype=int)
        negatives[2, 1] = row
        with pytest.raises(InvalidArgumentError, match=rf"negatives\[2, 1\] is {row}"):
            evaluate(model, TEST, [MRR()], GivenNegatives(negatives))

    def test_coverage_is_refused_where_the_catalogue_is_not_ranked(self, model):
        with pytest.raises(InvalidArgumentError, match="Coverage@2 needs rankings of the whole catalogue"):
            evaluate(model, TEST, [Coverage(2)], GivenNegatives(np.zeros((4, 2), dtype=int)))


def share_in_first_k(model, test, k, protocol):
    """Return the share of the test interactions among the first k of their users' sorted candidates."""
    place_in_tie = {"pessimistic": 1, "optimistic": -1}[protocol.ties]
    n_found = 0
    for user in np.unique(test.users).tolist():
        positives = set(test.items[test.users == user].tolist())
        seen = set(model.seen.of(user).tolist()) if protocol.exclude_seen else set()
        candidates = [item for item in range(test.n_items) if item in positives or item not in seen]
        candidates.sort(key=lambda item: (-model.table[user, item], place_in_tie * (item in positives)))
        n_found += len(positives.intersection(candidates[:k]))
    return n_found / len(test)


class TestTopKAccuracy:
    # Without what they have seen: ann e, d, c; bob b, e, d, a.
    TEST = interactions([("ann", "e"), ("bob", "a"), ("bob", "d"), ("bob", "e")], like=TRAIN)

    def test_it_is_the_share_of_all_test_interactions_where_recall_is_the_mean_over_users(self, model):
        found = evaluate(model, self.TEST, [TopKAccuracy(2), Recall(2)])
        assert dict(found) == {"TopK@2": 2 / 4, "Recall@2": (1 + 1 / 3) / 2}
        np.testing.assert_allclose(found.per_user("TopK@2"), [1, 1 / 3])

    def test_seen_items_compete_when_asked_to(self, model):
        # ann a, b, e, d, c; bob c, b, e, d, a.
        found = evaluate(
            model, self.TEST, [TopKAccuracy(2), TopKAccuracy(3)], FullRanking(exclude_seen=False)
        )
        assert dict(found) == {"TopK@2": 0.0, "TopK@3": 2 / 4}

    def test_items_outside_the_catalogue_are_misses_that_count(self, model):
        test = interactions([("ann", "e"), ("bob", "zz"), ("bob", "zzz"), ("bob", "b")])
        assert evaluate(model, test, [TopKAccuracy(5)])["TopK@5"] == 2 / 4

    @pytest.mark.parametrize("exclude_seen", [True, False])
    @pytest.mark.parametrize("ties", ["pessimistic", "optimistic"])
    def test_it_agrees_with_sorting_the_catalogue_of_every_user(self, ties, exclude_seen):
        model, test = random_case()
        protocol = FullRanking(exclude_seen=exclude_seen, ties=ties)
        for k in (1, 5, 20):
            found = evaluate(model, test, [TopKAccuracy(k)], protocol)
            assert found[f"TopK@{k}"] == pytest.approx(share_in_first_k(model, test, k, protocol))

    def test_a_constant_model_finds_k_of_n_candidates_on_average(self):
        model, test = random_case(n_levels=1)
        found = evaluate(model, test, [TopKAccuracy(6)], FullRanking(exclude_seen=False, ties="average"))
        assert found["TopK@6"] == pytest.approx(6 / 60)

    @pytest.mark.parametrize("given", [True, False])
    def test_it_is_the_hit_rate_where_every_test_interaction_has_a_ranking(self, given):
        model, test = random_case()
        negatives = np.random.default_rng(1).integers(0, 60, (len(test), 12))
        protocol = GivenNegatives(negatives) if given else SampledRanking(n_negatives=12)
        found = evaluate(model, test, [TopKAccuracy(3), HitRate(3)], protocol)
        assert 0 < found["TopK@3"] == found["HR@3"] < 1
        np.testing.assert_array_equal(found.per_user("TopK@3"), found.per_user("HR@3"))


def test_users_are_cut_into_runs_within_the_budget_that_leave_nobody_out(model):
    everyone = interactions([(user, "a") for user in ("ann", "bob", "cy", "dan", "eve")])
    held_out = HeldOut.align(model, everyone)
    runs = [(run.start, run.stop) for run in held_out.user_blocks(np.array([2, 2, 9, 1, 3]), 4, None)]
    assert runs == [(0, 2), (2, 3), (3, 5)]
    runs = [(run.start, run.stop) for run in held_out.user_blocks(np.array([2, 2, 9, 1, 3]), 4, 3)]
    assert runs == [(0, 3), (3, 5)]


@pytest.mark.parametrize("kind", [TableModel, RankingTableModel])
@pytest.mark.parametrize("protocol", [FullRanking(), SampledRanking(1), GivenNegatives(np.full((1, 1), 3))])
def test_a_nan_score_names_user_and_item(protocol, kind):
    table = np.array(TABLE)
    table[0, 4] = np.nan
    with pytest.raises(InvalidDataError, match="score of user 'ann' for item 'e' is NaN"):
        evaluate(kind(TRAIN, table), interactions([("ann", "e")], like=TRAIN), [MRR()], protocol)


def test_a_nan_cold_start_answer_is_refused_too():
    table = np.array(TABLE)
    table[0, -1] = np.nan
    with pytest.raises(InvalidDataError, match="prediction of user 'ann' for an item unknown to it is NaN"):
        evaluate(TableModel(TRAIN, table), interactions([("ann", "zz")]), [RMSE()])


@pytest.mark.parametrize(
    "protocol", [FullRanking, SampledRanking, partial(GivenNegatives, np.zeros((1, 1), dtype=int))]
)
def test_an_unknown_tie_rule_is_refused_with_those_there_are(protocol):
    with pytest.raises(
        InvalidArgumentError, match="ties is 'random'; it must be one of 'pessimistic', 'average'"
    ):
        protocol(ties="random")


def test_an_answer_of_another_shape_is_refused(model):
    model.score_catalogue = lambda rows: np.zeros((len(rows), 99))
    with pytest.raises(InvalidDataError, match=r"shape \(2, 99\); \(2, 5\) was expected"):
        evaluate(model, TEST, [MRR()])


class TestRatings:
    TEST = interactions([("ann", "c"), ("bob", "a"), ("ann", "d"), ("zoe", "a")], values=[1.0, 2.0, 6.0, 4.5])
    # Predictions are twice the table: ann 2 and 4, bob 2, zoe (unknown) 2.

    def test_means_are_taken_over_interactions(self, model):
        found = evaluate(model, self.TEST, [RMSE(), MAE(), RoundedMAE()])
        assert found["RMSE"] == pytest.approx(math.sqrt((1 + 4 + 0 + 6.25) / 4))
        assert found["MAE"] == pytest.approx((1 + 2 + 0 + 2.5) / 4)
        assert found["rounded MAE"] == pytest.approx(found["MAE"])

    def test_values_per_user_use_that_user_s_interactions(self, model):
        found = evaluate(model, self.TEST, [RMSE(), MAE()])
        assert found.users.tolist() == ["ann", "bob", "zoe"]
        np.testing.assert_allclose(found.per_user("RMSE"), [math.sqrt(5 / 2), 0, 2.5])
        np.testing.assert_allclose(found.per_user("MAE"), [3 / 2, 0, 2.5])

    def test_rating_and_ranking_metrics_are_evaluated_together_in_the_order_asked_for(self, model):
        found = evaluate(model, TEST, [MRR(), RMSE(), NDCG(2)])
        assert list(found) == ["MRR", "RMSE", "NDCG@2"]

    def test_models_are_asked_for_a_bounded_number_of_pairs(self, model):
        n = 300_000
        rng = np.random.default_rng(0)
        test = Interactions(
            users=np.zeros(n, dtype=np.int32),
            items=rng.integers(0, 5, n).astype(np.int32),
            values=np.zeros(n, dtype=np.float32),
            timestamps=None,
            user_ids=TRAIN.user_ids,
            item_ids=TRAIN.item_ids,
        )
        found = evaluate(model, test, [MAE()])
        assert max(len(rows) for rows, _ in model.asked) <= 2**17
        assert found["MAE"] == pytest.approx(np.mean(2 * np.array(TABLE)[0, test.items]))


class TestEvaluation:
    def test_it_is_a_mapping_that_shows_itself(self, model):
        found = evaluate(model, TEST, [RMSE(), Recall(1)])
        assert len(found) == 2
        assert dict(found) == {"RMSE": found["RMSE"], "Recall@1": 0.25}
        assert found.n_users == 2
        assert repr(found).splitlines() == [
            "Evaluation of 2 users, FullRanking(exclude_seen=True, ties='pessimistic')",
            f"  RMSE      {found['RMSE']:.4f}",
            "  Recall@1  0.2500",
        ]

    def test_an_unknown_name_lists_those_there_are(self, model):
        found = evaluate(model, TEST, [MRR(), NDCG(2)])
        with pytest.raises(KeyError, match="'NDCG@10' was not evaluated; there are MRR, NDCG@2"):
            found["NDCG@10"]
        with pytest.raises(KeyError, match="'NDCG@10' was not evaluated"):
            found.per_user("NDCG@10")

    def test_coverage_has_no_value_per_user(self, model):
        found = evaluate(model, TEST, [Coverage(2)])
        with pytest.raises(KeyError, match="'Coverage@2' is a property of all users together"):
            found.per_user("Coverage@2")

    def test_users_without_negatives_are_left_out_of_the_mean_auc(self, model):
        test = interactions([("ann", "c"), ("ann", "d"), ("ann", "e"), ("bob", "b")], like=TRAIN)
        found = evaluate(model, test, [AUC()])
        np.testing.assert_array_equal(found.per_user("AUC"), [np.nan, 1.0])
        assert found["AUC"] == 1.0

    def test_an_auc_that_nobody_has_is_refused(self, model):
        test = interactions([("ann", "c"), ("ann", "d"), ("ann", "e")], like=TRAIN)
        with pytest.raises(InvalidArgumentError, match="AUC is undefined"):
            evaluate(model, test, [AUC()])


class TestQuality:
    def test_coverage_is_left_out_of_sampled_protocols_beside_one_that_ranks_the_catalogue(self, model):
        protocols, metrics = [SampledRanking(1), FullRanking()], [RMSE(), MRR(), Coverage(2)]
        quality = evaluate_quality(model, TEST, metrics, protocols)
        assert [list(values) for _, values in quality.rankings] == [["MRR"], ["MRR", "Coverage@2"]]
        assert quality.by_metric == {
            **evaluate(model, TEST, [RMSE()]),
            **evaluate(model, TEST, [MRR()], protocols[0]),
        }
        assert (quality.n_interactions, quality.n_users) == (4, 2)

    def test_coverage_is_refused_under_one_sampled_protocol(self, model):
        with pytest.raises(InvalidArgumentError, match="Coverage@2 needs rankings of the whole catalogue"):
            evaluate_quality(model, TEST, [MRR(), Coverage(2)], [SampledRanking(1)])


class TestArguments:
    @pytest.mark.parametrize(
        ("metrics", "message"),
        [
            ([RMSE], r"metrics holds the class RMSE; .* such as RMSE\(\)"),
            ([NDCG], r"metrics holds the class NDCG; .* such as NDCG\(10\)"),
            (["RMSE"], "metrics holds 'RMSE', which is no metric"),
            ("RMSE", "metrics is 'RMSE'; it must be a sequence"),
            (RMSE(), r"metrics is RMSE\(\); it must be a sequence"),
            ([], "metrics is empty"),
            ([NDCG(5), MRR(), NDCG(5)], "metrics holds NDCG@5 twice"),
        ],
    )
    def test_metrics_that_are_none_or_repeat_are_refused(self, model, metrics, message):
        with pytest.raises(InvalidArgumentError, match=message):
            evaluate(model, TEST, metrics)

    @pytest.mark.parametrize(
        ("protocol", "message"),
        [
            (FullRanking, "protocol is the class FullRanking; write an instance"),
            ("full", "protocol is 'full'; it must be a protocol"),
        ],
    )
    def test_a_protocol_that_is_none_is_refused(self, model, protocol, message):
        with pytest.raises(InvalidArgumentError, match=message):
            evaluate(model, TEST, [MRR()], protocol)

    def test_a_protocol_that_no_metric_uses_is_refused(self, model):
        with pytest.raises(InvalidArgumentError, match="but no metric ranks; leave it out"):
            evaluate(model, TEST, [RMSE()], FullRanking())

    @pytest.mark.parametrize("batch_users", [0, -1, 1.5, True])
    def test_a_batch_of_no_users_is_refused(self, model, batch_users):
        with pytest.raises(InvalidArgumentError, match="batch_users is"):
            evaluate(model, TEST, [MRR()], batch_users=batch_users)

    def test_ids_of_another_kind_are_refused(self, model):
        with pytest.raises(InvalidDataError, match="the ids of this data are strings"):
            evaluate(model, Interactions.from_columns([1, 2], [3, 4]), [MRR()])

    def test_a_metric_written_elsewhere_is_evaluated_as_any_other(self, model):
        @dataclass(frozen=True)
        class BestPosition(RankingMetric):
            name = "best position"

            def values(self, groups):
                return groups.above[groups.first] + 1.0

        found = evaluate(model, TEST, [BestPosition()])
        np.testing.assert_array_equal(found.per_user("best position"), [1.0, 3.0])

    def test_a_metric_s_weights_hold_within_a_user_as_over_all(self, model):
        @dataclass(frozen=True)
        class WeightedPosition(RankingMetric):
            name = "weighted position"

            def values(self, groups):
                return groups.above + 1.0

            def weights(self, groups):
                return groups.n_candidates.astype(float)

        # TEST: bob a, ann e, ann c, bob d. Positions 2 of 2, 1 of 2, 3 of 3 and 3 of 4.
        negatives = np.array([[4, 4, 4], [3, 3, 3], [3, 1, 1], [1, 4, 0]])
        found = evaluate(model, TEST, [WeightedPosition()], GivenNegatives(negatives))
        np.testing.assert_allclose(found.per_user("weighted position"), [11 / 5, 16 / 6])
        assert found["weighted position"] == pytest.approx((11 + 16) / (5 + 6))


class TestPublishedNcfFiles:
    def test_the_156_held_out_items_among_their_own_negatives_are_one_candidate(self, split):
        rows, columns = len(split.train.user_ids), len(split.train.item_ids)
        constant = TableModel(split.train, np.broadcast_to(np.float32(0), (rows + 1, columns + 1)))
        found = evaluate(constant, split.test, [HitRate(10)], GivenNegatives(split.negatives, ties="average"))
        chances, users = np.unique(found.per_user("HR@10").round(12), return_counts=True)
        np.testing.assert_allclose(chances, [10 / 100, 10 / 99])
        assert users.tolist() == [6040 - 156, 156]

    def test_ranking_by_popularity_agrees_with_sorting_every_list(self, split):
        popularity = np.append(split.train.item_counts, 0).astype(np.float32)
        model = TableModel(
            split.train, np.broadcast_to(popularity, (split.train.n_users + 1, len(popularity)))
        )
        found = evaluate(model, split.test, [HitRate(10), NDCG(10)], GivenNegatives(split.negatives))
        positions = [
            1 + sum(popularity[item] >= popularity[held_out] for item in set(row) - {held_out})
            for held_out, row in zip(split.test.items.tolist(), split.negatives.tolist(), strict=True)
        ]
        assert found["HR@10"] == pytest.approx(np.mean([p <= 10 for p in positions]))
        assert found["NDCG@10"] == pytest.approx(np.mean([(p <= 10) / math.log2(1 + p) for p in positions]))
