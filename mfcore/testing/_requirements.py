"""What the contract asks of an engine besides its numbers: functions that raise ConformanceError."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mfcore.engines import API_VERSION, Backend, TrainingJob
from mfcore.errors import MfcoreError
from mfcore.testing._arrays import Arrays, ConformanceError, n_differences, require_arrays
from mfcore.testing._cells import Cell, cells
from mfcore.testing._deviations import Deviation, Outcome
from mfcore.testing._measures import OF_PARAMETERS

Numbers: TypeAlias = NDArray[Any]
Check: TypeAlias = Callable[[Backend, TrainingJob], None]

# One cell of each way to train; an engine that does none of them is asked about the first one that it does.
USUAL = (
    Cell("mf with biases", "logistic", "adam", "float64"),
    Cell("mf", "ratings", "wals by cholesky", "float64"),
)
ABROAD = "mars"
FEWEST_WORDS = 5


@dataclass(frozen=True)
class Requirement:
    """Something that the contract asks of an engine as a whole.

    Attributes
    ----------
    name : str
        Of `REQUIREMENTS`.
    kind, dtype : str
        As of other subjects: of no model, in float64.

    Examples
    --------
    >>> from mfcore.engines.reference import backend
    >>> from mfcore.testing import Requirement
    >>> Requirement("it leaves the job as it is").require(backend)
    """

    name: str
    kind: str = ""
    dtype: str = "float64"

    def __str__(self) -> str:
        return f"contract: {self.name}"

    def require(self, backend: Backend, device: str = "cpu") -> None:
        """Require that an engine meets it, on each cell of `cells_of`.

        Parameters
        ----------
        backend : Backend
        device : str

        Raises
        ------
        ConformanceError
            It does not, or does none of the cells.
        """
        asked = cells_of(lambda cell: backend.unsupported(cell.job(device)) is None)
        if not asked:
            raise ConformanceError(f"{backend.name} does none of the cells")
        for cell in asked:
            try:
                REQUIREMENTS[self.name](backend, cell.job(device))
            except ConformanceError as error:
                raise ConformanceError(f"{cell}: {error}") from error


def it_says_who_it_is(backend: Backend, job: TrainingJob) -> None:
    """Require the attributes and methods of `Backend`, this version of it and a description."""
    if not isinstance(backend, Backend):
        raise ConformanceError(f"{backend!r} lacks attributes or methods of mfcore.engines.Backend")
    if backend.api_version != API_VERSION:
        raise ConformanceError(
            f"api_version is {backend.api_version}; this mfcore speaks version {API_VERSION} of the contract"
        )
    if not backend.name or backend.name != backend.name.strip() or " " in backend.name:
        raise ConformanceError(f"name is {backend.name!r}; it must be one word")
    if not getattr(backend, "description", ""):
        raise ConformanceError(
            "it has no description; give it one, a line on what it does and on which version of its framework"
        )


def its_refusals_are_sentences(backend: Backend, job: TrainingJob) -> None:
    """Require a reason that names a device that does not exist."""
    reason = backend.unsupported(replace(job, device=ABROAD))
    if reason is None:
        raise ConformanceError(
            f"unsupported() has nothing against device={ABROAD!r}; it must refuse what it cannot do"
        )
    require_reason(reason, ABROAD)


def require_reason(reason: str, *names: str) -> None:
    """Raise ConformanceError unless a reason is a sentence that names what it is about."""
    missing = [name for name in names if name not in reason]
    if missing:
        raise ConformanceError(f"unsupported() says {reason!r}; it should name {', '.join(missing)}")
    if len(reason.split()) < FEWEST_WORDS or "\n" in reason:
        raise ConformanceError(
            f"unsupported() says {reason!r}; say what is in the way and what to do instead, in one line"
        )


def what_it_exported_stays(backend: Backend, job: TrainingJob) -> None:
    """Require that what a trainer exported is not changed by the epochs that follow."""
    trainer = backend.trainer(job)
    require_arrays(trainer, job)
    for name, export in (("parameters", trainer.parameters), ("optimizer_state", trainer.optimizer_state)):
        exported = export()
        before = {key: array.copy() for key, array in exported.items()}
        trainer.run_epoch(0)
        if n_differences(exported, before):
            raise ConformanceError(f"{name}() gives views: what it exported changed with training")


def it_leaves_the_job_as_it_is(backend: Backend, job: TrainingJob) -> None:
    """Require that training writes to nothing that the job holds."""
    before = {
        of: {name: array.copy() for name, array in arrays.items()} for of, arrays in _arrays_of(job).items()
    }
    Outcome.of(backend, job, 1)
    for of, arrays in _arrays_of(job).items():
        if n_differences(arrays, before[of]):
            raise ConformanceError(f"training wrote to the job's {of}; take copies")


def it_takes_arrays_as_they_lie(backend: Backend, job: TrainingJob) -> None:
    """Require that parameters and state may be read-only, or not contiguous."""
    for how, lay in (("read-only", _read_only), ("not contiguous", _strided)):
        laid = replace(
            job,
            parameters={name: lay(array) for name, array in job.parameters.items()},
            optimizer_state={name: lay(array) for name, array in job.optimizer_state.items()},
        )
        try:
            found = Outcome.of(backend, laid, 1)
        except (ValueError, TypeError, RuntimeError, BufferError) as error:
            raise ConformanceError(f"a job whose arrays are {how} fails: {error}") from error
        if n_differences(found.parameters, Outcome.of(backend, job, 1).parameters):
            raise ConformanceError(f"a job whose arrays are {how} has another result")


def it_does_again_what_it_did(backend: Backend, job: TrainingJob) -> None:
    """Require that two trainers of one job have the same result, but for rounding."""
    _require_close("a second run of one job", job, Outcome.of(backend, job, 2), Outcome.of(backend, job, 2))


def it_goes_on_where_it_was_left(backend: Backend, job: TrainingJob) -> None:
    """Require that a trainer resumed from another one's state continues as that one would have."""
    begun = Outcome.of(backend, job, 1)
    resumed = replace(job, parameters=begun.parameters, optimizer_state=begun.state)
    ended = Outcome.of_trainer(backend.trainer(resumed), [1])
    _require_close("a run that was resumed", job, Outcome.of(backend, job, 2), ended)


def it_does_not_hide_a_divergence(backend: Backend, job: TrainingJob) -> None:
    """Require that NaN shows in the objective, which stops `fit`, or is an error."""
    broken = {name: np.full_like(array, np.nan) for name, array in job.parameters.items()}
    try:
        objective = backend.trainer(replace(job, parameters=broken)).run_epoch(0)
    except (MfcoreError, ArithmeticError, np.linalg.LinAlgError):
        return
    if math.isfinite(objective):
        raise ConformanceError(
            f"run_epoch() returned {objective} for parameters that are NaN; a divergence would go unseen"
        )


def cells_of(does: Callable[[Cell], bool]) -> list[Cell]:
    """Return the cells on which an engine is asked, of those that it does."""
    return list(filter(does, USUAL)) or list(islice(filter(does, cells()), 1))


def _arrays_of(job: TrainingJob) -> dict[str, Arrays]:
    data = job.data
    return {
        "parameters": job.parameters,
        "optimizer_state": job.optimizer_state,
        "data": {"users": data.users, "items": data.items, "values": data.values},
    }


def _read_only(array: Numbers) -> Numbers:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _strided(array: Numbers) -> Numbers:
    """Return every second column of an array that is twice as wide."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), dtype=array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def _require_close(what: str, job: TrainingJob, expected: Outcome, found: Outcome) -> None:
    deviation = Deviation.between(expected, found, job.parameters)
    largest = np.max([deviation.parameters, deviation.state, deviation.objective])
    allowed = OF_PARAMETERS[job.dtype.name]
    if not largest <= allowed:
        raise ConformanceError(
            f"{what} is off by {largest:.1e} of the distance moved; {allowed:.0e} is allowed"
        )


REQUIREMENTS: Mapping[str, Check] = {
    requirement.__name__.replace("_", " "): requirement
    for requirement in (
        it_says_who_it_is,
        its_refusals_are_sentences,
        what_it_exported_stays,
        it_leaves_the_job_as_it_is,
        it_takes_arrays_as_they_lie,
        it_does_again_what_it_did,
        it_goes_on_where_it_was_left,
        it_does_not_hide_a_divergence,
    )
}
