"""Named data sets: what there is, where it lies, and how to get it.

A name is looked for in the folder that the environment variable MFCORE_DATA names, then in the user's cache
folder, and is fetched into the cache otherwise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from mfcore.data._interactions import Interactions
from mfcore.data._published import NcfSplit, read_movielens, read_ncf
from mfcore.data._sources import NcfSource, RecboleWheelSource, Source, ZipSource
from mfcore.data._synthetic import synthetic
from mfcore.errors import DatasetUnavailableError, InvalidArgumentError, InvalidDataError

DATA_VARIABLE = "MFCORE_DATA"
N_FOLDS_100K = 5
_SYNTHETIC = re.compile(r"synthetic:(\d+)([km]?)")
_SCALE = {"": 1, "k": 1_000, "m": 1_000_000}


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a named data set.

    Attributes
    ----------
    name : str
        As `load` takes it.
    description : str
        One line.
    n_ratings : int
        Number of interactions.
    size_bytes : int
        Size of the download; about, where the files are not pinned byte for byte.
    licence : str
        Address of the terms of use.
    sources : tuple of sources
        Where it is fetched from, in this order.
    folder_names : tuple of str
        Further names under which its folder may lie in MFCORE_DATA.
    path : Path or None
        Folder or zip where it lies; None where it would have to be fetched.

    Examples
    --------
    >>> from mfcore import datasets
    >>> datasets.info("ml-1m").n_ratings
    1000209
    """

    name: str
    description: str
    n_ratings: int
    size_bytes: int
    licence: str
    sources: tuple[Source, ...] = field(repr=False)
    folder_names: tuple[str, ...] = field(default=(), repr=False)
    path: Path | None = None


def _movielens(
    size: str,
    n_ratings: int,
    size_bytes: int,
    sha256: str,
    description: str,
    *,
    others: tuple[Source, ...] = (),
    folder_names: tuple[str, ...] = (),
) -> DatasetInfo:
    url = f"https://files.grouplens.org/datasets/movielens/ml-{size}"
    readme = "README.txt" if size in ("100k", "1m") else "README.html"
    return DatasetInfo(
        name=f"ml-{size}",
        description=description,
        n_ratings=n_ratings,
        size_bytes=size_bytes,
        licence=f"{url}-{readme}",
        sources=(ZipSource(f"{url}.zip", sha256), *others),
        folder_names=folder_names,
    )


# GroupLens publishes MD5 sums. The SHA-256 sums are of archives with these MD5 sums, as TensorFlow Datasets
# and others record them in agreement.
DATASETS: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        _movielens(
            "100k",
            100_000,
            4_924_029,
            "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
            "MovieLens 100K (1998): 943 users, 1,682 films, whole stars",
            others=(
                RecboleWheelSource(
                    "recbole==1.2.1", "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
                ),
            ),
        ),
        _movielens(
            "1m",
            1_000_209,
            5_917_549,
            "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
            "MovieLens 1M (2003): 6,040 users, 3,706 films, whole stars",
        ),
        _movielens(
            "10m",
            10_000_054,
            65_566_137,
            "813c411ccb6122564edfe752e7f80c4dcc5aa25fa94c93622f6877a7ba252862",
            "MovieLens 10M (2009): 69,878 users, 10,677 films, half stars",
            folder_names=("ml-10M100K",),
        ),
        _movielens(
            "20m",
            20_000_263,
            198_702_078,
            "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
            "MovieLens 20M (2016): 138,493 users, 26,744 films, half stars",
        ),
        _movielens(
            "25m",
            25_000_095,
            261_978_986,
            "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
            "MovieLens 25M (2019): 162,541 users, 59,047 films, half stars",
        ),
        _movielens(
            "32m",
            32_000_204,
            238_950_008,
            "e4a68655d7386b8f95f2f2424b2ff975dfdd15ffd59e0d864a14dca43e99d6ee",
            "MovieLens 32M (2024): 200,948 users, 84,432 films, half stars",
        ),
        # GroupLens may replace this one; pinned is the edition of September 2018.
        _movielens(
            "latest-small",
            100_836,
            978_202,
            "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
            "MovieLens latest-small (edition of 2018): 610 users, 9,724 films, half stars",
        ),
        DatasetInfo(
            name="ml-1m-ncf",
            description="Leave-one-out split of MovieLens 1M of the NCF paper, 99 negatives a user",
            n_ratings=1_000_209,
            size_bytes=24_000_000,
            licence="https://files.grouplens.org/datasets/movielens/ml-1m-README.txt",
            sources=(
                NcfSource(
                    "https://raw.githubusercontent.com/hexiangnan/neural_collaborative_filtering/master/Data",
                    "ml-1m",
                    "ff2c0875cd73206ec3dc6b01d9d3a8ab9f2014af270547b2137156ed7a44a333",
                ),
            ),
        ),
    )
}


def available() -> list[DatasetInfo]:
    """Return all named data sets.

    Returns
    -------
    list of DatasetInfo
        With the path of those that are on disk.

    Examples
    --------
    >>> from mfcore import datasets
    >>> [dataset.name for dataset in datasets.available()]
    ['ml-100k', 'ml-1m', 'ml-10m', 'ml-20m', 'ml-25m', 'ml-32m', 'ml-latest-small', 'ml-1m-ncf']
    """
    return [info(name) for name in DATASETS]


def info(name: str) -> DatasetInfo:
    """Return what is known of a named data set, and where it lies.

    Parameters
    ----------
    name : str
        A name of `available`.

    Returns
    -------
    DatasetInfo

    Raises
    ------
    DatasetUnavailableError
        For an unknown name.

    Examples
    --------
    >>> from mfcore import datasets
    >>> datasets.info("ml-100k").description
    'MovieLens 100K (1998): 943 users, 1,682 films, whole stars'
    """
    known = _known(name)
    return replace(known, path=_find(known))


def find(name: str) -> Path | None:
    """Return the folder or zip of a named data set.

    Parameters
    ----------
    name : str
        A name of `available`.

    Returns
    -------
    Path or None
        None where it is not on disk.

    Raises
    ------
    DatasetUnavailableError
        For an unknown name, and where MFCORE_DATA names no folder.

    Examples
    --------
    >>> import os
    >>> from pathlib import Path
    >>> from mfcore import datasets
    >>> Path("my-data", "ml-100k").mkdir(parents=True)
    >>> os.environ["MFCORE_DATA"] = "my-data"
    >>> datasets.find("ml-100k").name
    'ml-100k'
    >>> print(datasets.find("ml-32m"))
    None
    """
    return _find(_known(name))


def fetch(dataset: str | DatasetInfo, *, folder: Path | None = None, progress: bool = True) -> Path:
    """Get a data set onto the disk, unless it is there.

    Parameters
    ----------
    dataset : str or DatasetInfo
        Name, or the description of a data set of your own.
    folder : Path, optional
        Where to make the data set's folder; None is the cache folder of the user.
    progress : bool
        Show progress on stderr, if that is a terminal.

    Returns
    -------
    Path
        The folder or zip, whole and verified.

    Raises
    ------
    DatasetUnavailableError
        Where no source can be reached or verified; the message says where to put the data by hand.

    Examples
    --------
    >>> from pathlib import Path
    >>> from mfcore import datasets
    >>> Path("my-data", "ml-100k").mkdir(parents=True)
    >>> datasets.fetch("ml-100k", folder=Path("my-data")).name  # it is there
    'ml-100k'
    """
    info = _known(dataset) if isinstance(dataset, str) else dataset
    path = _find(info) if folder is None else _find_in(folder, info)
    if path is not None:
        return path
    destination = (_cache() if folder is None else folder) / info.name
    failures = []
    for source in info.sources:
        try:
            source.fetch(destination, progress=progress)
        except (DatasetUnavailableError, InvalidDataError) as error:
            failures.append(str(error))
        else:
            return destination
    raise DatasetUnavailableError(
        f"{info.name} is not on disk and cannot be fetched ({'; '.join(failures)}). Get it by hand from "
        f"{info.sources[0].origin}, put the zip or the unpacked folder into a folder of yours as "
        f"{info.name}.zip or {info.name}, and set {DATA_VARIABLE} to that folder"
    )


def load(name_or_path: str | Path) -> Interactions:
    """Return a data set by name, a synthetic one by size, or the content of a path.

    Parameters
    ----------
    name_or_path : str or Path
        A name of `available`, fetched where needed; "synthetic:100k", "synthetic:20m" and the like; or a path
        as `Interactions.read` takes it. Of an NCF data set it is the training part.

    Returns
    -------
    Interactions

    Raises
    ------
    DatasetUnavailableError
        For what is neither a name nor a path, and a data set that cannot be fetched.

    Examples
    --------
    >>> from mfcore import datasets
    >>> datasets.load("synthetic:10k")
    Interactions(10,000 interactions, 631 users × 600 items, density 2.641%, values 1 to 5)
    """
    name = str(name_or_path)
    if generated := _SYNTHETIC.fullmatch(name.lower()):
        return synthetic(int(generated[1]) * _SCALE[generated[2]]).interactions
    if name in DATASETS:
        return Interactions.read(fetch(name))
    path = Path(name_or_path)
    if path.exists() or path.suffix or path.parent != Path():
        return Interactions.read(path)
    return Interactions.read(fetch(_known(name)))


def movielens(size: str = "100k") -> Interactions:
    r"""Return a MovieLens data set by size, fetched where needed.

    Parameters
    ----------
    size : str
        "100k", "1m", "10m", "20m", "25m", "32m" or "latest-small".

    Returns
    -------
    Interactions
        With timestamps, titles and genres.

    Raises
    ------
    DatasetUnavailableError
        For another size, and a data set that cannot be fetched.

    Examples
    --------
    A folder of this name in MFCORE_DATA goes before the published one:

    >>> import os
    >>> from pathlib import Path
    >>> from mfcore import datasets
    >>> folder = Path("my-data", "ml-100k")
    >>> folder.mkdir(parents=True)
    >>> lines = ["1\t31\t4\t10", "1\t7\t5\t20", "2\t31\t3\t5", "2\t8\t1\t9", "3\t8\t2\t7"]
    >>> _ = (folder / "u.data").write_text("\n".join(lines), encoding="utf-8")
    >>> os.environ["MFCORE_DATA"] = "my-data"
    >>> datasets.movielens("100k").values.tolist()
    [4.0, 5.0, 3.0, 1.0, 2.0]
    """
    return read_movielens(fetch(_movielens_name(size)))


def movielens_folds(size: str = "100k") -> Iterator[tuple[Interactions, Interactions]]:
    r"""Return the five published folds of MovieLens 100K, u1 to u5.

    GroupLens cut them from u.data by position: the test part of fold k is the k-th run of 20,000 lines. So
    they need no file but u.data. Rows are ordered as in the published files, by user and item.

    Parameters
    ----------
    size : str
        "100k".

    Yields
    ------
    train, test : Interactions
        u1.base and u1.test to u5.base and u5.test, with the vocabularies of all of u.data.

    Raises
    ------
    InvalidArgumentError
        For another size: no others have published folds.
    DatasetUnavailableError
        Where the data set cannot be fetched.

    Examples
    --------
    On a folder of five ratings in MFCORE_DATA each fold tests one:

    >>> import os
    >>> from pathlib import Path
    >>> from mfcore import datasets
    >>> folder = Path("my-data", "ml-100k")
    >>> folder.mkdir(parents=True)
    >>> lines = ["1\t31\t4\t10", "1\t7\t5\t20", "2\t31\t3\t5", "2\t8\t1\t9", "3\t8\t2\t7"]
    >>> _ = (folder / "u.data").write_text("\n".join(lines), encoding="utf-8")
    >>> os.environ["MFCORE_DATA"] = "my-data"
    >>> [test.values.tolist() for _, test in datasets.movielens_folds()]
    [[4.0], [5.0], [3.0], [1.0], [2.0]]
    """
    if _movielens_name(size) != "ml-100k":
        raise InvalidArgumentError(
            f"GroupLens published folds for 100k only, not for {size!r}; use splits.k_fold"
        )
    data = movielens(size)
    order = np.lexsort((data.items, data.users))
    fold = order * N_FOLDS_100K // len(data)
    return (
        (data.select(order[fold != number]), data.select(order[fold == number]))
        for number in range(N_FOLDS_100K)
    )


def ncf(name: str = "ml-1m") -> NcfSplit:
    r"""Return the leave-one-out split of the NCF paper, fetched where needed.

    Parameters
    ----------
    name : str
        "ml-1m".

    Returns
    -------
    NcfSplit

    Raises
    ------
    DatasetUnavailableError
        For another name, and a data set that cannot be fetched.

    Examples
    --------
    A folder "ml-1m-ncf" in MFCORE_DATA goes before the published one:

    >>> import os
    >>> from mfcore import datasets
    >>> from pathlib import Path
    >>> folder = Path("ml-1m-ncf")
    >>> folder.mkdir()
    >>> for name, text in {
    ...     "toy.train.rating": "0\t10\t5\t1\n1\t11\t3\t2\n",
    ...     "toy.test.rating": "0\t11\t4\t3\n1\t10\t2\t4\n",
    ...     "toy.test.negative": "(0,11)\t12\t13\n(1,10)\t12\t13\n",
    ... }.items():
    ...     _ = (folder / name).write_text(text, encoding="utf-8")
    >>> os.environ["MFCORE_DATA"] = "."
    >>> datasets.ncf("ml-1m")
    NcfSplit(2 training and 2 test interactions, 2 negatives each, 2 users × 4 items)
    """
    return read_ncf(fetch(f"{name.removesuffix('-ncf')}-ncf"))


def _movielens_name(size: str) -> str:
    return f"ml-{size.lower().removeprefix('ml-')}"


def _known(name: str) -> DatasetInfo:
    try:
        return DATASETS[name]
    except KeyError:
        close = get_close_matches(name, DATASETS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise DatasetUnavailableError(
            f"there is no data set named {name!r}, only {', '.join(DATASETS)}, synthetic:SIZE and paths{hint}"
        ) from None


def _find(info: DatasetInfo) -> Path | None:
    for folder in _data_folders():
        if (path := _find_in(folder, info)) is not None:
            return path
    return None


def _find_in(folder: Path, info: DatasetInfo) -> Path | None:
    for name in (info.name, *info.folder_names):
        if (folder / name).is_dir():
            return folder / name
        if (folder / f"{name}.zip").is_file():
            return folder / f"{name}.zip"
    return None


def _data_folders() -> Iterator[Path]:
    if named := os.environ.get(DATA_VARIABLE):
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise DatasetUnavailableError(
                f"{DATA_VARIABLE} names {named}, which is no folder; correct or unset it"
            )
        yield folder
    yield _cache()


def _cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("mfcore"))
