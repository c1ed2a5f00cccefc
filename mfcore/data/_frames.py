"""Columns of pandas and polars frames and pyarrow tables."""

from __future__ import annotations

from typing import Any

from mfcore.data._raw import RawInteractions, require_column
from mfcore.errors import InvalidDataError


def frame_columns(
    frame: Any, *, user: str, item: str, value: str | None, timestamp: str | None
) -> RawInteractions:
    """Return the columns of a frame; the arguments are those of `Interactions.from_frame`."""
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
    columns = {"users": user, "items": item}
    for role, name, default in (("values", value, "value"), ("timestamps", timestamp, "timestamp")):
        if name is not None:
            columns[role] = name
        elif default in table.columns:
            columns[role] = default
    for name in columns.values():
        require_column(name, table.columns, "the frame")
    return RawInteractions(None, **{role: table[name].to_native() for role, name in columns.items()})
