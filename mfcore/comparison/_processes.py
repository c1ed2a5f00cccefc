"""Runs of engines in processes of their own, so that none can help or harm another."""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, TypeAlias

from mfcore.comparison._runs import EngineRun, Failure, Tell
from mfcore.comparison._tasks import Assignment
from mfcore.model import EpochRecord

# What the other process sends: the seed and an epoch of it, time and again; then what it came to.
Message: TypeAlias = "tuple[int, EpochRecord] | EngineRun | Failure"

# Frameworks may take a while to put away what they have used, and some never end.
SECONDS_TO_END = 10


def run_in_process(
    engine: str, assignment: Assignment, seeds: Sequence[int], tell: Tell
) -> EngineRun | Failure:
    """Train an assignment on an engine in a new process, which ends with this call, however it ends.

    Parameters
    ----------
    engine, assignment, seeds, tell : as of `run`
        See `mfcore.comparison.runs.run`.

    Returns
    -------
    EngineRun or Failure
        A failure also where the process dies.
    """
    # Frameworks greet, and warn of what nobody can change: that is of interest only where they die of it.
    with tempfile.TemporaryFile() as log, _started(log) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with process.stdin:
                pickle.dump((engine, assignment, tuple(seeds)), process.stdin)
            outcome = _followed(process.stdout, tell)
            _let_end(process)
        # The second is what a message comes to that breaks off.
        except (EOFError, pickle.UnpicklingError, BrokenPipeError):
            outcome = _death(engine, process, log, by_itself=_let_end(process))
        finally:
            _end(process)
    return outcome


def _started(log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a process that looks for packages where this one does, wherever it was started."""
    script = f"import sys; sys.path = {sys.path!r}; from mfcore.comparison.worker import work; work()"
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        # Ctrl-C is for the process that started it, and ends it with all processes that it has started.
        start_new_session=True,
    )


def _followed(stream: IO[bytes], tell: Tell) -> EngineRun | Failure:
    while True:
        message: Message = pickle.load(stream)
        if isinstance(message, EngineRun | Failure):
            return message
        tell(*message)


def _let_end(process: "subprocess.Popen[bytes]") -> bool:
    """Wait until a process has ended, or end it after a while; return whether it ended by itself."""
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        _end(process)
        return False
    return True


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process, and on POSIX those that it has left behind."""
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _death(engine: str, process: "subprocess.Popen[bytes]", log: IO[bytes], *, by_itself: bool) -> Failure:
    log.seek(0)
    written = log.read().decode(errors="replace")
    status = process.returncode
    if not by_itself:
        reason = f"its process fell silent before it was done, and was ended {SECONDS_TO_END} s later"
    elif status >= 0:
        reason = f"its process died with exit status {status}"
    else:
        reason = f"its process died of signal {-status}"
        if -status == getattr(signal, "SIGKILL", None):
            reason += ", as when the machine's memory is used up"
    return Failure(engine, reason, log=written)
