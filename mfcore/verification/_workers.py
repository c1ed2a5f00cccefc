"""Engines looked at in processes of their own, several at a time."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeAlias

from mfcore.testing import References
from mfcore.verification._verification import Engine, Finding, Subject, Verification, look_at

# Is told what is found as soon as it is.
Watch: TypeAlias = Callable[[Finding], None]
# What a process looks at, at least: to start one, and load an engine, takes seconds.
FEWEST = 20
# Engines that compile for long are begun first.
COMPILING = ("numba", "keras")
LAST_LINES = 3


@dataclass
class Share:
    """A part of what is looked at on one engine, and the process that does.

    Attributes
    ----------
    engine : str
    subjects : list of Subject
    done : int
        How many of them have been found out about.
    """

    engine: str
    subjects: list[Subject]
    done: int = 0
    process: BaseProcess | None = field(default=None, repr=False)


def verify(engines: Sequence[str], subjects: Sequence[Subject], processes: int, watch: Watch) -> Verification:
    """Look at things on engines.

    Parameters
    ----------
    engines : sequence of str
        Of the registry.
    subjects : sequence of Subject
    processes : int
        How many work at a time; with 1, all is done in this one.
    watch : callable
    """
    found: list[Engine | Finding] = []
    with tempfile.TemporaryDirectory(prefix="mfcore-verify-") as folder:
        references = References(Path(folder))
        given: Iterator[Engine | Finding]
        if processes == 1:
            given = (one for engine in engines for one in look_at(engine, subjects, references))
        else:
            given = _given_by_processes(_shares(engines, subjects, processes), processes, Path(folder))
        for one in given:
            found.append(one)
            if isinstance(one, Finding):
                watch(one)
    described = {one.name: one for one in found if isinstance(one, Engine)}
    return Verification(
        engines=[described[engine] for engine in engines if engine in described],
        findings=[one for one in found if isinstance(one, Finding)],
    )


def _shares(engines: Sequence[str], subjects: Sequence[Subject], processes: int) -> list[Share]:
    """Return what each process does: an engine in one dtype, for which it compiles, or a part of that."""
    shares = [
        Share(engine, [subject for subject in subjects if subject.dtype == dtype])
        for dtype in dict.fromkeys(subject.dtype for subject in subjects)
        for engine in engines
    ]
    shares.sort(
        key=lambda share: COMPILING.index(share.engine) if share.engine in COMPILING else len(COMPILING)
    )
    while len(shares) < processes:
        largest = max(shares, key=lambda share: len(share.subjects))
        half = len(largest.subjects) // 2
        if half < FEWEST:
            break
        shares.append(Share(largest.engine, largest.subjects[half:]))
        del largest.subjects[half:]
    return shares


def _given_by_processes(shares: list[Share], processes: int, folder: Path) -> Iterator[Engine | Finding]:
    """Give what processes find, in the order in which they do."""
    waiting = shares[::-1]
    working: dict[Connection, Share] = {}
    try:
        while waiting or working:
            while waiting and len(working) < processes:
                share = waiting.pop()
                working[_start(share, folder)] = share
            for receiver in wait(list(working)):
                assert isinstance(receiver, Connection)
                yield from _received(receiver, working, folder)
    finally:
        for receiver, share in working.items():
            receiver.close()
            _end(share, patience=0)


def _received(
    receiver: Connection, working: dict[Connection, Share], folder: Path
) -> Iterator[Engine | Finding]:
    """Give what a process says, or, once it has ended, what it has left undone."""
    share = working[receiver]
    try:
        one: Engine | Finding | None = receiver.recv()
    except (EOFError, OSError):
        # It has died: between two messages, or in the middle of one.
        pass
    else:
        if one is not None:
            share.done += isinstance(one, Finding)
            yield one
            return
        share.done = len(share.subjects)
    del working[receiver]
    receiver.close()
    _end(share)
    yield from _undone(share, folder)


def _undone(share: Share, folder: Path) -> Iterator[Finding]:
    left = share.subjects[share.done :]
    if not left:
        return
    code = share.process.exitcode if share.process is not None else None
    said = _last_words(share, folder)
    yield Finding(share.engine, left[0], failure=f"its process died (exit status {code}){said}")
    for subject in left[1:]:
        yield Finding(share.engine, subject, failure=f"not looked at: the process had died at {left[0]}")


def _start(share: Share, folder: Path) -> Connection:
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    share.process = context.Process(
        target=work, args=(sender, share.engine, share.subjects, folder), daemon=True
    )
    share.process.start()
    # The end of the pipe is seen here once nobody else has it open.
    sender.close()
    return receiver


def work(sender: Connection, engine: str, subjects: Sequence[Subject], folder: Path) -> None:
    """Do what a process is for: send the engine, each finding, and at last None."""
    # On a terminal Ctrl-C reaches this process too; the one that started it ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Threads of OpenMP that wait must not keep the processors from the other processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _write_to(folder / f"{os.getpid()}.log")
    for one in look_at(engine, subjects, References(folder)):
        sender.send(one)
    sender.send(None)


def _write_to(log: Path) -> None:
    """Send all that this process prints to a file: frameworks greet, and warn of what nobody can change."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with log.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)


def _last_words(share: Share, folder: Path) -> str:
    assert share.process is not None
    log = folder / f"{share.process.pid}.log"
    said = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    last = [line.strip() for line in said if line.strip()][-LAST_LINES:]
    return f": {' / '.join(last)}" if last else ""


def _end(share: Share, patience: float = 5) -> None:
    process = share.process
    if process is None:
        return
    process.join(patience)
    if process.is_alive():
        process.terminate()
        process.join()
