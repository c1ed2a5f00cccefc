"""The most memory that a process holds for a job: data, engine, parameters and all."""

import pytest

from benchmarks import data, fresh, ours
from benchmarks.ours import each_engine
from benchmarks.results import Measure, Result

N_RATINGS = 2_000_000
# Single steps are slow on engines that work them off round by round: seconds, not memory.
JOBS = ("MF-64 by WALS", "MF-16 by Adam", "NeuMF-8 by Adam", "two towers of 32")


@each_engine
@pytest.mark.parametrize("job", JOBS)
def test_peak_of_a_process(job: str, engine: str, measure: Measure) -> None:
    ours.load(engine)
    n = data.scaled(N_RATINGS)

    def work() -> Result:
        found, seconds = fresh.run(job, engine, ratings=n, threads=ours.THREADS)
        if found["peak_bytes"] is None:
            pytest.skip("nobody tells a process's memory on this system")
        quality = {"peak GB": found["peak_bytes"] / 1e9, **found["quality"]}
        return Result(
            "peak memory of a process",
            f"{job}, {n / 1e6:.3g} M ratings, {fresh.EPOCHS} epochs",
            f"mfcore ({engine})",
            seconds,
            "process",
            quality=quality,
        )

    quality = measure(work).quality
    # Beside a framework, some hundred bytes a rating: several copies of the data, and no more.
    assert quality["peak GB"] < 2 + 400 * n / 1e9
