"""`mfcore recommend`: lists of items for users of a saved model."""

from typing import Annotated

import typer

from mfcore.cli.choices import id_of
from mfcore.cli.console import Output, note
from mfcore.cli.help import HelpedCommand, examples
from mfcore.cli.options import JsonOption, KOption, ModelArgument, entries, min_count_option, show_ranking
from mfcore.model import Model, Ranking, load_model, recommended


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "recommend",
        cls=HelpedCommand,
        help="List the items of highest score for users of a saved model.\n\nItems of the training data are"
        " left out. A user without training data gets what suits the average user.",
        epilog=examples(
            "mfcore recommend m.safetensors --user 42",
            "mfcore recommend m.safetensors --user 42 --user 43 -k 20 --json",
        ),
    )(recommend)


def recommend(
    model: ModelArgument,
    *,
    user: Annotated[
        list[str], typer.Option(metavar="USER", help="A user's id; repeat for several.", show_default=False)
    ],
    k: KOption = 10,
    min_count: Annotated[int, min_count_option("0")] = 0,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Leave the items of the training data in.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Do what the command's help says."""
    trained = load_model(model)
    users = [id_of(text, trained.user_ids, "user") for text in user]
    out = Output(as_json)
    document = []
    for one in users:
        known = has_training_data(trained, one)
        if not known:
            note_unknown(one)
        ranking = recommended(trained, one, k, min_count=min_count, exclude_seen=not include_seen)
        show_recommended(out, ranking, min_count)
        document.append({"user": one, "known": known, "min_count": min_count, "items": entries(ranking)})
    out.document({"model": str(model), "recommendations": document})


def show_recommended(out: Output, ranking: Ranking, min_count: int) -> None:
    """Print a user's list, with what was asked of its items."""
    among = f", among items with at least {min_count} users" if min_count > 0 else ""
    out.heading(f"Recommended to user {ranking.query}{among}")
    show_ranking(out, ranking)


def has_training_data(model: Model, user: int | str) -> bool:
    """Return whether the model was trained on anything of a user."""
    row = int(model.user_ids.rows(user))
    return row >= 0 and bool(model.seen.counts[row])


def note_unknown(user: int | str) -> None:
    """Tell that what is shown for a user is a cold-start answer."""
    note(f"user {user} has no training data in this model; shown is the answer for an average user")
