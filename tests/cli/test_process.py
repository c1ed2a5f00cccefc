"""The command as a process: exit status, pipes, terminals, interruption."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import mfcore
from mfcore.cli.defaults import defaults_for

on_posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and terminals")


def test_the_version_is_the_packages(process):
    done = process("--version")
    assert (done.status, done.out) == (0, f"mfcore {mfcore.__version__}\n")


def test_help_is_quick(process):
    start = time.perf_counter()
    done = process("--help")
    assert done.status == 0
    # Half a second on an idle machine; the tests may share theirs.
    assert time.perf_counter() - start < 2


def test_without_arguments_the_help_is_shown(process):
    done = process()
    assert done.status == 0
    assert "explore" in done.out
    assert "info" in process("data").out


def test_help_in_a_pipe_is_plain_text_in_groups_and_states_the_defaults(process):
    text = process("train", "--help").out
    assert text.isascii()
    for group in (
        "Arguments:",
        "Options:",
        "Model:",
        "Training:",
        "Objective:",
        "Optimizer:",
        "Results:",
        "Examples:",
    ):
        assert group in text
    # Examples stay one a line.
    assert "  mfcore train ml-100k\n" in text
    text = " ".join(text.split())
    ratings, implicit = defaults_for("mf", "ratings", "sgd"), defaults_for("mf", "implicit", "wals")
    assert f"{ratings['n_factors']} factors, learning rate {ratings['learning_rate']:g}" in text
    assert f"{implicit['n_factors']} factors, unobserved weight {implicit['unobserved_weight']:g}" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trian"], "No such command 'trian'"),
        (["train"], "mfcore train --help"),
        (["train", "no-such-file.csv"], "no-such-file.csv does not exist"),
        (["evaluate", "no-such-model", "x"], "no model file no-such-model"),
        (["data", "list", "--jsn"], "--jsn"),
    ],
)
def test_an_error_is_one_line_on_stderr_and_status_2(process, arguments, says):
    done = process(*arguments)
    assert done.status == 2
    assert done.out == ""
    [line] = done.err.splitlines()
    assert line.startswith("mfcore: error: ")
    assert says in line


def test_in_a_pipe_there_are_no_boxes_and_no_colours(process, films):
    done = process("train", films, "--backend", "reference", "--epochs", 2)
    assert done.status == 0
    assert re.search(r"^  metric +value$", done.out, re.MULTILINE)
    assert done.out.isascii()
    assert "\x1b" not in done.out + done.err
    assert done.err == ""


def test_json_in_a_pipe_is_all_there_is(process, films):
    done = process("train", films, "--backend", "reference", "--epochs", 2, "--json")
    assert json.loads(done.out)["quality"]["ratings"]
    assert done.err == ""


@on_posix
def test_on_a_terminal_there_are_boxes_and_a_bar(films, tmp_path, environment):
    import pty

    main, terminal = pty.openpty()
    words = ["train", str(films), "--backend", "reference", "--epochs", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "mfcore", *words],
        stdout=terminal,
        stderr=terminal,
        env={**environment, "COLUMNS": "100", "TERM": "xterm"},
    ) as running:
        os.close(terminal)
        shown = b""
        try:
            while piece := os.read(main, 2**16):
                shown += piece
        except OSError:
            pass  # Linux reports the end of a terminal so.
        assert running.wait(60) == 0
    os.close(main)
    text = shown.decode()
    assert "╭" in text
    assert "\x1b[" in text
    assert "2/2" in text


@on_posix
def test_an_interruption_is_one_line_and_status_130(films, environment, tmp_path):
    # A test run in the background ignores SIGINT, and so would its children.
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from mfcore.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [
        "train",
        str(films),
        "--backend",
        "reference",
        "--epochs",
        "100000",
        "--out",
        str(tmp_path / "m"),
    ]
    with subprocess.Popen(
        [sys.executable, "-u", "-c", script, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as running:
        assert running.stdout is not None
        while "dtype" not in running.stdout.readline():
            assert running.poll() is None
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert err.splitlines() == ["mfcore: interrupted"]
    assert not (tmp_path / "m").exists()


@on_posix
def test_a_reader_that_goes_away_is_no_error(environment):
    with subprocess.Popen(
        [sys.executable, "-m", "mfcore", "data", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode in (0, 1)
