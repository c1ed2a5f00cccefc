"""What is printed and completed: option names in errors, tables on narrow terminals, words for the shell."""

import re
import subprocess
import sys

import pytest

from mfcore.cli.console import Printer
from mfcore.cli.translation import in_option_names

NAMES = (
    "n_factors",
    "batch_size",
    "n_negatives",
    "layers",
    "device",
    "test",
    "nesterov",
    "logq",
    "resume",
    "model",
)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("MF: n_factors is 0; it must be 1", "--n-factors is 0; it must be 1"),
        ("NeuMF: layers[0] is 7", "--layers[0] is 7"),
        ("pass n_negatives=4, say", "pass --n-negatives 4, say"),
        ("a batch has one instance (batch_size is 1)", "a batch has one instance (--batch-size is 1)"),
        (
            "it runs on the CPU, and device is 'cuda'; pass device='cpu'",
            "it runs on the CPU, and --device is 'cuda'; pass --device cpu",
        ),
        ("test=1.5 must be a share", "--test 1.5 must be a share"),
        ("SGD: nesterov=True needs a momentum", "--nesterov needs a momentum"),
        ("pass logq=False", "pass --no-logq"),
        ("resume: the model was trained before", "--resume: the model was trained before"),
        ("use an optimizer, e.g. mfcore.Adam()", "use an optimizer, e.g. --optimizer adam"),
        (
            "so the output Sigmoid() would distort it: use Linear()",
            "so the --output sigmoid would distort it: use --output linear",
        ),
        # Words, files, options and code stay as they are.
        ("the model is a test", "the model is a test"),
        ("/data/batch_size.csv does not exist", "/data/batch_size.csv does not exist"),
        ("--layers is '8,,4'", "--layers is '8,,4'"),
        ("e.g. ratio(data, test=0.2)", "e.g. ratio(data, test=0.2)"),
    ],
)
def test_errors_of_the_core_name_options(message, told):
    assert in_option_names(message, NAMES) == told


def test_long_texts_give_way_on_a_narrow_terminal_and_keys_do_not(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    title = "a title that is much longer than the terminal is wide, word after word"
    Printer(as_json=False).table(["engine", "detail", "score"], [["reference", title, 0.12345]])
    lines = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 50
    [line] = [line for line in lines if "reference" in line]
    assert "0.1235" in line or "0.1234" in line
    assert "word after word" in " ".join("".join(lines).replace("\u2502", " ").split())


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("mfcore tr", {"train"}),
        ("mfcore train x --model t", {"two-tower"}),
        ("mfcore train x --n-f", {"--n-factors"}),
    ],
)
def test_the_shell_completes_commands_options_and_names(environment, words, found):
    asked = {
        "_MFCORE_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "mfcore"],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, **asked},
    )
    assert set(done.stdout.split()) == found


def test_completion_can_be_installed(process):
    text = process("--help").out
    assert "--install-completion" in text
    assert "--show-completion" in text


def test_the_help_loads_no_framework():
    script = (
        "import sys; from mfcore.cli import main; main(['train', '--help']);"
        "print({'torch', 'tensorflow', 'numba', 'pandas', 'matplotlib'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"
