"""Interactions: what the one form of data guarantees, and how bad columns are refused."""

import datetime
import pickle

import numpy as np
import pytest
from scipy import sparse

from mfcore.data import Interactions, Vocabulary
from mfcore.errors import InvalidArgumentError, InvalidDataError


@pytest.fixture
def small():
    return Interactions.from_columns(
        users=["bob", "ann", "bob"],
        items=[20, 10, 10],
        values=[5, 3.5, 4],
        timestamps=[100, 50, 200],
        item_names={10: "Ten", 99: "not there"},
        item_genres={20: ["Drama"]},
    )


def test_columns_become_rows_of_sorted_vocabularies(small):
    assert small.user_ids.ids.tolist() == ["ann", "bob"]
    assert small.users.tolist() == [1, 0, 1]
    assert small.items.tolist() == [1, 0, 0]
    assert small.values.tolist() == [5, 3.5, 4]
    assert (small.users.dtype, small.items.dtype) == (np.int32, np.int32)
    assert (small.values.dtype, small.timestamps.dtype) == (np.float32, np.int64)
    assert (len(small), small.n_users, small.n_items, small.density) == (3, 2, 2, 0.75)


def test_items_without_a_title_are_named_by_their_id(small):
    assert small.item_names.tolist() == ["Ten", "20"]
    assert small.item_genres == ((), ("Drama",))


def test_missing_values_are_ones():
    assert Interactions.from_columns([1, 2], [3, 3]).values.tolist() == [1, 1]


def test_one_user_and_one_item_are_data():
    data = Interactions.from_columns(["only"], [7])
    assert (data.n_users, data.n_items, data.density) == (1, 1, 1.0)


def test_arrays_are_read_only_and_leave_the_callers_alone(small):
    values = np.array([1.0, 2.0], dtype=np.float32)
    data = Interactions.from_columns([1, 2], [1, 2], values)
    for array in (data.users, data.items, data.values, small.timestamps, data.seen.indices):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    values[0] = 9
    assert data.values[0] == 1


def test_interactions_say_what_they_are(small):
    assert repr(small) == (
        "Interactions(3 interactions, 2 users × 2 items, density 75.000%, values 3.5 to 5, "
        "timestamps, item names)"
    )
    assert repr(pickle.loads(pickle.dumps(small))) == repr(small)


def test_counts_and_seen_items_cover_ids_without_interactions():
    data = Interactions.from_columns(
        [2, 2, 0], [1, 0, 1], user_ids=Vocabulary.range(4), item_ids=Vocabulary.range(3)
    )
    assert data.user_counts.tolist() == [1, 0, 2, 0]
    assert data.item_counts.tolist() == [1, 2, 0]
    assert data.seen.indptr.tolist() == [0, 1, 1, 3, 3]
    assert data.seen.indices.tolist() == [1, 0, 1]
    assert data.seen.counts.tolist() == [1, 0, 2, 0]
    assert (data.seen.indptr.dtype, data.seen.indices.dtype) == (np.int64, np.int32)
    assert data.seen.of(2).tolist() == [0, 1]
    with pytest.raises(InvalidArgumentError, match="outside the 4 users"):
        data.seen.of(-1)


def test_seen_items_are_unique_however_often_a_pair_repeats():
    data = Interactions.from_columns([0] * 300, [5] * 300, duplicates="keep")
    assert data.seen.indices.tolist() == [0]
    assert data.user_counts.tolist() == [300]


def test_the_matrix_holds_each_value_in_its_place(small):
    assert small.to_csr().toarray().tolist() == [[3.5, 0], [4, 5]]
    assert small.to_csr().dtype == np.float32


def test_a_matrix_of_repeated_pairs_is_refused():
    data = Interactions.from_columns([1, 1], [1, 1], duplicates="keep")
    with pytest.raises(InvalidDataError, match=r"1 interactions repeat.*duplicates="):
        data.to_csr()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"users": [], "items": []}, "no interactions"),
        ({"users": [1, 2], "items": [1]}, r"items has 1 rows, but users has 2"),
        ({"users": [1], "items": [1], "values": [1, 2]}, r"values has 2 rows, but users has 1"),
        ({"users": [1], "items": [1], "timestamps": [1, 2]}, "timestamps has 2 rows"),
        (
            {"users": [17, 18], "items": ["abc", "b"], "values": [np.nan, 1]},
            r"NaN at position 0 \(user 17, item 'abc'; 1 such rows\); drop or fill",
        ),
        ({"users": [1], "items": [1], "values": [np.inf]}, "inf at position 0"),
        ({"users": [1], "items": [1], "values": [None]}, "NaN at position 0"),
        ({"users": [1], "items": [1], "values": [1e39]}, "1e\\+39 .*too large for float32"),
        ({"users": [1], "items": [1], "values": ["5"]}, "values has type string.*numbers"),
        ({"users": [1], "items": [1], "values": np.array([1j])}, "values has type complex128"),
        ({"users": [1.5], "items": [1]}, "users has type double"),
        ({"users": [1], "items": [None]}, "items contains a missing id"),
        ({"users": [1], "items": [1], "timestamps": [1.5]}, "timestamps has type double"),
        ({"users": [1], "items": [1], "timestamps": [None]}, "timestamps"),
        ({"users": [1], "items": [1], "timestamps": ["1998"]}, "convert it first"),
        (
            {"users": [1], "items": [1], "timestamps": np.array(["NaT"], "M8[s]")},
            "missing time at position 0",
        ),
        ({"users": np.ones((2, 2), int), "items": [1]}, "shape"),
    ],
)
def test_bad_columns_are_refused_with_value_and_place(columns, message):
    with pytest.raises(InvalidDataError, match=message):
        Interactions.from_columns(**columns)


@pytest.mark.parametrize("values", [[0, 1], [True, False], np.array([1, 2], dtype=np.float16)])
def test_integers_bools_and_half_floats_are_values(values):
    assert Interactions.from_columns([1, 2], [1, 2], values).values.tolist() == [float(v) for v in values]


def test_dates_become_unix_seconds():
    moment = datetime.datetime(1998, 1, 1, tzinfo=datetime.UTC)
    expected = [int(moment.timestamp())]
    for column in (
        [moment],
        [moment.date()],
        np.array(["1998-01-01T00:00:00.123"], dtype="datetime64[ms]"),
    ):
        assert Interactions.from_columns([1], [1], timestamps=column).timestamps.tolist() == expected


def test_ids_outside_a_given_vocabulary_are_refused_by_name():
    with pytest.raises(InvalidDataError, match=r"items contains 9 at position 1.*the 3 given ids.*1 such"):
        Interactions.from_columns([1, 1], [0, 9], item_ids=Vocabulary.range(3))
    with pytest.raises(InvalidDataError, match="users contains 'x' at position 0"):
        Interactions.from_columns(["x"], [0], user_ids=Vocabulary(["a"]))


def test_repeated_pairs_are_refused_with_the_first_pair_and_the_remedies():
    with pytest.raises(InvalidDataError, match=r"user 1 and item 'a'.*0 and 2 \(2 repeated rows.*last.*keep"):
        Interactions.from_columns([1, 1, 1, 1], ["a", "b", "a", "a"])
    with pytest.raises(InvalidDataError, match="user 9 and item 'b' occur together at positions 1 and 3"):
        Interactions.from_columns([8, 9, 8, 9, 8], ["a", "b", "c", "b", "a"])


@pytest.mark.parametrize(
    ("policy", "value", "time"),
    [("last", 3, 9), ("first", 5, 1), ("mean", 4, 9), ("sum", 12, 9), ("max", 5, 9)],
)
def test_repeated_pairs_are_merged_by_time(policy, value, time):
    data = Interactions.from_columns(
        [1, 1, 2, 1], [1, 1, 1, 1], [3, 4, 7, 5], timestamps=[9, 5, 0, 1], duplicates=policy
    )
    merged = dict(zip(data.users.tolist(), zip(data.values, data.timestamps, strict=True), strict=True))
    assert merged == {0: (value, time), 1: (7, 0)}


@pytest.mark.parametrize(("policy", "value"), [("last", 4), ("first", 3)])
def test_without_times_the_position_decides(policy, value):
    data = Interactions.from_columns([1, 1], [1, 1], [3, 4], duplicates=policy)
    assert data.values.tolist() == [value]


def test_merged_rows_keep_the_order_of_the_data():
    data = Interactions.from_columns([9, 1, 9, 5], [1, 1, 1, 1], duplicates="last")
    assert data.user_ids[data.users].tolist() == [1, 9, 5]


def test_a_sum_that_overflows_is_refused():
    with pytest.raises(InvalidDataError, match="too large for float32"):
        Interactions.from_columns([1, 1], [1, 1], [3e38, 3e38], duplicates="sum")


def test_pairs_beyond_the_range_of_int32_are_not_mistaken_for_repeated_ones():
    # 65,536 x 65,536 pairs: in 32 bits user x n_items + item takes the same value for all users.
    n = 65_536
    data = Interactions.from_columns(
        [0, 1, 2], [5, 5, 5], user_ids=Vocabulary.range(n), item_ids=Vocabulary.range(n)
    )
    assert len(data) == 3


def test_an_unknown_policy_is_refused_with_the_known_ones():
    with pytest.raises(InvalidArgumentError, match=r"'latest' is unknown; choose one of error, last"):
        Interactions.from_columns([1], [1], duplicates="latest")


def test_a_selection_keeps_vocabularies_and_names(small):
    for chosen in (np.array([True, False, True]), [0, 2]):
        part = small.select(chosen)
        assert part.values.tolist() == [5, 4]
        assert part.timestamps.tolist() == [100, 200]
        assert part.user_ids is small.user_ids
        assert part.item_names.tolist() == small.item_names.tolist()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([True], "mask has shape"),
        ([3], "position 3 is outside the 3 interactions"),
        ([0, 7, 2, 9], "position 7 is outside the 3 interactions"),
        ([2, -1], "position -1 is outside the 3 interactions"),
        ([-1], "position -1"),
        ([0.0], "float64"),
        ([], "no interaction"),
        ([False, False, False], "no interaction"),
    ],
)
def test_a_selection_of_nothing_or_of_what_is_not_there_is_refused(small, chosen, message):
    with pytest.raises(InvalidArgumentError, match=message):
        small.select(chosen)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_frames_of_every_library_are_read_alike(library):
    module = pytest.importorskip(library)
    columns = {"user": ["b", "a"], "item": [3, 1], "rating": [1.5, 2.0], "when": [7, 8]}
    frame = module.table(columns) if library == "pyarrow" else module.DataFrame(columns)
    data = Interactions.from_frame(frame, value="rating", timestamp="when")
    assert data.user_ids[data.users].tolist() == ["b", "a"]
    assert data.item_ids[data.items].tolist() == [3, 1]
    assert data.values.tolist() == [1.5, 2.0]
    assert data.timestamps.tolist() == [7, 8]


def test_a_lazy_frame_is_collected_and_optional_columns_are_found_by_name():
    polars = pytest.importorskip("polars")
    frame = polars.LazyFrame({"user": [1], "item": [2], "value": [3.0]})
    data = Interactions.from_frame(frame)
    assert data.values.tolist() == [3.0]
    assert data.timestamps is None


def test_a_missing_column_is_refused_with_the_closest_name():
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"user": [1], "item": [1], "rating": [1]})
    with pytest.raises(InvalidDataError, match=r"no column 'raiting', only 'user'.*did you mean 'rating'"):
        Interactions.from_frame(table, value="raiting")
    with pytest.raises(InvalidDataError, match="use from_columns"):
        Interactions.from_frame([1, 2])


def test_sparse_matrices_keep_explicit_zeros_and_empty_rows():
    matrix = sparse.coo_array(([0.0, 2.0], ([0, 2], [1, 0])), shape=(4, 2))
    for form in ("coo", "csr", "csc", "lil"):
        data = Interactions.from_scipy(matrix.asformat(form))
        assert (data.n_users, data.n_items) == (4, 2)
        assert sorted(zip(data.users.tolist(), data.items.tolist(), strict=True))[-1] == (2, 0)
        assert len(data) == 2


def test_ids_of_a_sparse_matrix_may_come_in_any_order():
    matrix = sparse.csr_array(np.array([[1.0, 0], [0, 2.0]]))
    data = Interactions.from_scipy(matrix, user_ids=["z", "a"], item_ids=[10, 20])
    assert data.user_ids[data.users].tolist() == ["z", "a"]
    assert data.item_ids[data.items].tolist() == [10, 20]
    assert data.values.tolist() == [1, 2]


def test_repeated_entries_of_a_sparse_matrix_are_not_added_up_silently():
    matrix = sparse.coo_array(([1.0, 2.0], ([0, 0], [0, 0])), shape=(1, 1))
    with pytest.raises(InvalidDataError, match="occur together"):
        Interactions.from_scipy(matrix)
    assert Interactions.from_scipy(matrix, duplicates="last").values.tolist() == [2]


@pytest.mark.parametrize(
    ("matrix", "user_ids", "message"),
    [
        (np.eye(2), None, "is a ndarray"),
        (sparse.eye_array(2), [1], "user_ids has 1 ids, but the matrix has 2 rows"),
        (sparse.eye_array(2), [7, 7], "user_ids contains 7 more than once"),
        (sparse.eye_array(4), [5, 9, 7, 9], "user_ids contains 9 more than once"),
        (sparse.coo_array((2, 2)), None, "no interactions"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(matrix, user_ids, message):
    with pytest.raises(InvalidDataError, match=message):
        Interactions.from_scipy(matrix, user_ids=user_ids)
