"""What a model has learnt, as people look at it: factors, their extremes, neighbours by title, a picture."""

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mfcore.errors import InvalidArgumentError, UnknownIdError
from mfcore.files import replacing
from mfcore.model import Model
from mfcore.report._charts import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mfcore.specs import Floats

N_LABELLED = 25
N_SCATTERED = 500


@dataclass(frozen=True, eq=False)
class FactorTable:
    """Items with their factors.

    Attributes
    ----------
    rows : int64 array [n]
        Item rows of the model.
    ids : array [n]
    titles : list of n str
        The ids where the model has no titles.
    counts : int64 array [n]
        Training users of each item.
    factors : array [n, n_factors]
        As `spec.item_vectors` gives them; factor numbers in what people see start at 1.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.Interactions.from_columns(
    ...     [1, 1, 2, 2, 3], [10, 20, 10, 30, 10], [5, 3, 4, 1, 5], item_names={10: "Alien", 20: "Brazil"}
    ... )
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), data, optimizer=wals, epochs=2, backend="reference")
    >>> from mfcore.report import popular_factors
    >>> popular_factors(model).titles
    ['Alien', 'Brazil', '30']
    """

    rows: npt.NDArray[np.int64]
    ids: npt.NDArray[Any]
    titles: list[str]
    counts: npt.NDArray[np.int64]
    factors: "Floats"

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class FactorExtremes:
    """The items at the two ends of one factor.

    Attributes
    ----------
    factor : int
        Counted from 1.
    lowest, highest : FactorTable
        The outermost item first.
    """

    factor: int
    lowest: FactorTable
    highest: FactorTable


def popular_factors(model: Model, n: int = 20) -> FactorTable:
    """Return the most popular items with their factors.

    Parameters
    ----------
    model : Model
    n : int
        At most so many.

    Returns
    -------
    FactorTable
        By falling popularity, ties by row.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.Interactions.from_columns(
    ...     [1, 1, 2, 2, 3], [10, 20, 10, 30, 10], [5, 3, 4, 1, 5], item_names={10: "Alien", 20: "Brazil"}
    ... )
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), data, optimizer=wals, epochs=2, backend="reference")
    >>> from mfcore.report import popular_factors
    >>> popular_factors(model, 1).counts.tolist()
    [3]
    """
    return _table(model, np.argsort(-model.item_counts, kind="stable")[:n])


def factor_extremes(model: Model, n: int = 3) -> list[FactorExtremes]:
    """Return the lowest and highest items of each factor.

    Only the more popular half of the items counts: the factors of items that few users have rated are mostly
    noise, and would fill both ends.

    Parameters
    ----------
    model : Model
    n : int
        Items at each end.

    Returns
    -------
    list of FactorExtremes
        One for each factor.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.Interactions.from_columns(
    ...     [1, 1, 2, 2, 3], [10, 20, 10, 30, 10], [5, 3, 4, 1, 5], item_names={10: "Alien", 20: "Brazil"}
    ... )
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), data, optimizer=wals, epochs=2, backend="reference")
    >>> from mfcore.report import factor_extremes
    >>> [(extremes.factor, len(extremes.lowest)) for extremes in factor_extremes(model, 2)]
    [(1, 2), (2, 2)]
    """
    vectors = model.spec.item_vectors(model.parameters)
    known = np.flatnonzero(model.item_counts)
    popular = known[model.item_counts[known] >= np.median(model.item_counts[known])]
    extremes = []
    for factor, values in enumerate(vectors[popular].T, start=1):
        order = popular[np.argsort(values, kind="stable")]
        extremes.append(FactorExtremes(factor, _table(model, order[:n]), _table(model, order[::-1][:n])))
    return extremes


def find_item(model: Model, text: str) -> int | str:
    """Return the id of an item that is named by its id or, roughly, by its title.

    An id goes before a title. Of titles an equal one goes first, then one that begins with the text, then one
    that contains it, then the most similar one; among several the most popular. Case does not matter.

    Parameters
    ----------
    model : Model
    text : str

    Returns
    -------
    int or str

    Raises
    ------
    UnknownIdError
        Where nothing is like it.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.Interactions.from_columns(
    ...     [1, 1, 2, 2, 3], [10, 20, 10, 30, 10], [5, 3, 4, 1, 5], item_names={10: "Alien", 20: "Brazil"}
    ... )
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), data, optimizer=wals, epochs=2, backend="reference")
    >>> from mfcore.report import find_item
    >>> find_item(model, "alien"), find_item(model, "braz"), find_item(model, "30")
    (10, 20, 30)
    """
    if (one_id := _known_id(model, text)) is not None:
        return one_id
    query = text.casefold()
    titles = [] if model.item_names is None else [str(title).casefold() for title in model.item_names]
    for matches in (
        [row for row, title in enumerate(titles) if title == query],
        [row for row, title in enumerate(titles) if title.startswith(query)],
        [row for row, title in enumerate(titles) if query in title],
        [row for row, title in enumerate(titles) if title in get_close_matches(query, titles, n=1)],
    ):
        if matches:
            best: int | str = model.item_ids[max(matches, key=lambda row: (model.item_counts[row], -row))]
            return best
    known = "titles" if titles else "titles (the model has none)"
    raise UnknownIdError(f"no item has the id {text!r}, and nothing among the {known} is like it")


def title_of(model: Model, row: int) -> str:
    """Return an item's title, or its id where there are no titles.

    Parameters
    ----------
    model : Model
    row : int
        Of the item.

    Returns
    -------
    str

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.Interactions.from_columns(
    ...     [1, 1, 2, 2, 3], [10, 20, 10, 30, 10], [5, 3, 4, 1, 5], item_names={10: "Alien", 20: "Brazil"}
    ... )
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), data, optimizer=wals, epochs=2, backend="reference")
    >>> from mfcore.report import title_of
    >>> title_of(model, 0), title_of(model, 2)
    ('Alien', '30')
    """
    return str(model.item_ids[row]) if model.item_names is None else str(model.item_names[row])


def draw_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Draw the objective by epoch on a logarithmic axis, and the first two factors of the popular items.

    Parameters
    ----------
    model : Model
    path : path
        Its ending says the format: .png, .svg, .pdf. It is written whole or not at all.

    Raises
    ------
    PlottingMissingError
        matplotlib is not installed.
    InvalidArgumentError
        The ending names no format that matplotlib writes.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.Interactions.from_columns(
    ...     [1, 1, 2, 2, 3], [10, 20, 10, 30, 10], [5, 3, 4, 1, 5], item_names={10: "Alien", 20: "Brazil"}
    ... )
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), data, optimizer=wals, epochs=2, backend="reference")
    >>> from mfcore.report import draw_model
    >>> draw_model(model, "model.svg")
    """
    target = Path(path)
    figure = new_figure(13, 6)
    formats = figure.canvas.get_supported_filetypes()
    ending = target.suffix.removeprefix(".").lower()
    if ending not in formats:
        raise InvalidArgumentError(
            f"{target} ends in none of the formats of pictures: {', '.join(sorted(formats))}"
        )
    left, right = figure.subplots(1, 2)
    _draw_history(left, model)
    _draw_factors(right, model)
    with replacing(target) as temporary:
        figure.savefig(temporary, format=ending, dpi=120)


def _draw_history(axes: "Axes", model: Model) -> None:
    from matplotlib.ticker import ScalarFormatter

    axes.set_title("Training")
    columns = model.history.columns()
    epochs = [epoch + 1 for epoch in columns["epoch"]]
    if not epochs:
        axes.text(0.5, 0.5, "no history", ha="center", transform=axes.transAxes)
        return
    axes.plot(epochs, columns["objective"], marker="." if len(epochs) < 50 else "", label="objective")
    for name in model.history[-1].metrics:
        axes.plot(epochs, columns[name], linestyle="--", label=f"validation {name}")
    if model.epochs_trained < epochs[-1]:
        axes.axvline(model.epochs_trained, color="grey", linestyle=":", label="epoch kept")
    axes.set_yscale("log")
    # The curve may well stay within one power of ten, where only the minor ticks say anything.
    for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        set_formatter(ScalarFormatter())
    axes.set_xlabel("epoch")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()


def _draw_factors(axes: "Axes", model: Model) -> None:
    table = popular_factors(model, N_SCATTERED)
    x = table.factors[:, 0]
    has_two = table.factors.shape[1] > 1
    y = table.factors[:, 1] if has_two else table.counts
    axes.scatter(x, y, s=4 + 120 * table.counts / table.counts.max(), alpha=0.35, linewidths=0)
    for point in _with_room_for_a_title(x, y)[:N_LABELLED]:
        axes.annotate(_escaped(table.titles[point]), (x[point], y[point]), fontsize=7)
    axes.margins(x=0.15)
    axes.set_xlabel("factor 1")
    axes.set_ylabel("factor 2" if has_two else "training users")
    axes.set_title(f"The {len(table)} most popular items")
    axes.grid(visible=True, alpha=0.3)


def _with_room_for_a_title(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> list[int]:
    """Return the points, most popular first, whose titles would not run into each other."""
    width, height = 0.3 * np.ptp(x), 0.025 * np.ptp(y)
    chosen: list[int] = []
    for point in range(len(x)):
        near = (np.abs(x[chosen] - x[point]) < width) & (np.abs(y[chosen] - y[point]) < height)
        if not near.any():
            chosen.append(point)
    return chosen


def _escaped(title: str) -> str:
    # "$" would start a formula.
    return title.replace("$", r"\$")


def _table(model: Model, rows: npt.NDArray[np.int64]) -> FactorTable:
    return FactorTable(
        rows=rows,
        ids=model.item_ids[rows],
        titles=[title_of(model, int(row)) for row in rows],
        counts=model.item_counts[rows],
        factors=model.spec.item_vectors(model.parameters)[rows],
    )


def _known_id(model: Model, text: str) -> int | str | None:
    one_id: int | str = text
    if not model.item_ids.is_string:
        if not (text.isascii() and text.isdigit()):
            return None
        one_id = int(text)
    return one_id if one_id in model.item_ids else None
