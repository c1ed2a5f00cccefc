"""Text and Parquet files of any columns: which of them hold users, items, values and timestamps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mfcore.data._delimited import parse_table
from mfcore.data._raw import ROLES, RawInteractions, require_column
from mfcore.errors import InvalidArgumentError, InvalidDataError

# Names under which published files carry each role, lower case and without underscores.
_ALIASES = {
    "user": ("user", "userid"),
    "item": ("item", "itemid", "movie", "movieid"),
    "value": ("value", "rating"),
    "timestamp": ("timestamp", "time"),
}


def read_parquet(path: Path, columns: Sequence[str | int] | None) -> RawInteractions:
    """Read the named columns of a Parquet file, or those with well-known names."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        header = file.schema_arrow.names
        positions = _column_positions(header, columns, str(path))
        table = file.read(columns=[header[position] for position in positions.values()])
    except pa.ArrowException as error:
        raise InvalidDataError(f"{path} is no readable Parquet file: {error}") from error
    return RawInteractions.from_roles(
        path, {role: table[header[position]] for role, position in positions.items()}
    )


def read_delimited(path: Path, columns: Sequence[str | int] | None, string_ids: bool) -> RawInteractions:
    """Read delimited text; separator, header and columns are found by looking at its first line."""
    import pyarrow as pa

    separator, fields = _first_line(path)
    has_header = _looks_like_header(fields, columns)
    positions = _column_positions(fields if has_header else len(fields), columns, str(path))
    names = [str(position) for position in range(len(fields))]
    id_type = pa.string() if string_ids else None
    kinds = {"user": id_type, "item": id_type, "value": pa.float64(), "timestamp": None}
    types = {names[position]: kinds[role] for role, position in positions.items()}
    table = parse_table(path, names, types, separator=separator, skip_rows=int(has_header))
    return RawInteractions.from_roles(
        path, {role: table[names[position]] for role, position in positions.items()}
    )


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


def _column_positions(
    header: Sequence[str] | int, columns: Sequence[str | int] | None, where: str
) -> dict[str, int]:
    """Return the position of each role's column; `header` is their number where they have no names."""
    n_columns = header if isinstance(header, int) else len(header)
    if columns is None and not isinstance(header, int):
        return _positions_by_alias(header, where)
    chosen = range(min(4, n_columns)) if columns is None else columns
    if not 2 <= len(chosen) <= len(ROLES):
        raise InvalidArgumentError(
            f"columns names {len(chosen)} columns; it takes user, item and optionally value and timestamp"
        )
    positions = {}
    for role, column in zip(ROLES, chosen, strict=False):
        if isinstance(column, str):
            names = [] if isinstance(header, int) else list(header)
            require_column(column, names, where)
            positions[role] = names.index(column)
        elif 0 <= column < n_columns:
            positions[role] = column
        else:
            raise InvalidArgumentError(f"{where} has {n_columns} columns; there is no column {column}")
    return positions


def _positions_by_alias(header: Sequence[str], where: str) -> dict[str, int]:
    plain = [_plain(name) for name in header]
    positions = {
        role: next(plain.index(alias) for alias in aliases if alias in plain)
        for role, aliases in _ALIASES.items()
        if any(alias in plain for alias in aliases)
    }
    for role in ("user", "item"):
        if role not in positions:
            raise InvalidDataError(
                f"{where} has no column known to hold the {role} ids; it has {', '.join(header)}: pass "
                "columns=[user, item, value, timestamp] with the names of yours"
            )
    return positions


def _plain(name: str) -> str:
    """Return a column name without case, underscores and the type that RecBole writes behind a colon."""
    return name.strip().lower().partition(":")[0].replace("_", "")


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
