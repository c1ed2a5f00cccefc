"""Interactions as a file or a frame holds them: columns that nothing has checked yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mfcore.errors import InvalidDataError

if TYPE_CHECKING:
    from pathlib import Path

    from mfcore.data._columns import Column
    from mfcore.data._ids import Vocabulary

ROLES = ("user", "item", "value", "timestamp")


@dataclass(frozen=True, eq=False)
class RawInteractions:
    """The arguments of `Interactions.from_columns`, as a reader found them.

    Attributes
    ----------
    source : Path or None
        The file or folder that errors are to name.
    users, items : column [n]
    values, timestamps : column [n] or None
    item_names, item_genres : mapping from item id or None
    user_ids, item_ids : Vocabulary or None
        Where the ids of more than these interactions are known.
    """

    source: Path | None
    users: Column
    items: Column
    values: Column | None = None
    timestamps: Column | None = None
    item_names: Mapping[Any, str] | None = None
    item_genres: Mapping[Any, Sequence[str]] | None = None
    user_ids: Vocabulary | None = None
    item_ids: Vocabulary | None = None

    @classmethod
    def from_roles(cls, source: Path | None, columns: Mapping[str, Column], **others: Any) -> RawInteractions:
        """Return the columns of a mapping from some of `ROLES`."""
        return cls(source, **{f"{role}s": column for role, column in columns.items()}, **others)


def require_column(name: str, names: Sequence[str], where: str) -> None:
    """Raise InvalidDataError, with the closest name there is, unless the column is among the names."""
    if name in names:
        return
    close = get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise InvalidDataError(f"{where} has no column {name!r}, only {', '.join(map(repr, names))}{hint}")
