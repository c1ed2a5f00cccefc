"""Delimited text without a header, parsed into Arrow tables; errors name the line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from mfcore.data._raw import ROLES
from mfcore.errors import InvalidDataError

if TYPE_CHECKING:
    import pyarrow as pa

    Source: TypeAlias = Path | IO[bytes]

# Stands for the "::" of MovieLens: a parser takes one character, and no text holds this one.
_UNIT_SEPARATOR = "\x1f"


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
    source : Path or binary stream
        Path of a file, or a binary stream, which is read to its end.
    names : sequence of str
        Name of each column; a line with more or fewer fields is an error.
    types : mapping from str to Arrow type or None
        Arrow type of each column to keep, None to infer it; the other columns are left out.
    separator : str
        One character, or "::".
    skip_rows : int
        Lines to leave out at the top.
    where : str or Path, optional
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
