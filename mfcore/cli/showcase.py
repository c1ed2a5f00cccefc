"""A user as an example: what they liked, and what a model recommends to them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mfcore.cli.console import Output
from mfcore.cli.options import entries, show_items
from mfcore.cli.recommend import has_training_data, note_unknown, show_recommended
from mfcore.data import Interactions
from mfcore.model import Model, recommended

N_LIKED = 5
WELL_KNOWN = 20


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
    user = user_of_activity(data, 0.5) if user is None else user
    known = has_training_data(model, user)
    if not known:
        note_unknown(user)
    liked = liked_by(data, user) if known else []
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


def default_min_count(item_counts: npt.NDArray[np.int64], is_implicit: bool, k: int) -> int:
    """Return how well known a recommended item has to be: of ratings a number seldom reached by chance."""
    enough = int((item_counts >= WELL_KNOWN).sum()) >= 10 * k
    return WELL_KNOWN if enough and not is_implicit else 0


def user_of_activity(data: Interactions, share: float) -> int | str:
    """Return the user than whom such a share of those in the data is less active, the lowest id of equals."""
    warm = np.flatnonzero(data.user_counts)
    order = np.argsort(data.user_counts[warm], kind="stable")
    counts = data.user_counts[warm][order]
    place = np.searchsorted(counts, counts[int(share * len(counts))])
    user: int | str = data.user_ids[int(warm[order][place])]
    return user


def liked_by(data: Interactions, user: int | str) -> list[tuple[int | str, str | None, float]]:
    """Return id, title and value of the items that a user rated highest, well-known ones first."""
    mine = np.flatnonzero(data.users == data.user_ids.rows(user))
    best = mine[np.lexsort((-data.item_counts[data.items[mine]], -data.values[mine]))][:N_LIKED]
    rows = data.items[best]
    titles = [None] * len(best) if data.item_names is None else data.item_names[rows].tolist()
    return list(zip(data.item_ids[rows].tolist(), titles, data.values[best].tolist(), strict=True))
