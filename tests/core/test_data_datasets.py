"""Named data sets: found, fetched from a source that works, or explained."""

import hashlib
import subprocess
import sys
import zipfile

import pytest

from mfcore.data import DatasetInfo, Interactions, datasets, read_movielens, read_ncf
from mfcore.data._movielens import GENRES_100K
from mfcore.data._sources import (
    NcfSource,
    RecboleWheelSource,
    ZipSource,
    convert_recbole_wheel,
    ncf_content_sha256,
)
from mfcore.errors import DatasetUnavailableError, InvalidArgumentError

U_DATA = b"1\t7\t4\t100\n2\t9\t3\t200\n"
NOWHERE = ZipSource("http://127.0.0.1:1/ml-toy.zip", "0" * 64)


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MFCORE_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no-cache"))
    return tmp_path


def toy_zip(folder, name="ml-toy.zip"):
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ml-toy/u.data", U_DATA)
    return path


def described(*sources):
    return DatasetInfo("ml-toy", "two ratings", 2, 100, "public domain", sources)


def pinned(path):
    return ZipSource(path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest())


def test_every_data_set_is_pinned_and_described():
    for info in datasets.available():
        assert info.n_ratings > 0
        assert info.size_bytes > 0
        assert info.licence.startswith("https://")
        for source in info.sources:
            digest = source.content_sha256 if isinstance(source, NcfSource) else source.sha256
            assert len(bytes.fromhex(digest)) == 32


@pytest.mark.parametrize("name", ["ml-10m", "ml-10M100K"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_data_set_is_found_as_folder_or_zip_under_any_of_its_names(data_folder, name, zipped):
    assert datasets.find("ml-10m") is None
    if zipped:
        path = toy_zip(data_folder, f"{name}.zip")
    else:
        path = data_folder / name
        path.mkdir()
        (path / "u.data").write_bytes(U_DATA)
    assert datasets.find("ml-10m") == datasets.info("ml-10m").path == datasets.fetch("ml-10m") == path
    assert len(datasets.movielens("10m")) == len(datasets.load("ml-10m")) == 2


def test_a_data_folder_that_is_none_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("MFCORE_DATA", str(tmp_path / "missing"))
    with pytest.raises(DatasetUnavailableError, match=r"MFCORE_DATA names .*missing, which is no folder"):
        datasets.find("ml-100k")


def test_a_data_set_is_fetched_verified_and_unpacked_once(tmp_path):
    path = toy_zip(tmp_path)
    info = described(pinned(path))
    folder = datasets.fetch(info, folder=tmp_path / "cache")
    assert (folder / "u.data").read_bytes() == U_DATA
    assert [entry.name for entry in folder.parent.iterdir()] == ["ml-toy"]
    path.unlink()
    assert datasets.fetch(info, folder=tmp_path / "cache") == folder
    assert len(read_movielens(folder)) == 2


def test_the_second_source_serves_where_the_first_cannot(tmp_path):
    info = described(NOWHERE, pinned(toy_zip(tmp_path)))
    assert (datasets.fetch(info, folder=tmp_path / "cache") / "u.data").is_file()


def test_without_any_source_the_error_says_where_to_put_the_data(tmp_path):
    wrong = ZipSource(toy_zip(tmp_path).as_uri(), "1" * 64)
    with pytest.raises(
        DatasetUnavailableError,
        match=r"ml-toy is not on disk.*cannot be reached.*should be 1111.*by hand from .*set MFCORE_DATA",
    ):
        datasets.fetch(described(NOWHERE, wrong), folder=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(("name", "n_ratings"), [("synthetic:500", 500), ("synthetic:2k", 2_000)])
def test_synthetic_data_sets_have_names(name, n_ratings):
    assert len(datasets.load(name)) == n_ratings


def test_paths_are_loaded_like_names(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("user,item\n1,2\n")
    assert isinstance(datasets.load(path), Interactions)
    assert len(datasets.load(str(path))) == 1


def test_an_unknown_name_is_refused_with_the_closest(tmp_path):
    for ask in (datasets.load, datasets.find, datasets.info, datasets.fetch):
        with pytest.raises(DatasetUnavailableError, match="did you mean 'ml-100k'"):
            ask("ml-100kk")
    with pytest.raises(DatasetUnavailableError, match="no data set named 'ml-7m'"):
        datasets.movielens("7m")


def test_a_synthetic_size_of_nothing_is_refused():
    with pytest.raises(InvalidArgumentError, match="n_ratings=0"):
        datasets.load("synthetic:0")


NCF = {
    "toy.train.rating": "0\t1\t5\t10\n1\t0\t3\t20\n",
    "toy.test.rating": "0\t4\t2\t30\n1\t1\t1\t40\n",
    "toy.test.negative": "(0,4)\t0\t7\n(1,1)\t4\t1\n",
}


def ncf_files(folder, **changes):
    folder.mkdir()
    for name, text in {**NCF, **changes}.items():
        (folder / name).write_text(text)
    return folder


def test_ncf_content_counts_and_not_order_times_or_line_ends(tmp_path):
    plain = ncf_content_sha256(read_ncf(ncf_files(tmp_path / "a")))
    reordered = {"toy.train.rating": "1\t0\t3\t0\r\n0\t1\t5\t0\r\n"}
    assert ncf_content_sha256(read_ncf(ncf_files(tmp_path / "b", **reordered))) == plain
    changed = {"toy.test.negative": "(0,4)\t7\t0\n(1,1)\t4\t1\n"}
    assert ncf_content_sha256(read_ncf(ncf_files(tmp_path / "c", **changed))) != plain


def test_ncf_files_are_fetched_and_verified_by_content(tmp_path):
    published = ncf_files(tmp_path / "published")
    digest = ncf_content_sha256(read_ncf(published))
    source = NcfSource(published.as_uri(), "toy", digest)
    source.fetch(tmp_path / "cache" / "toy-ncf", progress=False)
    assert len(read_ncf(tmp_path / "cache" / "toy-ncf").test) == 2
    with pytest.raises(DatasetUnavailableError, match="holds other data than expected"):
        NcfSource(published.as_uri(), "toy", "0" * 64).fetch(tmp_path / "cache" / "b", progress=False)
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["toy-ncf"]


def test_the_pinned_ncf_content_is_that_of_the_paper(shared_data):
    (source,) = datasets.info("ml-1m-ncf").sources
    assert ncf_content_sha256(read_ncf(shared_data / "ml-1m-ncf")) == source.content_sha256


def recbole_wheel(folder, u_data, films):
    path = folder / "recbole-1.2.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        inside = "recbole/dataset_example/ml-100k/ml-100k"
        wheel.writestr(f"{inside}.inter", b"user_id:token\titem_id:token\n" + u_data)
        wheel.writestr(f"{inside}.item", "\n".join(["item_id:token\tmovie_title", *films]))
    return path


def recbole_films(u_item):
    """Return the films of a published u.item as RecBole writes them."""
    for line in u_item.decode("latin-1").splitlines():
        movie_id, title, *rest = line.split("|")
        name, _, year = title.strip().removesuffix(")").rpartition(" (")
        if title == "unknown":
            name = year = "unkonwn"
        flags = rest[-len(GENRES_100K) :]
        named = " ".join(genre for genre, flag in zip(GENRES_100K, flags, strict=True) if flag == "1")
        yield f"{movie_id}\t{name}\t{year}\t{named}"


def test_a_wheel_that_carries_ml_100k_becomes_the_published_files(shared_data, tmp_path):
    published = shared_data / "ml-100k"
    u_data, u_item = (published / "u.data").read_bytes(), (published / "u.item").read_bytes()
    convert_recbole_wheel(recbole_wheel(tmp_path, u_data, recbole_films(u_item)), tmp_path / "ml-100k")
    assert (tmp_path / "ml-100k" / "u.data").read_bytes() == u_data
    ours, theirs = read_movielens(tmp_path / "ml-100k"), read_movielens(published)
    assert ours.item_names.tolist() == theirs.item_names.tolist()
    assert ours.item_genres == theirs.item_genres


def test_a_wheel_with_other_ratings_is_refused(tmp_path):
    with pytest.raises(DatasetUnavailableError, match="not those of ml-100k byte for byte"):
        convert_recbole_wheel(recbole_wheel(tmp_path, U_DATA, []), tmp_path / "ml-100k")
    with zipfile.ZipFile(tmp_path / "other.whl", "w"):
        pass
    with pytest.raises(DatasetUnavailableError, match="does not carry ml-100k"):
        convert_recbole_wheel(tmp_path / "other.whl", tmp_path / "ml-100k")
    assert not (tmp_path / "ml-100k").exists()


def test_pip_fetches_the_wheel_alone_and_its_digest_is_checked(tmp_path, monkeypatch):
    wheel = recbole_wheel(tmp_path, U_DATA, [])
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(
            "recbole-1.2.1.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: recbole\nVersion: 1.2.1\nRequires-Dist: no-such-package\n",
        )
        archive.writestr(
            "recbole-1.2.1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("recbole-1.2.1.dist-info/RECORD", "")
    if subprocess.run(
        [sys.executable, "-m", "pip", "--version"], capture_output=True, check=False
    ).returncode:
        pytest.skip("this Python has no pip")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DatasetUnavailableError, match="another file than expected: SHA-256"):
        RecboleWheelSource("recbole==1.2.1", "0" * 64).fetch(tmp_path / "out", progress=False)
    with pytest.raises(DatasetUnavailableError, match=r"pip download recbole==9\.9 failed"):
        RecboleWheelSource("recbole==9.9", "0" * 64).fetch(tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_reading_and_looking_up_load_no_library_that_is_not_used(shared_data):
    script = (
        "import sys; from mfcore.data import read_movielens\n"
        "heavy = {'scipy', 'pyarrow', 'pandas', 'polars', 'narwhals', 'rich', 'platformdirs'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        f"data = read_movielens({str(shared_data / 'ml-100k')!r}); data.user_ids.rows([1, 2])\n"
        "assert not {'pandas', 'polars', 'narwhals'} & set(sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
