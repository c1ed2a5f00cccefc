"""Finds engines by entry point, and loads one on first use. A broken one is reported, and harms no other."""

import re
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from inspect import isfunction
from typing import TYPE_CHECKING, Any

from mfcore.engines.contract import API_VERSION, Backend
from mfcore.errors import InvalidArgumentError, MfcoreError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

GROUP = "mfcore.backends"
REFERENCE = "reference"
# The distribution whose engines no other one can replace.
OWN = "mfcore"
# What an engine has, as the contract lists it.
ATTRIBUTES = (
    *Backend.__annotations__,
    *(name for name, member in vars(Backend).items() if isfunction(member) and not name.startswith("_")),
)


class BackendUnavailableError(MfcoreError, ImportError):
    """An engine is installed, but cannot be used: the base of the two errors that say why.

    Examples
    --------
    >>> from mfcore.engines import BackendMissingError, BackendUnavailableError
    >>> issubclass(BackendMissingError, BackendUnavailableError), issubclass(BackendMissingError, ImportError)
    (True, True)
    """


class BackendMissingError(BackendUnavailableError):
    """A module that the engine imports, its framework for one, is not installed.

    Examples
    --------
    >>> from mfcore.engines import BackendMissingError
    >>> error = BackendMissingError("backend 'torch' needs torch, which is not installed", name="torch")
    >>> error.name
    'torch'
    """


class BackendBrokenError(BackendUnavailableError):
    """The engine fails when it is imported, does not keep the contract, or shares its name with another.

    Examples
    --------
    >>> from mfcore.engines import BackendBrokenError, BackendUnavailableError
    >>> issubclass(BackendBrokenError, BackendUnavailableError)
    True
    """


@dataclass(frozen=True)
class BackendInfo:
    """What `mfcore.backends()` says of an engine.

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
    """Return the names of the engines that are installed, `reference` first; loads none of them.

    Examples
    --------
    >>> from mfcore.engines import names
    >>> names()[0]
    'reference'
    """
    return [REFERENCE, *sorted(_entries()[0])]


def get(name: str) -> Backend:
    """Return an engine, loading it on first use.

    Raises
    ------
    InvalidArgumentError
        Unknown name; lists the installed ones and the closest match. It is a ValueError.
    BackendMissingError
        A module that the engine needs is not installed; names it and the remedy. It is an ImportError.
    BackendBrokenError
        The engine cannot be used for another reason, which it names. It is an ImportError too.
    """
    if name == REFERENCE:
        from mfcore.engines.reference import backend

        return backend
    found = _entries()[0]
    if name not in found:
        close = get_close_matches(str(name), names(), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InvalidArgumentError(f"no backend {name!r} is installed; there are: {', '.join(names())}{hint}")
    entries = found[name]
    if len(entries) > 1:
        raise BackendBrokenError(
            f"several distributions bring a backend {name!r}: {', '.join(map(_distribution, entries))};"
            " uninstall all but one of them"
        )
    return _load(entries[0])


def requirements(name: str) -> list[str]:
    """Return the distributions that an engine's own distribution requires; nothing is imported.

    They are those of the extra that has the engine's name, where there is one, and else all but the optional.
    """
    entries = _entries()[0].get(name, ())
    lines = [line for entry in entries if entry.dist is not None for line in entry.dist.requires or ()]
    of_extra = [line for line in lines if re.search(rf"extra\s*==\s*['\"]{re.escape(name)}['\"]", line)]
    chosen = of_extra or [line for line in lines if not re.search(r"extra\s*==", line)]
    return [match[0] for line in chosen if (match := re.match(r"[\w.-]+", line))]


def has_requirements(name: str) -> bool:
    """Return whether all that an engine needs seems to be installed, without importing it.

    An engine whose requirements seem to be missing may work all the same: a module can come from a
    distribution of another name.
    """
    from importlib import metadata

    def is_there(requirement: str) -> bool:
        module = re.sub("[-.]", "_", requirement)
        if module in sys.modules or find_spec(module):
            return True
        try:
            return bool(metadata.version(requirement))
        except metadata.PackageNotFoundError:
            return False

    return all(map(is_there, requirements(name)))


def of_this_contract(backend: Any, called: str) -> Backend:
    """Return an engine, checked for what this version of the contract asks for.

    Parameters
    ----------
    backend : object
    called : str
        Its name in the error.

    Raises
    ------
    InvalidArgumentError
        It lacks something, or has another version of the contract.
    """
    missing = [name for name in ATTRIBUTES if not hasattr(backend, name)]
    if missing:
        raise InvalidArgumentError(
            f"backend {called} has no {', '.join(missing)}; mfcore.engines.Backend lists what an engine has"
        )
    if backend.api_version != API_VERSION:
        raise InvalidArgumentError(
            f"backend {called} speaks version {backend.api_version} of the contract, this mfcore version"
            f" {API_VERSION}: upgrade the older of the two"
        )
    engine: Backend = backend
    return engine


def backends() -> list[BackendInfo]:
    """Return what is installed and what each engine can do; loads each engine to ask it.

    Returns
    -------
    list of BackendInfo
        With name, available and detail: what it does and on which version of its framework, or why it is not
        available.

    Examples
    --------
    >>> import mfcore
    >>> reference = mfcore.backends()[0]
    >>> reference.name, reference.available
    ('reference', True)
    """
    known = [_info(name) for name in names()]
    refused = [
        BackendInfo(
            entry.name,
            False,
            f"the distribution {_distribution(entry)} brings a backend of this name, which is mfcore's own:"
            " it has to call it something else",
        )
        for entry in _entries()[1]
    ]
    return [*known, *refused]


def entry_points(*, group: str) -> "EntryPoints":
    """Return the installed entry points of a group."""
    # Slow to import, and not needed before an engine is.
    from importlib import metadata

    return metadata.entry_points(group=group)


def in_short(error: BaseException) -> str:
    """Return an error as one line, with its class unless it is one of mfcore's own."""
    text = " ".join(str(error).split())
    return text if isinstance(error, MfcoreError) else f"{type(error).__name__}: {text}"


def _info(name: str) -> BackendInfo:
    try:
        return BackendInfo(name, True, str(getattr(get(name), "description", "")))
    except Exception as error:
        return BackendInfo(name, False, in_short(error))


def _entries() -> tuple[dict[str, list["EntryPoint"]], list["EntryPoint"]]:
    """Return by name the entry points of engines, several where distributions clash; and those refused."""
    every = list(entry_points(group=GROUP))
    own = {REFERENCE, "auto", *(entry.name for entry in every if _distribution(entry) == OWN)}
    found: dict[str, dict[str, EntryPoint]] = {}
    refused = []
    for entry in every:
        if entry.name in own and _distribution(entry) != OWN:
            refused.append(entry)
        else:
            found.setdefault(entry.name, {})[entry.value] = entry
    return {name: list(entries.values()) for name, entries in found.items()}, refused


def _distribution(entry: "EntryPoint") -> str:
    return "an unknown distribution" if entry.dist is None else entry.dist.name


@cache
def _load(entry: "EntryPoint") -> Backend:
    try:
        return of_this_contract(entry.load(), repr(entry.name))
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.partition(".")[0] in ("", entry.module.partition(".")[0]):
            raise _broken(entry, error) from error
        if _distribution(entry) == OWN:
            remedy = f": pip install 'mfcore[{entry.name}]'"
        else:
            remedy = f"; see what {_distribution(entry)}, the distribution that brings it, asks for"
        raise BackendMissingError(
            f"backend {entry.name!r} needs {missing}, which is not installed{remedy}", name=missing
        ) from error
    except InvalidArgumentError as error:
        raise BackendBrokenError(str(error)) from error
    except (Exception, SystemExit) as error:
        raise _broken(entry, error) from error


def _broken(entry: "EntryPoint", error: BaseException) -> BackendBrokenError:
    return BackendBrokenError(
        f"backend {entry.name!r} of {_distribution(entry)} fails when it is imported: {in_short(error)}"
    )
