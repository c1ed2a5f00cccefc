"""What holds for any interactions: ids survive, and merging agrees with doing it by hand."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfcore.data import Interactions, Vocabulary
from mfcore.errors import InvalidDataError

# Near one another too, as consecutive ids are looked up in another way than scattered ones.
integer_ids = st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 9))
# Any text; accents, composed or not, and digits; and long ones that differ at the end, if at all.
string_ids = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.text("e\u00e9\u030107", min_size=1, max_size=3),
    st.text("ab", min_size=1, max_size=3).map("a name beyond fifteen bytes ".__add__),
)
id_columns = st.one_of(
    st.lists(integer_ids, min_size=1),
    st.lists(st.integers(5, 9), min_size=1),
    st.lists(string_ids, min_size=1),
)
small_rows = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(-8, 8), st.integers(0, 3)), min_size=2
)


def asked_of(raw):
    return st.lists(integer_ids if isinstance(raw[0], int) else string_ids, min_size=1)


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
    asked = data.draw(asked_of(raw))
    expected = {one_id: row for row, one_id in enumerate(sorted(set(raw)))}
    rows = Vocabulary.build(raw)[0].rows(asked)
    assert rows.tolist() == [expected.get(one_id, -1) for one_id in asked]


@given(id_columns, st.data())
def test_an_id_is_looked_up_alone_as_in_a_column(raw, data):
    vocabulary, _ = Vocabulary.build(raw)
    asked = data.draw(asked_of(raw))
    for one_id, row in zip(asked, vocabulary.rows(asked).tolist(), strict=True):
        assert vocabulary.rows(one_id).tolist() == row
        assert (one_id in vocabulary) == (row >= 0)


@given(id_columns, st.randoms(use_true_random=False))
def test_a_vocabulary_depends_on_neither_the_order_nor_the_number_of_its_ids(raw, random):
    shuffled = random.sample(raw * 2, 2 * len(raw))
    assert Vocabulary.build(shuffled)[0] == Vocabulary.build(raw)[0]


@given(st.data(), st.integers(1, 8))
def test_interactions_come_back_as_they_went_in_whatever_the_kinds_of_their_ids(data, n):
    users, items = (data.draw(id_columns.filter(lambda raw: len(raw) >= n))[:n] for _ in range(2))
    kept = Interactions.from_columns(users, items, range(n), duplicates="keep")
    assert kept.user_ids[kept.users].tolist() == users
    assert kept.item_ids[kept.items].tolist() == items
    assert kept.values.tolist() == list(range(n))


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
