"""Start processes, yield what they send, and end them."""

import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeAlias

from mfcore.processes._signals import interruptions_held, temporary_folder
from mfcore.processes._worker import work

# Sends a message, which is pickled, to the process that started this one.
Send: TypeAlias = Callable[[Any], None]

# Frameworks may take a while to shut down, and some never do.
SECONDS_TO_END = 10


@dataclass(frozen=True)
class Death:
    """How a process ended before it was done.

    Attributes
    ----------
    reason : str
        A clause: "its process died with exit status 1".
    log : str
        What it had written; of a Python exception the traceback.

    Examples
    --------
    >>> from mfcore.processes import Death
    >>> Death("its process died with exit status 1", log="").reason
    'its process died with exit status 1'
    """

    reason: str
    log: str


def run_in_processes(
    function: Callable[..., None], arguments: Sequence[tuple[Any, ...]], n_processes: int
) -> Generator[tuple[int, Any], None, None]:
    """Call a function once for each tuple of arguments, each time in a new process; yield what they send.

    All processes, and on POSIX what they have started, end with the iterator: close it, as with
    `contextlib.closing`, where it may be left early. They also end when this process is interrupted or
    killed.

    Parameters
    ----------
    function : callable
        Importable by its name; called with `send` and the arguments.
    arguments : sequence of tuple
        What can be pickled.
    n_processes : int
        How many work at a time.

    Yields
    ------
    position : int
        In `arguments`.
    message : object
        What the process sent; of one that dies, or falls silent before it is done, lastly a `Death`.

    Examples
    --------
    >>> import operator
    >>> from mfcore.processes import run_in_processes
    >>> sorted(run_in_processes(operator.call, [("one",), ("two",)], n_processes=1))
    [(0, 'one'), (1, 'two')]
    """
    waiting = deque(enumerate(arguments))
    working: dict[Any, _Process] = {}
    with temporary_folder("mfcore-processes-") as folder:
        try:
            while waiting or working:
                while waiting and len(working) < n_processes:
                    position, given = waiting.popleft()
                    payload = pickle.dumps((function, given))
                    with interruptions_held():
                        process = _Process(position, payload, folder / f"{position}.log")
                        working[process.receiver] = process
                for receiver in wait(list(working)):
                    process = working[receiver]
                    for message in process.receive():
                        yield process.position, message
                    if process.is_over:
                        del working[receiver]
        finally:
            for process in working.values():
                process.end(0)


class _Process:
    """A process at work, and the pipe that it sends through."""

    def __init__(self, position: int, payload: bytes, log: Path) -> None:
        context = get_context("spawn")
        self.position, self.log, self.is_over = position, log, False
        self.receiver: Connection[Any, Any]
        self.receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=work, args=(sender, payload, log))
        self._process.start()
        # The end of the pipe is seen here once nobody else has it open.
        sender.close()

    def receive(self) -> tuple[Any, ...]:
        """Return the next message, a Death where there is none, or nothing where it is done."""
        try:
            message: tuple[Any, ...] = self.receiver.recv()
        except (EOFError, OSError):
            # It has died: between two messages, or in the middle of one.
            return (self._death(by_itself=self.end(SECONDS_TO_END)),)
        if not message:
            self.end(SECONDS_TO_END)
        return message

    def end(self, patience: float) -> bool:
        """End the process if it has not within some seconds; return whether it ended by itself."""
        self.is_over = True
        self._process.join(patience)
        by_itself = not self._process.is_alive()
        assert self._process.pid is not None
        if sys.platform != "win32":
            # It leads a process group, whose other members may still run.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self.receiver.close()
        return by_itself

    def _death(self, *, by_itself: bool) -> Death:
        written = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        status = self._process.exitcode or 0
        if not by_itself:
            return Death(
                f"its process fell silent before it was done, and was ended {SECONDS_TO_END} s later", written
            )
        if status >= 0:
            return Death(f"its process died with exit status {status}", written)
        reason = f"its process died of signal {-status}"
        if -status == getattr(signal, "SIGKILL", None):
            reason += ", as when the machine's memory is used up"
        return Death(reason, written)
