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

Cell: TypeAlias = str | int | float | None
Row: TypeAlias = Sequence[Cell]

NOTHING = "-"


class Output:
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
            self._console().print(text, style="bold cyan")
        else:
            print(text)

    def text(self, text: str) -> None:
        """Print a sentence."""
        if self._as_json:
            return
        if self._is_terminal:
            self._console().print(f"  {text}")
        else:
            print(f"  {text}")

    def fields(self, fields: Sequence[Row]) -> None:
        """Print names with their values and, in a third place, remarks."""
        if self._as_json:
            return
        width = max(map(len, fields))
        rows = [[*map(_shown, field), *[""] * (width - len(field))] for field in fields]
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
        self._console().print(Padding(grid, (0, 0, 0, 2)))

    def table(self, columns: Sequence[str], rows: Sequence[Row], *, right: Sequence[str] = ()) -> None:
        """Print a table; columns of numbers, and those named `right`, are aligned to the right."""
        if self._as_json:
            return
        numeric = [
            name in right or any(not isinstance(row[place], str | None) for row in rows)
            for place, name in enumerate(columns)
        ]
        shown = [[_shown(cell) for cell in row] for row in rows]
        if not self._is_terminal:
            _print_aligned([list(columns), *shown], numeric)
            return
        from rich import box
        from rich.padding import Padding
        from rich.table import Table

        table = Table(box=box.ROUNDED, header_style="bold", border_style="dim")
        for name, is_numeric in zip(columns, numeric, strict=True):
            table.add_column(
                name, justify="right" if is_numeric else "left", no_wrap=True, overflow="ellipsis"
            )
        for row in shown:
            table.add_row(*row)
        self._console().print(Padding(table, (0, 0, 0, 1)))

    def document(self, document: dict[str, Any]) -> None:
        """Print the results as JSON, where that was asked for."""
        if self._as_json:
            print(as_json(document))

    def _console(self) -> "Console":
        from rich.console import Console

        # Titles may hold "[" and ":)", which are no markup.
        return Console(markup=False, emoji=False, highlight=False)


def as_json(document: dict[str, Any]) -> str:
    """Return a document as JSON; numbers and arrays of numpy may be in it."""
    return json.dumps(document, indent=2, ensure_ascii=False, default=_plain)


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
    from rich.console import Console

    with Console(stderr=True, markup=False, emoji=False, highlight=False).status(f"{text} ..."):
        yield


def _shown(cell: Cell) -> str:
    if cell is None:
        return NOTHING
    if isinstance(cell, str):
        return cell
    return f"{cell:.4f}" if isinstance(cell, float) else f"{cell:,}"


def _print_aligned(rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if is_numeric else cell.ljust(width)
            for cell, width, is_numeric in zip(row, widths, numeric, strict=True)
        ]
        print(f"  {'  '.join(cells).rstrip()}")


def _plain(value: Any) -> Any:
    """Turn numpy numbers and arrays into what JSON knows."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
