"""`mfcore data`: the named data sets, and what is in a data set or a file."""

from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
import typer

from mfcore.cli.console import Output, note
from mfcore.cli.help import MARKUP, HelpedCommand, HelpedGroup, examples
from mfcore.cli.options import (
    ColumnsOption,
    DataArgument,
    DuplicatesOption,
    JsonOption,
    StringIdsOption,
    show_items,
)
from mfcore.cli.sources import Reading, Source, read_source
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
    group.command("list", cls=HelpedCommand, help="List the named data sets, and where they lie.")(list_)
    group.command(
        "fetch",
        cls=HelpedCommand,
        help=f"Get a named data set onto the disk and print its path.\n\nIt is looked for in the folder that"
        f" {datasets.DATA_VARIABLE} names, then in the cache, and downloaded and verified otherwise.",
        epilog=examples("mfcore data fetch ml-100k"),
    )(fetch)
    group.command(
        "info",
        cls=HelpedCommand,
        help="Tell what is in a data set.\n\nA named one that is not on the disk is described, not fetched.",
        epilog=examples("mfcore data info ml-100k", "mfcore data info ratings.csv --columns user,film,stars"),
    )(info)
    app.add_typer(group, name="data", cls=HelpedGroup, help="List, fetch and describe data sets.")


def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def list_(*, as_json: JsonOption = False) -> None:
    """Do what the command's help says."""
    found = datasets.available()
    out = Output(as_json)
    out.heading("Data sets")
    out.table(
        ["name", "ratings", "on disk", "description"],
        [[one.name, one.n_ratings, "yes" if one.path else "no", one.description] for one in found],
    )
    out.text("synthetic:100k, synthetic:20m and the like are generated; a path works wherever a name does")
    out.document({"datasets": [_described(one) for one in found]})


def fetch(name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Do what the command's help says."""
    before = datasets.find(name)
    path = datasets.fetch(name)
    if before is not None:
        note(f"{name} is there already")
    if as_json:
        Output(as_json).document({"name": name, "path": str(path), "fetched": before is None})
    else:
        typer.echo(path)


def info(
    data: DataArgument,
    *,
    columns: ColumnsOption = None,
    string_ids: StringIdsOption = False,
    duplicates: DuplicatesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do what the command's help says."""
    out = Output(as_json)
    document: dict[str, Any] = {"source": data}
    if data in datasets.DATASETS:
        known = datasets.info(data)
        document |= _described(known)
        out.heading(known.name)
        out.fields(_fields_of(known))
        if known.path is None:
            out.document(document)
            return
    source = read_source(data, Reading(columns, string_ids, duplicates))
    document |= _show_content(out, source)
    out.document(document)


def _described(one: DatasetInfo) -> dict[str, Any]:
    return {
        "name": one.name,
        "description": one.description,
        "n_ratings": one.n_ratings,
        "download_bytes": one.size_bytes,
        "licence": one.licence,
        "path": None if one.path is None else str(one.path),
    }


def _fields_of(one: DatasetInfo) -> list[tuple[str, str]]:
    here = f"not on disk; mfcore data fetch {one.name} gets it" if one.path is None else str(one.path)
    return [
        ("what", one.description),
        ("terms of use", one.licence),
        ("download", f"{one.size_bytes / 1e6:.1f} MB"),
        ("path", here),
    ]


def _show_content(out: Output, source: Source) -> dict[str, Any]:
    data = source.data
    facts: dict[str, Any] = {
        "users": data.n_users,
        "items": data.n_items,
        "interactions": len(data),
        "density": data.density,
        "per_user": _spread(data.user_counts),
        "per_item": _spread(data.item_counts),
    }
    fields: list[tuple[str, Any]] = [
        *((name, facts[name]) for name in ("users", "items", "interactions")),
        ("density", f"{data.density:.2%}"),
        ("per user", _spread_in_words(facts["per_user"])),
        ("per item", _spread_in_words(facts["per_item"])),
    ]
    if (times := _times(data)) is not None:
        facts["times"] = times
        fields.append(("times", f"{times[0]} to {times[1]}"))
    if source.test is not None and source.negatives is not None:
        facts |= {"test": len(source.test), "negatives": source.negatives.shape[1]}
        fields.append(
            ("test part", f"{len(source.test):,} more, with {source.negatives.shape[1]} negatives each")
        )
    out.heading(f"Content of {source.name}")
    out.fields(fields)
    facts["values"] = _show_values(out, data)
    facts["most_popular"] = _show_popular(out, data)
    return facts


def _spread(counts: np.ndarray[Any, Any]) -> list[float]:
    return [float(counts.min()), float(np.median(counts)), float(counts.max())]


def _spread_in_words(spread: list[float]) -> str:
    low, middle, high = spread
    return f"{low:,.0f} to {high:,.0f}, median {middle:,.0f}"


def _times(data: Interactions) -> list[str] | None:
    """Return first and last time; small integers that order rather than date stay as they are."""
    if data.timestamps is None:
        return None
    ends = [int(data.timestamps.min()), int(data.timestamps.max())]
    first_plausible = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp())
    last_plausible = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
    if first_plausible <= ends[0] and ends[1] <= last_plausible:
        return [datetime.fromtimestamp(end, UTC).date().isoformat() for end in ends]
    return [str(end) for end in ends]


def _show_values(out: Output, data: Interactions) -> dict[str, Any]:
    distinct, counts = np.unique(data.values, return_counts=True)
    summary = {
        "min": float(distinct[0]),
        "max": float(distinct[-1]),
        "mean": float(data.values.mean(dtype=float)),
    }
    out.heading("Values")
    if len(distinct) > MAX_DISTINCT_VALUES:
        out.fields([(name, f"{value:g}") for name, value in summary.items()])
        return summary
    out.table(
        ["value", "interactions", "share"],
        [
            [f"{value:g}", int(count), f"{count / len(data):.1%}"]
            for value, count in zip(distinct, counts, strict=True)
        ],
    )
    return {**summary, "counts": {f"{value:g}": int(n) for value, n in zip(distinct, counts, strict=True)}}


def _show_popular(out: Output, data: Interactions) -> list[dict[str, Any]]:
    best = np.argsort(-data.item_counts, kind="stable")[:N_POPULAR]
    titles = [None] * len(best) if data.item_names is None else data.item_names[best].tolist()
    rows = [
        [item, title, count]
        for item, title, count in zip(
            data.item_ids[best].tolist(), titles, data.item_counts[best].tolist(), strict=True
        )
    ]
    out.heading("Most popular")
    show_items(
        out, ["item", "title", "interactions"], [[str(item), title, count] for item, title, count in rows]
    )
    return [
        {"item": item, **({} if title is None else {"title": title}), "interactions": count}
        for item, title, count in rows
    ]
