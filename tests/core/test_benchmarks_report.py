"""What is made of a run of the benchmarks: a table, a page, and the costs that `auto` chooses by."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MACHINE = {"threads": 2, "cpu": {"brand_raw": "An Abacus"}}

pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks").is_dir(), reason="the benchmarks are not beside these tests"
)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )


def result(engine: str, seconds: float, **further: object) -> dict[str, object]:
    found = {"task": "MF", "setting": "k=16", "engine": engine, "seconds": seconds, "per": "epoch"}
    found |= {"rate": 1e6 / seconds, "unit": "updates", "quality": {}, **further}
    return {"extra_info": {"result": found}}


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a run as pytest-benchmark does."""

    def write(*results):
        path = tmp_path / "run.json"
        path.write_text(json.dumps({"benchmarks": results, "machine_info": MACHINE}))
        return path

    return write


def test_the_report_sets_each_engine_against_the_fastest_peer(written):
    path = written(result("LIBMF (avx)", 0.5), result("mfcore (numba)", 0.25), result("LIBMF (pip)", 1.0))
    done = run("benchmarks.report", path)
    assert done.returncode == 0, done.stderr
    assert "An Abacus, 2 threads" in done.stdout
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    against = {row[2]: row[6] for row in cells if row[0] == "MF"}
    assert against == {"mfcore (numba)": "2.00", "LIBMF (avx)": "1.00", "LIBMF (pip)": "0.50"}


@pytest.mark.parametrize("module", ["benchmarks.report", "benchmarks.fit_costs"])
def test_a_file_of_other_benchmarks_is_an_error_in_one_line(written, module):
    done = run(module, written({"extra_info": {}}))
    assert done.returncode == 2
    assert "no result of these benchmarks" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_page_draws_a_line_for_each_engine_of_a_series_and_bars_for_competitors(written, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'mfcore[plot]'")
    series = [
        result(engine, seconds * size, setting=f"batch {size}", along=["batch size", size], task="training")
        for engine, seconds in (("mfcore (numba)", 0.001), ("Keras <fit>", 0.004))
        for size in (256, 16_384)
    ]
    path, page = written(result("implicit", 2.0), result("mfcore (torch)", 1.0), *series), tmp_path / "a.html"
    done = run("benchmarks.report", path, "--html", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 2
    assert "by batch size: numba, Keras &lt;fit&gt;" in text
    assert "seconds per epoch: torch 1, implicit 2" in text
    assert "<fit>" not in text


def epoch(engine: str, steps: int, instances: int, seconds: float) -> dict[str, object]:
    work = {"family": "batches", "steps": steps, "instances": instances, "negatives": 0, "products": 0}
    return result(f"mfcore ({engine})", seconds, costs={"engine": engine, **work, "epoch_s": seconds})


def start(engine: str, seconds: float) -> dict[str, object]:
    work = {"family": "batches", "steps": 1, "instances": 1, "negatives": 0, "products": 0}
    return result(f"mfcore ({engine})", seconds, costs={"engine": engine, **work, "start_s": seconds})


def test_costs_are_fitted_to_what_was_measured(written):
    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
    path = written(
        # 20 microseconds a step, 100 nanoseconds an instance.
        epoch("numba", 1_000, 100_000, 0.03),
        epoch("numba", 10, 1_000_000, 0.1002),
        start("numba", 1.25),
        result("LIBMF (avx)", 0.5),
    )
    done = run("benchmarks.fit_costs", path)
    assert done.returncode == 0, done.stderr
    fitted, _ = json.JSONDecoder().raw_decode(done.stdout)
    assert (fitted["machine"], fitted["threads"]) == ("An Abacus", 2)
    costs = fitted["engines"]["numba"]["families"]["batches"]
    assert costs == {"start_s": 1.25, "step_us": 20.0, "instance_ns": 100.0, "product_ns": 0.0}
    # What was not measured is left as it was.
    assert (
        fitted["engines"]["torch"]
        == json.loads((ROOT / "mfcore" / "engines" / "costs.json").read_text())["engines"]["torch"]
    )


def test_an_engine_that_is_measured_in_part_is_left_out_and_named(written):
    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
    done = run("benchmarks.fit_costs", written(epoch("newcomer", 10, 1_000, 0.1)))
    assert done.returncode == 0, done.stderr
    assert "newcomer, batches: not measured in full, and left out; it needs test_startup, too" in done.stderr
    fitted, _ = json.JSONDecoder().raw_decode(done.stdout)
    assert fitted["engines"]["newcomer"]["families"] == {}
