"""What the commands print: tables on a terminal, plain aligned text in a pipe, or one JSON document.

Results go to stdout; notes and everything that moves go to stderr.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Value: TypeAlias = str | int | float | None
Row: TypeAlias = Sequence[Value]

NOTHING = "-"
# Columns of longer texts give way where a terminal is narrow; the others are always shown whole.
LONG_TEXT = 24


class Printer:
    """Where a command's results go.

    Parameters
    ----------
    as_json : bool
        Print the document alone; headings, fields and tables are for people and are left out.
    """

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._started = False

    def heading(self, text: str) -> None:
        """Start a section."""
        if self._started:
            self._line("")
        self._started = True
        self._line(text, "bold cyan")

    def text(self, text: str) -> None:
        """Print a sentence."""
        self._line(f"  {text}")

    def fields(self, fields: Sequence[Row]) -> None:
        """Print names with their values and, in a third place, remarks."""
        from rich.table import Table

        width = max(map(len, fields))
        grid = Table.grid(padding=(0, 2))
        for style in ["dim", "", *["dim italic"] * (width - 2)]:
            grid.add_column(style=style, no_wrap=style == "dim", overflow="fold")
        self._rows(grid, [[*field, *[""] * (width - len(field))] for field in fields], [False] * width)

    def table(self, columns: Sequence[str], rows: Sequence[Row], *, right: Sequence[str] = ()) -> None:
        """Print a table; columns of numbers, and those named `right`, are aligned to the right."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.ROUNDED, header_style="bold", border_style="dim")
        numeric = []
        for name, values in zip(
            columns, zip(*rows, strict=True) if rows else [()] * len(columns), strict=True
        ):
            numeric.append(name in right or any(not isinstance(value, str | None) for value in values))
            whole = numeric[-1] or max((len(_format(value)) for value in values), default=0) <= LONG_TEXT
            table.add_column(name, justify="right" if numeric[-1] else "left", no_wrap=whole)
        self._rows(table, rows, numeric, columns)

    def document(self, document: dict[str, Any]) -> None:
        """Print the results as JSON, where that was asked for."""
        if self._as_json:
            print(as_json(document))

    def _line(self, text: str, style: str = "") -> None:
        if not self._as_json:
            _rich_console().print(text, style=style) if sys.stdout.isatty() else print(text)

    def _rows(self, table: "Table", rows: Sequence[Row], numeric: list[bool], columns: Row = ()) -> None:
        """Print rows as the table on a terminal, and aligned elsewhere, below the names of the columns."""
        shown = [[_format(value) for value in row] for row in rows]
        if self._as_json:
            return
        if sys.stdout.isatty():
            from rich.padding import Padding

            for row in shown:
                table.add_row(*row)
            _rich_console().print(Padding(table, (0, 0, 0, 1 if columns else 2)))
            return
        lines = [list(map(str, columns)), *shown] if columns else shown
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = [
                cell.rjust(width) if is_numeric else cell.ljust(width)
                for cell, width, is_numeric in zip(line, widths, numeric, strict=True)
            ]
            print(f"  {'  '.join(cells).rstrip()}")


def as_json(document: dict[str, Any]) -> str:
    """Return a document as JSON; numbers and arrays of numpy may be in it."""
    return json.dumps(document, indent=2, ensure_ascii=False, default=_to_json)


def format_setting(value: Any) -> str:
    """Return the value of an option as it is typed, or yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def note(text: str) -> None:
    """Tell something beside the results, on stderr."""
    print(f"mfcore: note: {text}", file=sys.stderr)


def warn(text: str) -> None:
    """Tell what makes the results less than they seem, on stderr."""
    print(f"mfcore: warning: {text}", file=sys.stderr)


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show on stderr, if that is a terminal, that something takes its time."""
    if not sys.stderr.isatty():
        yield
        return
    with _rich_console(stderr=True).status(f"{text} ..."):
        yield


def _rich_console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    # Titles may hold "[" and ":)", which are no markup.
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def _format(value: Value) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return value
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


def _to_json(value: Any) -> Any:
    """Turn numpy numbers and arrays into what JSON knows."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
