"""Engines held to the reference, in this process or in several others at a time."""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from mfcore.engines import registry
from mfcore.processes import Death, Send, run_in_processes, temporary_folder
from mfcore.testing import Finding, References, Requirement, Subject, evaluate
from mfcore.verification._results import Engine, Verification

# Called with each finding as soon as there is one.
Monitor: TypeAlias = Callable[[Finding], None]
# The fewest subjects of a process: to start one, and load an engine, takes seconds.
FEWEST = 20
LAST_LINES = 3
LOADING = Requirement("it can be loaded")


@dataclass(frozen=True)
class Share:
    """A part of the subjects on one engine, for one process."""

    engine: str
    subjects: Sequence[Subject]


def verify(
    engines: Sequence[str], subjects: Sequence[Subject], n_processes: int, monitor: Monitor
) -> Verification:
    """Evaluate subjects on engines.

    Parameters
    ----------
    engines : sequence of str
        Of the registry.
    subjects : sequence of Subject
    n_processes : int
        How many work at a time; with 1, all is done in this one.
    monitor : callable
        Called with each finding.

    Returns
    -------
    Verification

    Examples
    --------
    >>> from mfcore.testing import Cell
    >>> from mfcore.verification import verify
    >>> cells = [Cell("mf", "squared", "sgd", "float32")]
    >>> found = verify(["reference"], cells, n_processes=1, monitor=lambda finding: print(finding.holds))
    True
    >>> found.failures
    []
    """
    described: dict[str, Engine] = {}
    found: dict[tuple[str, str], Finding] = {}
    if n_processes == 1:
        references = References()
        results = (one for engine in engines for one in _evaluated(engine, subjects, references))
    else:
        results = _evaluated_in_processes(_shares(engines, subjects, n_processes), n_processes)
    with closing(results):
        for one in results:
            if isinstance(one, Engine):
                described[one.name] = one
            # That an engine cannot be loaded is found by each of its processes.
            elif found.setdefault((one.engine, str(one.subject)), one) is one:
                monitor(one)
    return Verification(
        [described[engine] for engine in engines if engine in described], list(found.values())
    )


def _evaluated(
    engine: str, subjects: Sequence[Subject], references: References
) -> Iterator[Engine | Finding]:
    """Yield the engine, then its findings, one subject after another."""
    try:
        backend = registry.get(engine)
        described = Engine(engine, str(getattr(backend, "description", "")))
    except registry.BackendUnavailableError as error:
        yield Engine(engine, str(error), is_installed=False)
        return
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        yield Engine(engine, reason, is_installed=False)
        yield Finding(engine, LOADING, failure=reason)
        return
    yield described
    for subject in subjects:
        yield replace(evaluate(backend, subject, references), engine=engine)


def _shares(engines: Sequence[str], subjects: Sequence[Subject], n_processes: int) -> list[Share]:
    """Return what each process does: an engine in one dtype, for which it compiles, or a part of that."""
    shares = [
        Share(engine, [subject for subject in subjects if subject.dtype == dtype])
        for dtype in dict.fromkeys(subject.dtype for subject in subjects)
        for engine in engines
    ]
    while len(shares) < n_processes:
        largest = max(shares, key=lambda share: len(share.subjects))
        half = len(largest.subjects) // 2
        if half < FEWEST:
            break
        shares.remove(largest)
        shares += [
            Share(largest.engine, largest.subjects[:half]),
            Share(largest.engine, largest.subjects[half:]),
        ]
    return sorted(shares, key=lambda share: len(share.subjects), reverse=True)


def _evaluated_in_processes(
    shares: Sequence[Share], n_processes: int
) -> Generator[Engine | Finding, None, None]:
    """Yield what processes find, in the order in which they do."""
    n_done = [0] * len(shares)
    with temporary_folder("mfcore-verify-") as folder:
        arguments = [(share.engine, share.subjects, folder) for share in shares]
        with closing(run_in_processes(_work, arguments, n_processes)) as messages:
            for position, message in messages:
                if isinstance(message, Death):
                    yield from _undone(shares[position], n_done[position], message)
                else:
                    n_done[position] += isinstance(message, Finding)
                    yield message


def _work(send: Send, engine: str, subjects: Sequence[Subject], folder: Path) -> None:
    # Threads of OpenMP that wait must not keep the processors from the other processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for one in _evaluated(engine, subjects, References(folder)):
        send(one)


def _undone(share: Share, n_done: int, death: Death) -> Iterator[Finding]:
    first, *others = share.subjects[n_done:]
    lines = [line.strip() for line in death.log.splitlines() if line.strip()]
    last = f": {' / '.join(lines[-LAST_LINES:])}" if lines else ""
    yield Finding(share.engine, first, failure=f"{death.reason}{last}")
    for subject in others:
        yield Finding(share.engine, subject, failure=f"not evaluated: the process had died at {first}")
