"""The program that sets ours beside published tables of quality."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks").is_dir(), reason="the benchmarks are not beside these tests"
)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.quality", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_recipes_are_listed_with_how_long_they_take():
    done = run("--list", "--tables", "ials", "ncf")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert {row[0] for row in rows} == {"ials", "ncf"}
    assert all(row[-1] in ("yes", "no") and row[-2] in ("s", "min") for row in rows)


def test_an_unknown_table_is_refused_with_those_there_are():
    done = run("--tables", "songs")
    assert done.returncode == 2
    assert "'songs'" in done.stderr
    assert "retrieval" in done.stderr


# Two recipes that train nothing: one that has been published, and one that has not.
STANDING_IN = """
import sys
from benchmarks import quality
from benchmarks.recipes import Found, Recipe

def run(engine, seed):
    return Found({"HR@10": 0.70 + seed / 50, "epoch": 3.0}, 2.0, 0.1)

reached = {"HR@10": float(sys.argv.pop(1))}
shared = {"setting": "k=8", "run": run, "reached": reached, "minutes": 0.1, "data": "ml-100k"}
quality.RECIPES = (
    Recipe("ncf", "known", published={"HR@10": 0.73}, source="a paper", n_seeds=2, **shared),
    Recipe("ncf", "new", published={}, source="", **shared),
)
sys.exit(quality.main())
"""


@pytest.fixture
def stand_in(shared_data, monkeypatch):
    """Return a function that runs the program on these recipes; they are held to a hit rate."""
    monkeypatch.setenv("MFCORE_DATA", str(shared_data))

    def run_standing_in(reached, *arguments):
        command = [sys.executable, "-c", STANDING_IN, str(reached), "--backends", "reference", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    return run_standing_in


def test_the_mean_over_seeds_stands_beside_what_was_published(stand_in, tmp_path):
    paths = {"--json": tmp_path / "q.json", "--markdown": tmp_path / "q.md"}
    done = stand_in(0.70, *(str(part) for pair in paths.items() for part in pair))
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["known", "HR@10", "0.7100", "0.7300", "-0.0200", "2", "s"] in rows
    assert ["new", "HR@10", "0.7000", "-", "-", "2", "s"] in rows
    assert "known: 2 seeds, standard deviation HR@10 0.0141" in done.stdout
    assert "known: k=8. Published: a paper" in done.stdout
    known, new = json.loads(paths["--json"].read_text(encoding="utf-8"))
    assert [run["metrics"]["HR@10"] for run in known["runs"]] == [0.70, 0.72]
    assert new["published"] == {}
    line = "| known | reference | HR@10 | 0.7100 | 0.0141 | 0.7300 | -0.0200 | 2 s |"
    assert line in paths["--markdown"].read_text(encoding="utf-8")


def test_a_figure_below_what_mfcore_is_held_to_is_named_and_is_a_failure(stand_in):
    done = stand_in(0.705)
    assert done.returncode == 1
    assert "below what mfcore is held to: new: HR@10 is 0.7000, and the bound 0.705" in done.stderr
    assert "known: HR@10" not in done.stderr


def test_a_mean_of_fewer_seeds_than_the_bound_is_for_is_not_judged_by_it(stand_in):
    done = stand_in(0.705, "--seeds", "1")
    assert "known: HR@10" not in done.stderr
