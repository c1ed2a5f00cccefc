"""The benchmarks are no tests; that they can be collected is one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path.name for path in (ROOT / "benchmarks").glob("test_*.py"))

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


def test_every_subject_is_collected() -> None:
    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
    done = run("pytest", "benchmarks", "--collect-only", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [name for name in FILES if f"benchmarks/{name}::" not in done.stdout]


def test_every_subject_is_told_of_in_the_readme() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert not [name for name in FILES if f"`{name}`" not in text]


def test_what_takes_long_is_skipped_unless_asked_for() -> None:
    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
    # No engine is needed to be told so.
    done = run(
        "pytest", "benchmarks/test_scaling.py", "--benchmark-only", "-q", "-rs", "-p", "no:cacheprovider"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "minutes: pass --long" in done.stdout
    assert "passed" not in done.stdout
