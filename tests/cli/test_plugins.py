"""A person's own models, objectives and optimizers on the command line: `--plugin`."""

import json

import pytest

PARTS = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mfcore.objectives import Squared
from mfcore.optimizers import SGD
from mfcore.specs import MF


@dataclass(frozen=True)
class SteepMF(MF):
    \"\"\"Matrix factorisation.

    Attributes
    ----------
    steepness : float
        How `steep` it is,
        above 0.
    \"\"\"

    short_name: ClassVar[str] = "steep-mf"

    n_factors: int = 3
    steepness: float = 2.0


@dataclass(frozen=True)
class Capped(Squared):
    short_name: ClassVar[str] = "capped"

    cap: float = 4.0

    def targets(self, values, n_negatives):
        return np.minimum(values, values.dtype.type(self.cap))


@dataclass(frozen=True)
class Warming(SGD):
    short_name: ClassVar[str] = "warming"

    learning_rate: float = 0.25
    epochs: int = 3

    def learning_rate_at(self, epoch):
        return super().learning_rate_at(epoch) * min(1.0, (epoch + 1) / self.epochs)
"""
QUICK = ("--backend", "reference", "--epochs", "2", "--json")


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Write a module of three classes, and work in its folder."""
    (tmp_path / "my_parts.py").write_text(PARTS)
    monkeypatch.chdir(tmp_path)
    return "my_parts"


def test_own_classes_are_chosen_by_name_and_their_fields_are_options(process, films, parts, tmp_path):
    own = ("--model", "steep-mf", "--steepness", "3", "--cap", "3", "--optimizer", "warming")
    done = process(
        "train", films, *own, "--warming-epochs", "5", *QUICK, "--out", "m.safetensors", "--plugin", parts
    )
    assert (done.status, done.err) == (0, "")
    settings = json.loads(done.out)["settings"]
    # The option of a field that only one class has says which is meant.
    assert (
        settings.items() >= {"steepness": 3.0, "objective": "capped", "cap": 3.0, "warming_epochs": 5}.items()
    )
    # What is not given is left to the class.
    assert not {"n_factors", "learning_rate", "output"} & settings.keys()
    explored = process(f"--plugin={parts}.py", "explore", "m.safetensors")
    for words in (
        "SteepMF(n_factors=3",
        "steepness=3.0",
        "Capped(cap=3.0)",
        "learning_rate=0.25",
        "epochs=5",
    ):
        assert words in explored.out
    assert f"pass --plugin {parts} on the command line" in process("explore", "m.safetensors").err


def test_their_docstrings_are_the_help(process, parts):
    text = " ".join(process("train", "--plugin", parts, "--help").out.split())
    assert "mf, gmf, mlp, neumf, two-tower, steep-mf" in text
    assert "--steepness X How steep it is, above 0. Default: 2. For steep-mf." in text
    assert "--n-factors N Length of the factors. Default: 50" in text
    assert "--warming-epochs N Epochs. Default: 3. For warming." in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--plugin", "my_parts", "--steepness", "3"], "--steepness applies to --model steep-mf, not to mf"),
        (["--plugin", "no_such_module"], "plugin 'no_such_module' was not imported"),
        (["--plugin"], "--plugin names no module"),
        (["--model", "steep-mf"], "--model is 'steep-mf'; it must be one of mf, gmf"),
    ],
)
def test_what_is_wrong_with_a_plugin_is_one_line(process, films, parts, arguments, says):
    done = process("train", films, *arguments)
    assert (done.status, done.out) == (2, "")
    [line] = done.err.splitlines()
    assert says in line


def test_the_environment_names_plugins_and_engines_are_compared_on_own_models(
    process, films, parts, environment, tmp_path
):
    environment["MFCORE_PLUGINS"] = f" {parts}, "
    words = ("--model", "steep-mf", "--backends", "reference", "--epochs", "1", "--out", "report")
    done = process("compare", films, *words)
    assert done.status == 0, done.err
    assert "steep-mf: 1 epochs" in done.out
