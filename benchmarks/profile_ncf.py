"""Where the time of training NeuMF-8 goes: the parts of a step of the Numba engine, called one by one.

Run as ``python -m benchmarks.profile_ncf``. One thread, so that parts can be told apart; the best of some
rounds, in nanoseconds an instance.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from mfcore_numba import batches, stream
from mfcore_numba.compiling import threads
from mfcore_numba.workers import N_PLACES, Worker

import mfcore
from benchmarks.data import look_beside
from mfcore.engines import TrainingJob
from mfcore.training import make_job

BATCH_SIZES = (256, 2_048, 16_384)
N_INSTANCES, ROUNDS = 500_000, 5
PARTS = ("sample stream", "deferred rows caught up", "scores and gradients", "rows and layers moved")


def main() -> None:
    """Print a Markdown table."""
    look_beside()
    split = mfcore.datasets.ncf("ml-1m")
    print(f"| optimizer, batch | {' | '.join(PARTS)} | sum |")
    print("|---|" + "---:|" * (len(PARTS) + 1))
    for optimizer in (mfcore.Adam(), mfcore.LazyAdam()):
        for batch_size in BATCH_SIZES:
            found = profile(job_of(split.train, optimizer, batch_size))
            cells = [f"{part:.0f}" for part in (*found, found.sum())]
            print(f"| {type(optimizer).__name__}, {batch_size:,} | {' | '.join(cells)} |")


def job_of(data: mfcore.Interactions, optimizer: Any, batch_size: int) -> TrainingJob:
    """Return the job of the speed benchmark, on one thread."""
    return make_job(
        mfcore.NeuMF(8, (64, 32, 16, 8)),
        data,
        objective="logistic",
        optimizer=optimizer,
        batch_size=batch_size,
        n_negatives=4,
        device="cpu",
        threads=1,
    )


def profile(job: TrainingJob) -> np.ndarray:
    """Return the nanoseconds an instance of each part, the best of some rounds; steps from 1,000 on."""
    trainer = batches.BatchTrainer(job)
    n_steps = N_INSTANCES // job.batch_size
    data, shuffle = stream.source(job), stream.shuffle_of(job, 0)
    listing = stream.empty_listing(job, n_steps * job.batch_size)
    rounds = []
    trainer.steps_done += 1_000
    for _ in range(ROUNDS + 1):
        with threads(1):
            seconds = [timed(stream.list_instances, data, shuffle, 0, 0, len(listing.users), listing, 0)]
        seconds += steps_of(trainer, listing, n_steps)
        rounds.append(seconds)
    # The first round compiles.
    best: np.ndarray = np.min(rounds[1:], axis=0)
    return best / len(listing.users) * 1e9


def steps_of(trainer: batches.BatchTrainer, listing: Any, n_steps: int) -> list[float]:
    """Take the steps part by part, as `batches.train` does at once; return the seconds of each part."""
    step, trained, scratch = trainer._step(len(listing.users), 0), trainer.trained, trainer.scratch
    worker = Worker(0, 1, np.zeros(N_PLACES, dtype=np.int64))
    parts = np.zeros(3)
    for number in range(n_steps):
        first = number * step.batch_size
        batch = type(listing)(*(column[first : first + step.batch_size] for column in listing))
        parts += (
            timed(batches.prepare, worker, trained, batch, step, number),
            timed(batches.score_batch, None, worker, trained, batch, step, scratch),
            timed(batches.move_all, worker, trained, batch, step, number),
        )
    for side in (trained.users, trained.items):
        side.done[:] = 0
    trainer.steps_done += n_steps
    return parts.tolist()


def timed(work: Callable[..., Any], *arguments: Any) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
