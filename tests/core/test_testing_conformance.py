"""The suite where a framework is not installed: skipped with the reason, or a failure if it is required."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


def run(*arguments):
    """Run the suite of the torch engine's contract in a process that has no torch."""
    program = "import sys; sys.modules['torch'] = None\nimport pytest; sys.exit(pytest.main(sys.argv[1:]))\n"
    suite = TESTS / "parity" / "test_model_parity.py"
    words = [str(suite), "-q", "-p", "no:cacheprovider", "-k", "TestTorch and contract", *arguments]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False, cwd=TESTS.parent
    )
    return done.returncode, done.stdout + done.stderr


def test_a_missing_framework_skips_with_the_command_that_installs_it():
    status, said = run()
    assert status == 0, said
    assert "passed" not in said
    assert "pip install 'mfcore[torch]'" in said


def test_a_missing_framework_of_a_required_engine_is_a_failure():
    status, said = run("--require-backends=torch")
    assert status != 0
    assert "pip install 'mfcore[torch]'" in said


def test_a_gap_that_matches_no_cell_fails_the_suite():
    from mfcore.reference import backend
    from mfcore.testing.conformance import BackendConformance
    from mfcore.testing.gaps import Gap

    class Suite(BackendConformance):
        gaps = (Gap("misspelt", models=["nmf"]),)

    with pytest.raises(AssertionError, match="its names are misspelt, or it is out of date"):
        Suite().test_every_gap_is_one(backend)
