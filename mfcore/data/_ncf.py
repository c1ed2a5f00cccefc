"""The leave-one-out files of the NCF paper: ``*.train.rating``, ``*.test.rating``, ``*.test.negative``.

Source: X. He et al., "Neural Collaborative Filtering", WWW 2017, and the repository that goes with it. Each
line of the first two is user, item, rating and time, divided by tabs; a line of the third is the pair
``(user,item)`` of the test line with the same number, then the items to rank it against.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mfcore.data._columns import to_numpy
from mfcore.data._delimited import parse_ratings, parse_table
from mfcore.data._ids import Vocabulary
from mfcore.data._movielens import Movie, read_movies
from mfcore.data._raw import RawInteractions
from mfcore.errors import InvalidDataError

if TYPE_CHECKING:
    import pyarrow as pa

TRAIN, TEST, NEGATIVE = ".train.rating", ".test.rating", ".test.negative"
ITEM_ID_MAP = "item_id_map.csv"


@dataclass(frozen=True, eq=False)
class RawNcf:
    """What the three files hold: see `NcfSplit`."""

    train: RawInteractions
    test: RawInteractions
    negatives: npt.NDArray[np.int32]


def parse_ncf(path: Path, titles: Mapping[int, str] | None = None) -> RawNcf:
    """Return what the three files hold; the arguments are those of `read_ncf`."""
    prefix = find_prefix(path)
    if prefix is None:
        raise InvalidDataError(
            f"{path} holds no NCF data set, or more than one: expected NAME{TRAIN}, NAME{TEST} and "
            f"NAME{NEGATIVE}; pass the folder, or the path up to and with NAME"
        )
    train, test = _read_ratings(_file(prefix, TRAIN)), _read_ratings(_file(prefix, TEST))
    negatives = _read_negatives(_file(prefix, NEGATIVE), test)
    user_ids, _ = Vocabulary.build(np.concatenate([train["user"], test["user"]]), "users")
    item_ids, _ = Vocabulary.build(np.concatenate([train["item"], test["item"], negatives.ravel()]), "items")
    movies = _find_movies(prefix.parent) if titles is None else {}
    names = titles if titles is not None else {item: movie.title for item, movie in movies.items()}
    shared: dict[str, Any] = {
        "user_ids": user_ids,
        "item_ids": item_ids,
        "item_names": names or None,
        "item_genres": {item: movie.genres for item, movie in movies.items()} or None,
    }
    rows = item_ids.rows(negatives.ravel()).astype(np.int32).reshape(negatives.shape)
    rows.flags.writeable = False
    return RawNcf(
        train=RawInteractions.from_roles(_file(prefix, TRAIN), train, **shared),
        test=RawInteractions.from_roles(_file(prefix, TEST), test, **shared),
        negatives=rows,
    )


def find_prefix(path: Path) -> Path | None:
    r"""Return the common prefix of the files of an NCF data set.

    Parameters
    ----------
    path : Path
        A folder that holds one such set, or the prefix itself.

    Returns
    -------
    Path or None
        None where there is no set, or more than one.

    Examples
    --------
    >>> from mfcore.data import find_prefix
    >>> from pathlib import Path
    >>> folder = Path("toy-ncf")
    >>> folder.mkdir()
    >>> for name, text in {
    ...     "toy.train.rating": "0\t10\t5\t1\n1\t11\t3\t2\n",
    ...     "toy.test.rating": "0\t11\t4\t3\n1\t10\t2\t4\n",
    ...     "toy.test.negative": "(0,11)\t12\t13\n(1,10)\t12\t13\n",
    ... }.items():
    ...     _ = (folder / name).write_text(text, encoding="utf-8")
    >>> find_prefix(folder).name
    'toy'
    """
    if not path.is_dir():
        return path if _file(path, TRAIN).is_file() else None
    files = [file for file in path.iterdir() if file.name.endswith(TRAIN)]
    return files[0].with_name(files[0].name.removesuffix(TRAIN)) if len(files) == 1 else None


def _file(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(prefix.name + suffix)


def _read_ratings(path: Path) -> dict[str, npt.NDArray[Any]]:
    return _columns(parse_ratings(_existing(path)))


def _read_negatives(path: Path, test: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    import pyarrow as pa

    text = _existing(path).read_bytes()
    first, _, _ = text.partition(b"\n")
    names = ["user", "item", *(str(number) for number in range(first.count(b"\t")))]
    # "(0,25)<tab>1064 ..." is one table of integers once the pair is written like the rest.
    plain = io.BytesIO(text.replace(b"(", b"").replace(b",", b"\t").replace(b")", b""))
    columns = _columns(parse_table(plain, names, dict.fromkeys(names, pa.int64()), where=path))
    _check_pairs(path, columns, test)
    return np.column_stack([columns[name] for name in names[2:]])


def _check_pairs(
    path: Path, columns: Mapping[str, npt.NDArray[Any]], test: Mapping[str, npt.NDArray[Any]]
) -> None:
    if len(columns["user"]) != len(test["user"]):
        raise InvalidDataError(
            f"{path} has {len(columns['user'])} lines, but the test file has {len(test['user'])}; "
            "each test interaction needs one line of negatives"
        )
    other = (columns["user"] != test["user"]) | (columns["item"] != test["item"])
    if other.any():
        row = int(np.argmax(other))
        raise InvalidDataError(
            f"{path}: line {row + 1} belongs to ({columns['user'][row]},{columns['item'][row]}), but the "
            f"test interaction there is ({test['user'][row]},{test['item'][row]}); these files do not match"
        )


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InvalidDataError(
            f"{path} does not exist; an NCF data set has three files: {TRAIN}, {TEST}, {NEGATIVE}"
        )
    return path


def _columns(table: pa.Table) -> dict[str, npt.NDArray[Any]]:
    return {name: to_numpy(table[name].combine_chunks()) for name in table.column_names}


def _find_movies(folder: Path) -> dict[int, Movie]:
    """Return the films by NCF item id, where the id map and a MovieLens folder beside it are at hand."""
    id_map, movielens = folder / ITEM_ID_MAP, folder.parent / "ml-1m"
    if not (id_map.is_file() and (movielens / "movies.dat").is_file()):
        return {}
    import pyarrow as pa

    names = ("ncf_item", "movie_id")
    table = parse_table(id_map, names, dict.fromkeys(names, pa.int64()), separator=",", skip_rows=1)
    movies = read_movies(movielens)
    numbers: Sequence[list[int]] = [table[name].to_pylist() for name in names]
    return {item: movies[movie] for item, movie in zip(*numbers, strict=True) if movie in movies}
