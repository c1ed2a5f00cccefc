"""Files of every kind, read through one door."""

import pytest

from mfcore.data import Interactions, read
from mfcore.errors import InvalidArgumentError, InvalidDataError


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="ratings.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return write_file


def rows(data):
    columns = (data.user_ids[data.users], data.item_ids[data.items], data.values)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("separator", [",", "\t", ";", "::", "|", " "])
def test_every_separator_is_found(write, separator):
    lines = [["1", "20", "3.5", "7"], ["2", "20", "4", "8"]]
    data = read(write("\n".join(separator.join(line) for line in lines) + "\n", "ratings.txt"))
    assert rows(data) == [(1, 20, 3.5), (2, 20, 4)]
    assert data.timestamps.tolist() == [7, 8]


@pytest.mark.parametrize(
    "header",
    [
        "rating,userId,movieId",
        "Value,User,Item",
        "rating:float,user_id:token,item_id:token",
    ],
)
def test_well_known_names_in_a_header_are_found_in_any_order(write, header):
    assert rows(read(write(f"{header}\n5,a,x\n1,b,y\n"))) == [("a", "x", 5), ("b", "y", 1)]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(write):
    assert rows(read(write("\ufeffuser,item\r\n1,2\r\n"))) == [(1, 2, 1)]


def test_columns_are_chosen_by_name_or_by_position(write):
    path = write("who,what,extra,stars\nann,x,?,4\n")
    assert rows(read(path, columns=["who", "what", "stars"])) == [("ann", "x", 4)]
    assert rows(read(path, columns=[1, 0, 3])) == [("x", "ann", 4)]


def test_quoted_text_may_hold_the_separator(write):
    assert rows(read(write('user,item\n"Doe, Jane",1\n'))) == [("Doe, Jane", 1, 1)]


def test_leading_zeros_are_kept_where_ids_are_text(write):
    path = write("user,item\n007,1\n7,1\n")
    assert rows(read(path, string_ids=True)) == [("007", "1", 1), ("7", "1", 1)]


def test_dates_in_a_file_become_seconds(write):
    data = read(write("user,item,rating,timestamp\n1,2,3,1970-01-02 00:00:00\n"))
    assert data.timestamps.tolist() == [86_400]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n\n1,2\n", "line 3: Expected 3 columns, got 2"),
        ("1,2,3\n1,x,4\n1,2,oops\n", "line 3"),
        ("user,item\n1,\n", "missing id at position 0"),
        ("user,item\n", "no interactions"),
        ("", "no separator"),
        ("word\n", "no separator"),
        (
            "alpha,beta,gamma\n1,2,3\n",
            r"no column known to hold the user ids; it has alpha, beta, gamma.*columns=",
        ),
        ("user,item\n1,1\n1,1\n", "occur together"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_line(write, text, message):
    path = write(text)
    with pytest.raises(InvalidDataError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_one_text_id_far_down_makes_all_ids_of_its_column_text(write):
    text = "user,item\n" + "".join(f"{user},{user}\n" for user in range(200_000)) + "zoe,1\n"
    data = read(write(text))
    assert data.user_ids.is_string
    assert not data.item_ids.is_string


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"columns": ["user"]}, InvalidArgumentError, "names 1 columns"),
        ({"columns": ["user", "itme"]}, InvalidDataError, "did you mean 'item'"),
        ({"columns": [0, 9]}, InvalidArgumentError, "there is no column 9"),
        ({"format": "xml"}, InvalidArgumentError, "choose one of csv, parquet"),
        ({"format": "parquet"}, InvalidDataError, "no readable Parquet file"),
        ({"format": "movielens"}, InvalidDataError, "no complete zip"),
        ({"format": "ncf"}, InvalidDataError, "no NCF data set"),
        ({"duplicates": "best"}, InvalidArgumentError, "choose one of error"),
    ],
)
def test_wrong_options_are_refused(write, options, error, message):
    with pytest.raises(error, match=message):
        read(write("user,item\n1,2\n"), **options)


def test_a_path_that_is_not_there_is_refused_with_the_closest_name(write, tmp_path):
    write("user,item\n1,2\n", "ratings.csv")
    with pytest.raises(InvalidDataError, match=r"does not exist; did you mean .*ratings\.csv"):
        read(tmp_path / "rating.csv")
    with pytest.raises(InvalidDataError, match="does not exist; check"):
        read(tmp_path / "no" / "where.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidDataError, match="is a folder that holds neither"):
        read(tmp_path / "empty")


def test_parquet_files_are_read_by_name_and_by_alias(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "ratings.parquet"
    table = pyarrow.table({"movieId": ["x", "y"], "userId": [2, 1], "rating": [1.5, 2.0], "more": [0, 0]})
    parquet.write_table(table, path)
    assert rows(read(path)) == [(2, "x", 1.5), (1, "y", 2.0)]
    assert rows(Interactions.read(path, columns=["userId", "movieId"])) == [(2, "x", 1), (1, "y", 1)]
    with pytest.raises(InvalidDataError, match="no column 'nothing'"):
        read(path, columns=["userId", "nothing"])


def test_fixed_formats_refuse_options_that_they_would_ignore(write):
    path = write("1\t2\t3\t4\n", "u.data")
    assert rows(read(path.parent)) == [(1, 2, 3)]
    with pytest.raises(InvalidArgumentError, match="whose columns are fixed"):
        read(path.parent, columns=[0, 1])


def test_repeated_pairs_of_a_fixed_format_are_merged_on_request(write):
    path = write("1\t2\t3\t4\n1\t2\t5\t6\n", "u.data")
    with pytest.raises(InvalidDataError, match=r"occur together.*duplicates="):
        read(path.parent)
    assert rows(read(path.parent, duplicates="mean")) == [(1, 2, 4)]
