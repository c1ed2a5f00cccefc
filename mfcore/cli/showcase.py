"""A user as an example: what they liked, and what a model recommends to them."""

from typing import Any

import numpy as np

from mfcore.cli.console import Output
from mfcore.cli.options import entries, show_items
from mfcore.cli.recommend import has_training_data, note_unknown, recommended, show_recommended
from mfcore.data import Interactions
from mfcore.model import Model

N_LIKED = 5


def showcase(
    out: Output, model: Model, data: Interactions, *, user: int | str | None, k: int, min_count: int
) -> dict[str, Any]:
    """Show a user, or one of middling activity, and return the same for a JSON document.

    Parameters
    ----------
    out : Output
    model : Model
    data : Interactions
        The training part.
    user : id or None
    k, min_count : int
        Of the recommendations.
    """
    user = _middling_user(data) if user is None else user
    known = has_training_data(model, user)
    if not known:
        note_unknown(user)
    liked = _liked(data, user) if known else []
    if liked:
        rated = bool(data.values.min() < data.values.max())
        n_seen = model.seen.counts[model.user_ids.rows(user)]
        out.heading(f"User {user}: {'rated highest' if rated else 'some'} of {n_seen:,} items")
        columns = ["item", "title", "rating"] if rated else ["item", "title"]
        show_items(
            out, columns, [[str(item), title, f"{value:g}"][: len(columns)] for item, title, value in liked]
        )
    ranking = recommended(model, user, k, min_count=min_count)
    show_recommended(out, ranking, min_count)
    return {
        "user": user,
        "known": known,
        "liked": [{"item": item, "title": title, "value": value} for item, title, value in liked],
        "min_count": min_count,
        "items": entries(ranking),
    }


def _middling_user(data: Interactions) -> int | str:
    """Return the user of median activity among those in the training data, the lowest id of equals."""
    warm = np.flatnonzero(data.user_counts)
    order = np.argsort(data.user_counts[warm], kind="stable")
    counts = data.user_counts[warm][order]
    middle = np.searchsorted(counts, counts[len(counts) // 2])
    user: int | str = data.user_ids[int(warm[order][middle])]
    return user


def _liked(data: Interactions, user: int | str) -> list[tuple[int | str, str | None, float]]:
    """Return id, title and value of the items that a user rated highest, well-known ones first."""
    mine = np.flatnonzero(data.users == data.user_ids.rows(user))
    best = mine[np.lexsort((-data.item_counts[data.items[mine]], -data.values[mine]))][:N_LIKED]
    rows = data.items[best]
    titles = [None] * len(best) if data.item_names is None else data.item_names[rows].tolist()
    return list(zip(data.item_ids[rows].tolist(), titles, data.values[best].tolist(), strict=True))
