"""One job on one engine in a process of its own: ``python -m benchmarks.fresh JOB ENGINE THREADS RATINGS``.

Prints a JSON document with the seconds of the call of `fit`, those of its epochs, the quality, the peak of
the process's memory, and the work of an epoch. The data are so many synthetic ratings, or, for RATINGS '',
MovieLens 100K.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mfcore
import mfcore.errors
from benchmarks.jobs import job_of
from mfcore.engines import Work
from mfcore.processes import peak_memory

EPOCHS = 3
# What fit is told, by name.
JOBS: dict[str, dict[str, Any]] = {
    "MF-16 by SGD": {
        "spec": mfcore.MF(16, biases=True, init=mfcore.Normal(std=0.001)),
        "optimizer": mfcore.SGD(learning_rate=0.01, l2=0.1),
    },
    "MF-64 by WALS": {
        "spec": mfcore.MF(64, biases=True, init=mfcore.Normal(std=0.01)),
        "optimizer": mfcore.WALS(l2=0.1, solver="cg"),
    },
    "MF-16 by Adam": {
        "spec": mfcore.MF(16, biases=True, init=mfcore.Normal(std=0.01)),
        "optimizer": mfcore.Adam(learning_rate=0.002, l2=0.02),
    },
    "NeuMF-8 by Adam": {
        "spec": mfcore.NeuMF(8, (64, 32, 16, 8), output=mfcore.Sigmoid()),
        "objective": "logistic",
        "n_negatives": 1,
        "optimizer": mfcore.Adam(learning_rate=0.001),
    },
    "two towers of 32": {
        "spec": mfcore.TwoTower(32),
        "objective": "in_batch_softmax",
        "optimizer": mfcore.Adam(learning_rate=0.001),
    },
}


def run(
    job: str,
    engine: str,
    *,
    ratings: int | None = None,
    threads: int,
    environment: Mapping[str, str] | None = None,
) -> tuple[dict[str, Any], float]:
    """Run a job in a new process; return the document that it prints, and the seconds in all.

    The benchmark is skipped where the engine does not do the job.
    """
    command = [sys.executable, "-m", "benchmarks.fresh", job, engine, str(threads), str(ratings or "")]
    start = time.perf_counter()
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[1],
        env={**os.environ, **(environment or {})},
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr}")
    document = json.loads(done.stdout.splitlines()[-1])
    if "unsupported" in document:
        import pytest

        pytest.skip(document["unsupported"])
    return document, seconds


def main() -> None:
    """Do what the module's documentation says."""
    job, engine, threads, ratings = sys.argv[1:]
    train, test = mfcore.splits.ratio(_data(ratings), test=0.1)
    settings = {"epochs": EPOCHS, "threads": int(threads), "progress": False, **JOBS[job]}
    start = time.perf_counter()
    try:
        model = mfcore.fit(data=train, backend=engine, **settings)
    except mfcore.errors.UnsupportedError as error:
        print(json.dumps({"unsupported": str(error)}))
        return
    document = {
        "fit_s": time.perf_counter() - start,
        "epochs_s": [record.seconds for record in model.history],
        "quality": _quality(model, test),
        "peak_bytes": peak_memory(),
        "work": asdict(Work.of(job_of(JOBS[job], train))),
    }
    print(json.dumps(document))


def _data(ratings: str) -> mfcore.Interactions:
    if not ratings:
        return mfcore.datasets.movielens("100k")
    return mfcore.data.synthetic(int(ratings)).interactions


def _quality(model: mfcore.Model, test: mfcore.Interactions) -> dict[str, float]:
    metrics = [mfcore.RMSE()] if isinstance(model.spec, mfcore.MF) else [mfcore.TopKAccuracy(100)]
    return dict(mfcore.evaluate(model, test, metrics))


if __name__ == "__main__":
    main()
