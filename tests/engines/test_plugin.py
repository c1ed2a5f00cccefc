"""`tests/plugin_example`, a distribution of its own with an engine, is installed and passes the suite."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[1] / "plugin_example"


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """A copy of the distribution's folder, and the environment of processes that have it installed."""
    folder, site = tmp_path_factory.mktemp("plugin") / "example", tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", site, folder], check=True, env=environment())
    path = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return folder, environment(PYTHONPATH=os.pathsep.join(path))


def environment(**more):
    return {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **more}


def run(plugin, *words):
    folder, found = plugin
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=found, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_it_passes_the_suite_that_mfcore_ships(plugin):
    status, said = run(plugin, "pytest", "-q", "-p", "no:cacheprovider")
    assert status == 0, said
    assert " passed" in said
    assert "it has the gradients of matrix factorisation alone" in said
    assert "it scores one pair at a time, and these compare items" in said


def test_mfcore_lists_it_among_the_engines(plugin):
    status, said = run(plugin, "mfcore", "backends")
    assert status == 0, said
    [line] = [line for line in said.splitlines() if line.startswith("  example ")]
    assert "yes" in line
    assert "MF by plain SGD, a batch at a time" in line


def test_fit_trains_on_it_by_its_name(plugin):
    program = plugin[0] / "train.py"
    program.write_text(
        "import mfcore\n"
        "data = mfcore.Interactions.from_columns([0, 0, 1, 1], [0, 1, 0, 1], [5, 1, 4, 2])\n"
        "model = mfcore.fit(mfcore.MF(2), data, backend='example', epochs=2)\n"
        "print(model.training['backend'])\n"
    )
    status, said = run(plugin, "train")
    assert (status, said) == (0, "example\n")


def test_verify_takes_what_it_does_not_do_from_the_gaps_that_it_declares(plugin):
    status, said = run(plugin, "mfcore", "verify", "--backends", "example", "--quick", "-j", "2")
    assert status == 0, said
    assert "not exposed" in said
    assert "it knows no update rule but plain SGD" in said
    assert "Out of tolerance" not in said


def test_a_gap_that_it_has_not_declared_fails_its_suite(plugin):
    suite = plugin[0] / "test_undeclared.py"
    suite.write_text(
        "from mfcore.testing.conformance import BackendConformance\n"
        "class TestUndeclared(BackendConformance):\n"
        "    backend = 'example'\n"
        "    gaps = ()\n"
        "    selection = 'quick'\n"
    )
    status, said = run(plugin, "pytest", "-q", "-p", "no:cacheprovider", suite.name, "-k", "softmax")
    assert status == 1
    assert "and no gap declares it" in said
