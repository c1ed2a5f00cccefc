"""How a command is made of a function: its parameters are the options, and its docstring is the help.

A parameter that is a dataclass stands for its fields, under a heading of their own; one that is `Settings`
stands for the settings of a model and its training that the function has not itself, or in the plural.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import fields, is_dataclass
from inspect import Parameter, Signature, cleandoc, signature
from typing import Annotated, Any, get_args, get_type_hints

import typer

from mfcore.cli.defaults import describe_defaults
from mfcore.cli.help import HelpedCommand
from mfcore.cli.options import flag
from mfcore.cli.settings import all_settings
from mfcore.cli.translation import in_option_names
from mfcore.errors import MfcoreError


class Settings(dict[str, Any]):
    """The settings of a model and its training that were given, by name."""

    def __init__(self, **values: Any) -> None:
        super().__init__({name: value for name, value in values.items() if value is not None})


def add_command(app: typer.Typer, function: Callable[..., None]) -> None:
    """Add a command, whose errors name options; the "Examples" of the docstring end its help."""
    own = signature(function).parameters.values()
    groups: dict[str, tuple[Any, list[Parameter]]] = {}
    parameters: list[Parameter] = []
    for parameter in own:
        if parameter.annotation is Settings or is_dataclass(parameter.annotation):
            group = _members(parameter.annotation, {one.name for one in own})
            groups[parameter.name] = (parameter.annotation, group)
            parameters += group
        else:
            parameters.append(_option(parameter) if parameter.kind is Parameter.KEYWORD_ONLY else parameter)
    names = [one.name for one in parameters if one.kind is Parameter.KEYWORD_ONLY]

    def command(**values: Any) -> None:
        try:
            for name, (kind, group) in groups.items():
                values[name] = kind(**{member.name: values.pop(member.name) for member in group})
            function(**values)
        except MfcoreError as error:
            error.args = (in_option_names(str(error), names),)
            raise

    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    text, _, examples = cleandoc(function.__doc__ or "").partition("\n\nExamples\n--------\n")
    app.command(
        function.__name__.rstrip("_"),
        cls=HelpedCommand,
        help=text.replace("{defaults}", describe_defaults()),
        # The mark keeps plain help from joining the lines to one paragraph.
        epilog="\n  ".join(["\b\nExamples:", *examples.splitlines()]) if examples else None,
    )(command)


def _members(kind: Any, own: set[str]) -> list[Parameter]:
    """Return the options that a parameter stands for."""
    if kind is Settings:
        settings = [one for one in all_settings().values() if not {one.name, f"{one.name}s"} & own]
        return [_option(one.parameter(), one.panel.title()) for one in settings]
    hints = get_type_hints(kind, include_extras=True)
    found = [(one.name, one.default, hints[one.name]) for one in fields(kind)]
    return [
        _option(Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=hint), kind.panel)
        for name, default, hint in found
    ]


def _option(parameter: Parameter, panel: str | None = None) -> Parameter:
    """Return an option as Typer is to see it, with the names that there are now; a switch has no opposite."""
    kind, info = get_args(parameter.annotation)
    info = copy(info)
    info.rich_help_panel = panel
    if kind is bool and info.default is ...:
        info.default = flag(parameter.name)
    if "{names}" in info.help:
        info.help = info.help.replace("{names}", ", ".join(info.names()))
    return parameter.replace(annotation=Annotated[kind, info])
