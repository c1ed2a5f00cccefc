"""Splits: exact sizes, disjoint parts, one result for one seed."""

import numpy as np
import pytest

from mfcore.data import Interactions, datasets, splits, synthetic
from mfcore.errors import InvalidArgumentError, InvalidDataError


@pytest.fixture(scope="module")
def data():
    return synthetic(5_000, timestamps=True, seed=3).interactions


def pairs(part):
    return set(zip(part.users.tolist(), part.items.tolist(), strict=True))


def test_ratio_holds_out_the_share_and_keeps_the_order(data):
    train, test = splits.ratio(data, test=0.2, seed=1)
    assert (len(train), len(test)) == (4_000, 1_000)
    assert pairs(train) | pairs(test) == pairs(data)
    assert np.all(np.diff(test.users) >= 0)
    assert train.user_ids is test.user_ids is data.user_ids


def test_a_seed_gives_one_split_and_another_seed_another(data):
    first, again, other = (splits.ratio(data, seed=seed)[1] for seed in (5, 5, 6))
    assert np.array_equal(first.items, again.items)
    assert pairs(first) != pairs(other)


def test_the_random_split_is_pinned():
    data = Interactions.from_columns(range(10), range(10))
    assert splits.ratio(data, test=0.3, seed=0)[1].users.tolist() == [2, 4, 6]


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_outside_zero_to_one_is_refused(data, share):
    for split in (splits.ratio, splits.temporal):
        with pytest.raises(InvalidArgumentError, match="share between 0 and 1"):
            split(data, share)


def test_a_split_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(InvalidArgumentError, match="nothing to train on"):
        splits.ratio(Interactions.from_columns([1], [1]))


def test_folds_hold_out_every_interaction_once(data):
    folds = list(splits.k_fold(data, n_folds=3, seed=2))
    assert sorted(len(test) for _, test in folds) == [1666, 1667, 1667]
    assert sum(len(pairs(test)) for _, test in folds) == len(data)
    for train, test in folds:
        assert not pairs(train) & pairs(test)
        assert len(train) + len(test) == len(data)


@pytest.mark.parametrize("n_folds", [1, 5_001])
def test_a_wrong_number_of_folds_is_refused_at_once(data, n_folds):
    with pytest.raises(InvalidArgumentError, match="between 2 and the 5,000"):
        splits.k_fold(data, n_folds=n_folds)


def test_leave_one_out_takes_the_latest_and_then_the_later_row():
    data = Interactions.from_columns(
        users=[1, 1, 1, 2, 3, 3], items=[1, 2, 3, 1, 1, 2], timestamps=[5, 9, 9, 1, 8, 2]
    )
    train, test = splits.leave_one_out(data)
    assert test.user_ids[test.users].tolist() == [1, 3]
    assert test.item_ids[test.items].tolist() == [3, 1]
    assert train.user_ids[train.users].tolist() == [1, 1, 2, 3]


def test_leave_one_out_needs_a_user_with_two_interactions():
    data = Interactions.from_columns([1, 2], [1, 1], timestamps=[1, 2])
    with pytest.raises(InvalidDataError, match="no user has two"):
        splits.leave_one_out(data)


def test_temporal_holds_out_the_latest(data):
    train, test = splits.temporal(data, test=0.1)
    assert len(test) == 500
    assert train.timestamps.max() <= test.timestamps.min()


def test_temporal_breaks_ties_by_position_and_cuts_after_a_time():
    data = Interactions.from_columns([1, 2, 3, 4], [1, 1, 1, 1], timestamps=[7, 7, 7, 3])
    assert splits.temporal(data, test=0.5)[1].users.tolist() == [1, 2]
    assert splits.temporal(data, after=3)[1].users.tolist() == [0, 1, 2]
    with pytest.raises(InvalidArgumentError, match=r"after=7 leaves one part empty.*3 to 7"):
        splits.temporal(data, after=7)


@pytest.mark.parametrize("split", [splits.leave_one_out, splits.temporal])
def test_splits_by_time_need_timestamps(split):
    with pytest.raises(InvalidDataError, match=r"no timestamps.*splits\.ratio"):
        split(Interactions.from_columns([1, 1], [1, 2]))


def test_the_folds_of_ml_100k_are_the_published_files(shared_data, monkeypatch):
    monkeypatch.setenv("MFCORE_DATA", str(shared_data))
    folds = list(datasets.movielens_folds("100k"))
    assert len(folds) == 5
    for number, (train, test) in enumerate(folds, 1):
        for part, suffix in ((train, "base"), (test, "test")):
            published = np.loadtxt(shared_data / "ml-100k" / f"u{number}.{suffix}", dtype=np.int64)
            ours = [
                part.user_ids[part.users],
                part.item_ids[part.items],
                part.values.astype(int),
                part.timestamps,
            ]
            assert np.array_equal(np.column_stack(ours), published)


def test_other_sizes_have_no_published_folds():
    with pytest.raises(InvalidArgumentError, match=r"for 100k only.*k_fold"):
        datasets.movielens_folds("1m")
