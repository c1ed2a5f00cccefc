"""How far an engine is from the reference engine after some hundred steps of a job."""

from dataclasses import dataclass

import numpy as np

from mfcore.comparison._tasks import Task
from mfcore.data import Interactions
from mfcore.engines import Backend, TrainingJob, registry
from mfcore.optimizers import WALS
from mfcore.testing import Deviation, Outcome, in_float64

# What a hundred steps in float32 may come to, of the distance moved; of jobs in which rounding alone comes to
# more (Adam divides gradients by their size, be they nothing but rounding), so many times that.
TOLERANCE, ALLOWED_ROUNDING = 1e-5, 2.0

N_STEPS = 100
MAX_BATCH = 256
WALS_EPOCHS, WALS_INTERACTIONS = 3, 5_000


@dataclass(frozen=True)
class ShortRun:
    """A job on a part of its data, compared with the reference engine in float64.

    Attributes
    ----------
    steps : int
        Of a gradient optimizer; epochs of WALS.
    found : Deviation
        Of the engine, in the dtype of the job.
    rounding : Deviation
        Of the reference engine itself in that dtype: what rounding alone does to this job.
    """

    steps: int
    found: Deviation
    rounding: Deviation

    @property
    def allowed(self) -> float:
        """How far off all parameters together may be, as a share of the distance moved."""
        return max(TOLERANCE, ALLOWED_ROUNDING * self.rounding.whole_parameters)

    @property
    def agrees(self) -> bool:
        """Whether the engine's parameters are no further off than that."""
        return self.found.whole_parameters <= self.allowed


def short_run(backend: Backend, task: Task) -> ShortRun:
    """Return how far an engine is from the reference engine after about a hundred steps.

    The job is the task's, in batches of at most 256 instances, on interactions drawn from its data; of
    WALS it is three epochs.

    Raises
    ------
    MfcoreError
        The job makes no sense on so few interactions: a user has seen every item of these, say.
    """
    job, epochs = _short_job(task)
    exact = in_float64(job)
    reference = registry.get(registry.REFERENCE)
    truth = Outcome.of(reference, exact, epochs)
    return ShortRun(
        steps=epochs if isinstance(job.optimizer, WALS) else epochs * _steps(job),
        found=Deviation.between(truth, Outcome.of(backend, job, epochs), exact.parameters),
        rounding=Deviation.between(truth, Outcome.of(reference, job, epochs), exact.parameters),
    )


def _short_job(task: Task) -> tuple[TrainingJob, int]:
    """Return the job and its epochs."""
    whole = task.job(task.train)
    if isinstance(whole.optimizer, WALS):
        return task.job(_part(task.train, WALS_INTERACTIONS)), WALS_EPOCHS
    batch_size = min(whole.batch_size, MAX_BATCH)
    per_interaction = whole.n_instances / len(whole.data)
    part = _part(task.train, max(1, round(N_STEPS * batch_size / per_interaction)))
    job = task.job(part, batch_size=batch_size, order=whole.sampling.order)
    return job, max(1, round(N_STEPS / _steps(job)))


def _steps(job: TrainingJob) -> int:
    return -(-job.n_instances // job.batch_size)


def _part(data: Interactions, n: int) -> Interactions:
    """Return n interactions with the users and items that occur in them, or all where there are no more."""
    if n >= len(data):
        return data
    chosen = np.sort(np.random.default_rng(0).choice(len(data), n, replace=False))
    return Interactions.from_columns(data.users[chosen], data.items[chosen], data.values[chosen])
