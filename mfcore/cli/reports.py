"""What the commands that run many engines and end in a report have in common."""

from pathlib import Path
from typing import Any

from mfcore.cli.console import as_json
from mfcore.engines import registry
from mfcore.errors import InvalidArgumentError
from mfcore.files import replacing

REPORT, RESULTS = "report.html", "results.json"


def engines_of(names: list[str] | None) -> list[str]:
    """Return the engines that --backends names, which have to be usable, or all but the reference."""
    if names is None:
        return [name for name in registry.names() if name != registry.REFERENCE]
    for name in names:
        # Frameworks that are there are not loaded: processes of their own will do that.
        if not registry.has_requirements(name):
            registry.get(name)
    return names


def require_folder(folder: Path) -> None:
    """Raise InvalidArgumentError unless a folder is there, or can be made."""
    if not folder.absolute().parent.is_dir():
        raise InvalidArgumentError(
            f"--out: there is no folder {folder.absolute().parent} to make {folder.name} in; create it first"
        )
    if folder.exists() and not folder.is_dir():
        raise InvalidArgumentError(f"--out: {folder} is a file; name a folder")


def write_results(folder: Path, document: dict[str, Any]) -> None:
    """Write the figures to a folder, which is made where it is not there."""
    folder.mkdir(exist_ok=True)
    with replacing(folder / RESULTS) as temporary:
        temporary.write_text(as_json(document) + "\n", encoding="utf-8")
