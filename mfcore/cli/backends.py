"""`mfcore backends`: the engines that are installed."""

import typer

from mfcore.cli.console import Output
from mfcore.cli.help import HelpedCommand
from mfcore.cli.options import JsonOption
from mfcore.engines import registry


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("backends", cls=HelpedCommand, help="List the engines, and what each can do.")(backends)


def backends(*, as_json: JsonOption = False) -> None:
    """Do what the command's help says."""
    found = registry.backends()
    out = Output(as_json)
    out.heading("Engines")
    out.table(
        ["name", "available", "detail"],
        [[info.name, "yes" if info.available else "no", info.detail] for info in found],
    )
    out.document(
        {
            "backends": [
                {"name": info.name, "available": info.available, "detail": info.detail} for info in found
            ]
        }
    )
