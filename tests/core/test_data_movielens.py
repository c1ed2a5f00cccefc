"""MovieLens in its three layouts, from folders and zips."""

import zipfile

import pytest

from mfcore.data import read_movielens
from mfcore.errors import InvalidDataError

FLAGS = "0|1|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0"
LAYOUTS = {
    "100k": {
        "u.data": b"1\t7\t4\t100\n2\t9\t3\t200\n",
        "u.item": (
            f"7|Misérables, Les (1995)|01-Jan-1995||http://x|{FLAGS}\n9|Other: A|B::C|x|{FLAGS}\n"
            f"8|Unrated|||x|{FLAGS}\n"
        ).encode("latin-1"),
    },
    "1m": {
        "ratings.dat": b"1::7::4::100\n2::9::3::200\n",
        "movies.dat": "7::Misérables, Les (1995)::Action|Comedy\n9::Other: A::Drama\n".encode("latin-1"),
    },
    "10m": {
        "ratings.dat": b"1::7::3.5::100\n2::9::0.5::200\n",
        "movies.dat": "7::Misérables, Les (1995)::Action|Comedy\n9::Other: A::Drama\n".encode(),
    },
    "25m": {
        "ratings.csv": b"userId,movieId,rating,timestamp\n1,7,3.5,100\n2,9,0.5,200\n",
        "movies.csv": (
            'movieId,title,genres\n7,"Misérables, Les (1995)",Action|Comedy\n9,Other,(no genres listed)\n'
        ).encode(),
    },
}


def as_folder(path, files):
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def as_zip(path, files, top):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{top}{name}", content)
        archive.writestr(f"__MACOSX/{top}ratings.csv", b"junk")
    return path


@pytest.mark.parametrize("size", LAYOUTS)
@pytest.mark.parametrize("top", ["", "ml/", "a/b/"])
def test_every_layout_reads_alike_from_folder_and_zip(tmp_path, size, top):
    folder = read_movielens(as_folder(tmp_path / "set", LAYOUTS[size]))
    zipped = read_movielens(as_zip(tmp_path / "set.zip", LAYOUTS[size], top))
    for data in (folder, zipped):
        assert data.user_ids.ids.tolist() == [1, 2]
        assert data.item_ids.ids.tolist() == [7, 9]
        assert data.timestamps.tolist() == [100, 200]
        assert data.values.tolist() == ([4, 3] if size in ("100k", "1m") else [3.5, 0.5])
        assert data.item_names[0] == "Misérables, Les (1995)"
        assert data.item_genres[0] == ("Action", "Comedy")


def test_a_film_without_genres_has_none(tmp_path):
    assert read_movielens(as_folder(tmp_path / "set", LAYOUTS["25m"])).item_genres[1] == ()


def test_titles_are_optional(tmp_path):
    files = {"u.data": LAYOUTS["100k"]["u.data"]}
    data = read_movielens(as_folder(tmp_path / "set", files))
    assert data.item_names is None
    assert data.item_genres is None


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"readme": b""}, "expected u.data, ratings.dat or ratings.csv"),
        ({"ratings.dat": b"1::2::3::4\n1::2::3\n"}, "ratings.dat: .*line 2"),
        ({"ratings.csv": b"userId,movieId,rating,timestamp\n1,2,x,4\n"}, "line 2.*'x'"),
        ({"ratings.dat": b"1::2::3::4\n", "movies.dat": b"2::A::B\n3::broken\n"}, "after movie 2"),
        ({"u.data": b"1\t2\t3\t4\n", "u.item": b"2|A|B\n"}, "u.item cannot be parsed"),
        ({"u.data": b""}, "Empty CSV file"),
    ],
)
def test_broken_files_are_refused_by_name_and_place(tmp_path, files, message):
    with pytest.raises(InvalidDataError, match=message):
        read_movielens(as_folder(tmp_path / "set", files))


def test_a_truncated_zip_is_refused(tmp_path):
    path = as_zip(tmp_path / "set.zip", LAYOUTS["25m"], "")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InvalidDataError, match="no complete zip archive"):
        read_movielens(path)
    with pytest.raises(InvalidDataError, match="does not exist"):
        read_movielens(tmp_path / "none.zip")


def test_ml_100k_reads_as_published(shared_data):
    data = read_movielens(shared_data / "ml-100k")
    assert (len(data), data.n_users, data.n_items) == (100_000, 943, 1682)
    assert data.values.mean() == pytest.approx(3.52986)
    assert data.item_names[0] == "Toy Story (1995)"
    assert data.item_names[542] == "Misérables, Les (1995)"
    assert data.item_genres[0] == ("Animation", "Children's", "Comedy")
    assert data.user_ids[data.users[0]] == 196


def test_ml_1m_reads_as_published(shared_data):
    data = read_movielens(shared_data / "ml-1m")
    assert (len(data), data.n_users, data.n_items) == (1_000_209, 6040, 3706)
    assert data.item_names[data.item_ids.rows(73)] == "Misérables, Les (1995)"
