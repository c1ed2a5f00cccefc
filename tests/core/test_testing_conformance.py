"""The suite where a framework is not installed: skipped with the reason, or a failure if it is required."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mfcore import sampling
from mfcore.engines import API_VERSION, Gap, StreamSlice, reference
from mfcore.testing import KNOWN_ANSWERS, RUNS, Cell, ConformanceError, Requirement
from mfcore.testing.conformance import BackendConformance

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
    class Suite(BackendConformance):
        gaps = (Gap("misspelt", models=["nmf"]),)

    with pytest.raises(AssertionError, match="its names are misspelt, or it is out of date"):
        Suite().test_every_gap_is_one(reference.backend)


class Abroad:
    """The reference engine, which pretends to work on a CUDA device and notes which devices are asked for."""

    name = "abroad"
    api_version = API_VERSION
    description = "the reference engine elsewhere"

    def __init__(self):
        self.devices = set()

    def unsupported(self, job):
        return None if job.device == "cuda" else "it works on CUDA devices alone; pass device='cuda'"

    def trainer(self, job):
        self.devices.add(job.device)
        return reference.backend.trainer(replace(job, device="cpu"))

    def scorer(self, model):
        return None

    def instances(self, job, epoch, start, stop):
        self.devices.add(job.device)
        shown = sampling.epoch(job.data, job.sampling, seed=job.seed, epoch=epoch).take(slice(start, stop))
        return StreamSlice(shown.users, shown.items, shown.positive, shown.negatives)


class OnCuda(BackendConformance):
    device = "cuda"


class OnCpu(BackendConformance):
    """With the device that a suite has where it names none."""


TRAINING = {
    "a cell": lambda suite, engine: suite.test_it_agrees_with_the_reference(
        engine, Cell("mf", "logistic", "adam", "float64")
    ),
    "a run": lambda suite, engine: suite.test_a_whole_run_comes_to_the_reference_s_quality(engine, RUNS[0]),
    "a known answer": lambda suite, engine: suite.test_it_finds_the_answer_that_is_known(
        engine, KNOWN_ANSWERS[0]
    ),
    "the contract": lambda suite, engine: suite.test_it_keeps_the_contract(
        engine, Requirement("it does again what it did")
    ),
    "a stream": lambda suite, engine: suite.test_any_slice_can_be_had_alone(engine, "negatives", "some"),
}


@pytest.mark.parametrize("training", TRAINING)
def test_all_is_trained_on_the_device_of_the_suite(training):
    engine = Abroad()
    TRAINING[training](OnCuda(), engine)
    assert engine.devices == {"cuda"}


@pytest.mark.parametrize("training", [name for name in TRAINING if name != "the contract"])
def test_a_job_that_an_engine_refuses_is_skipped_only_where_a_gap_says_so(training, monkeypatch):
    with pytest.raises(ConformanceError, match="it works on CUDA devices alone"):
        TRAINING[training](OnCpu(), Abroad())
    monkeypatch.setattr(OnCpu, "gaps", (Gap("nobody has carried it there"),))
    with pytest.raises(pytest.skip.Exception, match="nobody has carried it there"):
        TRAINING[training](OnCpu(), Abroad())
