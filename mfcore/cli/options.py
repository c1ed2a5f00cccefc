"""Options that several commands share, and how sets of rows are shown by all of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mfcore.cli.choices import METRIC_NAMES
from mfcore.cli.console import Output
from mfcore.engines import REFERENCE
from mfcore.model import Ranking
from mfcore.specs import MODELS

DATA_HELP = (
    "A named data set (see mfcore data list), synthetic:1m and the like, or a path: a MovieLens folder or"
    " zip, NCF files, or a CSV, TSV or Parquet file with users, items and, if wanted, ratings and times."
)
READING = "Reading a file"

DataArgument = Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP, show_default=False)]
ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


BackendsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        show_default=False,
        help=f"Engines, divided by commas; see mfcore backends. Default: all but {REFERENCE}, which is slow.",
    ),
]
FolderOption = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Where the report goes; made where it is not there.")
]


def models_option(default: str) -> Any:
    """Return the option that names models, divided by commas or repeated."""
    return typer.Option(
        metavar="NAMES",
        show_default=False,
        help=f"Divided by commas; may be repeated: {', '.join(MODELS)}. Default: {default}.",
    )


def k_option(panel: str | None = None) -> Any:
    """Return the option that sets the length of lists."""
    return typer.Option("--k", "-k", metavar="N", help="Length of the lists.", rich_help_panel=panel)


def min_count_option(default: str, panel: str | None = None) -> Any:
    """Return the option that leaves little-known items out of recommendations."""
    return typer.Option(
        "--min-count",
        metavar="N",
        show_default=False,
        rich_help_panel=panel,
        help="Recommend only items with at least so many users in the training data: a model of ratings knows"
        f" little about the others, and may rate them highest. Default: {default}",
    )


def metric_option(panel: str | None = None) -> Any:
    """Return the option that names metrics, to be repeated."""
    return typer.Option(
        "--metric",
        metavar="NAME",
        show_default=False,
        rich_help_panel=panel,
        help=f"Repeat for several: {', '.join(METRIC_NAMES)}, with any number after the @."
        " Default: rmse and mae for ratings, hr@10 and ndcg@10 for implicit data, top-k@1 to top-k@100 for"
        " two-tower.",
    )


KOption = Annotated[int, k_option()]
MetricOption = Annotated[list[str] | None, metric_option()]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        rich_help_panel=READING,
        show_default=False,
        help="Columns of user, item, rating and time, by name or by position from 0: user,film,stars",
    ),
]
StringIdsOption = Annotated[
    bool,
    typer.Option("--string-ids", rich_help_panel=READING, help="Ids are text even where all are digits."),
]
DuplicatesOption = Annotated[
    str | None,
    typer.Option(
        metavar="RULE",
        rich_help_panel=READING,
        show_default=False,
        help="For pairs that occur repeatedly: last, first, mean, sum, max or keep. Default: refuse them.",
    ),
]


def show_ranking(out: Output, ranking: Ranking, score: str = "score") -> None:
    """Print a list of items."""
    if len(ranking) == 0:
        out.text("nothing is left to recommend")
        return
    rows = [
        [entry["rank"], str(entry["item"]), entry.get("title"), entry["score"]] for entry in entries(ranking)
    ]
    show_items(out, ["", "item", "title", score], rows)


def show_items(out: Output, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table of items, without the column of titles where there are none."""
    kept = [
        place
        for place, name in enumerate(columns)
        if name != "title" or any(row[place] is not None for row in rows)
    ]
    out.table([columns[place] for place in kept], [[row[place] for place in kept] for row in rows])


def entries(ranking: Ranking) -> list[dict[str, Any]]:
    """Return a list of items for a JSON document."""
    titles = [None] * len(ranking) if ranking.names is None else ranking.names.tolist()
    return [
        {"rank": rank, "item": item, **({} if title is None else {"title": title}), "score": float(score)}
        for rank, (item, title, score) in enumerate(
            zip(ranking.items.tolist(), titles, ranking.scores, strict=True), start=1
        )
    ]
