"""Settings that a model file can hold: an open registry of classes, and plain dictionaries of their fields.

Specs, outputs, initialisers, objectives, optimizers, schedules and sampling plans derive from `Settings`. A
class registers itself when it is defined, so that a person's own is found, in files and by name, as soon as
its module is imported. Nothing is imported that the caller did not import or name.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, TypeVar

import numpy as np

from mfcore.errors import InvalidArgumentError, ModelFileError

KIND = "kind"


class Settings:
    """Base of what a model file holds by class and fields. A subclass that is used is a frozen dataclass.

    Its fields hold None, booleans, numbers, text, other settings, or tuples of these, so each can be written
    to a file, read back and compared.

    Attributes
    ----------
    short_name : str
        The name by which `fit` and the command line know the class; a class without one of its own is used
        through its instances only.

    Examples
    --------
    >>> from mfcore import Adam
    >>> from mfcore.optimizers import OPTIMIZERS
    >>> OPTIMIZERS[Adam.short_name]
    <class 'mfcore.optimizers._adam.Adam'>
    """

    short_name: ClassVar[str] = ""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        _register(cls)


T = TypeVar("T", bound=Settings)

# By what a file calls them; and by the base that derives from Settings directly, and the short name.
_classes: dict[str, type[Settings]] = {}
_named: dict[tuple[type[Settings], str], type[Settings]] = {}


def _register(cls: type[Settings]) -> None:
    """Enter a class; one of the same module and qualified name replaces the earlier one."""
    base = next(base for base in cls.__mro__ if Settings in base.__bases__)
    key, name = kind_of(cls), vars(cls).get("short_name", "")
    for earlier, what in ((_classes.get(key), f"kind {key!r}"), (_named.get((base, name)), f"name {name!r}")):
        if earlier is not None and _path(earlier) != _path(cls):
            raise InvalidArgumentError(
                f"{_path(cls)} would have the {what}, which is that of {_path(earlier)}; give it another"
            )
    _classes[key] = cls
    if name:
        _named[base, name] = cls


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def kind_of(cls: type[Settings]) -> str:
    """Return the name of a class in files: of mfcore's own "MF", of any other "module:Class".

    Parameters
    ----------
    cls : class
        Below `Settings`.

    Returns
    -------
    str

    Examples
    --------
    >>> from mfcore import MF
    >>> from mfcore.settings import kind_of
    >>> kind_of(MF)
    'MF'
    """
    return cls.__qualname__ if cls.__module__.partition(".")[0] == "mfcore" else _path(cls)


class _ByName(Mapping[str, type[T]]):
    """The classes of a base that have a short name, as they are when it is asked."""

    def __init__(self, base: type[T]) -> None:
        self._base = base

    def _found(self) -> dict[str, type[T]]:
        return {name: cls for (_, name), cls in _named.items() if issubclass(cls, self._base)}

    def __getitem__(self, name: str) -> type[T]:
        return self._found()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def __repr__(self) -> str:
        return repr(self._found())


def registered(base: type[T]) -> Mapping[str, type[T]]:
    """Return the classes below a base by their short names: a view that takes in what is defined later.

    Parameters
    ----------
    base : class
        Below `Settings`, e.g. `Objective`.

    Returns
    -------
    mapping of str to class
        In the order in which they were defined.

    Examples
    --------
    >>> from mfcore.objectives import Objective, PointwiseObjective
    >>> from mfcore.settings import registered
    >>> "bpr" in registered(Objective), "bpr" in registered(PointwiseObjective)
    (True, False)
    """
    return _ByName(base)


def to_dict(settings: Settings) -> dict[str, Any]:
    """Return settings as {"kind": their class, field: value, ...}, nested ones likewise.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    dict
        Plain values, as JSON holds them; tuples become lists.

    Raises
    ------
    InvalidArgumentError
        The class is not a dataclass, or a field holds what a file cannot.

    Examples
    --------
    >>> from mfcore import Schedule
    >>> from mfcore.settings import to_dict
    >>> to_dict(Schedule(0.1))
    {'kind': 'Schedule', 'initial': 0.1, 'factor': 0.95, 'every': 1}
    """
    cls = type(settings)
    # Of a class that gives its own __init__ below a dataclass, the fields need not hold everything.
    if "__dataclass_fields__" not in vars(next(base for base in cls.__mro__ if "__init__" in vars(base))):
        raise InvalidArgumentError(
            f"{_path(cls)} is no dataclass, so its settings cannot be read: write @dataclass(frozen=True)"
            " above it, and its settings as fields"
        )
    return {
        KIND: kind_of(cls),
        **{
            field.name: _plain(getattr(settings, field.name), f"{cls.__name__}: {field.name}")
            for field in fields(settings)  # type: ignore[arg-type]
            if field.init
        },
    }


def from_dict(settings: Mapping[str, Any]) -> Any:
    """Return the settings that `to_dict` turned into a dictionary.

    Parameters
    ----------
    settings : mapping
        As `to_dict` returns it.

    Returns
    -------
    Settings
        An instance of the class that "kind" names.

    Raises
    ------
    ModelFileError
        An unknown kind or field: written by a newer mfcore, not by mfcore at all, or of a module that was not
        imported.

    Examples
    --------
    >>> import mfcore.optimizers
    >>> from mfcore.settings import from_dict
    >>> from_dict({"kind": "Schedule", "initial": 0.1, "factor": 0.5, "every": 2})
    Schedule(initial=0.1, factor=0.5, every=2)
    """
    values = dict(settings)
    kind = values.pop(KIND, None)
    if not isinstance(kind, str) or kind not in _classes:
        raise ModelFileError(_unknown(kind))
    try:
        return _classes[kind](**{name: _rich(value) for name, value in values.items()})
    except (TypeError, ValueError) as error:
        version = "the module that is imported" if ":" in kind else "this mfcore"
        raise ModelFileError(f"settings of {kind} do not fit {version}: {error}") from error


def require_storable(settings: Settings | Mapping[str, Any]) -> None:
    """Raise unless `from_dict` can restore the settings from a file, in a process that imported their module.

    Parameters
    ----------
    settings : Settings or mapping
        Or what `to_dict` returned for some; where that came from a file, their module need not have been
        imported here.

    Raises
    ------
    InvalidArgumentError
        Names the class, what is wrong and the remedy.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import mfcore
    >>> from mfcore.settings import require_storable
    >>> require_storable(mfcore.Adam(learning_rate=0.01))
    >>> @dataclass(frozen=True)
    ... class Local(mfcore.SGD):
    ...     pass
    >>> require_storable(Local())
    Traceback (most recent call last):
        ...
    mfcore.errors.InvalidArgumentError: Local is defined in the program itself or a...
    """
    stored = to_dict(settings) if isinstance(settings, Settings) else settings
    kind = str(stored.get(KIND))
    module, _, name = kind.rpartition(":")
    if module == "__main__" or "<locals>" in name:
        where = "inside a function" if "<locals>" in name else "in the program itself or a notebook"
        raise InvalidArgumentError(
            f"{name} is defined {where}, where no other program can find it, so a file with it could not be"
            " loaded: move it to the top level of a module of its own, and import it from there"
        )
    cls = _classes.get(kind)
    if isinstance(settings, Settings) and cls is not type(settings):
        raise InvalidArgumentError(
            f"{kind} was defined anew since {settings!r} was made, and would be loaded as the later class:"
            " make it again"
        )
    for value in _below(stored):
        if isinstance(value, Mapping):
            require_storable(value)
    if cls is None:
        return
    try:
        again = to_dict(from_dict(json.loads(json.dumps(stored))))
    except ModelFileError as error:
        raise InvalidArgumentError(f"{kind} could not be loaded again: {error}") from error
    for field, value in stored.items():
        if again.get(field) != value:
            raise InvalidArgumentError(
                f"{kind} could not be loaded as it is: from {field}={value!r} it makes"
                f" {field}={again.get(field)!r}; let its fields hold what it was called with"
            )


def load_plugin(name: str) -> ModuleType:
    """Import a person's own module, whose settings and metrics are then known by their names and in files.

    Parameters
    ----------
    name : str
        A module, "package.parts", or the path of a file, "folder/parts.py", which becomes the module "parts".

    Returns
    -------
    module

    Raises
    ------
    InvalidArgumentError
        No such module, or importing it fails; names it and the error.

    Examples
    --------
    >>> from pathlib import Path
    >>> from mfcore.settings import load_plugin
    >>> _ = Path("docs_rates.py").write_text("SLOW = 0.001", encoding="utf-8")
    >>> load_plugin("docs_rates.py").SLOW
    0.001
    """
    try:
        return _from_file(Path(name)) if name.endswith(".py") else import_module(name)
    except Exception as error:
        here = Path(*name.split(".")).with_suffix(".py")
        hint = f"; for the file that lies here, pass {here}" if here.is_file() else ""
        raise InvalidArgumentError(
            f"plugin {name!r} was not imported: {type(error).__name__}: {error}{hint}"
        ) from error


def _from_file(path: Path) -> ModuleType:
    """Import a file as the module of its name, as if its folder were on the path."""
    earlier = sys.modules.get(path.stem)
    if earlier is not None:
        origin = getattr(earlier, "__file__", None)
        if origin is not None and Path(origin).resolve() == path.resolve():
            return earlier
        raise ImportError(f"a module {path.stem} is there already, {origin or 'built in'}; rename the file")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = spec_from_file_location(path.stem, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _unknown(kind: Any) -> str:
    module, _, name = kind.rpartition(":") if isinstance(kind, str) else ("", "", "")
    if not module:
        return f"unknown kind of settings {kind!r}; a newer mfcore may have written it"
    if module in sys.modules:
        return f"{name} of module {module} is needed, and that module defines no such settings (any more)"
    return (
        f"{name} of module {module} is needed, and that module was not imported: import {module} first, or"
        f" pass --plugin {module} on the command line"
    )


def _plain(value: Any, field: str) -> Any:
    if isinstance(value, Settings):
        return to_dict(value)
    if isinstance(value, tuple):
        return [_plain(one, field) for one in value]
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is not None and type(plain) not in (bool, int, float, str):
        raise InvalidArgumentError(
            f"{field} is {value!r}, of type {type(value).__name__}, which a model file cannot hold: settings"
            " are None, booleans, numbers, text, other settings, or tuples of these"
        )
    return plain


def _rich(value: Any) -> Any:
    if isinstance(value, Mapping):
        return from_dict(value)
    return tuple(map(_rich, value)) if isinstance(value, list) else value


def _below(value: Any) -> list[Any]:
    """Return what a stored value holds directly, or through lists."""
    inner = value.values() if isinstance(value, Mapping) else value
    return [deep for one in inner for deep in (_below(one) if isinstance(one, list) else [one])]
