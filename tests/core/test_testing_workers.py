"""Engines looked at in processes of their own: how the work is shared, and a process that dies."""

import os
import struct
import sys
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest

from mfcore.testing import cells
from mfcore.verification._verification import Requirement
from mfcore.verification._workers import FEWEST, Share, _received, _shares, verify

CELLS = [cell for cell in cells() if cell.model == "mf"][:3]


def test_processes_find_what_this_one_finds():
    subjects, watched = [Requirement("it says who it is"), *CELLS], []
    apart = verify(["reference"], subjects, 2, watched.append)
    here = verify(["reference"], subjects, 1, lambda finding: None)
    assert sorted(map(str, apart.findings)) == sorted(map(str, here.findings)) == sorted(map(str, watched))
    assert [engine.name for engine in apart.engines] == ["reference"]
    assert not apart.failures


def test_a_process_that_dies_is_told_with_where_and_its_last_words():
    found = verify(["no-such-engine"], CELLS, 2, lambda finding: None)
    assert [finding.subject for finding in found.failures] == CELLS
    assert found.failures[0].failure.startswith("its process died (exit status 1): ")
    assert "no backend 'no-such-engine' is installed" in found.failures[0].failure
    assert found.failures[1].failure == f"not looked at: the process had died at {CELLS[0]}"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are written to in another way there")
def test_a_process_that_dies_in_the_middle_of_a_message_is_told(tmp_path):
    receiver, sender = Pipe(duplex=False)
    n_bytes = struct.pack("!i", 1_000)
    os.write(sender.fileno(), n_bytes + b"the beginning")
    sender.close()
    dead = SimpleNamespace(pid=1, exitcode=-9, join=lambda timeout: None, is_alive=lambda: False)
    share = Share("numba", CELLS, done=1, process=dead)
    working = {receiver: share}
    found = list(_received(receiver, working, tmp_path))
    assert [finding.subject for finding in found] == CELLS[1:]
    assert found[0].failure == "its process died (exit status -9)"
    assert not working


@pytest.mark.parametrize("processes", [1, 2, 8, 100])
def test_shares_hold_everything_once_in_one_dtype_each(processes):
    shares = _shares(["numba", "torch"], cells(), processes)
    for engine in ("numba", "torch"):
        given = [subject for share in shares if share.engine == engine for subject in share.subjects]
        assert sorted(map(str, given)) == sorted(map(str, cells()))
    assert all(len({subject.dtype for subject in share.subjects}) == 1 for share in shares)
    assert len(shares) >= min(processes, 8)
    assert min(len(share.subjects) for share in shares) >= FEWEST
