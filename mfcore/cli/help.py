"""Help pages: rich panels on a terminal; in a pipe the same groups as plain text."""

import sys
from typing import Any, Literal

from typer.core import TyperCommand, TyperGroup

MARKUP: Literal["rich"] | None = "rich" if sys.stdout.isatty() else None


class PlainCommand(TyperCommand):
    """A command whose plain help keeps the groups of its options."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section a group, in the order of the options."""
        _write_groups(self, ctx, formatter)


class PlainGroup(TyperGroup):
    """A group of commands, likewise."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section a group, then the commands."""
        _write_groups(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def _write_groups(command: Any, ctx: Any, formatter: Any) -> None:
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
            groups.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(record)
    # What has no group of its own (--help among it) comes first, as on a terminal.
    for title in sorted(groups, key=lambda title: title not in ("Arguments", "Options")):
        with formatter.section(title):
            formatter.write_dl(groups[title])


def examples(*commands: str) -> str:
    """Return the foot of a help page: example commands, one a line."""
    if MARKUP:
        return "\n\n".join(["[bold]Examples[/bold]", *(f"  [cyan]{command}[/cyan]" for command in commands)])
    # The mark keeps the lines that follow from being joined to one paragraph.
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)
