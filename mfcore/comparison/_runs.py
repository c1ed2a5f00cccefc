"""The result of a task on one engine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from mfcore.comparison._short_runs import ShortRun, short_run
from mfcore.comparison._tasks import Task
from mfcore.engines import API_VERSION, Backend, Scorer, Trainer, TrainingJob, registry
from mfcore.errors import MfcoreError
from mfcore.metrics import Quality, evaluate_quality
from mfcore.model import EpochRecord, Model, Ranking, recommended
from mfcore.processes import peak_memory
from mfcore.training import fit

# Is called with the seed and each epoch that has ended.
OnEpoch = Callable[[int, EpochRecord], None]


class RefusalError(MfcoreError):
    """An engine does not do the job; the message is its reason."""


@dataclass(frozen=True)
class Memory:
    """The most memory that the engine's process has held at once, in bytes.

    Attributes
    ----------
    before : int
        Before training: Python, the engine's framework, the data.
    peak : int
        By the end of training, what evaluating every epoch takes included.
    """

    before: int
    peak: int


@dataclass(frozen=True)
class EngineRun:
    """The result of a task on an engine.

    Attributes
    ----------
    engine : str
    description : str
        What it does, on which version of its framework.
    import_seconds : float
        To load the engine and its framework.
    trainer_seconds : float
        To get ready for the job, before the first epoch.
    records : tuple of EpochRecord
        Of the first seed.
    qualities : tuple of Quality
        Of each seed.
    memory : Memory
    short_run : ShortRun or None
    short_run_failure : str
        Why there is none.
    rankings : tuple of Ranking
        For each of the example users, by the model of the first seed.

    Examples
    --------
    >>> from mfcore.comparison import EngineRun
    >>> from mfcore.model import EpochRecord
    >>> records = tuple(
    ...     EpochRecord(epoch, 0.5, seconds, instances_per_second=1e6)
    ...     for epoch, seconds in enumerate((3.0, 1.0, 1.5))
    ... )
    >>> run = EngineRun(
    ...     "mine", "an engine", import_seconds=0.5, trainer_seconds=0.25, records=records, qualities=(),
    ...     memory=None, short_run=None, short_run_failure="", rankings=(),
    ... )
    >>> run.epoch_seconds, run.compile_seconds, run.clock
    (1.25, 2.0, [3.25, 4.25, 5.75])
    """

    engine: str
    description: str
    import_seconds: float
    trainer_seconds: float
    records: tuple[EpochRecord, ...]
    qualities: tuple[Quality, ...]
    memory: Memory
    short_run: ShortRun | None
    short_run_failure: str
    rankings: tuple[Ranking, ...]

    @property
    def usual(self) -> Sequence[EpochRecord]:
        """The epochs after the first, in which engines compile; the first where there is no other."""
        return self.records[1:] or self.records

    @property
    def epoch_seconds(self) -> float:
        """Median of the usual epochs: training alone, without its evaluation."""
        return median(record.seconds for record in self.usual)

    @property
    def instances_per_second(self) -> float:
        """Median of the usual epochs; sampled negatives are instances too."""
        return median(record.instances_per_second for record in self.usual)

    @property
    def compile_seconds(self) -> float | None:
        """What getting ready and the first epoch took beyond a usual epoch; None where that is the only one.

        Kernels that an engine finds compiled on the disk, from an earlier run, take less.
        """
        if len(self.records) < 2:
            return None
        return max(0.0, self.trainer_seconds + self.records[0].seconds - self.epoch_seconds)

    @property
    def clock(self) -> list[float]:
        """Seconds of training by the end of each epoch, getting ready included."""
        elapsed, times = self.trainer_seconds, []
        for record in self.records:
            elapsed += record.seconds
            times.append(elapsed)
        return times


@dataclass(frozen=True)
class Failure:
    """Why there is no result of a task on an engine.

    Attributes
    ----------
    engine : str
    reason : str
    refused : bool
        Whether the engine does not do such a job, or is not installed.
    log : str
        Where it is neither that nor an error that mfcore raises on purpose: the traceback, or what the
        process wrote before its end.

    Examples
    --------
    >>> from mfcore.comparison import Failure
    >>> Failure("torch", "backend 'torch' needs torch, which is not installed", refused=True).log
    ''
    """

    engine: str
    reason: str
    refused: bool = False
    log: str = ""


def run(engine: str, task: Task, seeds: Sequence[int], on_epoch: OnEpoch) -> EngineRun:
    """Train a task on an engine in this process, once with each seed.

    Parameters
    ----------
    engine : str
    task : Task
    seeds : sequence of int
        Of initial values and samples. All figures but the qualities are of the first.
    on_epoch : callable
        Given the seed and the record of each epoch.

    Raises
    ------
    RefusalError
        The engine does not do the job.
    BackendMissingError
        The engine's framework is not installed.
    MfcoreError
        The training fails.
    """
    start = time.perf_counter()
    backend = _Timed(registry.get(engine))
    import_seconds = time.perf_counter() - start
    if reason := backend.unsupported(task.job(task.train)):
        raise RefusalError(reason)
    before = peak_memory()
    model = _fit(backend, task, seeds[0], on_epoch)
    trainer_seconds, memory = backend.trainer_seconds, Memory(before, peak_memory())
    rankings = tuple(_recommended(model, task, user) for user in task.example_users.users)
    others = (_evaluated(_fit(backend, task, seed, on_epoch), task) for seed in seeds[1:])
    qualities = (_evaluated(model, task), *others)
    failure, compared = "", None
    try:
        compared = short_run(backend, task)
    except MfcoreError as error:
        failure = str(error)
    return EngineRun(
        engine=engine,
        description=backend.description,
        import_seconds=import_seconds,
        trainer_seconds=trainer_seconds,
        records=model.history.records,
        qualities=qualities,
        memory=memory,
        short_run=compared,
        short_run_failure=failure,
        rankings=rankings,
    )


class _Timed:
    """An engine that notes how long it takes to get ready for a job."""

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self.api_version = API_VERSION
        self.description: str = getattr(backend, "description", "")
        self.trainer_seconds = 0.0
        self._backend = backend

    def unsupported(self, job: TrainingJob) -> str | None:
        return self._backend.unsupported(job)

    def trainer(self, job: TrainingJob) -> Trainer:
        start = time.perf_counter()
        trainer = self._backend.trainer(job)
        self.trainer_seconds = time.perf_counter() - start
        return trainer

    def scorer(self, model: Any) -> Scorer | None:
        return self._backend.scorer(model)


def _fit(backend: _Timed, task: Task, seed: int, on_epoch: OnEpoch) -> Model:
    monitor = task.monitor
    model = fit(
        task.spec,
        task.train,
        **{**task.arguments, "seed": seed},
        backend=backend,
        validation=task.evaluation.test,
        metrics=[monitor.metric],
        protocol=monitor.protocol,
        keep_best=False,
        callbacks=[lambda end: on_epoch(seed, end.record)],
        progress=False,
    )
    # What the engine needs for training on is as large as the parameters, or twice that.
    return replace(model, optimizer_state=None)


def _evaluated(model: Model, task: Task) -> Quality:
    evaluation = task.evaluation
    return evaluate_quality(model, evaluation.test, evaluation.metrics, evaluation.protocols)


def _recommended(model: Model, task: Task, user: int | str) -> Ranking:
    example_users = task.example_users
    return recommended(model, user, example_users.k, min_count=example_users.min_count)
