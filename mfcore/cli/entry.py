"""The `mfcore` command: its subcommands, and how it ends when something goes wrong.

Exit status: 0 done; 2 an error, told in one line; 130 interrupted. An exception that is none of ours is a
bug and keeps its traceback.
"""

import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import mfcore
from mfcore.cli import data
from mfcore.cli.backends import backends
from mfcore.cli.commands import add_command
from mfcore.cli.compare import compare
from mfcore.cli.evaluate import evaluate
from mfcore.cli.explore import explore
from mfcore.cli.help import MARKUP, HelpedGroup
from mfcore.cli.recommend import recommend
from mfcore.cli.train import train
from mfcore.cli.verify import verify
from mfcore.errors import InvalidArgumentError, MfcoreError

FAILED, INTERRUPTED = 2, 130

# typer brings a copy of click of its own or imports click, depending on its version; either way this is the
# base of all that can be wrong with the arguments.
_UsageError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]

PLUGINS = "MFCORE_PLUGINS"
PluginOption = Annotated[
    list[str],
    typer.Option(
        metavar="MODULE",
        show_default=False,
        help="Import a module first, or a file of it in this folder: its models, objectives and optimizers can"
        f" then be chosen by name, and their fields are options. May be repeated, and stand anywhere; {PLUGINS}"
        " may name modules too, divided by commas.",
    ),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mfcore {mfcore.__version__}")
        raise typer.Exit


def _mfcore(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    plugin: PluginOption = [],  # noqa: B006
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def make_app() -> typer.Typer:
    """Return the command with its subcommands, whose options are those of the classes imported so far."""
    app = typer.Typer(
        name="mfcore",
        cls=HelpedGroup,
        help="Train, judge and use recommenders: matrix factorisation and neural models, on ratings or on"
        " implicit feedback.",
        epilog="\b\nExamples:\n  mfcore train ml-100k\n  mfcore train ml-1m-ncf --n-factors 192 --out m.safetensors"
        "\n  mfcore recommend m.safetensors --user 42",
        rich_markup_mode=MARKUP,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_mfcore)
    for function in (train, evaluate, recommend, explore, compare, verify, backends):
        add_command(app, function)
    data.add_to(app)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands behind `mfcore` on the command line; None takes it from there.

    Returns
    -------
    int
        The exit status.
    """
    _never_fail_to_encode()
    try:
        words = _without_plugins(sys.argv[1:] if arguments is None else arguments)
        command = typer.main.get_command(make_app())
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
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    kept = []
    position = 0
    while position < end:
        option, has_value, value = words[position].partition("=")
        if option == "--plugin" and (has_value or position + 1 < end):
            modules.append(value if has_value else words[position + 1])
            position += 1 if has_value else 2
        else:
            kept.append(words[position])
            position += 1
    for module in modules:
        _import(module)
    return [*kept, *words[end:]]


def _import(module: str) -> None:
    # As for `python -m`: a person's module is usually a file where they work. Processes inherit the path.
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.partition(".")[0] != error.name.partition(".")[0]:
            raise
        raise InvalidArgumentError(
            f"--plugin is {module!r}, and there is no such module, neither installed nor in {os.getcwd()}; write"
            " my_models for a file my_models.py"
        ) from None


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
