"""What holds for any interactions: ids survive, splits partition, merging agrees with doing it by hand."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfcore.data import Interactions, Vocabulary, splits
from mfcore.errors import InvalidDataError

integer_ids = st.integers(0, 2**63 - 1)
string_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
id_columns = st.one_of(st.lists(integer_ids, min_size=1), st.lists(string_ids, min_size=1))
small_rows = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(-8, 8), st.integers(0, 3)), min_size=2
)


def columns(rows):
    return [list(column) for column in zip(*rows, strict=True)]


@given(id_columns)
def test_ids_come_back_as_they_went_in(raw):
    vocabulary, rows = Vocabulary.build(raw)
    assert vocabulary[rows].tolist() == raw
    assert vocabulary.rows(raw).tolist() == rows.tolist()
    assert vocabulary.ids.tolist() == sorted(set(raw))


@given(id_columns, st.data())
def test_an_unknown_id_never_has_a_row(raw, data):
    asked = data.draw(st.lists(integer_ids if isinstance(raw[0], int) else string_ids, min_size=1))
    expected = {one_id: row for row, one_id in enumerate(sorted(set(raw)))}
    rows = Vocabulary.build(raw)[0].rows(asked)
    assert rows.tolist() == [expected.get(one_id, -1) for one_id in asked]


@given(small_rows, st.sampled_from(["last", "first", "mean", "sum", "max"]))
def test_merging_repeated_pairs_agrees_with_doing_it_by_hand(rows, policy):
    groups = defaultdict(list)
    for position, (user, item, value, time) in enumerate(rows):
        groups[user, item].append((time, position, value))
    by_hand = {
        "last": lambda group: max(group)[2],
        "first": lambda group: min(group)[2],
        "mean": lambda group: sum(value for *_, value in group) / len(group),
        "sum": lambda group: sum(value for *_, value in group),
        "max": lambda group: max(value for *_, value in group),
    }[policy]
    data = Interactions.from_columns(*columns(rows), duplicates=policy)
    pairs = zip(data.user_ids[data.users].tolist(), data.item_ids[data.items].tolist(), strict=True)
    merged = dict(zip(pairs, data.values.tolist(), strict=True))
    assert merged == pytest.approx({pair: by_hand(group) for pair, group in groups.items()})


@given(small_rows)
def test_repeated_pairs_are_never_missed(rows):
    repeated = len({row[:2] for row in rows}) < len(rows)
    if repeated:
        with pytest.raises(InvalidDataError, match="occur together"):
            Interactions.from_columns(*columns(rows))
    else:
        assert len(Interactions.from_columns(*columns(rows))) == len(rows)


@given(small_rows)
def test_seen_items_are_the_distinct_items_of_each_user(rows):
    data = Interactions.from_columns(*columns(rows), duplicates="keep")
    for user in range(data.n_users):
        assert data.seen.of(user).tolist() == sorted(set(data.items[data.users == user].tolist()))


@given(small_rows, st.floats(0.01, 0.99), st.integers(0, 2**32), st.integers(2, 5))
def test_splits_partition_the_rows_in_their_order(rows, share, seed, n_folds):
    data = Interactions.from_columns(*columns(rows), duplicates="keep")
    # The timestamps name the rows, so that the parts can be told apart.
    data = Interactions.from_columns(data.users, data.items, timestamps=range(len(rows)), duplicates="keep")
    parts = [splits.temporal(data, share)] if round(share * len(rows)) < len(rows) else []
    if parts:
        parts.append(splits.ratio(data, share, seed))
    if n_folds <= len(rows):
        parts += splits.k_fold(data, n_folds, seed)
    for train, test in parts:
        assert sorted([*train.timestamps.tolist(), *test.timestamps.tolist()]) == list(range(len(rows)))
        assert np.all(np.diff(train.timestamps) > 0)
        assert np.all(np.diff(test.timestamps) > 0)
