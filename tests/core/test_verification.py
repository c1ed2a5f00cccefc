"""Engines verified in this process and in others: how the work is shared, and a process that dies."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from mfcore.processes import Death
from mfcore.testing import Requirement, cells
from mfcore.verification import verify
from mfcore.verification._verify import FEWEST, LOADING, Share, _shares, _undone

CELLS = [cell for cell in cells() if cell.model == "mf"][:3]


def nobody(finding):
    """Tell nobody."""


def test_processes_find_what_this_one_finds():
    subjects, watched = [Requirement("it says who it is"), *CELLS], []
    apart = verify(["reference"], subjects, 2, watched.append)
    here = verify(["reference"], subjects, 1, nobody)
    assert sorted(map(str, apart.findings)) == sorted(map(str, here.findings)) == sorted(map(str, watched))
    assert [engine.name for engine in apart.engines] == ["reference"]
    assert not apart.failures


@pytest.mark.parametrize("n_processes", [1, 2])
def test_an_engine_that_cannot_be_loaded_is_a_failure_told_once_and_the_others_are_verified(n_processes):
    watched = []
    found = verify(["no-such-engine", "reference"], CELLS, n_processes, watched.append)
    [failure] = found.failures
    assert (failure.engine, failure.subject) == ("no-such-engine", LOADING)
    assert "no backend 'no-such-engine' is installed" in failure.failure
    assert [finding.subject for finding in found.findings if finding.engine == "reference"] == CELLS
    assert len(watched) == len(found.findings)
    assert [engine.is_installed for engine in found.engines] == [False, True]


def test_a_process_that_dies_is_told_with_where_and_its_last_words():
    death = Death("its process died with exit status 3", "one\n\n two\nthree\nfour\n")
    found = list(_undone(Share("numba", CELLS), 1, death))
    assert [finding.subject for finding in found] == CELLS[1:]
    assert found[0].failure == "its process died with exit status 3: two / three / four"
    assert found[1].failure == f"not evaluated: the process had died at {CELLS[1]}"


@pytest.mark.parametrize("n_processes", [1, 2, 8, 100])
def test_shares_hold_everything_once_in_one_dtype_each(n_processes):
    shares = _shares(["numba", "torch"], cells(), n_processes)
    for engine in ("numba", "torch"):
        given = [subject for share in shares if share.engine == engine for subject in share.subjects]
        assert sorted(map(str, given)) == sorted(map(str, cells()))
    assert all(len({subject.dtype for subject in share.subjects}) == 1 for share in shares)
    assert len(shares) >= min(n_processes, 8)
    assert min(len(share.subjects) for share in shares) >= FEWEST


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_terminated_leaves_neither_its_folder_nor_its_processes(tmp_path, number):
    folder = tmp_path / "temporary"
    folder.mkdir()
    words = ["verify", "--backends", "reference", "-j", "2", "--out", str(tmp_path / "report")]
    command = subprocess.Popen(
        [sys.executable, "-m", "mfcore", *words],
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    workers = []
    while len(workers) < 2:
        assert command.poll() is None
        time.sleep(0.1)
        children = psutil.Process(command.pid).children()
        workers = [child for child in children if "spawn_main" in str(child.cmdline())]
    # What they have computed for each other lies there.
    while not any("step" in path.name for path in folder.rglob("*")):
        time.sleep(0.1)
    command.send_signal(number)
    _, said = command.communicate(timeout=30)
    assert command.returncode == (143 if number == signal.SIGTERM else 130)
    assert not list(folder.iterdir())
    assert not psutil.wait_procs(workers, timeout=10)[1]
    assert b"Traceback" not in said
