"""Uniform negatives: exact, without rejection, a pure function of their name."""

import numpy as np
import pytest
from scipy.stats import chisquare

from mfcore import Interactions
from mfcore.data import Vocabulary
from mfcore.errors import InvalidDataError
from mfcore.sampling import require_unseen_items, uniform_negatives, unseen_item


@pytest.fixture(scope="module")
def scattered():
    """200 users who have seen between 0 and 49 of 50 items."""
    generator = np.random.default_rng(3)
    seen = [generator.choice(50, size=size, replace=False) for size in generator.integers(1, 50, size=199)]
    users = np.repeat(np.arange(199), [len(items) for items in seen])
    return Interactions.from_columns(
        users, np.concatenate(seen), user_ids=Vocabulary.range(200), item_ids=Vocabulary.range(50)
    )


def test_ranks_number_the_unseen_items_of_each_user_in_ascending_order(scattered):
    for user in range(200):
        unseen = np.setdiff1d(np.arange(50), scattered.seen.of(user))
        ranks = np.arange(len(unseen))
        assert np.array_equal(unseen_item(scattered.seen, np.full(len(unseen), user), ranks), unseen)


def test_no_negative_is_ever_a_seen_item(scattered):
    users = np.tile(np.arange(200), 500)
    items = uniform_negatives(
        scattered.seen, 50, users, seed=1, epoch=4, instances=np.arange(len(users), dtype=np.int64)
    )
    seen = set(zip(scattered.users.tolist(), scattered.items.tolist(), strict=True))
    assert not seen.intersection(zip(users.tolist(), items.tolist(), strict=True))
    assert 0 <= items.min() <= items.max() < 50


@pytest.mark.parametrize("user", [0, 7, 199], ids=["some seen", "others seen", "nothing seen"])
def test_negatives_are_uniform_over_the_unseen_items(scattered, user):
    n = 20_000
    items = uniform_negatives(
        scattered.seen, 50, np.full(n, user), seed=0, epoch=0, instances=np.arange(n, dtype=np.int64)
    )
    unseen = np.setdiff1d(np.arange(50), scattered.seen.of(user))
    assert chisquare(np.bincount(items, minlength=50)[unseen]).pvalue > 1e-3


def test_a_user_with_one_unseen_item_always_gets_that_one():
    data = Interactions.from_columns([0, 0, 0], [0, 1, 3], item_ids=Vocabulary.range(4))
    items = uniform_negatives(
        data.seen, 4, np.zeros(100, dtype=np.int64), seed=0, epoch=0, instances=np.arange(100)
    )
    assert set(items.tolist()) == {2}


def test_repeated_interactions_count_as_one_seen_item():
    data = Interactions.from_columns([0, 0, 0], [1, 1, 1], duplicates="keep", item_ids=Vocabulary.range(3))
    items = uniform_negatives(
        data.seen, 3, np.zeros(100, dtype=np.int64), seed=0, epoch=0, instances=np.arange(100)
    )
    assert set(items.tolist()) == {0, 2}


def test_any_slice_of_instances_draws_the_same_negatives(scattered):
    users = np.tile(np.arange(200), 5)
    instances = np.arange(1000, dtype=np.int64) + 2**33
    whole = uniform_negatives(scattered.seen, 50, users, seed=9, epoch=2, instances=instances)
    chosen = np.random.default_rng(0).permutation(1000)[:300]
    part = uniform_negatives(scattered.seen, 50, users[chosen], seed=9, epoch=2, instances=instances[chosen])
    assert np.array_equal(part, whole[chosen])


@pytest.mark.parametrize("name", [{"seed": 1}, {"epoch": 1}], ids=["seed", "epoch"])
def test_another_seed_or_epoch_draws_other_negatives(scattered, name):
    users, instances = np.full(200, 199), np.arange(200, dtype=np.int64)
    one = uniform_negatives(scattered.seen, 50, users, seed=0, epoch=0, instances=instances)
    other = uniform_negatives(
        scattered.seen, 50, users, **{"seed": 0, "epoch": 0, **name}, instances=instances
    )
    # One in 50 agrees by chance.
    assert np.count_nonzero(one == other) < 15


@pytest.mark.parametrize("users", [[0, 0, 1], ["a", "a", "b"]], ids=["integer ids", "string ids"])
def test_a_user_who_has_seen_everything_is_refused_by_name(users):
    data = Interactions.from_columns(users, [0, 1, 0])
    with pytest.raises(InvalidDataError, match=rf"user {users[0]!r} has seen all 2 items.*drop them"):
        require_unseen_items(data.seen, data.n_items, data.user_ids)


def test_users_with_something_left_are_accepted(scattered):
    require_unseen_items(scattered.seen, 50, scattered.user_ids)
