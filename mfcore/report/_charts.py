"""Charts as SVG that goes into a page: its colours are the page's, in the light and in the dark."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

from mfcore.errors import InvalidArgumentError, MfcoreError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# In points; a page shows a chart about as wide, and at three quarters of that on a phone.
WIDTH = 470
LINES_HEIGHT = 290
BAR_HEIGHT, FEW_BARS_HEIGHT = 30, 46

# matplotlib draws in these colours, for which variables of the page are put: name, and what it is elsewhere.
_INK = {"#010101": ("ink", "#1c2027"), "#020202": ("muted", "#626b78"), "#030303": ("line", "#dde1e6")}
_SERIES = ("#1f6fb4", "#d35f0b", "#0f8a68", "#a3509b", "#a97900", "#5560c8", "#b8405e", "#5f6f7f")
_PALETTE = {
    **_INK,
    **{f"#0400{number:02x}": (f"series-{number}", colour) for number, colour in enumerate(_SERIES)},
}
_TEXT, _QUIET, _GRID = _INK

# Any: matplotlib types it by the names that its newest version knows.
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 12,
    "text.color": _TEXT,
    "text.parse_math": False,
    "axes.labelcolor": _QUIET,
    "axes.edgecolor": _GRID,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _QUIET,
    "ytick.labelcolor": _QUIET,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
    "legend.frameon": False,
}


class PlottingMissingError(MfcoreError, ImportError):
    """matplotlib, on which pictures depend, is not installed.

    Examples
    --------
    >>> from mfcore.report import PlottingMissingError
    >>> issubclass(PlottingMissingError, ImportError)
    True
    """


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes
    ----------
    label : str
    x, y : sequence of n float
    color : int or None
        Which of the page's colours; None takes them in the order of the series. A line that stands for the
        same thing in several charts has the same one in all of them.

    Examples
    --------
    >>> from mfcore.report import Series
    >>> Series("training", x=[1, 2, 3], y=[0.9, 0.5, 0.4]).label
    'training'
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: int | None = None


def new_figure(width: float, height: float) -> "Figure":
    """Return a figure of matplotlib that is laid out by itself.

    Parameters
    ----------
    width, height : float
        In inches.

    Raises
    ------
    PlottingMissingError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise PlottingMissingError(
            "pictures need matplotlib, which is not installed: pip install 'mfcore[plot]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def line_chart(
    series: Sequence[Series], *, x_label: str, y_label: str, log_x: bool = False, log_y: bool = False
) -> str:
    """Draw lines.

    Lines that coincide stay visible: each is drawn narrower than the one before it, on top of it.

    Parameters
    ----------
    series : sequence of Series
        At least one; each with at least one point.
    x_label, y_label : str
    log_x, log_y : bool
        Whether an axis is logarithmic; its values are then positive.

    Returns
    -------
    str
        An <svg> element that names its axes and lines for those who cannot see it.

    Raises
    ------
    PlottingMissingError
        matplotlib is not installed.
    InvalidArgumentError
        A series of no points, or of unequally many x and y; nothing to draw.

    Examples
    --------
    >>> from mfcore.report import Series, line_chart
    >>> svg = line_chart([Series("numba", [1, 2], [0.9, 0.5])], x_label="epoch", y_label="loss")
    >>> 'aria-label="loss by epoch: numba"' in svg
    True
    """
    _check(series)
    with _figure(LINES_HEIGHT) as (figure, axes):
        for position, line in enumerate(series):
            axes.plot(
                line.x,
                line.y,
                color=_colour(position if line.color is None else line.color),
                linewidth=1.6 + min(2.6, 8 / len(series)) * (len(series) - 1 - position),
                marker="o" if len(line.x) == 1 else "",
                label=line.label,
            )
        _scale(axes.xaxis, axes.set_xscale, [x for line in series for x in line.x], log_x)
        _scale(axes.yaxis, axes.set_yscale, [y for line in series for y in line.y], log_y)
        axes.set_xlabel(x_label)
        # Read without turning the head.
        axes.set_title(y_label, loc="left", color=_QUIET, fontsize="medium", pad=8)
        axes.tick_params(length=0)
        axes.margins(y=0.08)
        if len(series) > 1:
            figure.legend(loc="outside upper left", ncols=min(4, len(series)), handlelength=1.4)
        names = ", ".join(line.label for line in series)
        return _svg(figure, f"{y_label} by {x_label}: {names}")


def bar_chart(
    labels: Sequence[str], values: Sequence[float], *, x_label: str, colors: Sequence[int] | None = None
) -> str:
    """Draw horizontal bars from 0, each with its value at its end.

    Parameters
    ----------
    labels : sequence of n str
        From top to bottom.
    values : sequence of n float
        Not below 0.
    x_label : str
        What the values are, and their unit.
    colors : sequence of n int, optional
        Which of the page's colours; by default the first for all.

    Returns
    -------
    str
        An <svg> element that describes it in text for those who cannot see it.

    Raises
    ------
    PlottingMissingError
        matplotlib is not installed.
    InvalidArgumentError
        Unequally many labels, values and colors; nothing to draw.

    Examples
    --------
    >>> from mfcore.report import bar_chart
    >>> svg = bar_chart(["numba", "torch"], [2.5e6, 1.25e6], x_label="instances per second")
    >>> 'aria-label="instances per second: numba 2.50 M, torch 1.25 M"' in svg
    True
    """
    chosen = [0] * len(labels) if colors is None else list(colors)
    if not labels or not len(labels) == len(values) == len(chosen):
        raise InvalidArgumentError(
            f"a bar chart of {len(labels)} labels, {len(values)} values and {len(chosen)} colors; pass"
            " equally many, at least one"
        )
    height = FEW_BARS_HEIGHT if len(labels) <= 4 else BAR_HEIGHT
    with _figure(54 + height * len(labels)) as (figure, axes):
        positions = range(len(labels))
        bars = axes.barh(positions, values, height=0.62, color=[_colour(number) for number in chosen])
        axes.bar_label(bars, [short_number(value) for value in values], padding=5)
        axes.set_yticks(positions, labels)
        axes.tick_params(length=0)
        axes.tick_params(axis="y", labelcolor=_TEXT)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.margins(x=0.16)
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel(x_label, loc="left")
        bars_text = ", ".join(
            f"{label} {short_number(value)}" for label, value in zip(labels, values, strict=True)
        )
        return _svg(figure, f"{x_label}: {bars_text}")


def short_number(value: float) -> str:
    """Return a number to three digits, in thousands, millions or billions.

    Parameters
    ----------
    value : float

    Returns
    -------
    str

    Examples
    --------
    >>> from mfcore.report import short_number
    >>> short_number(1_250_000), short_number(0.12345), short_number(999_600)
    ('1.25 M', '0.123', '1.00 M')
    """
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        # 999.6 k would be shown as 1e+03 k.
        if abs(value) >= 0.9995 * scale:
            return f"{value / scale:#.3g}".rstrip(".") + f" {unit}"
    return f"{value:.3g}"


def _check(series: Sequence[Series]) -> None:
    if not series:
        raise InvalidArgumentError("a line chart of no series; pass at least one")
    for line in series:
        if not len(line.x) == len(line.y) >= 1:
            raise InvalidArgumentError(
                f"series {line.label!r} has {len(line.x)} x and {len(line.y)} y; pass"
                " equally many, at least one"
            )


@contextmanager
def _figure(height: float) -> Iterator[tuple["Figure", "Axes"]]:
    """Give a figure with one pair of axes, in the style of pages; it is to be written inside, too."""
    figure = new_figure(WIDTH / 72, height / 72)
    from matplotlib import rc_context

    with rc_context(_STYLE):
        yield figure, figure.subplots()


def _colour(number: int) -> str:
    return f"#0400{number % len(_SERIES):02x}"


def _scale(axis: Any, set_scale: Any, values: Sequence[float], logarithmic: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if not logarithmic:
        counts = all(float(value).is_integer() for value in values)
        axis.set_major_locator(MaxNLocator(6, integer=counts, min_n_ticks=3))
        return
    set_scale("log")
    low, high = axis.get_view_interval()
    if high < 10 * low:
        axis.set_major_locator(MaxNLocator(6, min_n_ticks=3))
    elif high < 1_000 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axis.set_minor_locator(NullLocator())


def _svg(figure: "Figure", description: str) -> str:
    from matplotlib import rc_context

    written = StringIO()
    # Names of parts must not clash with those of another chart on the same page.
    salt = sha256(description.encode()).hexdigest()[:12]
    with rc_context({"svg.hashsalt": salt}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    svg = _tidied(written.getvalue())
    for drawn, (name, alone) in _PALETTE.items():
        svg = svg.replace(drawn, f"var(--{name}, {alone})")
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)


def _tidied(svg: str) -> str:
    """Return what matplotlib wrote as an element of a page: no styles or names that reach out of it."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"\s*<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[a-zA-Z0-9.]+_\d+"', "", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"font(-family)?: [^;\"]*(; )?", _without_family, svg)
    return re.sub(r'"[^"]*"', _shortened, svg)


def _without_family(style: "re.Match[str]") -> str:
    """Return a font's size alone: its family is the page's."""
    size = re.search(r"[\d.]+px", style[0])
    return f"font-size: {size[0]}; " if size else ""


def _shortened(attribute: "re.Match[str]") -> str:
    """Return an attribute on one line, its numbers to a hundredth of a point."""
    return re.sub(r"(\.\d\d)\d+", r"\1", " ".join(attribute[0].split()))
