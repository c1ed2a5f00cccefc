"""Files and frames of any kind, read as Interactions: one door, `read`, and the parsing behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from mfcore.data._interactions import Interactions
from mfcore.errors import InvalidArgumentError, InvalidDataError

if TYPE_CHECKING:
    import pyarrow as pa

    from mfcore.data._duplicates import Policy

    Source: TypeAlias = Path | IO[bytes]

ROLES = ("user", "item", "value", "timestamp")
FORMATS = ("csv", "parquet", "movielens", "ncf")
_PARQUET = (".parquet", ".pq")
# Names under which published files carry each role, lower case and without underscores.
_ALIASES = {
    "user": ("user", "userid"),
    "item": ("item", "itemid", "movie", "movieid"),
    "value": ("value", "rating"),
    "timestamp": ("timestamp", "time"),
}
# Stands for the "::" of MovieLens: a parser takes one character, and no text holds this one.
_UNIT_SEPARATOR = "\x1f"


def read(
    path: str | Path,
    *,
    format: str | None = None,
    columns: Sequence[str | int] | None = None,
    string_ids: bool = False,
    duplicates: Policy = "error",
) -> Interactions:
    """Read interactions from a file or folder.

    Parameters
    ----------
    path
        A delimited text file (comma, tab, semicolon, "::", "|" or blank; with or without a header), a
        Parquet file, a MovieLens folder or zip, or the folder or prefix of NCF files, of which the training
        part is read (`mfcore.data.read_ncf` gives all of it).
    format
        "csv" (any delimiter), "parquet", "movielens" or "ncf"; None tells them apart by looking.
    columns
        Names, or positions from 0, of user, item, value and timestamp, in this order; the last one or two
        may be left out. None takes the well-known names (user, user_id, userId, item, movieId, rating,
        timestamp ...), or the first four columns of a text file without a header.
    string_ids
        Read the ids of a text file as strings even where all of a column are digits, which keeps leading
        zeros. A column with other text in it is read as strings in any case.
    duplicates
        As in `Interactions.from_columns`.

    Raises
    ------
    InvalidDataError
        For a path that does not exist, a file that cannot be parsed (with the line), columns that are not
        there, and all that `Interactions.from_columns` refuses.
    """
    from mfcore.data._movielens import read_movielens
    from mfcore.data._ncf import read_ncf

    path = Path(path).expanduser()
    kind = _sniff_format(path) if format is None else format
    if kind not in FORMATS:
        raise InvalidArgumentError(f"format={format!r} is unknown; choose one of {', '.join(FORMATS)}")
    if kind in ("movielens", "ncf") and (columns is not None or string_ids or duplicates != "error"):
        raise InvalidArgumentError(
            f"{path} is read as {kind}, whose columns are fixed: leave columns, string_ids and duplicates "
            'out, or pass format="csv" with the path of one file'
        )
    if kind == "movielens":
        return read_movielens(path)
    if kind == "ncf":
        return read_ncf(path).train
    if not path.is_file():
        raise InvalidDataError(f"{path} does not exist, or is no file; check the path")
    parquet = kind == "parquet"
    found = _read_parquet(path, columns) if parquet else _read_delimited(path, columns, string_ids)
    with naming(path):
        return Interactions.from_columns(**found, duplicates=duplicates)


def columns_of_frame(
    frame: Any, *, user: str, item: str, value: str | None, timestamp: str | None
) -> dict[str, Any]:
    """Return the keyword columns of `Interactions.from_columns` that a frame holds; see `from_frame`."""
    import narwhals as nw

    try:
        table = nw.from_native(frame)
    except TypeError as error:
        raise InvalidDataError(
            f"frame is a {type(frame).__name__}; from_frame takes a pandas or polars frame or a pyarrow "
            "table: use from_columns for single columns"
        ) from error
    if isinstance(table, nw.LazyFrame):
        table = table.collect()
    if not isinstance(table, nw.DataFrame):
        raise InvalidDataError("frame is a single column; use from_columns(users=..., items=...)")
    wanted = {"users": user, "items": item}
    for role, name, default in (("values", value, "value"), ("timestamps", timestamp, "timestamp")):
        if name is not None:
            wanted[role] = name
        elif default in table.columns:
            wanted[role] = default
    for name in wanted.values():
        _require(name, table.columns, "the frame")
    return {role: table[name].to_native() for role, name in wanted.items()}


def parse_table(
    source: Source,
    names: Sequence[str],
    types: Mapping[str, Any],
    *,
    separator: str = "\t",
    skip_rows: int = 0,
    where: str | Path | None = None,
) -> pa.Table:
    """Parse delimited text without a header into an Arrow table.

    Parameters
    ----------
    source
        Path of a file, or a binary stream, which is read to its end.
    names
        Name of each column; a line with more or fewer fields is an error.
    types
        Arrow type of each column to keep, None to infer it; the other columns are left out.
    separator
        One character, or "::".
    skip_rows
        Lines to leave out at the top.
    where
        What error messages call the source; None is its path.

    Raises
    ------
    InvalidDataError
        For a line that cannot be parsed, by its number.
    """
    import pyarrow as pa
    from pyarrow import csv

    text = _text_of(source, separator)
    convert = csv.ConvertOptions(
        column_types={name: kind for name, kind in types.items() if kind is not None},
        include_columns=list(types),
    )
    parse = csv.ParseOptions(
        delimiter=_UNIT_SEPARATOR if separator == "::" else separator,
        quote_char='"' if separator in (",", ";") else False,
    )

    def attempt(threads: bool) -> pa.Table:
        rows = csv.ReadOptions(column_names=list(names), skip_rows=skip_rows, use_threads=threads)
        return csv.read_csv(pa.BufferReader(text), rows, parse, convert)

    try:
        return attempt(threads=True)
    except pa.ArrowInvalid:
        pass
    # Only the parser without threads counts rows, so that the error can name the line.
    try:
        return attempt(threads=False)
    except pa.ArrowInvalid as error:
        raise InvalidDataError(
            f"{source if where is None else where}: {_with_line(str(error), text)}"
        ) from error


def parse_ratings(
    source: Source, *, separator: str = "\t", skip_rows: int = 0, where: str | Path | None = None
) -> pa.Table:
    """Parse lines of integer user and item, rating and integer time: columns user, item, value, timestamp."""
    import pyarrow as pa

    types = {"user": pa.int64(), "item": pa.int64(), "value": pa.float32(), "timestamp": pa.int64()}
    return parse_table(source, ROLES, types, separator=separator, skip_rows=skip_rows, where=where)


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Put the path before the message of an InvalidDataError raised inside."""
    try:
        yield
    except InvalidDataError as error:
        raise InvalidDataError(f"{path}: {error}") from error


def _text_of(source: Source, separator: str) -> pa.Buffer:
    """Return the text of a source, "::" made one character."""
    import pyarrow as pa

    if not isinstance(source, Path):
        text = pa.py_buffer(source.read())
    elif source.stat().st_size == 0:
        raise InvalidDataError(f"{source} is empty")
    else:
        text = pa.memory_map(str(source)).read_buffer()
    if separator == "::":
        text = pa.py_buffer(text.to_pybytes().replace(b"::", _UNIT_SEPARATOR.encode()))
    return text


def _with_line(message: str, text: pa.Buffer) -> str:
    """Replace the parser's row number, which leaves blank lines out, by the number of the line."""
    row = re.search(r"Row #(\d+)", message)
    if row is None:
        return message
    filled = (number for number, line in enumerate(text.to_pybytes().splitlines(), 1) if line.strip())
    line = next(islice(filled, int(row[1]) - 1, None), int(row[1]))
    return message.replace(row[0], f"line {line}").replace(_UNIT_SEPARATOR, "::")


def _sniff_format(path: Path) -> str:
    from zipfile import is_zipfile

    from mfcore.data._movielens import find_layout
    from mfcore.data._ncf import find_prefix

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


def _read_parquet(path: Path, columns: Sequence[str | int] | None) -> dict[str, Any]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        header = file.schema_arrow.names
        places = _places(header, columns, str(path))
        table = file.read(columns=[header[place] for place in places.values()])
    except pa.ArrowException as error:
        raise InvalidDataError(f"{path} is no readable Parquet file: {error}") from error
    return {_keyword(role): table[header[place]] for role, place in places.items()}


def _read_delimited(path: Path, columns: Sequence[str | int] | None, string_ids: bool) -> dict[str, Any]:
    import pyarrow as pa

    separator, fields = _first_line(path)
    has_header = _looks_like_header(fields, columns)
    places = _places(fields if has_header else len(fields), columns, str(path))
    names = [str(place) for place in range(len(fields))]
    id_type = pa.string() if string_ids else None
    wanted = {"user": id_type, "item": id_type, "value": pa.float64(), "timestamp": None}
    types = {names[place]: wanted[role] for role, place in places.items()}
    table = parse_table(path, names, types, separator=separator, skip_rows=int(has_header))
    return {_keyword(role): table[names[place]] for role, place in places.items()}


def _first_line(path: Path) -> tuple[str, list[str]]:
    """Return the separator of a text file and the fields of its first line."""
    with path.open("rb") as file:
        line = file.readline(2**16).decode("utf-8-sig", errors="replace").strip("\r\n")
    for separator in ("::", "\t", ";", ",", "|", " "):
        if separator in line:
            return separator, [field.strip('"') for field in line.split(separator)]
    raise InvalidDataError(
        f"{path}: the first line, {line[:60]!r}, has no separator; "
        "expected user and item divided by a comma, tab, semicolon, '::', '|' or blank"
    )


def _looks_like_header(fields: Sequence[str], columns: Sequence[str | int] | None) -> bool:
    if columns is not None and any(isinstance(column, str) for column in columns):
        return True
    if any(_plain(field) in aliases for aliases in _ALIASES.values() for field in fields):
        return True
    return len(fields) > 2 and not _is_number(fields[2])


def _places(header: Sequence[str] | int, columns: Sequence[str | int] | None, where: str) -> dict[str, int]:
    """Return the position of each role's column; `header` is their number where they have no names."""
    n_columns = header if isinstance(header, int) else len(header)
    if columns is None and not isinstance(header, int):
        return _places_by_alias(header, where)
    chosen = range(min(4, n_columns)) if columns is None else columns
    if not 2 <= len(chosen) <= len(ROLES):
        raise InvalidArgumentError(
            f"columns names {len(chosen)} columns; it takes user, item and, if wanted, value and timestamp"
        )
    places = {}
    for role, column in zip(ROLES, chosen, strict=False):
        if isinstance(column, str):
            names = [] if isinstance(header, int) else list(header)
            _require(column, names, where)
            places[role] = names.index(column)
        elif 0 <= column < n_columns:
            places[role] = column
        else:
            raise InvalidArgumentError(f"{where} has {n_columns} columns; there is no column {column}")
    return places


def _places_by_alias(header: Sequence[str], where: str) -> dict[str, int]:
    plain = [_plain(name) for name in header]
    places = {
        role: next(plain.index(alias) for alias in aliases if alias in plain)
        for role, aliases in _ALIASES.items()
        if any(alias in plain for alias in aliases)
    }
    for role in ("user", "item"):
        if role not in places:
            raise InvalidDataError(
                f"{where} has no column known to hold the {role} ids; it has {', '.join(header)}: pass "
                "columns=[user, item, value, timestamp] with the names of yours"
            )
    return places


def _require(name: str, names: Sequence[str], where: str) -> None:
    if name in names:
        return
    close = get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise InvalidDataError(f"{where} has no column {name!r}, only {', '.join(map(repr, names))}{hint}")


def _plain(name: str) -> str:
    """Return a column name without case, underscores and the type that RecBole writes behind a colon."""
    return name.strip().lower().partition(":")[0].replace("_", "")


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _keyword(role: str) -> str:
    return f"{role}s"
