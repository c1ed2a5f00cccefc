"""Vocabularies: which ids are taken, which are refused, and how rows and ids map onto each other."""

import copy
import pickle

import numpy as np
import pytest

from mfcore.data import Vocabulary
from mfcore.errors import InvalidArgumentError, InvalidDataError


def series(library, values):
    module = pytest.importorskip(library)
    if library == "pyarrow":
        return module.chunked_array([values[:1], values[1:]])
    return module.Series(values)


def test_rows_are_the_places_of_the_sorted_distinct_ids():
    vocabulary, rows = Vocabulary.build(np.array([30, 10, 20, 10]))
    assert vocabulary.ids.tolist() == [10, 20, 30]
    assert rows.tolist() == [2, 0, 1, 0]
    assert rows.dtype == np.int32


def test_ids_far_apart_are_numbered_like_near_ones():
    far = np.array([2**62, 5, 2**62, 0])
    vocabulary, rows = Vocabulary.build(far)
    assert vocabulary.ids.tolist() == [0, 5, 2**62]
    assert vocabulary.ids[rows].tolist() == far.tolist()


def test_strings_are_ordered_by_code_point_and_come_back():
    vocabulary, rows = Vocabulary.build(["zoë", "Z", "007", "zoe"])
    assert vocabulary.is_string
    assert vocabulary.ids.tolist() == ["007", "Z", "zoe", "zoë"]
    assert vocabulary[rows].tolist() == ["zoë", "Z", "007", "zoe"]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "int64", "uint64"])
def test_every_integer_dtype_is_taken(dtype):
    vocabulary, _ = Vocabulary.build(np.array([3, 1], dtype=dtype))
    assert vocabulary.ids.dtype == np.int64
    assert vocabulary.ids.tolist() == [1, 3]


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("values", [[7, 3, 7], ["b", "a", "b"]])
def test_columns_of_every_library_are_taken(library, values):
    vocabulary, rows = Vocabulary.build(series(library, values))
    assert vocabulary[rows].tolist() == values


def test_categories_of_pandas_and_polars_are_taken_by_their_text():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for column in (
        pandas.Series(["b", "a"], dtype="category"),
        polars.Series(["b", "a"], dtype=polars.Categorical),
    ):
        assert Vocabulary.build(column)[0].ids.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.array([1.0, 2.0]), r"type double.*int64 .*2\*\*24"),
        ([True, False], "type bool"),
        (np.array([4, -1]), "-1 at position 1.*missing"),
        (np.array([1, 2**63], dtype=np.uint64), r"9223372036854775808 at position 1.*strings"),
        ([1, 2**70], "position 1, which does not fit 64 bits"),
        (["a", ""], "empty string at position 1"),
        (["a", None], "missing id at position 1"),
        ([4, None], "missing id at position 1"),
        ([None, None], "missing id at position 0"),
        ([1, "a"], "more than one type"),
        (np.array([1, "a"], dtype=object), "more than one type"),
        ([b"a"], "type binary"),
        (np.array([[1, 2]]), r"shape \(1, 2\)"),
        ({1, 2}, "is a set"),
        (np.ma.masked_array([1, 2], mask=[False, True]), "missing id at position 1"),
    ],
)
def test_what_can_be_no_id_is_refused_with_its_place(raw, message):
    with pytest.raises(InvalidDataError, match=message):
        Vocabulary.build(raw)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_missing_ids_are_refused_in_every_library(library):
    with pytest.raises(InvalidDataError, match=r"users contains a missing id at position 1"):
        Vocabulary.build(series(library, ["a", None]), "users")


def test_integers_that_pandas_turned_into_floats_are_refused_with_the_reason():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(InvalidDataError, match="missing entries turn integer columns into floats"):
        Vocabulary.build(pandas.Series([1, None]))


def test_unknown_ids_have_row_minus_one():
    integers, strings = Vocabulary([2, 3, 5]), Vocabulary(["a", "c"])
    assert integers.rows([5, 4, -7, 2**62]).tolist() == [2, -1, -1, -1]
    assert strings.rows(["b", "c", ""]).tolist() == [-1, 1, -1]


def test_consecutive_ids_need_not_start_at_zero():
    vocabulary = Vocabulary(range(5, 9))
    assert vocabulary.rows(np.array([4, 5, 8, 9])).tolist() == [-1, 0, 3, -1]


def test_long_strings_are_found_among_many():
    ids = [f"https://example.org/users/{number:09}" for number in range(0, 500, 2)]
    vocabulary, rows = Vocabulary.build(ids[::-1])
    assert vocabulary.rows(ids).tolist() == list(range(250))
    assert [int(vocabulary.rows(one)) for one in ids] == list(range(250))
    assert vocabulary[rows].tolist() == ids[::-1]
    assert int(vocabulary.rows(ids[7] + "x")) == -1


@pytest.mark.parametrize("one", [7, np.int32(7), np.array(7)])
def test_a_single_id_has_a_single_row(one):
    row = Vocabulary([3, 7]).rows(one)
    assert row.shape == ()
    assert int(row) == 1
    assert int(Vocabulary(["x"]).rows("x")) == 0
    assert int(Vocabulary(["x"]).rows(np.str_("y"))) == -1


def test_no_ids_have_no_rows():
    assert Vocabulary([1]).rows([]).tolist() == []
    assert Vocabulary.range(0).rows([1]).tolist() == [-1]
    assert Vocabulary([1])[[]].tolist() == []


@pytest.mark.parametrize(
    ("vocabulary", "asked", "message"),
    [
        (Vocabulary([12]), "12", "are integers, but strings were asked for.*'12'"),
        (Vocabulary(["12"]), 12, "are strings, but integers were asked for.*12"),
        (Vocabulary([12]), 12.0, "type double"),
        (Vocabulary(["12"]), None, "missing id"),
    ],
)
def test_ids_of_the_wrong_kind_are_an_error_and_not_unknown(vocabulary, asked, message):
    with pytest.raises(InvalidDataError, match=message):
        vocabulary.rows(asked)


def test_rows_outside_the_vocabulary_are_refused_and_do_not_wrap():
    vocabulary = Vocabulary(["a", "b"])
    assert vocabulary[1] == "b"
    assert vocabulary[[1, 0]].tolist() == ["b", "a"]
    for rows in (-1, 2, [0, -1]):
        with pytest.raises(InvalidArgumentError, match="outside the 2 rows"):
            vocabulary[rows]
    with pytest.raises(InvalidArgumentError, match="rows are integers"):
        vocabulary[[0.0]]


def test_ids_out_of_order_or_repeated_are_refused_by_the_constructor():
    for ids in ([2, 1], [1, 1], ["b", "a"]):
        with pytest.raises(InvalidDataError, match=r"sorted and unique.*Vocabulary\.build"):
            Vocabulary(ids)


def test_vocabularies_are_equal_by_content():
    assert Vocabulary([0, 1, 2]) == Vocabulary.range(3)
    assert Vocabulary([0, 1]) != Vocabulary([0, 2])
    assert Vocabulary([1]) != Vocabulary(["1"])
    assert Vocabulary([1]) != [1]


def test_a_vocabulary_is_a_read_only_collection_that_can_be_copied():
    vocabulary = Vocabulary(["a", "b"])
    assert list(vocabulary) == ["a", "b"]
    assert "a" in vocabulary
    assert "z" not in vocabulary
    assert 1 not in vocabulary
    assert 1.0 not in Vocabulary([1])
    assert True not in Vocabulary([1])
    assert pickle.loads(pickle.dumps(vocabulary)) == copy.deepcopy(vocabulary) == vocabulary
    assert repr(vocabulary) == "Vocabulary(2 strings: 'a' … 'b')"
    with pytest.raises(ValueError, match="read-only"):
        vocabulary.ids[0] = "c"


def test_a_range_must_fit_the_rows():
    for n in (-1, 2**31):
        with pytest.raises(InvalidArgumentError, match="n must be between"):
            Vocabulary.range(n)
