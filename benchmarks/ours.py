"""mfcore as the benchmarks run it: through `fit`, on each engine, timed by the history that it returns."""

import os
import time
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import pytest

from benchmarks.results import Result
from mfcore import MF, Interactions, Model, fit
from mfcore.engines import API_VERSION, Backend, Scorer, Trainer, TrainingJob, Work, registry
from mfcore.specs import Floats, ModelSpec

# As many for mfcore as for every peer.
THREADS = int(os.environ.get("MFCORE_BENCHMARK_THREADS", "2"))
ENGINES_VARIABLE = "MFCORE_BENCHMARK_ENGINES"


def engines() -> list[str]:
    """Return the engines that are measured: those that the environment names, or all but the reference."""
    wanted = os.environ.get(ENGINES_VARIABLE)
    if wanted:
        return [name.strip() for name in wanted.split(",")]
    return [name for name in registry.names() if name != registry.REFERENCE]


# Runs a benchmark on each of them.
each_engine = pytest.mark.parametrize("engine", engines())


def load(engine: str) -> Backend:
    """Return an engine; skip the benchmark where its framework is not installed."""
    try:
        return registry.get(engine)
    except registry.BackendMissingError as error:
        pytest.skip(str(error))


@dataclass(frozen=True, eq=False)
class Times:
    """How long a finished run of any library took.

    Attributes
    ----------
    epoch_seconds : float
        Of an epoch, set-up and the first epoch left aside.
    first_epoch : float or None
        Seconds from the call to the end of the first epoch; None where the library does not tell.
    """

    epoch_seconds: float
    first_epoch: float | None

    def of_run(self, epochs: int) -> float:
        """Return the seconds of so many epochs, with all that precedes them."""
        assert self.first_epoch is not None
        return self.first_epoch + (epochs - 1) * self.epoch_seconds


@dataclass(frozen=True, eq=False)
class Training(Times):
    """A finished run of matrix factorisation by any library.

    Attributes
    ----------
    user_factors, item_factors : float array [n_users, n_factors], [n_items, n_factors]
    """

    user_factors: Floats
    item_factors: Floats

    def as_model(self, data: Interactions) -> Model:
        """Return the factors as a model of mfcore, whoever trained them on these data."""
        factors = {"user_factors": self.user_factors, "item_factors": self.item_factors}
        return Model(
            spec=MF(n_factors=self.user_factors.shape[1]),
            parameters=factors,
            user_ids=data.user_ids,
            item_ids=data.item_ids,
            seen=data.seen,
        )


@dataclass(frozen=True, eq=False)
class OwnTimes(Times):
    """How long a run of mfcore took.

    Attributes
    ----------
    engine : str
    work : Work
        Of an epoch.
    threads : int
    """

    engine: str
    work: Work
    threads: int

    def with_factors(self, model: Model) -> Training:
        """Return the run with the factors of the model that it ended in, for those who judge any library."""
        factors = (model.parameters[f"{side}_factors"] for side in ("user", "item"))
        return Training(self.epoch_seconds, self.first_epoch, *factors)

    def result(self, task: str, setting: str, *, unit: str = "instances", **further: Any) -> Result:
        """Return the result of the run: seconds and rate of an epoch; `further` are fields of `Result`."""
        return Result(
            task,
            setting,
            f"mfcore ({self.engine})",
            self.epoch_seconds,
            "epoch",
            rate=self.work.instances / self.epoch_seconds,
            unit=unit,
            first=self.first_epoch,
            costs={
                "engine": self.engine,
                **asdict(self.work),
                "threads": self.threads,
                "epoch_s": self.epoch_seconds,
            },
            **further,
        )


def train(
    spec: ModelSpec, data: Interactions, *, epochs: int, backend: str | Backend, **settings: Any
) -> tuple[Model, OwnTimes]:
    """Return a model and its times: the median of the epochs after the first, and the first apart.

    Parameters
    ----------
    spec, data, settings
        As `mfcore.fit` takes them.
    epochs : int
        From 2.
    backend : str or Backend
        An engine's name, or an engine with settings of its own; the benchmark is skipped where the engine
        cannot be had, or does not do this.
    """
    engine = _Watched(load(backend) if isinstance(backend, str) else backend)
    settings = {"threads": THREADS, "progress": False, **settings}
    start = time.perf_counter()
    model = fit(spec, data, epochs=epochs, backend=engine, **settings)
    whole = time.perf_counter() - start
    later = [record.seconds for record in model.history[1:]]
    assert engine.job is not None
    times = OwnTimes(median(later), whole - sum(later), engine.name, Work.of(engine.job), engine.job.threads)
    return model, times


def scored_by(engine: str, model: Model) -> Model:
    """Return a model that answers by an engine's own scorer; skip where that is the core's."""
    scorer = load(engine).scorer(model)
    if scorer is None:
        pytest.skip(f"{engine} leaves this to the core, which is measured as 'numpy'")
    return replace(model, scorer=scorer)


class _Watched:
    """An engine that remembers the job it was given; what it does not do is skipped."""

    api_version = API_VERSION

    def __init__(self, engine: Backend) -> None:
        self.engine, self.name = engine, engine.name
        self.job: TrainingJob | None = None

    def unsupported(self, job: TrainingJob) -> str | None:
        reason = self.engine.unsupported(job)
        if reason is not None:
            pytest.skip(f"{self.name} does not do this: {reason}")
        return None

    def trainer(self, job: TrainingJob) -> Trainer:
        self.job = job
        return self.engine.trainer(job)

    def scorer(self, model: Any) -> Scorer | None:
        return self.engine.scorer(model)
