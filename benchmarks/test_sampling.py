"""The sample stream: instances a second that each engine lists of an epoch, the core's numpy among them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mfcore
from benchmarks import data, ours
from benchmarks.jobs import job_of
from benchmarks.results import SAMPLING, Measure, Result
from benchmarks.timing import timed_twice
from mfcore import sampling
from mfcore.engines import TrainingJob

EPOCH, SIDES = 1, ("users", "items")
# Instances that torch and Keras draw together in training.
AT_ONCE = 1 << 17

# Of a job: what lists the epoch, as users and items.
Listed = tuple[Any, Any]
Lister = Callable[[TrainingJob], Callable[[], Listed]]


@pytest.fixture(scope="module")
def ml_1m() -> mfcore.Interactions:
    data.require("ml-1m-ncf")
    return mfcore.datasets.ncf("ml-1m").train


def by_numpy(job: TrainingJob) -> Callable[[], Listed]:
    """Return a function that lists the epoch by the definition."""

    def list_epoch() -> Listed:
        listed = sampling.epoch(job.data, job.sampling, seed=job.seed, epoch=EPOCH)
        return listed.users, listed.items

    return list_epoch


def by_numba(job: TrainingJob) -> Callable[[], Listed]:
    """Return a function that lists the epoch as the compiled engine does, which `fit` offers no door to."""
    ours.load("numba")
    from mfcore_numba import stream
    from mfcore_numba.compiling import threads

    n, listing = job.n_instances, stream.empty_listing(job, job.n_instances)

    def list_epoch() -> Listed:
        with threads(job.threads):
            stream.list_instances(stream.source(job), stream.shuffle_of(job, EPOCH), EPOCH, 0, n, listing, 0)
        return listing.users, listing.items

    return list_epoch


def by_torch(job: TrainingJob) -> Callable[[], Listed]:
    """Return a function that lists the epoch as PyTorch does, part by part."""
    ours.load("torch")
    import torch
    from mfcore_torch.compiling import compiled_for_any_length, has_compiler, left_alone
    from mfcore_torch.stream import Stream

    compiled = compiled_for_any_length if has_compiler() else left_alone
    stream = Stream(job, torch.device("cpu"), compiled)

    def list_epoch() -> Listed:
        torch.set_num_threads(job.threads)
        with torch.no_grad():
            parts = [
                stream.instances(EPOCH, start, min(start + AT_ONCE, job.n_instances))
                for start in range(0, job.n_instances, AT_ONCE)
            ]
        users, items = (torch.cat([getattr(part, side) for part in parts]).numpy() for side in SIDES)
        return users, items

    return list_epoch


def by_keras(job: TrainingJob) -> Callable[[], Listed]:
    """Return a function that lists the epoch as the Keras engine does, part by part."""
    ours.load("keras")
    from functools import partial

    from mfcore_keras.compiling import compiled, in_graph
    from mfcore_keras.stream import Stream

    stream = Stream(job)
    draw = in_graph(partial(stream.instances, n=AT_ONCE, compiled=compiled))

    def list_epoch() -> Listed:
        keys = stream.keys(EPOCH)
        parts = [
            draw(stream.positions(EPOCH, start, AT_ONCE), keys=keys)
            for start in range(0, job.n_instances, AT_ONCE)
        ]
        columns = ([getattr(part, side).numpy() for part in parts] for side in SIDES)
        users, items = (np.concatenate(column)[: job.n_instances] for column in columns)
        return users, items

    return list_epoch


LISTERS: dict[str, Lister] = {"numpy": by_numpy, "numba": by_numba, "torch": by_torch, "keras": by_keras}


@pytest.mark.parametrize("n_negatives", [0, 4])
@pytest.mark.parametrize("engine", ["numpy", *ours.engines()])
def test_listing_of_an_epoch(
    engine: str, n_negatives: int, ml_1m: mfcore.Interactions, measure: Measure
) -> None:
    if engine not in LISTERS:
        pytest.skip(f"how {engine} lists an epoch is not known here")
    # What is trained does not matter; without negatives, the log loss would have nothing to tell apart.
    settings = {"spec": mfcore.MF(1), "order": "shuffled", "threads": ours.THREADS}
    settings |= {"objective": "logistic" if n_negatives else "squared", "n_negatives": n_negatives}
    job = job_of(settings, ml_1m)
    definition = sampling.epoch(ml_1m, job.sampling, seed=job.seed, epoch=EPOCH)
    list_epoch = LISTERS[engine](job)

    def work() -> Result:
        seconds, first, listed = timed_twice(list_epoch)
        same = all(
            np.array_equal(found, getattr(definition, side))
            for found, side in zip(listed, SIDES, strict=True)
        )
        n = job.n_instances
        counts = {"instances": n, "negatives": len(ml_1m) * n_negatives}
        return Result(
            "sample stream",
            f"ml-1m-ncf, {n_negatives or 'no'} negatives, shuffled",
            f"mfcore ({engine})",
            seconds,
            "epoch",
            rate=n / seconds,
            unit="instances",
            first=first,
            quality={"equal to the definition": float(same)},
            costs={"engine": engine, "family": SAMPLING, **counts, "epoch_s": seconds},
        )

    assert measure(work).quality["equal to the definition"] == 1.0
