"""Help pages: rich panels on a terminal; in a pipe the same groups as plain text."""

import sys
from typing import Any, Literal

from typer.core import TyperCommand, TyperGroup

MARKUP: Literal["rich"] | None = "rich" if sys.stdout.isatty() else None


class _Page:
    """What commands and groups have in common: groups of options in plain help, examples in both."""

    epilog: str | None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        if MARKUP is None:
            super().format_help(ctx, formatter)  # type: ignore[misc]
            return
        # Versions of typer differ in what they do to the lines of an epilog, so it is printed here.
        epilog, self.epilog = self.epilog, None
        try:
            super().format_help(ctx, formatter)  # type: ignore[misc]
        finally:
            self.epilog = epilog
        if epilog is not None:
            from rich.console import Console

            console = Console(highlight=False, markup=False)
            for line in epilog.splitlines()[1:]:
                console.print(f" {line}", style="cyan" if line.startswith(" ") else "bold")
            console.print()

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):  # type: ignore[attr-defined]
            record = parameter.get_help_record(ctx)
            if record is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(record)
        # What has no group of its own (--help among it) comes first, as on a terminal.
        for title in sorted(groups, key=lambda title: title not in ("Arguments", "Options")):
            with formatter.section(title):
                formatter.write_dl(groups[title])


class HelpedCommand(_Page, TyperCommand):
    """A command with such a help page."""


class HelpedGroup(_Page, TyperGroup):
    """A group of commands with such a help page."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, then the commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)
