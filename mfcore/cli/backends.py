"""`mfcore backends`: the engines that are installed."""

from mfcore.cli.console import Printer
from mfcore.cli.options import JsonOption
from mfcore.engines import registry


def backends(*, as_json: JsonOption = False) -> None:
    """List the engines, and what each can do."""
    found = registry.backends()
    printer = Printer(as_json)
    printer.heading("Engines")
    rows = [[one.name, "yes" if one.available else "no", one.detail] for one in found]
    printer.table(["name", "available", "detail"], rows)
    listed = [{"name": one.name, "available": one.available, "detail": one.detail} for one in found]
    printer.document({"backends": listed})
