"""Splits, for any interactions, share and seed: the parts, what is in them, and what they depend on."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from mfcore.data import Interactions, splits

SEEDS = st.integers(0, 2**64)
SHARES = st.floats(0.01, 0.99)
# Users, items and times of few values: pairs that repeat, and many at the same time.
HISTORIES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(-2, 2)), min_size=2, max_size=40
)


def numbered(history):
    """Return interactions whose values are their positions."""
    users, items, times = zip(*history, strict=True)
    return Interactions.from_columns(users, items, range(len(history)), timestamps=times, duplicates="keep")


def positions(part):
    return part.values.astype(int).tolist()


def held_out_size(n, share):
    return max(1, round(share * n))


@st.composite
def all_splits(draw, history):
    """Split in every way that the history allows."""
    data = numbered(history)
    users, _, times = zip(*history, strict=True)
    parts = []
    share, seed = draw(SHARES), draw(SEEDS)
    if held_out_size(len(data), share) < len(data):
        parts += [splits.ratio(data, share, seed), splits.temporal(data, share)]
    if min(times) < max(times):
        parts.append(splits.temporal(data, after=draw(st.integers(min(times), max(times) - 1))))
    if len(set(users)) < len(data):
        parts.append(splits.leave_one_out(data))
    parts += splits.k_fold(data, draw(st.integers(2, len(data))), seed)
    return parts


@given(HISTORIES, st.data())
def test_parts_hold_every_interaction_once_in_its_order_as_it_was(history, draw):
    for parts in draw.draw(all_splits(history)):
        assert sorted(positions(parts[0]) + positions(parts[1])) == list(range(len(history)))
        for part in parts:
            assert len(part) > 0
            assert positions(part) == sorted(positions(part))
            rows = zip(
                part.user_ids[part.users].tolist(),
                part.item_ids[part.items].tolist(),
                part.timestamps.tolist(),
                strict=True,
            )
            assert list(rows) == [history[position] for position in positions(part)]


@given(HISTORIES, st.data())
def test_parts_keep_the_ids_of_the_whole(history, draw):
    data = numbered(history)
    for parts in draw.draw(all_splits(history)):
        assert all(part.user_ids == data.user_ids and part.item_ids == data.item_ids for part in parts)


@given(HISTORIES, SHARES, SEEDS)
def test_a_share_is_rounded_and_never_nothing(history, share, seed):
    assume(held_out_size(len(history), share) < len(history))
    data = numbered(history)
    for _, test in (splits.ratio(data, share, seed), splits.temporal(data, share)):
        assert len(test) == held_out_size(len(history), share)


@given(HISTORIES, SHARES)
def test_no_interaction_of_a_temporal_test_part_is_earlier_than_one_of_the_training_part(history, share):
    assume(held_out_size(len(history), share) < len(history))
    by_time = sorted(range(len(history)), key=lambda position: (history[position][2], position))
    _, test = splits.temporal(numbered(history), share)
    assert positions(test) == sorted(by_time[-len(test) :])


@given(HISTORIES, st.integers(-2, 1))
def test_what_is_later_than_a_time_is_held_out(history, after):
    later = [position for position, (*_, time) in enumerate(history) if time > after]
    assume(0 < len(later) < len(history))
    assert positions(splits.temporal(numbered(history), after=after)[1]) == later


@given(HISTORIES)
def test_leave_one_out_holds_out_the_last_interaction_of_each_user_that_has_several(history):
    last, several = {}, set()
    for position, (user, _, time) in enumerate(history):
        if user in last:
            several.add(user)
        if user not in last or time >= history[last[user]][2]:
            last[user] = position
    assume(several)
    _, test = splits.leave_one_out(numbered(history))
    assert positions(test) == sorted(last[user] for user in several)


@given(HISTORIES, st.data(), SEEDS)
def test_folds_are_disjoint_cover_everything_and_differ_by_one_at_most(history, draw, seed):
    n_folds = draw.draw(st.integers(2, len(history)))
    tests = [positions(test) for _, test in splits.k_fold(numbered(history), n_folds, seed)]
    assert sorted(chain(*tests)) == list(range(len(history)))
    assert len(tests) == n_folds
    assert max(map(len, tests)) - min(map(len, tests)) <= 1


@given(st.integers(64, 80), SEEDS, st.integers(1, 2**63))
def test_a_random_split_is_a_function_of_the_seed(n, seed, distance):
    data = numbered([(0, 0, 0)] * n)

    def drawn(seed):
        return [positions(test) for _, test in [splits.ratio(data, 0.5, seed), *splits.k_fold(data, 2, seed)]]

    assert drawn(seed) == drawn(seed)
    assert all(one != other for one, other in zip(drawn(seed), drawn(seed + distance), strict=True))


@pytest.mark.parametrize(
    "split",
    [lambda data, seed: splits.ratio(data, 0.3, seed), lambda data, seed: next(splits.k_fold(data, 3, seed))],
)
def test_every_interaction_is_held_out_as_often_as_any_other(split):
    data = numbered([(0, 0, 0)] * 10)
    tests = [positions(split(data, seed)[1]) for seed in range(2_000)]
    counts = np.bincount(np.concatenate(tests), minlength=10)
    # Draws without replacement vary less than independent ones, by the share that is left; 40 is beyond one
    # of 100,000 samples.
    left = 1 - len(tests[0]) / 10
    assert chisquare(counts).statistic / left < 40
