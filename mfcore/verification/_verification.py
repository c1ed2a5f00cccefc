"""The suite without pytest: what is looked at, and what is found, engine by engine."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from mfcore.engines import Backend, registry
from mfcore.errors import MfcoreError
from mfcore.testing import (
    BOARDS,
    RUNS,
    Board,
    Cell,
    ConformanceError,
    Measured,
    Measures,
    References,
    Run,
    cells,
    every_cell,
    examine,
    gaps_of,
    judge,
    refusal,
)
from mfcore.testing import _requirements as requirements


@dataclass(frozen=True)
class Requirement:
    """Something that the contract asks of an engine as a whole.

    Attributes
    ----------
    name : str
        Of `requirements.REQUIREMENTS`.
    """

    name: str
    kind: str = ""
    dtype: str = "float64"

    def __str__(self) -> str:
        return f"contract: {self.name}"


Subject: TypeAlias = Cell | Run | Board | Requirement


@dataclass(frozen=True)
class Finding:
    """What one thing that was looked at came to.

    Attributes
    ----------
    engine : str
    subject : Subject
    measures : mapping of str to Measured
        By aspect; see `measures.ASPECTS`.
    gap : str
        Why the engine does not do it; empty where it does.
    failure : str
        What went wrong before anything could be measured, or beside it.
    """

    engine: str
    subject: Subject
    measures: Mapping[str, Measured] = field(default_factory=dict)
    gap: str = ""
    failure: str = ""

    @property
    def beyond(self) -> dict[str, Measured]:
        """What is out of tolerance."""
        return {aspect: found for aspect, found in self.measures.items() if not found.is_within}

    @property
    def holds(self) -> bool:
        """Whether all is as it should be."""
        return not self.failure and not self.beyond


@dataclass(frozen=True)
class Engine:
    """An engine that was asked for.

    Attributes
    ----------
    name : str
    detail : str
        What it does, on which version of its framework; or why it is not here.
    is_installed : bool
    """

    name: str
    detail: str
    is_installed: bool = True


@dataclass(frozen=True)
class Verification:
    """All that was found.

    Attributes
    ----------
    engines : sequence of Engine
    findings : sequence of Finding
    """

    engines: Sequence[Engine]
    findings: Sequence[Finding]

    @cached_property
    def failures(self) -> list[Finding]:
        """What is not as it should be."""
        return [finding for finding in self.findings if not finding.holds]

    def worst(
        self, aspect: str, engine: str, dtype: str, kind: str | None = None
    ) -> tuple[Measured, Finding] | None:
        """Return what is largest beside what it may be, and where; None where nothing was measured.

        Parameters
        ----------
        aspect, engine, dtype : str
        kind : str, optional
            A model, by its name on the command line; otherwise all.
        """
        found = [
            (finding.measures[aspect], finding)
            for finding in self.of(engine, dtype, kind)
            if aspect in finding.measures
        ]
        return max(found, key=lambda pair: (pair[0].share, pair[0].value), default=None)

    def of(self, engine: str, dtype: str, kind: str | None = None) -> list[Finding]:
        """Return what was found of an engine in a dtype, of a model or of all."""
        return [
            finding
            for finding in self.findings
            if finding.engine == engine
            and finding.subject.dtype == dtype
            and kind in (None, finding.subject.kind)
        ]

    def checks(self, engine: str, sort: type[Requirement] | type[Board]) -> list[Finding]:
        """Return what was found of an engine by checks of one sort, gaps left out."""
        return [
            finding
            for finding in self.findings
            if finding.engine == engine and isinstance(finding.subject, sort) and not finding.gap
        ]

    def gaps(self) -> dict[tuple[str, str], list[Subject]]:
        """Return what engines do not do, by engine and reason."""
        found: dict[tuple[str, str], list[Subject]] = {}
        for finding in self.findings:
            if finding.gap:
                found.setdefault((finding.engine, finding.gap), []).append(finding.subject)
        return found

    def document(self) -> dict[str, Any]:
        """Return all that was found, for JSON."""
        return {
            "engines": [asdict(engine) for engine in self.engines],
            "holds": not self.failures,
            "findings": [
                {
                    "engine": finding.engine,
                    "subject": str(finding.subject),
                    "model": finding.subject.kind,
                    "dtype": finding.subject.dtype,
                    "measures": {
                        aspect: {"value": found.value, "allowed": found.allowed}
                        for aspect, found in finding.measures.items()
                    },
                    "gap": finding.gap,
                    "failure": finding.failure,
                    "holds": finding.holds,
                }
                for finding in self.findings
            ],
        }


def subjects(kinds: Sequence[str], *, every: bool = False) -> list[Subject]:
    """Return what is looked at.

    Parameters
    ----------
    kinds : sequence of str
        The models, by their names on the command line.
    every : bool
        Whether all cells are meant, the whole product.
    """
    of_models: list[Cell | Run | Board] = [*(every_cell() if every else cells()), *RUNS, *BOARDS]
    return [
        *map(Requirement, requirements.REQUIREMENTS),
        *(subject for subject in of_models if subject.kind in kinds),
    ]


def look_at(engine: str, subjects: Sequence[Subject], references: References) -> Iterator[Engine | Finding]:
    """Look at one thing after another; give the engine first, and then what is found.

    Parameters
    ----------
    engine : str
        Of the registry.
    subjects : sequence of Subject
    references : References
    """
    try:
        backend = registry.get(engine)
    except registry.BackendUnavailableError as error:
        yield Engine(engine, str(error), is_installed=False)
        return
    yield Engine(engine, getattr(backend, "description", ""))
    for subject in subjects:
        try:
            yield _finding(backend, engine, subject, references)
        except MfcoreError as error:
            yield Finding(engine, subject, failure=str(error))
        except (
            Exception
        ) as error:  # a faulty engine may raise anything; the others are looked at all the same
            yield Finding(engine, subject, failure=f"{type(error).__name__}: {error}")


def _finding(backend: Backend, engine: str, subject: Subject, references: References) -> Finding:
    if isinstance(subject, Requirement):
        _ask(backend, subject)
        return Finding(engine, subject)
    gap = refusal(backend, subject, subject.job(), gaps_of(engine))
    if gap is not None:
        return Finding(engine, subject, gap=gap)
    if isinstance(subject, Board):
        wrong = subject.n_wrong(backend)
        if wrong:
            raise ConformanceError(f"{wrong} of the users are recommended something else than what is known")
        return Finding(engine, subject)
    return Finding(engine, subject, _measures(backend, subject, references))


def _measures(backend: Backend, subject: Cell | Run, references: References) -> Measures:
    if isinstance(subject, Run):
        return judge(backend, subject, references.quality(subject))
    return examine(backend, subject, references)


def _ask(backend: Backend, requirement: Requirement) -> None:
    for cell in requirements.cells_of(lambda cell: backend.unsupported(cell.job()) is None):
        try:
            requirements.REQUIREMENTS[requirement.name](backend, cell.job())
        except ConformanceError as error:
            raise ConformanceError(f"{cell}: {error}") from error
