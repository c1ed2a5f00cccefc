"""What a person waits for: the import, the first fit in a fresh process, and the listing of an epoch."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest

import mfcore
from benchmarks import data, ours
from benchmarks.results import Measure, Result
from mfcore import sampling

ROUNDS = 5
PLAN = sampling.SamplingPlan(n_negatives=4, order="shuffled")
SIDES = ("users", "items")
HEAVY = (
    "numba",
    "torch",
    "tensorflow",
    "keras",
    "matplotlib",
    "polars",
    "pandas",
    "scipy",
    "pyarrow",
    "rich",
)

IMPORT = f"""
import json, sys, time
start = time.perf_counter()
import mfcore
seconds = time.perf_counter() - start
print(json.dumps({{"seconds": seconds, "heavy": sorted(set({HEAVY!r}) & set(sys.modules))}}))
"""

FIRST_FIT = f"""
import json
import mfcore
train, test = mfcore.splits.ratio(mfcore.datasets.movielens("100k"))
spec = mfcore.MF(n_factors=50, biases=True, output=mfcore.RatingRange(1, 5), init=mfcore.Normal(std=0.001))
model = mfcore.fit(spec, train, optimizer=mfcore.SGD(learning_rate=0.01, l2=0.1), epochs=20,
                   backend="numba", threads={ours.THREADS})
print(json.dumps({{"rmse": mfcore.evaluate(model, test, [mfcore.RMSE()])["RMSE"]}}))
"""


def fresh_process(program: str) -> tuple[dict[str, Any], float]:
    """Run a program in a new interpreter; return the JSON that it prints, and the seconds in all."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return json.loads(done.stdout), time.perf_counter() - start


def test_import_loads_no_heavy_library(measure: Measure) -> None:
    heavy: set[str] = set()

    def work() -> Result:
        # The first import after a change compiles Python files, and reads them from the disk.
        runs = [fresh_process(IMPORT)[0] for _ in range(1 + ROUNDS)]
        heavy.update(*(run["heavy"] for run in runs))
        seconds = median(run["seconds"] for run in runs[1:])
        return Result("import mfcore", "fresh process", "mfcore", seconds, "import")

    measure(work)
    assert not heavy


def test_first_fit_in_a_fresh_process(measure: Measure) -> None:
    data.require("ml-100k")

    def work() -> Result:
        found, first = fresh_process(FIRST_FIT)
        seconds = median(fresh_process(FIRST_FIT)[1] for _ in range(ROUNDS))
        return Result(
            "first fit, process start to RMSE",
            "ml-100k, k=50, 20 epochs, compiled code cached",
            "mfcore (numba)",
            seconds,
            "process",
            first=first,
            quality={"RMSE": found["rmse"]},
        )

    assert measure(work).quality["RMSE"] < 1.0


@pytest.fixture(scope="module")
def ml_1m() -> mfcore.Interactions:
    data.require("ml-1m-ncf")
    return mfcore.datasets.ncf("ml-1m").train


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_listing_of_an_epoch_with_negatives(
    engine: str, ml_1m: mfcore.Interactions, measure: Measure
) -> None:
    definition = sampling.epoch(ml_1m, PLAN, seed=0, epoch=1)
    list_epoch = {"numpy": numpy_listing, "numba": numba_listing}[engine](ml_1m)

    def work() -> Result:
        laps = [time.perf_counter()]
        for _ in range(2):
            listed = list_epoch()
            laps.append(time.perf_counter())
        same = all(np.array_equal(getattr(listed, side), getattr(definition, side)) for side in SIDES)
        return Result(
            "sample stream",
            f"ml-1m-ncf, {PLAN.n_negatives} negatives, shuffled",
            f"mfcore ({engine})",
            laps[2] - laps[1],
            "epoch",
            rate=len(definition) / (laps[2] - laps[1]),
            unit="instances",
            first=laps[1] - laps[0],
            quality={"equal to the definition": float(same)},
        )

    assert measure(work).quality["equal to the definition"] == 1.0


def numpy_listing(train: mfcore.Interactions) -> Callable[[], Any]:
    """Return a function that lists the epoch by the definition."""
    return lambda: sampling.epoch(train, PLAN, seed=0, epoch=1)


def numba_listing(train: mfcore.Interactions) -> Callable[[], Any]:
    """Return a function that lists the epoch as the compiled engine does, which `fit` offers no door to."""
    stream = pytest.importorskip("mfcore_numba.stream", reason="numba is not installed: pip install mfcore")
    from mfcore_numba.compiling import threads

    from mfcore.jobs import make_job

    job = make_job(
        mfcore.MF(n_factors=1),
        train,
        objective="logistic",
        optimizer=None,
        batch_size=None,
        n_negatives=PLAN.n_negatives,
        order=PLAN.order,
        device="cpu",
        threads=ours.THREADS,
        dtype="float32",
        seed=0,
    )
    n, listing = job.n_instances, stream.empty_listing(job, job.n_instances)

    def list_epoch() -> Any:
        with threads(job.threads):
            stream.list_instances(stream.source(job), stream.shuffle_of(job, 1), 1, 0, n, listing, 0)
        return listing

    return list_epoch
