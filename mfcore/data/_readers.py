"""Files and folders of every kind that is known, as raw interactions."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from mfcore.data._movielens import find_layout, parse_movielens
from mfcore.data._ncf import find_prefix, parse_ncf
from mfcore.data._raw import RawInteractions
from mfcore.data._tabular import read_delimited, read_parquet
from mfcore.errors import InvalidArgumentError, InvalidDataError

FORMATS = ("csv", "parquet", "movielens", "ncf")
_PARQUET = (".parquet", ".pq")


def read_raw(
    path: Path, *, format: str | None, columns: Sequence[str | int] | None, string_ids: bool
) -> RawInteractions:
    """Return what a file or folder holds; the arguments are those of `Interactions.read`."""
    kind = _sniff_format(path) if format is None else format
    if kind not in FORMATS:
        raise InvalidArgumentError(f"format={format!r} is unknown; choose one of {', '.join(FORMATS)}")
    if kind in ("movielens", "ncf"):
        if columns is not None or string_ids:
            raise InvalidArgumentError(
                f"{path} is read as {kind}, whose columns are fixed: leave columns and string_ids out, or"
                ' pass format="csv" with the path of one file'
            )
        return parse_movielens(path) if kind == "movielens" else parse_ncf(path).train
    if not path.is_file():
        raise InvalidDataError(f"{path} does not exist, or is no file; check the path")
    return read_parquet(path, columns) if kind == "parquet" else read_delimited(path, columns, string_ids)


def _sniff_format(path: Path) -> str:
    from zipfile import is_zipfile

    if path.is_dir():
        if find_layout([entry.name for entry in path.iterdir()]) is not None:
            return "movielens"
        if find_prefix(path) is not None:
            return "ncf"
        raise InvalidDataError(
            f"{path} is a folder that holds neither MovieLens (u.data, ratings.dat or ratings.csv) nor NCF "
            "files (*.train.rating); pass the path of a file"
        )
    if not path.is_file():
        if find_prefix(path) is not None:
            return "ncf"
        close = get_close_matches(path.name, [entry.name for entry in path.parent.glob("*")], n=1)
        hint = f"; did you mean {path.parent / close[0]}?" if close else "; check the path"
        raise InvalidDataError(f"{path} does not exist{hint}")
    if path.suffix in _PARQUET:
        return "parquet"
    return "movielens" if is_zipfile(path) else "csv"
