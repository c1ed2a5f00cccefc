"""One cell, run, known answer or requirement on one engine: what is measured, and the result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from mfcore.engines import Backend, StreamBackend
from mfcore.errors import MfcoreError
from mfcore.optimizers import WALS
from mfcore.testing import _arrays as arrays
from mfcore.testing import _streams as streams
from mfcore.testing._cells import Cell, Selection, cells, small_data_cut
from mfcore.testing._deviations import Deviation, Outcome
from mfcore.testing._gaps import Refusal, refusal
from mfcore.testing._known_answers import KNOWN_ANSWERS, KnownAnswer
from mfcore.testing._measures import (
    INITIAL,
    METRIC,
    OF_SCORES,
    STREAM,
    TOP_K,
    Measured,
    Measures,
    of_first_step,
    of_last_step,
)
from mfcore.testing._own_jobs import OwnJob
from mfcore.testing._references import References
from mfcore.testing._requirements import REQUIREMENTS, Requirement
from mfcore.testing._runs import RUNS, Run, scorer_deviation

Subject: TypeAlias = Cell | Run | KnownAnswer | Requirement | OwnJob


@dataclass(frozen=True)
class Finding:
    """The result of one subject on an engine.

    Attributes
    ----------
    engine : str
    subject : Subject
    measures : mapping of str to Measured
        By aspect, of `ASPECTS`.
    refusal : Refusal, or None
        Why the engine does not do it.
    failure : str
        What went wrong before anything could be measured, or besides.

    Examples
    --------
    >>> from mfcore.testing import Cell, Finding, Measured
    >>> cell = Cell("mf", "squared", "adam", "float64")
    >>> finding = Finding("mine", cell, {"1 step": Measured(2e-9, allowed=1e-9)})
    >>> finding.holds, list(finding.beyond)
    (False, ['1 step'])
    """

    engine: str
    subject: Subject
    measures: Mapping[str, Measured] = field(default_factory=dict)
    refusal: Refusal | None = None
    failure: str = ""

    @property
    def beyond(self) -> dict[str, Measured]:
        """What is out of tolerance."""
        return {aspect: found for aspect, found in self.measures.items() if not found.is_within}

    @property
    def holds(self) -> bool:
        """Whether nothing failed and nothing is out of tolerance."""
        return not self.failure and not self.beyond


def subjects(selection: Selection = "standard") -> list[Subject]:
    """Return all that an engine is evaluated on; a quick selection has one run and one known answer.

    Parameters
    ----------
    selection : "quick", "standard" or "every"
        Of `cells`.

    Returns
    -------
    list of Subject

    Examples
    --------
    >>> from mfcore.testing import cells, subjects
    >>> len(subjects("quick")) > len(cells("quick"))
    True
    """
    few = 1 if selection == "quick" else None
    return [*map(Requirement, REQUIREMENTS), *cells(selection), *RUNS[:few], *KNOWN_ANSWERS[:few]]


def evaluate(backend: Backend, subject: Subject, references: References, device: str = "cpu") -> Finding:
    """Return the finding of a subject on an engine, which may fail in any way.

    Parameters
    ----------
    backend : Backend
    subject : Subject
    references : References
    device : str
        Where the engine trains.

    Returns
    -------
    Finding
        Errors of the engine and what the contract forbids are its `failure`.

    Examples
    --------
    >>> from mfcore.engines.reference import backend
    >>> from mfcore.testing import Cell, References, evaluate
    >>> evaluate(backend, Cell("mf", "squared", "sgd", "float32"), References()).holds
    True
    """
    try:
        if isinstance(subject, OwnJob):
            reason = backend.unsupported(subject.job(device))
            if reason is not None:
                return Finding(backend.name, subject, failure=f"{backend.name} refuses the job: {reason}")
        elif not isinstance(subject, Requirement):
            gap = refusal(backend, subject, subject.job(device), getattr(backend, "gaps", None))
            if gap is not None:
                return Finding(backend.name, subject, refusal=gap)
        return Finding(backend.name, subject, measure(backend, subject, references, device))
    except MfcoreError as error:
        return Finding(backend.name, subject, failure=str(error))
    except Exception as error:
        return Finding(backend.name, subject, failure=f"{type(error).__name__}: {error}")


def measure(backend: Backend, subject: Subject, references: References, device: str = "cpu") -> Measures:
    """Return what is measured of an engine that does the subject; nothing of requirements and known answers.

    Parameters
    ----------
    backend : Backend
    subject : Subject
    references : References
    device : str
        Where the engine trains.

    Returns
    -------
    dict of str to Measured
        By aspect.

    Raises
    ------
    ConformanceError
        The engine does not keep the contract, or does not find the known answer.

    Examples
    --------
    >>> from mfcore.engines.reference import backend
    >>> from mfcore.testing import Cell, References, measure
    >>> list(measure(backend, Cell("mf", "squared", "sgd", "float32"), References()))
    ['scores by objective', '1 step', 'initial values', '100 steps']
    """
    if isinstance(subject, Requirement | KnownAnswer):
        subject.require(backend, device)
        return {}
    measures: Measures = {}
    if isinstance(subject, Cell | OwnJob):
        measures |= compare_with_reference(backend, subject, references, device)
    if isinstance(subject, Run | OwnJob):
        measures |= compare_quality(backend, subject, references, device)
    return measures


def compare_with_reference(
    backend: Backend, subject: Cell | OwnJob, references: References, device: str = "cpu"
) -> Measures:
    """Return how far an engine is from the reference engine, in a job that it does.

    Parameters
    ----------
    backend : Backend
    subject : Cell or OwnJob
    references : References
    device : str
        Where the engine trains; the reference engine has the CPU alone.

    Returns
    -------
    dict of str to Measured
        By aspect, those of `ASPECTS` that the job shows.

    Raises
    ------
    ConformanceError
        Arrays of other names, shapes or dtypes than the contract's, or views of what the trainer works on.

    Examples
    --------
    >>> from mfcore.engines.reference import backend
    >>> from mfcore.testing import Cell, References, compare_with_reference
    >>> cell = Cell("mf", "ratings", "wals by cholesky", "float64")
    >>> compare_with_reference(backend, cell, References())["100 steps"].value
    0.0
    """
    with small_data_cut():
        return {
            **_of_stream(backend, subject, device),
            **_of_first_step(backend, subject, references, device),
            **_of_whole_run(backend, subject, references, device),
        }


def compare_quality(
    backend: Backend, run: Run | OwnJob, references: References, device: str = "cpu"
) -> Measures:
    """Return how far an engine is off in a whole run that it does.

    Parameters
    ----------
    backend : Backend
    run : Run or OwnJob
    references : References
    device : str
        Where the engine trains.

    Returns
    -------
    dict of str to Measured
        Of the final metric, and of the scores that the engine's own top-k gives.
    """
    model = run.train(backend, device=device)
    measures = {METRIC: Measured(abs(run.quality(model) - references.quality(run)), run.bound)}
    apart = scorer_deviation(model)
    if apart is not None:
        measures[TOP_K] = Measured(apart, OF_SCORES[run.dtype])
    return measures


def _of_stream(backend: Backend, subject: Cell | OwnJob, device: str) -> Measures:
    job = subject.job(device)
    if not isinstance(backend, StreamBackend) or isinstance(job.optimizer, WALS):
        return {}
    differing = [
        streams.n_differences(backend, job, epoch, 0, job.n_instances) for epoch in range(subject.epochs)
    ]
    return {STREAM: Measured(sum(differing), 0)}


def _of_first_step(backend: Backend, subject: Cell | OwnJob, references: References, device: str) -> Measures:
    job = subject.first_step(device)
    found = Outcome.of(backend, job, 1)
    return of_first_step(job, Deviation.between(references.first_step(subject), found, job.parameters))


def _of_whole_run(backend: Backend, subject: Cell | OwnJob, references: References, device: str) -> Measures:
    job = subject.job(device)
    trainer = backend.trainer(job)
    arrays.require_arrays(trainer, job)
    initial = Measured(arrays.n_differences(trainer.parameters(), job.parameters), 0)
    found = Outcome.of_trainer(trainer, range(subject.epochs))
    arrays.require_arrays(trainer, job)
    whole = of_last_step(job, Deviation.between(references.whole(subject), found, job.parameters))
    return {INITIAL: initial, **whole}
