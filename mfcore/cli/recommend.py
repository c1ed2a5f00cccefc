"""`mfcore recommend`: lists of items for users of a saved model; how other commands show users and items."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from mfcore.cli.console import Printer, note
from mfcore.cli.options import JsonOption, LengthOption, ModelArgument, count_option, opt
from mfcore.data import Interactions, Vocabulary
from mfcore.errors import InvalidArgumentError
from mfcore.model import Model, Ranking, load_model, recommended

N_LIKED = 5
WELL_KNOWN = 20


def recommend(
    model: ModelArgument,
    *,
    user: Annotated[list[str], opt("A user's id; repeat for several.", "USER")],
    k: LengthOption = 10,
    min_count: Annotated[int, count_option("0")] = 0,
    include_seen: Annotated[bool, opt("Leave the items of the training data in.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the items of highest score for users of a saved model.

    Items of the training data are left out. A user without training data gets what suits the average user.

    Examples
    --------
    mfcore recommend m.safetensors --user 42
    mfcore recommend m.safetensors --user 42 --user 43 -k 20 --json
    """
    trained = load_model(model)
    users = [id_of(text, trained.user_ids, "user") for text in user]
    printer = Printer(as_json)
    document = []
    for one in users:
        known = is_known(trained, one)
        ranking = recommended(trained, one, k, min_count=min_count, exclude_seen=not include_seen)
        show_recommended(printer, ranking, min_count)
        document.append({"user": one, "known": known, "min_count": min_count, "items": entries(ranking)})
    printer.document({"model": str(model), "recommendations": document})


def id_of(text: str, ids: Vocabulary, side: str) -> int | str:
    """Return a user or item id of the kind that the vocabulary holds, known to it or not."""
    if ids.is_string:
        return text
    if not text.isascii() or not text.isdigit():
        raise InvalidArgumentError(
            f"{side} is {text!r}, but the {side} ids of this model are integers, such as {ids[0]}"
        )
    return int(text)


def is_known(model: Model, user: int | str) -> bool:
    """Return whether the model was trained on anything of a user; if not, tell what is shown instead."""
    row = int(model.user_ids.rows(user))
    known = row >= 0 and bool(model.seen.counts[row])
    if not known:
        note(f"user {user} has no training data in this model; shown is the answer for an average user")
    return known


def show_recommended(printer: Printer, ranking: Ranking, min_count: int) -> None:
    """Print a user's list, with what was asked of its items."""
    among = f", among items with at least {min_count} users" if min_count > 0 else ""
    printer.heading(f"Recommended to user {ranking.query}{among}")
    show_ranking(printer, ranking)


def show_ranking(printer: Printer, ranking: Ranking, score: str = "score") -> None:
    """Print a list of items, with the name of what they are ranked by."""
    if len(ranking) == 0:
        printer.text("nothing is left to recommend")
        return
    rows = [{"": entry["rank"], score: entry["score"], **entry} for entry in entries(ranking)]
    show_items(printer, rows, ["", "item", "title", score])


def show_items(printer: Printer, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print a table of items, without the column of titles where there are none."""
    kept = [name for name in columns if name != "title" or any(row.get(name) is not None for row in rows)]
    # Ids are names, not numbers.
    printer.table(
        kept, [[str(row[name]) if name == "item" else row.get(name) for name in kept] for row in rows]
    )


def entries(ranking: Ranking) -> list[dict[str, Any]]:
    """Return a list of items for a JSON document."""
    titles = (
        [{}] * len(ranking) if ranking.names is None else [{"title": name} for name in ranking.names.tolist()]
    )
    rows = zip(ranking.items.tolist(), titles, ranking.scores.tolist(), strict=True)
    return [
        {"rank": rank, "item": item, **title, "score": score}
        for rank, (item, title, score) in enumerate(rows, start=1)
    ]


def showcase(
    printer: Printer, model: Model, data: Interactions, *, user: int | str | None, k: int, min_count: int
) -> dict[str, Any]:
    """Show what a user, or one of middling activity, liked and gets; return the same for a JSON document."""
    user = user_of_activity(data, 0.5) if user is None else user
    known = is_known(model, user)
    liked = liked_by(data, user) if known else []
    if liked:
        rated = bool(data.values.min() < data.values.max())
        n_seen = model.seen.counts[model.user_ids.rows(user)]
        printer.heading(f"User {user}: {'rated highest' if rated else 'some'} of {n_seen:,} items")
        rows = [{**entry, "rating": f"{entry['value']:g}"} for entry in liked]
        show_items(printer, rows, ["item", "title", *(["rating"] if rated else [])])
    ranking = recommended(model, user, k, min_count=min_count)
    show_recommended(printer, ranking, min_count)
    found = {"user": user, "known": known, "liked": liked}
    return {**found, "min_count": min_count, "items": entries(ranking)}


def default_min_count(item_counts: npt.NDArray[np.int64], is_implicit: bool, k: int) -> int:
    """Return how well known a recommended item has to be: of ratings a number seldom reached by chance."""
    enough = int((item_counts >= WELL_KNOWN).sum()) >= 10 * k
    return WELL_KNOWN if enough and not is_implicit else 0


def user_of_activity(data: Interactions, quantile: float) -> int | str:
    """Return the user at a quantile of the users' numbers of interactions; of equals the lowest id."""
    warm = np.flatnonzero(data.user_counts)
    order = np.argsort(data.user_counts[warm], kind="stable")
    counts = data.user_counts[warm][order]
    position = np.searchsorted(counts, counts[int(quantile * len(counts))])
    user: int | str = data.user_ids[int(warm[order][position])]
    return user


def liked_by(data: Interactions, user: int | str) -> list[dict[str, Any]]:
    """Return item, title and value of what a user rated highest, well-known items first."""
    mine = np.flatnonzero(data.users == data.user_ids.rows(user))
    best = mine[np.lexsort((-data.item_counts[data.items[mine]], -data.values[mine]))][:N_LIKED]
    rows = data.items[best]
    titles = [None] * len(best) if data.item_names is None else data.item_names[rows].tolist()
    columns = (data.item_ids[rows].tolist(), titles, data.values[best].tolist())
    return [
        {"item": item, "title": title, "value": value} for item, title, value in zip(*columns, strict=True)
    ]
