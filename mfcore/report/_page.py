"""A report as one HTML document that needs nothing else: styles and charts lie in it, and no scripts.

What goes into it is text, which is escaped; only the SVG of charts is taken as it is.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mfcore.errors import InvalidArgumentError
from mfcore.files import replacing

if TYPE_CHECKING:
    from jinja2 import Environment

Tone = Literal["", "good", "bad", "quiet"]

# A number with what may stand around it: <1e-06, 1,234, 0.91 ± 0.002, 12.5 %, 1.3 M/s, 3 of 10.
_NUMBER = re.compile(
    r"[<>≤≥~]? ?[-−+±]?[\d,]*\.?\d+(e[-+]?\d+)?( ?(±|of) ?[\d.]+(e[-+]?\d+)?)?( ?[^\W\d]{1,3}(/s)?| ?%)?",
    re.IGNORECASE,
)
NARROW = 4
_NOTHING = ("", "-", "–", "—")


@dataclass(frozen=True)
class StyledText:
    """A cell of a table that is more than its text.

    Attributes
    ----------
    text : str
    tone : {"", "good", "bad", "quiet"}
        How it is to be taken. The text says so too: not everybody sees colours.

    Examples
    --------
    >>> from mfcore.report import StyledText
    >>> StyledText("12 failures", "bad").tone
    'bad'
    """

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Table:
    """A table; columns of numbers are aligned to the right.

    Tables of few columns that follow each other stand side by side where there is room.

    Attributes
    ----------
    columns : sequence of n str
    rows : sequence of sequences of n str or StyledText
        The first cell of a row is its heading.
    caption : str

    Raises
    ------
    InvalidArgumentError
        A row is of another length, or holds something else.

    Examples
    --------
    >>> from mfcore.report import StyledText, Table
    >>> fast = StyledText("1.2", "good")
    >>> table = Table(["engine", "seconds"], [["numba", fast], ["torch", "3.4"]])
    >>> table.numeric, table.kind
    ([False, True], 'narrow table')
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str | StyledText]]
    caption: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns) or not all(isinstance(cell, str | StyledText) for cell in row):
                raise InvalidArgumentError(
                    f"row {number} of a table is {list(row)!r}; it must be {len(self.columns)} texts,"
                    f" one for each of {', '.join(self.columns)}"
                )

    @property
    def kind(self) -> str:
        """Which part of the template shows it."""
        return "narrow table" if len(self.columns) <= NARROW else "table"

    @property
    def cells(self) -> list[list[StyledText]]:
        """The rows, of cells throughout."""
        return [
            [cell if isinstance(cell, StyledText) else StyledText(cell) for cell in row] for row in self.rows
        ]

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers: one at least, and nothing else."""
        columns = list(zip(*self.cells, strict=True)) or [()] * len(self.columns)
        return [_is_numeric([cell.text for cell in column]) for column in columns]


@dataclass(frozen=True)
class Chart:
    """A chart; those that follow each other stand side by side where there is room.

    Attributes
    ----------
    svg : str
        As `line_chart` and `bar_chart` draw it. It is not escaped.
    caption : str

    Examples
    --------
    >>> from mfcore.report import Chart
    >>> Chart('<svg width="10" height="10"></svg>', caption="Nothing").caption
    'Nothing'
    """

    svg: str
    caption: str = ""

    @property
    def kind(self) -> str:
        """Which part of the template shows it."""
        return "chart"


@dataclass(frozen=True)
class Prose:
    """A paragraph.

    Attributes
    ----------
    text : str

    Examples
    --------
    >>> from mfcore.report import Prose
    >>> Prose("All engines agree.").kind
    'prose'
    """

    text: str

    @property
    def kind(self) -> str:
        """Which part of the template shows it."""
        return "prose"


@dataclass(frozen=True)
class Fact:
    """A figure in large letters; those that follow each other stand side by side.

    Attributes
    ----------
    value : str
    label : str
        What it is.
    detail : str
        What it is compared with, for instance.

    Examples
    --------
    >>> from mfcore.report import Fact
    >>> Fact("0.87", "RMSE", detail="baseline 0.94").label
    'RMSE'
    """

    value: str
    label: str
    detail: str = ""

    @property
    def kind(self) -> str:
        """Which part of the template shows it."""
        return "fact"


Block: TypeAlias = Table | Chart | Prose | Fact


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes
    ----------
    title : str
        Empty for what comes before all headings.
    blocks : sequence of Table, Chart, Prose or Fact

    Examples
    --------
    >>> from mfcore.report import Fact, Prose, Section
    >>> section = Section("Quality", [Fact("0.87", "RMSE"), Fact("0.68", "MAE"), Prose("Five folds.")])
    >>> [(kind, len(blocks)) for kind, blocks in section.groups]
    [('fact', 2), ('prose', 1)]
    """

    title: str
    blocks: Sequence[Block]

    @property
    def groups(self) -> list[tuple[str, list[Block]]]:
        """The blocks, neighbours of a kind together."""
        return [(kind, list(blocks)) for kind, blocks in groupby(self.blocks, key=lambda block: block.kind)]


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return a report as an HTML document.

    Parameters
    ----------
    title : str
    lead : str
        What it says, in a sentence or two.
    sections : sequence of Section

    Returns
    -------
    str
        It refers to nothing outside it, follows the reader's choice of light or dark, and is readable on a
        phone and on paper.
    """
    return _environment().get_template("page.html").render(title=title, lead=lead, sections=sections)


def write_page(path: str | os.PathLike[str], title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Write a report as an HTML document, whole or not at all.

    The document refers to nothing outside it, follows the reader's choice of light or dark, and is readable
    on a phone and on paper.

    Parameters
    ----------
    path : str or path
    title : str
    lead : str
        What it says, in a sentence or two.
    sections : sequence of Section

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    FileNotFoundError
        The folder does not exist.

    Examples
    --------
    >>> from mfcore.report import Prose, Section, write_page
    >>> path = write_page("report.html", "Report", "All is well.", [Section("", [Prose("1 < 2")])])
    >>> "1 &lt; 2" in path.read_text(encoding="utf-8")
    True
    """
    target = Path(path)
    with replacing(target) as temporary:
        temporary.write_text(page(title, lead, sections), encoding="utf-8")
    return target


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("mfcore.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _is_numeric(texts: Sequence[Any]) -> bool:
    filled = [text.strip() for text in texts if text.strip() not in _NOTHING]
    return bool(filled) and all(_NUMBER.fullmatch(text) for text in filled)
