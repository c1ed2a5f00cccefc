"""How the cost of an epoch grows: with the ratings, the factors and the threads.

An epoch should cost in proportion to the ratings until the tables leave the caches, in proportion to the
factors or less (for conjugate gradient: to their square, once rows are short), and half on two threads. The
lines are drawn by ``python -m benchmarks.report FILE.json --html FILE.html``.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pytest

import mfcore
from benchmarks import data, judging, ours
from benchmarks.ours import each_engine
from benchmarks.results import Measure, Result
from mfcore import Interactions

RATINGS = (1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000)
FACTORS = (8, 16, 32, 64, 128, 256)
THREADS = (1, 2)
OPTIMIZERS = ("SGD", "WALS")
EPOCHS = 3
# Where an epoch would take many minutes: engines that work single steps off round by round above all.
MOST_RATINGS = {("torch", "SGD"): 0, ("keras", "SGD"): 0, ("torch", "WALS"): 30_000_000}

pytestmark = pytest.mark.long(minutes=2)


@lru_cache(maxsize=1)
def split(n: int) -> tuple[Interactions, Interactions]:
    """Return so many ratings; one size at a time is kept, for the largest takes gigabytes."""
    return data.split_of(data.scaled(n))


@dataclass(frozen=True)
class Size:
    """Of a job; what a series goes along differs, the rest stays."""

    n_ratings: int = 10_000_000
    n_factors: int = 32
    threads: int = ours.THREADS

    def __str__(self) -> str:
        train, _ = split(self.n_ratings)
        return f"k={self.n_factors}, {data.in_words(train)}, {self.threads} thread{'s'[: self.threads > 1]}"


@each_engine
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("n_ratings", RATINGS)
def test_cost_by_ratings(n_ratings: int, optimizer: str, engine: str, measure: Measure) -> None:
    along = ("million ratings", data.scaled(n_ratings) / 1e6)
    check(engine, optimizer, Size(n_ratings=n_ratings), along, measure)


@each_engine
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("n_factors", FACTORS)
def test_cost_by_factors(n_factors: int, optimizer: str, engine: str, measure: Measure) -> None:
    check(engine, optimizer, Size(n_factors=n_factors), ("factors", n_factors), measure)


@each_engine
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("threads", THREADS)
def test_cost_by_threads(threads: int, optimizer: str, engine: str, measure: Measure) -> None:
    check(engine, optimizer, Size(threads=threads), ("threads", threads), measure)


def check(engine: str, optimizer: str, size: Size, along: tuple[str, float], measure: Measure) -> None:
    """Measure an epoch, and hold the model to be better than a constant."""
    if size.n_ratings > MOST_RATINGS.get((engine, optimizer), max(RATINGS)):
        pytest.skip(f"an epoch of {optimizer} on {engine} would take many minutes at this size")
    train, test = split(size.n_ratings)

    def work() -> Result:
        model, times = ours.train(
            spec_of(optimizer, size.n_factors),
            train,
            epochs=EPOCHS,
            backend=engine,
            optimizer=optimizer_of(optimizer),
            threads=size.threads,
        )
        return times.result(
            f"an epoch of {optimizer} by {along[0]}",
            str(size),
            unit="updates" if optimizer == "SGD" else "interactions",
            quality={"RMSE": judging.rmse(times.with_factors(model), train, test), "epochs": EPOCHS},
            along=along,
        )

    assert measure(work).quality["RMSE"] <= 0.9 * judging.baseline_rmse(train, test)


def spec_of(optimizer: str, n_factors: int) -> mfcore.MF:
    # Positive factors whose products are near the mean rating, or small ones.
    init = mfcore.Uniform(0, (1 / n_factors) ** 0.5) if optimizer == "SGD" else mfcore.Normal(std=0.1)
    return mfcore.MF(n_factors, init=init)


def optimizer_of(name: str) -> Any:
    if name == "SGD":
        return mfcore.SGD(learning_rate=mfcore.Schedule(0.1, factor=0.6), l2=0.05)
    return mfcore.WALS(l2=0.1, nu=1.0, solver="cg")
