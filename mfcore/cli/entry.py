"""The `mfcore` command: its subcommands, and how it ends when something goes wrong.

Exit status: 0 done; 2 an error, told in one line; 130 interrupted. An exception that is none of ours is a
bug and keeps its traceback.
"""

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import mfcore
from mfcore.cli import backends, compare, data, evaluate, explore, recommend, train, verify
from mfcore.cli.help import MARKUP, HelpedGroup, examples
from mfcore.errors import MfcoreError

FAILED, INTERRUPTED = 2, 130

# typer brings a copy of click of its own or imports click, depending on its version; either way this is the
# base of all that can be wrong with the arguments.
_UsageError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="mfcore",
    cls=HelpedGroup,
    help="Train, judge and use recommenders: matrix factorisation and neural models, on ratings or on"
    " implicit feedback.",
    epilog=examples(
        "mfcore train ml-100k",
        "mfcore train ml-1m-ncf --n-factors 192 --out m.safetensors",
        "mfcore recommend m.safetensors --user 42",
    ),
    rich_markup_mode=MARKUP,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (train, evaluate, recommend, explore, compare, verify, backends):
    module.add_to(app)
data.add_to(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mfcore {mfcore.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _mfcore(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


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
    command = typer.main.get_command(app)
    try:
        status = command.main(
            args=None if arguments is None else list(arguments), prog_name="mfcore", standalone_mode=False
        )
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
