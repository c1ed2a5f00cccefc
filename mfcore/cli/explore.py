"""`mfcore explore`: what a saved model has learnt."""

from pathlib import Path
from typing import Annotated, Any

from mfcore.cli.console import Printer, note
from mfcore.cli.options import JsonOption, LengthOption, ModelArgument, count_option, opt
from mfcore.cli.recommend import entries, id_of, is_known, show_items, show_ranking, show_recommended
from mfcore.model import Model, load_model, recommended
from mfcore.report import FactorTable, draw_model, factor_extremes, find_item, popular_factors, title_of

N_SHOWN_FACTORS = 8
# As many as a terminal of 80 columns has room for beside a title.
N_COLUMNS = 5
N_SHOWN_EPOCHS = 12


def explore(
    model: ModelArgument,
    *,
    factors: Annotated[
        bool, opt("The factors of the most popular items, and the items at the ends of each.")
    ] = False,
    item: Annotated[str | None, opt("Similar items, by id or by title.", "ITEM")] = None,
    user: Annotated[str | None, opt("A user's items, and what is recommended.", "USER")] = None,
    plot: Annotated[
        Path | None, opt("Draw the training and the first two factors there (.png, .svg, .pdf).", "FILE")
    ] = None,
    k: LengthOption = 10,
    min_count: Annotated[int, count_option("0")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Look into a saved model: how it was trained, its factors, its neighbours, its users.

    Without an option it shows what the model is and how its training went.

    Examples
    --------
    mfcore explore m.safetensors
    mfcore explore m.safetensors --item "star wars"
    mfcore explore m.safetensors --user 42 -k 5
    mfcore explore m.safetensors --factors --plot m.png
    """
    trained = load_model(model)
    printer = Printer(as_json)
    document: dict[str, Any] = {"model": str(model)}
    if not (factors or item is not None or user is not None or plot is not None):
        document |= _show_summary(printer, trained)
    if factors:
        document["factors"] = _show_factors(printer, trained, k)
        document["extremes"] = _show_extremes(printer, trained)
    if item is not None:
        document["similar"] = _show_similar(printer, trained, item, k)
    if user is not None:
        document["user"] = _show_user(printer, trained, user, k, min_count)
    if plot is not None:
        draw_model(trained, plot)
        note(f"drew {plot}")
        document["plot"] = str(plot)
    printer.document(document)


def _show_summary(printer: Printer, model: Model) -> dict[str, Any]:
    printer.heading("Model")
    printer.fields(
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
        printer.heading("Training")
        printer.fields([(name.replace("_", " "), _format(value)) for name, value in model.training.items()])
    _show_history(printer, model)
    return {
        "spec": str(model.spec),
        "n_users": model.n_users,
        "n_items": model.n_items,
        "epochs": model.epochs_trained,
        "training": model.training,
        "history": model.history.columns(),
    }


def _format(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    inner = ", ".join(f"{name}={entry}" for name, entry in value.items() if name != "kind")
    return f"{value['kind']}({inner})"


def _show_history(printer: Printer, model: Model) -> None:
    records = list(model.history or ())
    if not records:
        return
    step = -(-len(records) // N_SHOWN_EPOCHS)
    # Counted from the end, so that the last epoch is always among them.
    shown = [records[position] for position in sorted({0, *range(len(records) - 1, -1, -step)})]
    metrics = list(records[-1].metrics)
    printer.heading("History")
    printer.table(
        ["epoch", "objective", "seconds", *metrics],
        [
            [one.epoch + 1, f"{one.objective:.5f}", f"{one.seconds:.3f}", *map(one.metrics.get, metrics)]
            for one in shown
        ],
    )


def _show_factors(printer: Printer, model: Model, k: int) -> list[dict[str, Any]]:
    table = popular_factors(model, max(2 * k, 1))
    n_factors = table.factors.shape[1]
    shown = min(n_factors, N_COLUMNS)
    of_all = f", {shown} of {n_factors}" if shown < n_factors else ""
    rows = list(zip(table.ids.tolist(), table.titles, table.factors.tolist(), strict=True))
    printer.heading(f"Factors of the most popular items{of_all}")
    printer.table(
        ["title", *map(str, range(1, shown + 1))], [[title, *factors[:shown]] for _, title, factors in rows]
    )
    return [{"item": item, "title": title, "factors": factors} for item, title, factors in rows]


def _show_extremes(printer: Printer, model: Model) -> list[dict[str, Any]]:
    extremes = factor_extremes(model)
    printer.heading("Items at the ends of each factor")
    printer.table(
        ["factor", "lowest", "highest"],
        [
            [ends.factor if position == 0 else "", low, high]
            for ends in extremes[:N_SHOWN_FACTORS]
            for position, (low, high) in enumerate(zip(ends.lowest.titles, ends.highest.titles, strict=True))
        ],
    )
    return [
        {
            "factor": ends.factor,
            **{name: _ends(getattr(ends, name), ends.factor) for name in ("lowest", "highest")},
        }
        for ends in extremes
    ]


def _ends(table: FactorTable, factor: int) -> list[dict[str, Any]]:
    rows = zip(table.ids.tolist(), table.titles, table.factors[:, factor - 1].tolist(), strict=True)
    return [{"item": item, "title": title, "value": value} for item, title, value in rows]


def _show_similar(printer: Printer, model: Model, text: str, k: int) -> dict[str, Any]:
    item = find_item(model, text)
    title = title_of(model, int(model.item_ids.rows(item)))
    ranking = model.similar_items(item, k)[0]
    printer.heading(f"Similar to {title}" if title == str(item) else f"Similar to {title} (item {item})")
    show_ranking(printer, ranking, "cosine")
    return {"item": item, "title": title, "items": entries(ranking)}


def _show_user(printer: Printer, model: Model, text: str, k: int, min_count: int) -> dict[str, Any]:
    user = id_of(text, model.user_ids, "user")
    known = is_known(model, user)
    seen: list[dict[str, Any]] = []
    if known:
        items = model.seen.of(int(model.user_ids.rows(user)))
        popular_first = sorted(items.tolist(), key=lambda row: -int(model.item_counts[row]))
        seen = [{"item": str(model.item_ids[row]), "title": title_of(model, row)} for row in popular_first]
        printer.heading(f"User {user}: {min(k, len(seen))} of {len(seen):,} items of the training data")
        show_items(printer, seen[:k], ["item", "title"])
    ranking = recommended(model, user, k, min_count=min_count)
    show_recommended(printer, ranking, min_count)
    found = {"user": user, "known": known, "min_count": min_count}
    return {**found, "seen": seen, "items": entries(ranking)}
