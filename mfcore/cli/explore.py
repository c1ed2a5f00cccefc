"""`mfcore explore`: what a saved model has learnt."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mfcore.cli.choices import id_of
from mfcore.cli.console import Output, note
from mfcore.cli.help import HelpedCommand, examples
from mfcore.cli.options import (
    JsonOption,
    KOption,
    ModelArgument,
    entries,
    min_count_option,
    show_items,
    show_ranking,
)
from mfcore.cli.recommend import has_training_data, note_unknown, show_recommended
from mfcore.model import Model, load_model, recommended
from mfcore.report import FactorTable, draw_model, factor_extremes, find_item, popular_factors, title_of

N_SHOWN_FACTORS = 8
N_SHOWN_EPOCHS = 12


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "explore",
        cls=HelpedCommand,
        help="Look into a saved model: how it was trained, its factors, its neighbours, its users.\n\nWithout"
        " an option it shows what the model is and how its training went.",
        epilog=examples(
            "mfcore explore m.safetensors",
            'mfcore explore m.safetensors --item "star wars"',
            "mfcore explore m.safetensors --user 42 -k 5",
            "mfcore explore m.safetensors --factors --plot m.png",
        ),
    )(explore)


def explore(
    model: ModelArgument,
    *,
    factors: Annotated[
        bool,
        typer.Option(
            "--factors", help="The factors of the most popular items, and the items at the ends of each."
        ),
    ] = False,
    item: Annotated[
        str | None,
        typer.Option(metavar="ITEM", help="Similar items, by id or by title.", show_default=False),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(metavar="USER", help="A user's items, and what is recommended.", show_default=False),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the training and the first two factors there (.png, .svg, .pdf).",
            show_default=False,
        ),
    ] = None,
    k: KOption = 10,
    min_count: Annotated[int, min_count_option("0")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Do what the command's help says."""
    trained = load_model(model)
    out = Output(as_json)
    document: dict[str, Any] = {"model": str(model)}
    if not (factors or item is not None or user is not None or plot is not None):
        document |= _show_summary(out, trained)
    if factors:
        document["factors"] = _show_factors(out, trained, k)
        document["extremes"] = _show_extremes(out, trained)
    if item is not None:
        document["similar"] = _show_similar(out, trained, item, k)
    if user is not None:
        document["user"] = _show_user(out, trained, user, k, min_count)
    if plot is not None:
        draw_model(trained, plot)
        note(f"drew {plot}")
        document["plot"] = str(plot)
    out.document(document)


def _show_summary(out: Output, model: Model) -> dict[str, Any]:
    out.heading("Model")
    out.fields(
        [
            ("spec", str(model.spec)),
            ("users", model.n_users),
            ("items", model.n_items),
            ("training pairs", len(model.seen.indices)),
            ("titles", "no" if model.item_names is None else "yes"),
            ("parameters", sum(array.size for array in model.parameters.values())),
            ("epochs", model.epochs_trained),
        ]
    )
    if model.training:
        out.heading("Training")
        out.fields([(name.replace("_", " "), _setting(value)) for name, value in model.training.items()])
    _show_history(out, model)
    return {
        "spec": str(model.spec),
        "n_users": model.n_users,
        "n_items": model.n_items,
        "epochs": model.epochs_trained,
        "training": model.training,
        "history": model.history.columns(),
    }


def _setting(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    inner = ", ".join(f"{name}={entry}" for name, entry in value.items() if name != "kind")
    return f"{value['kind']}({inner})"


def _show_history(out: Output, model: Model) -> None:
    if not model.history:
        return
    records = list(model.history)
    step = -(-len(records) // N_SHOWN_EPOCHS)
    # Counted from the end, so that the last epoch is always among them.
    shown = sorted({0, *range(len(records) - 1, -1, -step)})
    metrics = list(records[-1].metrics)
    out.heading("History")
    out.table(
        ["epoch", "objective", "seconds", *metrics],
        [
            [
                records[place].epoch + 1,
                f"{records[place].objective:.5f}",
                f"{records[place].seconds:.3f}",
                *(records[place].metrics.get(name) for name in metrics),
            ]
            for place in shown
        ],
    )


def _show_factors(out: Output, model: Model, k: int) -> list[dict[str, Any]]:
    table = popular_factors(model, max(2 * k, 1))
    n_factors = table.factors.shape[1]
    shown = min(n_factors, N_SHOWN_FACTORS)
    out.heading(
        f"Factors of the most popular items{f', {shown} of {n_factors}' if shown < n_factors else ''}"
    )
    out.table(
        ["title", *map(str, range(1, shown + 1))],
        [
            [title, *map(float, factors[:shown])]
            for title, factors in zip(table.titles, table.factors, strict=True)
        ],
    )
    return [
        {"item": item, "title": title, "factors": factors}
        for item, title, factors in zip(table.ids.tolist(), table.titles, table.factors.tolist(), strict=True)
    ]


def _show_extremes(out: Output, model: Model) -> list[dict[str, Any]]:
    extremes = factor_extremes(model)
    out.heading("Items at the ends of each factor")
    out.table(
        ["factor", "lowest", "highest"],
        [
            [ends.factor if place == 0 else "", low, high]
            for ends in extremes[:N_SHOWN_FACTORS]
            for place, (low, high) in enumerate(zip(ends.lowest.titles, ends.highest.titles, strict=True))
        ],
    )
    return [
        {
            "factor": ends.factor,
            "lowest": _ends(ends.lowest, ends.factor),
            "highest": _ends(ends.highest, ends.factor),
        }
        for ends in extremes
    ]


def _ends(table: FactorTable, factor: int) -> list[dict[str, Any]]:
    return [
        {"item": item, "title": title, "value": value}
        for item, title, value in zip(
            table.ids.tolist(), table.titles, table.factors[:, factor - 1].tolist(), strict=True
        )
    ]


def _show_similar(out: Output, model: Model, text: str, k: int) -> dict[str, Any]:
    item = find_item(model, text)
    title = title_of(model, int(model.item_ids.rows(item)))
    ranking = model.similar_items(item, k)[0]
    out.heading(f"Similar to {title}" if title == str(item) else f"Similar to {title} (item {item})")
    show_ranking(out, ranking, "cosine")
    return {"item": item, "title": title, "items": entries(ranking)}


def _show_user(out: Output, model: Model, text: str, k: int, min_count: int) -> dict[str, Any]:
    user = id_of(text, model.user_ids, "user")
    known = has_training_data(model, user)
    seen: list[list[Any]] = []
    if known:
        items = model.seen.of(int(model.user_ids.rows(user)))
        popular_first = sorted(items.tolist(), key=lambda row: -int(model.item_counts[row]))
        seen = [[str(model.item_ids[row]), title_of(model, row)] for row in popular_first]
        out.heading(f"User {user}: {min(k, len(seen))} of {len(seen):,} items of the training data")
        show_items(out, ["item", "title"], seen[:k])
    else:
        note_unknown(user)
    ranking = recommended(model, user, k, min_count=min_count)
    show_recommended(out, ranking, min_count)
    return {
        "user": user,
        "known": known,
        "min_count": min_count,
        "seen": [{"item": item, "title": title} for item, title in seen],
        "items": entries(ranking),
    }
