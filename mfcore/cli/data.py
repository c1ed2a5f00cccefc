"""`mfcore data`: the named data sets, and what is in a data set or a file."""

from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
import typer

from mfcore.cli.commands import add_command
from mfcore.cli.console import Printer, Row, note
from mfcore.cli.help import MARKUP, HelpedGroup
from mfcore.cli.options import DataArgument, JsonOption
from mfcore.cli.recommend import show_items
from mfcore.cli.sources import LoadedData, Reading, read_source
from mfcore.data import DatasetInfo, Interactions, datasets

N_POPULAR = 5
MAX_DISTINCT_VALUES = 12

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="See mfcore data list.", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(rich_markup_mode=MARKUP)
    group.callback(invoke_without_command=True)(_help)
    for function in (list_, fetch, info):
        add_command(group, function)
    app.add_typer(group, name="data", cls=HelpedGroup, help="List, fetch and describe data sets.")


def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def list_(*, as_json: JsonOption = False) -> None:
    """List the named data sets, and where they lie."""
    found = datasets.available()
    printer = Printer(as_json)
    printer.heading("Data sets")
    printer.table(
        ["name", "ratings", "on disk", "description"],
        [[one.name, one.n_ratings, "yes" if one.path else "no", one.description] for one in found],
    )
    printer.text(
        "synthetic:100k, synthetic:20m and the like are generated; a path works wherever a name does"
    )
    printer.document({"datasets": [_described(one) for one in found]})


def fetch(name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Get a named data set onto the disk and print its path.

    It is looked for in the folder that MFCORE_DATA names, then in the cache, and downloaded and verified
    otherwise.

    Examples
    --------
    mfcore data fetch ml-100k
    """
    before = datasets.find(name)
    path = datasets.fetch(name)
    if before is not None:
        note(f"{name} is there already")
    if as_json:
        Printer(as_json).document({"name": name, "path": str(path), "fetched": before is None})
    else:
        typer.echo(path)


def info(data: DataArgument, *, reading: Reading, as_json: JsonOption = False) -> None:
    """Tell what is in a data set.

    A named one that is not on the disk is described, not fetched.

    Examples
    --------
    mfcore data info ml-100k
    mfcore data info ratings.csv --columns user,film,stars
    """
    printer = Printer(as_json)
    document: dict[str, Any] = {"source": data}
    if data in datasets.DATASETS:
        known = datasets.info(data)
        document |= _described(known)
        printer.heading(known.name)
        missing = f"not on disk; mfcore data fetch {known.name} gets it"
        printer.fields(
            [
                ("what", known.description),
                ("terms of use", known.licence),
                ("download", f"{known.size_bytes / 1e6:.1f} MB"),
                ("path", missing if known.path is None else str(known.path)),
            ]
        )
        if known.path is None:
            printer.document(document)
            return
    printer.document(document | _show_content(printer, read_source(data, reading)))


def _described(one: DatasetInfo) -> dict[str, Any]:
    described = {name: getattr(one, name) for name in ("name", "description", "n_ratings", "licence")}
    path = None if one.path is None else str(one.path)
    return {**described, "download_bytes": one.size_bytes, "path": path}


def _show_content(printer: Printer, source: LoadedData) -> dict[str, Any]:
    data, test, negatives = source.data, source.test, source.negatives
    facts: dict[str, Any] = {
        "users": data.n_users,
        "items": data.n_items,
        "interactions": len(data),
        "density": data.density,
        "per_user": _spread(data.user_counts),
        "per_item": _spread(data.item_counts),
    }
    words = "{0:,.0f} to {2:,.0f}, median {1:,.0f}"
    fields: list[tuple[str, Any]] = [
        *((name, facts[name]) for name in ("users", "items", "interactions")),
        ("density", f"{data.density:.2%}"),
        *((name.replace("_", " "), words.format(*facts[name])) for name in ("per_user", "per_item")),
    ]
    if (times := _times(data)) is not None:
        facts["times"] = times
        fields.append(("times", f"{times[0]} to {times[1]}"))
    if test is not None and negatives is not None:
        facts |= {"test": len(test), "negatives": negatives.shape[1]}
        fields.append(("test part", f"{len(test):,} more, with {negatives.shape[1]} negatives each"))
    printer.heading(f"Content of {source.name}")
    printer.fields(fields)
    return {**facts, "values": _show_values(printer, data), "most_popular": _show_popular(printer, data)}


def _spread(counts: np.ndarray[Any, Any]) -> list[float]:
    return [float(counts.min()), float(np.median(counts)), float(counts.max())]


def _times(data: Interactions) -> list[str] | None:
    """Return first and last time; small integers that order rather than date stay as they are."""
    if data.timestamps is None:
        return None
    ends = [int(data.timestamps.min()), int(data.timestamps.max())]
    first, last = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (1990, 2100))
    if first <= ends[0] and ends[1] <= last:
        return [datetime.fromtimestamp(end, UTC).date().isoformat() for end in ends]
    return [str(end) for end in ends]


def _show_values(printer: Printer, data: Interactions) -> dict[str, Any]:
    distinct, counts = np.unique(data.values, return_counts=True)
    mean = float(data.values.mean(dtype=float))
    summary = {"min": float(distinct[0]), "max": float(distinct[-1]), "mean": mean}
    printer.heading("Values")
    if len(distinct) > MAX_DISTINCT_VALUES:
        printer.fields([(name, f"{value:g}") for name, value in summary.items()])
        return summary
    by_value = {f"{value:g}": int(count) for value, count in zip(distinct, counts, strict=True)}
    rows: list[Row] = [[value, count, f"{count / len(data):.1%}"] for value, count in by_value.items()]
    printer.table(["value", "interactions", "share"], rows)
    return {**summary, "counts": by_value}


def _show_popular(printer: Printer, data: Interactions) -> list[dict[str, Any]]:
    best = np.argsort(-data.item_counts, kind="stable")[:N_POPULAR]
    items, counts = data.item_ids[best].tolist(), data.item_counts[best].tolist()
    titles = [None] * len(best) if data.item_names is None else data.item_names[best].tolist()
    popular = [
        {"item": item, **({} if title is None else {"title": title}), "interactions": count}
        for item, title, count in zip(items, titles, counts, strict=True)
    ]
    printer.heading("Most popular")
    show_items(printer, popular, ["item", "title", "interactions"])
    return popular
