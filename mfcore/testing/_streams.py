"""What an engine's own sample stream shows, held to that of `mfcore.sampling` bit for bit."""

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from mfcore import sampling
from mfcore.data import Interactions
from mfcore.engines import StreamBackend, StreamSlice, TrainingJob
from mfcore.sampling import shuffled_instances
from mfcore.testing._cells import GRADIENT, MODELS, OBJECTIVES
from mfcore.training import make_job

N_USERS, N_ITEMS = 200, 41
MANY_NEGATIVES = 2**32


@dataclass(frozen=True)
class StreamCase:
    """What decides what an epoch shows.

    Attributes
    ----------
    objective : str
        As in `cells`.
    n_negatives : int
    popularity_exponent : float
    blocked : bool
        Whether single steps of SGD are taken, in the blocked order.
    model, optimizer, dtype : str
        As in `cells`.
    """

    model: ClassVar[str] = "mf"
    dtype: ClassVar[str] = "float64"

    objective: str
    n_negatives: int = 0
    popularity_exponent: float = 0.0
    blocked: bool = False

    def __str__(self) -> str:
        return f"the stream of {self.model}, {self.objective}, {self.optimizer}, {self.dtype}"

    @property
    def optimizer(self) -> str:
        """The optimizer's name."""
        return "single steps" if self.blocked else "adam"

    def job(self, data: Interactions, seed: int, device: str = "cpu", **settings: Any) -> TrainingJob:
        """Return a job whose epochs are shown by this case; settings replace those of `make_job`."""
        defaults: dict[str, Any] = {
            "objective": OBJECTIVES[self.objective].objective,
            "optimizer": GRADIENT[self.optimizer],
            "batch_size": 1 if self.blocked else 256,
            "n_negatives": self.n_negatives,
            "popularity_exponent": self.popularity_exponent,
            "device": device,
            "threads": 2,
            "dtype": self.dtype,
            "seed": seed,
        }
        return make_job(MODELS[self.model], data, **{**defaults, **settings})


STREAM_CASES = {
    "interactions alone": StreamCase("squared"),
    "one negative": StreamCase("logistic", 1),
    "negatives": StreamCase("logistic", 5),
    "popular negatives": StreamCase("logistic", 3, 0.75),
    "pairs": StreamCase("bpr", 3),
    "pairs with popular negatives": StreamCase("bpr", 3, 0.75),
    "blocked": StreamCase("weighted", blocked=True),
    "blocked with negatives": StreamCase("weighted", 2, blocked=True),
}
# More instances an epoch than 32 bits can count.
HUGE = {"negatives": StreamCase("logistic", MANY_NEGATIVES), "pairs": StreamCase("bpr", MANY_NEGATIVES)}


@cache
def uneven() -> Interactions:
    """Return what 200 users have seen: between 1 and 39 of 41 items, some far more popular than others."""
    generator = np.random.default_rng(5)
    sizes = np.concatenate([[1, 1, 2, 39, 38], generator.integers(1, 40, size=N_USERS - 5)])
    chances = 1 / np.arange(1, N_ITEMS + 1)
    seen = [generator.choice(N_ITEMS, size=size, replace=False, p=chances / chances.sum()) for size in sizes]
    return Interactions.from_columns(np.repeat(np.arange(N_USERS), sizes), np.concatenate(seen))


@cache
def few() -> Interactions:
    """Return every twentieth interaction of these."""
    return uneven().select(np.arange(1, len(uneven()), 20))


def n_differences(backend: StreamBackend, job: TrainingJob, epoch: int, start: int, stop: int) -> int:
    """Return how many of the instances at the positions [start, stop) of an epoch are not the core's."""
    return _n_differences(backend.instances(job, epoch, start, stop), defined(job, epoch, start, stop))


def defined(job: TrainingJob, epoch: int, start: int, stop: int) -> sampling.Instances:
    """Return the instances that the core defines at the positions [start, stop) of an epoch."""
    if job.sampling.order == "blocked":
        whole = sampling.epoch(job.data, job.sampling, seed=job.seed, epoch=epoch)
        return whole.take(slice(start, stop))
    positions = np.arange(start, stop)
    return shuffled_instances(job.data, job.sampling, seed=job.seed, epoch=epoch, positions=positions)


def _n_differences(found: StreamSlice, expected: sampling.Instances) -> int:
    differs = np.zeros(len(expected), dtype=np.bool_)
    for name in StreamSlice._fields:
        column, of_core = getattr(found, name), getattr(expected, name)
        if of_core is None and column is None:
            continue
        if of_core is None or column is None or np.shape(column) != of_core.shape:
            return len(expected)
        differs |= np.asarray(column) != of_core
    return int(differs.sum())
