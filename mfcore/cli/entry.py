"""The `mfcore` command: its subcommands, and how it ends when something goes wrong.

Exit status: 0 done; 2 an error, told in one line; 130 interrupted. An exception that is none of ours is a
bug and keeps its traceback.
"""

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

import mfcore
from mfcore.cli.commands import add_command
from mfcore.cli.help import MARKUP, HelpedGroup
from mfcore.errors import InvalidArgumentError, MfcoreError
from mfcore.settings import load_plugin

FAILED, INTERRUPTED = 2, 130

# typer brings a copy of click of its own or imports click, depending on its version; either way this is the
# base of all that can be wrong with the arguments.
_UsageError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]

COMMANDS = ("train", "evaluate", "recommend", "explore", "compare", "verify", "backends", "data")
PLUGINS = "MFCORE_PLUGINS"
PLUGIN_HELP = (
    "Import a module of one's own, or a file such as my_models.py: its models, objectives and optimizers"
    " can be chosen by name, and their fields are options. May be repeated, and stand anywhere;"
    f" {PLUGINS} may name modules too, divided by commas."
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mfcore {mfcore.__version__}")
        raise typer.Exit


def _mfcore(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    plugin: Annotated[list[str] | None, typer.Option(metavar="MODULE", help=PLUGIN_HELP)] = None,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def make_app(words: Sequence[str]) -> typer.Typer:
    """Return the command with the subcommand that some words begin with, or else with all.

    Its options are those of the classes that are imported so far.
    """
    app = typer.Typer(
        name="mfcore",
        cls=HelpedGroup,
        help="Train, judge and use recommenders: matrix factorisation and neural models, on ratings or on"
        " implicit feedback.",
        epilog="\b\nExamples:\n  mfcore train ml-100k\n  mfcore recommend m.safetensors --user 42",
        rich_markup_mode=MARKUP,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_mfcore)
    for name in [word for word in words[:1] if word in COMMANDS] or COMMANDS:
        module = import_module(f"mfcore.cli.{name}")
        if name == "data":
            module.add_to(app)
        else:
            add_command(app, getattr(module, name))
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command on some arguments, by default those of the command line; return the exit status."""
    _never_fail_to_encode()
    try:
        words = _without_plugins(sys.argv[1:] if arguments is None else arguments)
        command = typer.main.get_command(make_app(words))
        status = command.main(args=words, prog_name="mfcore", standalone_mode=False)
        sys.stdout.flush()
    except typer.Abort:
        status = INTERRUPTED
    except BrokenPipeError:
        return _leave_broken_pipe()
    except _UsageError as error:
        return _fail(_usage(error))
    except OSError as error:
        return _fail(
            f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        )
    except (MfcoreError, ImportError) as error:
        return _fail(str(error))
    if status == INTERRUPTED:
        # On a terminal the line begins with "^C".
        start = "\n" if sys.stderr.isatty() else ""
        print(f"{start}mfcore: interrupted", file=sys.stderr)
    return status or 0


def _without_plugins(arguments: Sequence[str]) -> list[str]:
    """Import what --plugin and the environment name, and return the other arguments."""
    modules = [name.strip() for name in os.environ.get(PLUGINS, "").split(",") if name.strip()]
    words, kept = iter(arguments), []
    for word in words:
        option, has_value, value = word.partition("=")
        if word == "--":
            kept += [word, *words]
        elif option == "--plugin":
            if not (value := value if has_value else next(words, "")):
                raise InvalidArgumentError("--plugin names no module; write --plugin my_models, say")
            modules.append(value)
        else:
            kept.append(word)
    for module in modules:
        _import(module)
    return kept


def _import(module: str) -> None:
    # A person's module is usually a file where they work. Processes of their own inherit the path.
    folder = str(Path(module).absolute().parent) if module.endswith(".py") else os.getcwd()
    if folder not in map(os.path.abspath, sys.path):
        sys.path.append(folder)
    load_plugin(module)


def _fail(message: str) -> int:
    print(f"mfcore: error: {' '.join(message.split())}", file=sys.stderr)
    return FAILED


def _usage(error: typer.BadParameter) -> str:
    command = error.ctx.command_path if error.ctx is not None else "mfcore"
    return f"{error.format_message().strip().rstrip('.')}; see '{command} --help'"


def _never_fail_to_encode() -> None:
    """Print "?" for the letters of a title that the terminal's or the pipe's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _leave_broken_pipe() -> int:
    """End quietly when the reader has gone, as in `mfcore data list | head -1`."""
    # The interpreter flushes stdout once more when it exits, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
