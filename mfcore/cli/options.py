"""How an option is described, and those that several commands share."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from mfcore.engines import REFERENCE
from mfcore.engines import names as engine_names
from mfcore.errors import InvalidArgumentError
from mfcore.objectives import OBJECTIVES
from mfcore.optimizers import OPTIMIZERS
from mfcore.specs import MODELS
from mfcore.validation import require_integer

Check = Callable[[str, Any], Any]
Names = Callable[[], Iterable[str]]


FAMILIES: dict[str, Mapping[str, type[Any]]] = {
    "model": MODELS,
    "objective": OBJECTIVES,
    "optimizer": OPTIMIZERS,
}


def kinds_of(family: str) -> dict[str, type[Any]]:
    """Return the registered models, objectives or optimizers, by their names on the command line."""
    return {name.lower().replace("_", "-"): kind for name, kind in FAMILIES[family].items()}


def flag(name: str) -> str:
    """Return the option that sets a parameter: "n_factors" is set by "--n-factors"."""
    return f"--{name.replace('_', '-')}"


def hint(wanted: str, names: Iterable[str]) -> str:
    """Return the question whether the closest of some names is meant, if one is close."""
    close = get_close_matches(wanted, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def choose(option: str, value: str, names: Iterable[str]) -> str:
    """Return a valid name in its spelling, or raise: case and "_" for "-" do not matter."""
    valid = list(names)
    wanted = value.lower().replace("_", "-")
    if wanted in valid:
        return wanted
    raise InvalidArgumentError(
        f"{option} is {value!r}; it must be one of {', '.join(valid)}{hint(wanted, valid)}"
    )


def at_least(low: int) -> Check:
    """Return the check that a number is an integer that is not below another."""
    return lambda option, value: require_integer(option, value, low)


def opt(
    help: str,
    metavar: str | None = None,
    *flags: str,
    names: Names | None = None,
    check: Check | None = None,
    default: bool = False,
) -> Any:
    """Return the description of an option, for `Annotated`.

    Parameters
    ----------
    help : str
        "{names}" in it stands for the names below.
    metavar : str, optional
        What stands for the value; switches have none.
    *flags : str
        By default the name of the parameter.
    names : callable, optional
        To the names that there are; a list of values may hold several in one, divided by commas.
    check : callable, optional
        From the option and a value that was given to the value that the command gets.
    default : bool
        Whether the help shows the default value.
    """

    def checked(parameter: typer.CallbackParam, value: Any) -> Any:
        option = parameter.opts[0]
        if value is None or value == []:
            return None
        if names is not None and isinstance(value, list):
            texts = (name.strip() for text in value for name in text.split(","))
            return list(dict.fromkeys(choose(option, name, names()) for name in texts))
        if names is not None:
            return choose(option, value, names())
        return value if check is None else check(option, value)

    def completed(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)] if names is not None else []

    info: Any = typer.Option(*flags, help=help, metavar=metavar, callback=checked, show_default=default)
    info.names = names
    info.autocompletion = None if names is None else completed
    return info


def count_option(default: str) -> Any:
    """Return the option that leaves little-known items out of recommendations."""
    return opt(
        "Recommend only items with at least so many users in the training data: a model of ratings knows"
        f" little about the others, and may rate them highest. Default: {default}",
        "N",
    )


def models_option(default: str) -> Any:
    """Return the option that names models."""
    text = f"Divided by commas; may be repeated: {{names}}. Default: {default}."
    return opt(text, "NAMES", names=lambda: kinds_of("model"))


DATA_HELP = (
    "A named data set (see mfcore data list), synthetic:1m and the like, or a path: a MovieLens folder or"
    " zip, NCF files, or a CSV, TSV or Parquet file with users, items and, if wanted, ratings and times."
)
ENGINES_HELP = (
    f"Engines, divided by commas; see mfcore backends. Default: all but {REFERENCE}, which is slow."
)
DataArgument = Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP, show_default=False)]
ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file.", show_default=False)]
JsonOption = Annotated[bool, opt("Print one JSON document and nothing else.", None, "--json")]
LengthOption = Annotated[int, opt("Length of the lists.", "N", "--k", "-k", check=at_least(1), default=True)]
DeviceOption = Annotated[str, opt("auto, cpu, cuda, cuda:1. Default: the engine chooses.", "NAME")]
ThreadsOption = Annotated[
    int | None, opt("Default: all. Does not change the result.", "N", check=at_least(1))
]
EnginesOption = Annotated[list[str] | None, opt(ENGINES_HELP, "NAMES", names=engine_names)]
FolderOption = Annotated[
    Path, opt("Where the report goes; made where it is not there.", "FOLDER", default=True)
]
