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
        self._is_terminal = sys.stdout.isatty()
        self._started = False

    def heading(self, text: str) -> None:
        """Start a section."""
        if self._as_json:
            return
        if self._started:
            print()
        self._started = True
        if self._is_terminal:
            _rich_console().print(text, style="bold cyan")
        else:
            print(text)

    def text(self, text: str) -> None:
        """Print a sentence."""
        if self._as_json:
            return
        if self._is_terminal:
            _rich_console().print(f"  {text}")
        else:
            print(f"  {text}")

    def fields(self, fields: Sequence[Row]) -> None:
        """Print names with their values and, in a third place, remarks."""
        if self._as_json:
            return
        width = max(map(len, fields))
        rows = [[*map(_format, field), *[""] * (width - len(field))] for field in fields]
        if not self._is_terminal:
            _print_aligned(rows, [False] * width)
            return
        from rich.padding import Padding
        from rich.table import Table

        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for _ in range(width - 2):
            grid.add_column(style="dim italic")
        for row in rows:
            grid.add_row(*row)
        _rich_console().print(Padding(grid, (0, 0, 0, 2)))

    def table(self, columns: Sequence[str], rows: Sequence[Row], *, right: Sequence[str] = ()) -> None:
        """Print a table; columns of numbers, and those named `right`, are aligned to the right."""
        if self._as_json:
            return
        numeric = [
            name in right or any(not isinstance(row[position], str | None) for row in rows)
            for position, name in enumerate(columns)
        ]
        shown = [[_format(value) for value in row] for row in rows]
        if not self._is_terminal:
            _print_aligned([list(columns), *shown], numeric)
            return
        from rich import box
        from rich.padding import Padding
        from rich.table import Table

        table = Table(box=box.ROUNDED, header_style="bold", border_style="dim")
        for position, (name, is_numeric) in enumerate(zip(columns, numeric, strict=True)):
            longest = max((len(row[position]) for row in shown), default=0)
            justify = "right" if is_numeric else "left"
            table.add_column(name, justify=justify, no_wrap=is_numeric or longest <= LONG_TEXT)
        for row in shown:
            table.add_row(*row)
        _rich_console().print(Padding(table, (0, 0, 0, 1)))

    def document(self, document: dict[str, Any]) -> None:
        """Print the results as JSON, where that was asked for."""
        if self._as_json:
            print(as_json(document))


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


def _print_aligned(rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if is_numeric else cell.ljust(width)
            for cell, width, is_numeric in zip(row, widths, numeric, strict=True)
        ]
        print(f"  {'  '.join(cells).rstrip()}")


def _to_json(value: Any) -> Any:
    """Turn numpy numbers and arrays into what JSON knows."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
