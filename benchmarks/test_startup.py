"""What a person waits for: the import, the first fit in a fresh process, and the listing of an epoch."""

import json
import subprocess
import sys
import time
from statistics import median
from typing import Any

import numpy as np
import pytest

import mfcore
from benchmarks import data, ours
from benchmarks.results import Measure, Result
from mfcore import sampling

ROUNDS = 5
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
            first_epoch=first,
            quality={"RMSE": found["rmse"]},
        )

    assert measure(work).quality["RMSE"] < 1.0


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_listing_of_an_epoch_with_negatives(engine: str, measure: Measure) -> None:
    data.require("ml-1m-ncf")
    train = mfcore.datasets.ncf("ml-1m").train
    plan = sampling.SamplingPlan(n_negatives=4, order="shuffled")
    n_instances = plan.n_instances(len(train))
    definition = sampling.epoch(train, plan, seed=0, epoch=1)
    list_epoch = {"numpy": list_in_numpy, "numba": list_in_numba}[engine]

    def work() -> Result:
        laps = [time.perf_counter()]
        for _ in range(2):
            users, items = list_epoch(train, plan)
            laps.append(time.perf_counter())
        same = np.array_equal(users, definition.users) and np.array_equal(items, definition.items)
        return Result(
            "sample stream",
            "ml-1m-ncf, 4 negatives, shuffled",
            f"mfcore ({engine})",
            laps[2] - laps[1],
            "epoch",
            rate=n_instances / (laps[2] - laps[1]),
            unit="instances",
            first_epoch=laps[1] - laps[0],
            quality={"equal to the definition": float(same)},
        )

    assert measure(work).quality["equal to the definition"] == 1.0


def list_in_numpy(train: mfcore.Interactions, plan: sampling.SamplingPlan) -> tuple[Any, Any]:
    listed = sampling.epoch(train, plan, seed=0, epoch=1)
    return listed.users, listed.items


def list_in_numba(train: mfcore.Interactions, plan: sampling.SamplingPlan) -> tuple[Any, Any]:
    # The engine's own listing has no door of its own: `fit` lists and trains in one.
    from mfcore_numba import stream
    from mfcore_numba.compiling import threads

    from mfcore.jobs import make_job

    job = make_job(
        mfcore.MF(n_factors=1),
        train,
        objective="logistic",
        optimizer=None,
        batch_size=None,
        n_negatives=plan.n_negatives,
        order=plan.order,
        device="cpu",
        threads=ours.THREADS,
        dtype="float32",
        seed=0,
    )
    listing = stream.empty_listing(job, job.n_instances)
    with threads(job.threads):
        stream.list_instances(
            stream.source(job), stream.shuffle_of(job, 1), 1, 0, job.n_instances, listing, 0
        )
    return listing.users, listing.items
