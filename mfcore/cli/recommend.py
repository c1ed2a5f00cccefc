"""`mfcore recommend`: lists of items for users of a saved model."""

from typing import Annotated

import typer

from mfcore.cli.choices import id_of
from mfcore.cli.console import Output, note
from mfcore.cli.help import PlainCommand, examples
from mfcore.cli.options import JsonOption, KOption, ModelArgument, entries, show_ranking
from mfcore.model import Model
from mfcore.model_file import load_model


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "recommend",
        cls=PlainCommand,
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
    for ranking in trained.recommend(users, k, exclude_seen=not include_seen):
        known = has_training_data(trained, ranking.query)
        if not known:
            note_unknown(ranking.query)
        out.heading(f"Recommended to user {ranking.query}")
        show_ranking(out, ranking)
        document.append({"user": ranking.query, "known": known, "items": entries(ranking)})
    out.document({"model": str(model), "recommendations": document})


def has_training_data(model: Model, user: int | str) -> bool:
    """Return whether the model was trained on anything of a user."""
    row = int(model.user_ids.rows(user))
    return row >= 0 and bool(model.seen.counts[row])


def note_unknown(user: int | str) -> None:
    """Tell that what is shown for a user is a cold-start answer."""
    note(f"user {user} has no training data in this model; shown is the answer for an average user")
