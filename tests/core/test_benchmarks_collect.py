"""The benchmarks are no tests; that they can be collected and reported is one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUBJECTS = ("ml100k", "ml1m", "ncf_quality", "ncf_speed", "sgd", "startup", "top_k", "wals")

pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks").is_dir(), reason="the benchmarks are not beside these tests"
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    # A run of its own, whatever runs these tests: xdist's workers would pass theirs on.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def result(engine: str, seconds: float) -> dict[str, object]:
    found = {"task": "MF", "setting": "k=16", "engine": engine, "seconds": seconds, "per": "epoch"}
    return {"extra_info": {"result": {**found, "rate": 1e6 / seconds, "unit": "updates", "quality": {}}}}


def test_every_subject_is_collected() -> None:
    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
    done = run("pytest", "benchmarks", "--collect-only", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"benchmarks/test_{subject}.py::" in done.stdout for subject in SUBJECTS)


def test_the_report_sets_each_engine_against_the_fastest_peer(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    found = [result("LIBMF (avx)", 0.5), result("mfcore (numba)", 0.25), result("LIBMF (pip)", 1.0)]
    path.write_text(json.dumps({"benchmarks": found, "machine_info": {"threads": 2}}))
    done = run("benchmarks.report", str(path))
    assert done.returncode == 0, done.stderr
    assert "2 threads" in done.stdout
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    against = {row[2]: row[6] for row in cells if row[0] == "MF"}
    assert against == {"mfcore (numba)": "2.00", "LIBMF (avx)": "1.00", "LIBMF (pip)": "0.50"}


def test_the_report_of_another_run_is_an_error_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"benchmarks": [{"extra_info": {}}], "machine_info": {}}))
    done = run("benchmarks.report", str(path))
    assert done.returncode == 2
    assert "no result of these benchmarks" in done.stderr
    assert "Traceback" not in done.stderr
