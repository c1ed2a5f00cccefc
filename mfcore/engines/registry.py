"""Finds engines by entry point, and loads one on first use."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mfcore.engines.contract import API_VERSION, Backend
from mfcore.errors import InvalidArgumentError, MfcoreError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

GROUP = "mfcore.backends"
REFERENCE = "reference"

# The modules whose absence means that an extra of mfcore was not installed.
FRAMEWORKS: Mapping[str, frozenset[str]] = {
    "numba": frozenset({"numba", "llvmlite"}),
    "torch": frozenset({"torch"}),
    "keras": frozenset({"keras", "tensorflow"}),
}


class BackendMissingError(MfcoreError, ImportError):
    """The engine is known, but the framework it is built on is not installed."""


@dataclass(frozen=True)
class BackendInfo:
    """What `mfcore.backends()` tells of an engine.

    Attributes
    ----------
    name : str
    available : bool
    detail : str
        What it does and on which version of its framework, or why it is not available.
    """

    name: str
    available: bool
    detail: str


def names() -> list[str]:
    """Return the names of the engines that are installed, `reference` first; loads none of them."""
    return [REFERENCE, *sorted(_entry_points())]


def get(name: str) -> Backend:
    """Return an engine, loading it on first use.

    Raises
    ------
    InvalidArgumentError
        Unknown name; lists the installed ones and the closest match. Or an engine of another version of the
        contract. It is a ValueError.
    BackendMissingError
        The engine's framework is not installed; names the command. It is an ImportError. Any other
        failure of the engine's import propagates untouched.
    """
    if name == REFERENCE:
        from mfcore.engines.reference import backend

        return backend
    found = _entry_points()
    if name not in found:
        close = get_close_matches(str(name), names(), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InvalidArgumentError(f"no backend {name!r} is installed; there are: {', '.join(names())}{hint}")
    return _load(found[name])


def has_framework(name: str) -> bool:
    """Return whether the framework of an engine is there to be imported, without importing it."""
    try:
        return all(module in sys.modules or find_spec(module) for module in FRAMEWORKS.get(name, ()))
    except ModuleNotFoundError:
        return False


def of_this_contract(backend: Backend, called: str) -> Backend:
    """Return an engine that speaks this version of the contract.

    Parameters
    ----------
    backend : Backend
    called : str
        What the error calls it.

    Raises
    ------
    InvalidArgumentError
        It speaks another version.
    """
    if backend.api_version != API_VERSION:
        raise InvalidArgumentError(
            f"backend {called} speaks version {backend.api_version} of the contract, this mfcore version"
            f" {API_VERSION}: upgrade the older of the two"
        )
    return backend


def backends() -> list[BackendInfo]:
    """Return what is installed and what each engine can do; loads each engine to ask it."""
    result = []
    for name in names():
        try:
            backend = get(name)
        except (ImportError, MfcoreError) as error:
            result.append(BackendInfo(name, False, str(error)))
        else:
            result.append(BackendInfo(name, True, getattr(backend, "description", "")))
    return result


def entry_points(*, group: str) -> "EntryPoints":
    """Return the installed entry points of a group."""
    # Slow to import, and not needed before an engine is.
    from importlib import metadata

    return metadata.entry_points(group=group)


def _entry_points() -> dict[str, "EntryPoint"]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


@cache
def _load(entry: "EntryPoint") -> Backend:
    try:
        backend: Backend = entry.load()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in FRAMEWORKS.get(entry.name, ()):
            raise
        raise BackendMissingError(
            f"backend {entry.name!r} needs {error.name}, which is not installed:"
            f" pip install 'mfcore[{entry.name}]'",
            name=error.name,
        ) from error
    return of_this_contract(backend, repr(entry.name))
