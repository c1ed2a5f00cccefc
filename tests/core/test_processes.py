"""Work in processes of its own: what they send, how they end, and what is said where one dies."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import closing

import psutil
import pytest

from mfcore.processes import Death, _runner, peak_memory, run_in_processes, temporary_folder


class Source:
    """Comes out of a pickle as the `work` of a program: other processes do not find this module."""

    def __init__(self, program):
        self.program = f"import os, subprocess, sys, threading, time\n{textwrap.dedent(program)}"

    def __reduce__(self):
        return eval, (f"(lambda scope: (exec({self.program!r}, scope), scope['work'])[1])({{}})",)


def sent_by(program, *arguments, n_processes=2):
    """Return what the calls of a program's `work` send, by their place."""
    found = {}
    with closing(run_in_processes(Source(program), arguments, n_processes)) as messages:
        for place, message in messages:
            found.setdefault(place, []).append(message)
    return found


def test_every_call_is_given_its_arguments_and_all_that_it_sends_arrives_in_order():
    program = """
    def work(send, a, b):
        for message in (a, None, (a, b)):
            send(message)
    """
    found = sent_by(program, (1, 2), ("x", "y"), (5, 6))
    assert found == {0: [1, None, (1, 2)], 1: ["x", None, ("x", "y")], 2: [5, None, (5, 6)]}


def test_so_many_processes_work_at_a_time():
    program = """
    def work(send):
        send(time.time())
        time.sleep(0.3)
        send(time.time())
    """
    first, second = sent_by(program, (), (), n_processes=1).values()
    assert first[1] <= second[0]


def test_the_death_of_a_process_is_told_with_its_exit_status_and_what_it_wrote():
    program = """
    def work(send, status):
        send("begun")
        os.write(2, b"oh")
        os._exit(status)
    """
    found = sent_by(program, (3,), (0,))
    assert found[0] == ["begun", Death("its process died with exit status 3", "oh")]
    assert found[1] == ["begun", Death("its process died with exit status 0", "oh")]


def test_an_exception_is_a_death_with_its_traceback():
    [[death]] = sent_by("def work(send): 1 / 0", ()).values()
    assert death.reason == "its process died with exit status 1"
    assert "Traceback" in death.log
    assert "ZeroDivisionError" in death.log


def test_what_kills_a_process_that_reads_its_arguments_is_told():
    [[death]] = sent_by("def work(send, given): pass", (Source("os._exit(4)"),)).values()
    assert death.reason == "its process died with exit status 4"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are written to in another way there")
def test_the_death_of_a_process_in_the_middle_of_a_message_is_told():
    program = """
    def work(send):
        sender = send.__closure__[0].cell_contents
        n_bytes = (1_000).to_bytes(4, "big")
        os.write(sender.fileno(), n_bytes + b"the beginning")
        os._exit(5)
    """
    [[death]] = sent_by(program, ()).values()
    assert death.reason == "its process died with exit status 5"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_a_process_that_is_killed_may_have_used_up_the_memory():
    [[death]] = sent_by("def work(send): os.kill(os.getpid(), 9)", ()).values()
    assert death.reason == "its process died of signal 9, as when the machine's memory is used up"


def test_a_process_that_falls_silent_is_ended_and_memory_is_not_blamed(monkeypatch):
    monkeypatch.setattr(_runner, "SECONDS_TO_END", 0.5)
    program = """
    def work(send):
        send.__closure__[0].cell_contents.close()
        time.sleep(60)
    """
    [[death]] = sent_by(program, ()).values()
    assert death.reason == "its process fell silent before it was done, and was ended 0.5 s later"


def test_a_process_that_is_done_and_does_not_end_is_ended_and_nothing_is_wrong(monkeypatch):
    monkeypatch.setattr(_runner, "SECONDS_TO_END", 0.5)
    program = """
    def work(send):
        threading.Thread(target=time.sleep, args=(60,)).start()
        send(1)
    """
    assert sent_by(program, ()) == {0: [1]}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no groups of processes")
@pytest.mark.parametrize("ends", ["time.sleep(60)", "os._exit(1)"])
def test_processes_end_with_the_iterator_and_with_them_what_they_have_started(ends):
    program = f"""
    def work(send):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        send((os.getpid(), child.pid))
        {ends}
    """
    with closing(run_in_processes(Source(program), [()], 1)) as messages:
        _, pids = next(messages)
        if "_exit" in ends:
            assert isinstance(next(messages)[1], Death)
    left = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    assert not psutil.wait_procs(left, timeout=10)[1]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_a_process_does_not_outlive_one_that_is_killed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import os, time
            from mfcore.processes import run_in_processes

            def work(send):
                send(os.getpid())
                time.sleep(60)

            if __name__ == "__main__":
                for _, pid in run_in_processes(work, [()], 1):
                    print(pid, flush=True)
            """
        )
    )
    killed = subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    process = psutil.Process(int(killed.stdout.readline()))
    killed.kill()
    killed.communicate()
    assert not psutil.wait_procs([process], timeout=10)[1]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_a_temporary_folder_goes_where_the_process_is_terminated():
    handler, folders = signal.getsignal(signal.SIGTERM), []

    def terminated():
        with temporary_folder("mfcore-test-") as folder:
            folders.append(folder)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    with pytest.raises(SystemExit) as ended:
        terminated()
    assert ended.value.code == 143
    assert not folders[0].exists()
    assert signal.getsignal(signal.SIGTERM) is handler


def test_peak_memory_grows_with_what_is_held():
    script = (
        "import numpy as np; from mfcore.processes import peak_memory; a = peak_memory();"
        "b = np.ones(8_000_000); c = peak_memory(); del b; print(c - a, peak_memory() - c)"
    )
    grown, shrunk = map(int, subprocess.check_output([sys.executable, "-c", script], text=True).split())
    assert 60e6 < grown < 80e6
    # The system counts pages of each processor apart, and adds them up now and then.
    assert shrunk > -2e6
    assert peak_memory() >= psutil.Process().memory_info().rss - 2e6
