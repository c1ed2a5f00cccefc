"""`mfcore compare`: the same job on every engine, each in a process of its own, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from mfcore.cli.choices import choose_all
from mfcore.cli.comparing import (
    DEFAULT_DATA,
    DEFAULT_MODELS,
    FEW_EPOCHS,
    WITHOUT_NETWORK,
    Request,
    run_comparison,
)
from mfcore.cli.console import Output
from mfcore.cli.defaults import Settings
from mfcore.cli.help import HelpedCommand, examples
from mfcore.cli.options import (
    DATA_HELP,
    BackendsOption,
    ColumnsOption,
    DuplicatesOption,
    FolderOption,
    JsonOption,
    StringIdsOption,
    models_option,
)
from mfcore.cli.recipes import checked_names
from mfcore.cli.reports import engines_of
from mfcore.cli.sources import Reading
from mfcore.errors import InvalidArgumentError
from mfcore.specs import MODELS
from mfcore.validation import require_integer

DEFAULT_FOLDER = Path("mfcore-compare")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "compare",
        cls=HelpedCommand,
        help="Train the same models on every installed engine, and compare quality, speed and memory.\n\n"
        "Every engine is given the same job, by the recipe of mfcore train, and runs in a process of its own."
        " For each model a table is printed; a report with charts goes to a folder, as report.html, with the"
        f" figures beside it, as results.json. Without DATA, {' and '.join(DEFAULT_MODELS)} are compared on"
        f" {DEFAULT_DATA}, or on {WITHOUT_NETWORK} where that cannot be had, for {FEW_EPOCHS} epochs. The"
        " last epoch is judged, also where mfcore train would choose one.",
        epilog=examples(
            "mfcore compare",
            "mfcore compare ml-1m-ncf --model neumf --epochs 3",
            "mfcore compare ratings.csv --model mf,gmf --backends numba,torch --seeds 3 --out report",
        ),
    )(compare)


def compare(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help=DATA_HELP, show_default=False)] = None,
    *,
    model: Annotated[list[str] | None, models_option(" and ".join(DEFAULT_MODELS))] = None,
    backends: BackendsOption = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default=False,
            help=f"Default: those of mfcore train; {FEW_EPOCHS} without DATA.",
        ),
    ] = None,
    n_factors: Annotated[
        int | None, typer.Option(metavar="N", show_default=False, help="Default: that of mfcore train.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", show_default=False, help="Default: that of mfcore train.")
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Train with so many seeds, from 0, to tell the engines' differences from chance.",
        ),
    ] = 1,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1: auto leaves it to each engine.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(metavar="N", show_default=False, help="Default: all.")
    ] = None,
    columns: ColumnsOption = None,
    string_ids: StringIdsOption = False,
    duplicates: DuplicatesOption = None,
    out: FolderOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Do what the command's help says."""
    for name, number in (("--epochs", epochs), ("--seeds", seeds), ("--threads", threads)):
        if number is not None:
            require_integer(name, number, 1)
    reading = Reading(columns, string_ids, duplicates)
    if data is None and reading.arguments:
        raise InvalidArgumentError(
            "--columns, --string-ids and --duplicates tell how to read a file; name it as DATA"
        )
    settings = Settings(
        epochs=FEW_EPOCHS if data is None and epochs is None else epochs,
        n_factors=n_factors,
        batch_size=batch_size,
    )
    run_comparison(
        Request(
            data=data,
            reading=reading,
            recipes=[
                checked_names(Settings(model=name).over(settings))
                for name in choose_all("--model", model or DEFAULT_MODELS, MODELS)
            ],
            engines=engines_of(backends),
            seeds=range(seeds),
            device=device,
            threads=threads,
            folder=out,
        ),
        Output(as_json),
    )
