"""Negatives by popularity: exact weights, never a seen item, a pure function of their name."""

import numpy as np
import pytest
from scipy.stats import chisquare

from mfcore import MF, Interactions, fit
from mfcore.data import Vocabulary
from mfcore.errors import InvalidDataError
from mfcore.sampling import (
    PopularityTable,
    Purpose,
    SamplingPlan,
    bounded,
    epoch,
    popular_negatives,
    require_unseen_weight,
    words,
)
from mfcore.sampling._negatives import MAXIMUM_WEIGHT

EXPONENTS = [0.5, 0.75, 1.0, 2.0]


@pytest.fixture(scope="module")
def skewed():
    """300 users and 40 items whose popularity falls off steeply; items 5, 38 and 39 were never met."""
    generator = np.random.default_rng(3)
    chances = 1 / np.arange(1, 41)
    chances[[5, 38, 39]] = 0
    chances /= chances.sum()
    sizes = generator.integers(0, 25, size=300)
    seen = [generator.choice(40, size=size, replace=False, p=chances) for size in sizes]
    users = np.repeat(np.arange(300), sizes)
    return Interactions.from_columns(
        users, np.concatenate(seen), user_ids=Vocabulary.range(300), item_ids=Vocabulary.range(40)
    )


def table_of(data, exponent):
    return PopularityTable.make(data.seen, data.item_counts, exponent)


def drawn(data, exponent, users, *, seed=0, number=0, instances=None):
    instances = np.arange(len(users), dtype=np.int64) if instances is None else instances
    table = table_of(data, exponent)
    return popular_negatives(table, data.seen, users, seed=seed, epoch=number, instances=instances)


def unseen_by(data, user):
    return np.setdiff1d(np.arange(data.n_items), data.seen.of(user))


# The table


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_weights_are_the_stated_share_of_the_line_and_zero_for_items_never_met(skewed, exponent):
    weights = np.diff(table_of(skewed, exponent).starts)
    counts = skewed.item_counts.astype(np.float64)
    shares = np.where(counts > 0, counts, 0) ** exponent
    shares /= shares.sum()
    assert (weights == 0).tolist() == (counts == 0).tolist()
    expected = 1 + shares * (MAXIMUM_WEIGHT - 40)
    assert np.abs(weights - expected)[counts > 0].max() <= 1.001


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_the_table_holds_the_weight_that_each_user_has_not_seen(skewed, exponent):
    table = table_of(skewed, exponent)
    weights = np.diff(table.starts)
    for user in range(skewed.n_users):
        unseen, seen = unseen_by(skewed, user), skewed.seen.of(user)
        assert table.unseen_weight[user] == weights[unseen].sum()
        before = table.unseen_before[skewed.seen.indptr[user] : skewed.seen.indptr[user + 1]]
        assert before.tolist() == [weights[unseen[unseen < item]].sum() for item in seen]


@pytest.mark.parametrize("exponent", [1e-9, 50.0, 1e4])
def test_no_exponent_overflows_and_no_item_that_was_met_loses_its_weight(skewed, exponent):
    table = table_of(skewed, exponent)
    assert table.starts[-1] < 2**31
    assert (np.diff(table.starts)[skewed.item_counts > 0] >= 1).all()


def test_a_large_exponent_leaves_little_but_the_most_popular_item(skewed):
    weights = np.diff(table_of(skewed, 1e4).starts)
    assert weights[skewed.item_counts.argmax()] > 0.999 * weights.sum()


# What is drawn


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_a_draw_is_the_unseen_item_that_spans_its_place_on_the_line(skewed, exponent):
    users = np.tile(np.arange(300), 5)
    instances = np.arange(len(users), dtype=np.int64)
    found = drawn(skewed, exponent, users, seed=4, number=2)
    table = table_of(skewed, exponent)
    weights = np.diff(table.starts)
    high, low, *_ = words(4, Purpose.NEGATIVE, 2, instances)
    positions = bounded(high, low, table.unseen_weight[users])
    for user, position, item in zip(users.tolist(), positions.tolist(), found.tolist(), strict=True):
        unseen = unseen_by(skewed, user)
        ends = np.cumsum(weights[unseen])
        assert item == unseen[np.count_nonzero(ends <= position)]


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_the_frequencies_are_those_of_popularity_among_the_unseen(skewed, exponent):
    for user in (int(skewed.seen.counts.argmax()), int(skewed.seen.counts.argmin())):
        n = 20_000
        found = np.bincount(drawn(skewed, exponent, np.full(n, user)), minlength=40)
        unseen = unseen_by(skewed, user)
        met = unseen[skewed.item_counts[unseen] > 0]
        chances = skewed.item_counts[met].astype(np.float64) ** exponent
        assert found[met].sum() == n
        assert chisquare(found[met], n * chances / chances.sum()).pvalue > 1e-3


def test_frequencies_follow_the_exponent_that_was_asked_for(skewed):
    user, n = int(skewed.seen.counts.argmin()), 20_000
    found = np.bincount(drawn(skewed, 0.5, np.full(n, user)), minlength=40)
    unseen = unseen_by(skewed, user)
    met = unseen[skewed.item_counts[unseen] > 0]
    chances = skewed.item_counts[met].astype(np.float64)
    assert chisquare(found[met], n * chances / chances.sum()).pvalue < 1e-6


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_no_negative_is_ever_a_seen_item_or_one_that_was_never_met(skewed, exponent):
    users = np.tile(np.arange(300), 200)
    items = drawn(skewed, exponent, users, seed=1, number=4)
    met = np.zeros((300, 40), dtype=bool)
    met[skewed.users, skewed.items] = True
    assert np.count_nonzero(met[users, items]) == 0
    assert not np.isin(items, [5, 38, 39]).any()


def test_items_with_as_many_interactions_are_drawn_as_often_whatever_the_exponent():
    cells = np.arange(20)
    data = Interactions.from_columns(cells, cells % 10)
    found = np.bincount(drawn(data, 3.0, np.zeros(20_000, dtype=np.int64)), minlength=10)
    assert found[0] == 0
    assert chisquare(found[1:]).pvalue > 1e-3


def test_repeated_interactions_count_for_popularity_and_once_as_seen():
    data = Interactions.from_columns([0, 0, 1, 1, 2], [0, 0, 1, 2, 0], duplicates="keep")
    table = table_of(data, 1.0)
    weights = np.diff(table.starts)
    assert weights[0] == pytest.approx(3 * weights[1], rel=1e-6)
    assert table.unseen_weight.tolist() == [weights[1] + weights[2], weights[0], weights[1] + weights[2]]
    assert set(drawn(data, 1.0, np.zeros(50, dtype=np.int64)).tolist()) == {1, 2}
    assert set(drawn(data, 1.0, np.ones(50, dtype=np.int64)).tolist()) == {0}


def test_any_slice_of_instances_draws_the_same_negatives(skewed):
    users = np.tile(np.arange(300), 4)
    instances = np.arange(1200, dtype=np.int64) + 2**33
    whole = drawn(skewed, 0.75, users, seed=9, number=2, instances=instances)
    chosen = np.random.default_rng(0).permutation(1200)[:300]
    part = drawn(skewed, 0.75, users[chosen], seed=9, number=2, instances=instances[chosen])
    assert np.array_equal(part, whole[chosen])


@pytest.mark.parametrize("name", [{"seed": 1}, {"number": 1}], ids=["seed", "epoch"])
def test_another_seed_or_epoch_draws_other_negatives(skewed, name):
    users = np.full(300, int(skewed.seen.counts.argmin()))
    one, other = drawn(skewed, 0.5, users), drawn(skewed, 0.5, users, **name)
    assert np.mean(one == other) < 0.2


# In an epoch


def test_an_exponent_of_zero_is_the_uniform_draw(skewed, job_of):
    uniform, by_zero = (
        epoch(skewed, plan, seed=3, epoch=1)
        for plan in (SamplingPlan(2), SamplingPlan(2, popularity_exponent=0.0))
    )
    assert np.array_equal(uniform.items, by_zero.items)
    assert np.isin([5, 38, 39], by_zero.items).all()
    assert job_of(MF(2), skewed, n_negatives=2, popularity_exponent=0).popularity is None


@pytest.mark.parametrize("paired", [False, True], ids=["pointwise", "paired"])
def test_popular_negatives_of_an_epoch_are_more_popular_than_uniform_ones(skewed, paired):
    means = []
    for exponent in (0.0, 0.5, 1.0):
        shown = epoch(skewed, SamplingPlan(3, popularity_exponent=exponent, paired=paired), seed=0, epoch=0)
        negatives = shown.negatives if paired else shown.items[~shown.positive]
        means.append(skewed.item_counts[negatives].mean())
    assert means[0] < means[1] < means[2]


def test_a_run_is_told_how_its_negatives_were_drawn(skewed):
    settings = {"n_negatives": 2, "epochs": 1, "backend": "reference", "batch_size": 512}
    popular = fit(MF(2), skewed, popularity_exponent=0.75, **settings)
    uniform = fit(MF(2), skewed, **settings)
    assert popular.training["sampling"]["popularity_exponent"] == 0.75
    assert not np.array_equal(popular.parameters["item_factors"], uniform.parameters["item_factors"])


# Who has nothing left


def full_of_what_was_met(first):
    """User `first` has seen both items that anyone met; a third one stands in the catalogue alone."""
    users = [first, first, "z" if isinstance(first, str) else 9]
    return Interactions.from_columns(users, [0, 1, 0], item_ids=Vocabulary.range(3))


@pytest.mark.parametrize("first", [4, "ann"], ids=["integer ids", "string ids"])
def test_a_user_who_has_seen_every_item_with_a_weight_is_refused_before_training(first):
    data, called = full_of_what_was_met(first), []
    settings = {"n_negatives": 1, "epochs": 1, "backend": "reference", "callbacks": [called.append]}
    with pytest.raises(
        InvalidDataError,
        match=rf"user {first!r} has seen every item that has training interactions.*\(1 such user\)"
        r".*popularity_exponent=0",
    ):
        fit(MF(2), data, popularity_exponent=0.75, **settings)
    assert not called
    assert fit(MF(2), data, **settings).epochs_trained == 1


def test_users_with_something_left_are_accepted(skewed):
    require_unseen_weight(table_of(skewed, 0.75), skewed.user_ids)
