"""`mfcore compare`: what it prints, what it writes, and how it goes on where an engine does not."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import platformdirs
import pytest

from mfcore import comparison
from mfcore.cli import compare as comparing
from mfcore.cli import reports
from mfcore.comparison import attempt
from mfcore.data import datasets
from mfcore.engines import reference
from mfcore.errors import DatasetUnavailableError

# Before a test hides the folder.
KERNELS = os.environ.get("NUMBA_CACHE_DIR") or str(Path(platformdirs.user_cache_dir("mfcore")) / "numba")


class Twin:
    """The reference engine under another name."""

    api_version = reference.backend.api_version
    name = "twin"
    description = ""

    def unsupported(self, job):
        return None

    def trainer(self, job):
        return reference.backend.trainer(job)

    def scorer(self, model):
        return None


class Unable(Twin):
    def unsupported(self, job):
        return "it can do nothing; use another"


class Broken(Twin):
    def trainer(self, job):
        raise RuntimeError("no luck")


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    """Run engines here: those that a test installs are not in other processes."""
    monkeypatch.setattr(comparison, "attempt_in_process", attempt)


@pytest.fixture
def twin(install_backend):
    return install_backend("twin", Twin())


@pytest.fixture
def compare(command, tmp_path):
    """Return a function that compares, and what it wrote: outcome, report and figures."""

    def run(*arguments):
        folder = tmp_path / "report"
        done = command("compare", *arguments, "--out", folder)
        written = folder / reports.REPORT
        if not written.exists():
            return SimpleNamespace(done=done, report=None, figures=None)
        return SimpleNamespace(
            done=done,
            report=written.read_text(encoding="utf-8"),
            figures=json.loads((folder / reports.RESULTS).read_text(encoding="utf-8")),
        )

    return run


def table_of(text, model):
    """Return the lines of a model's table: engine to cells."""
    lines = text[text.index(f"\n{model}: ") :].splitlines()[3:]
    rows = [re.split(r"  +", line.strip()) for line in lines]
    return {row[0]: row[1:] for row in rows[: next(n for n, row in enumerate(rows) if len(row) < 4)]}


def test_every_engine_is_a_row_of_every_model_s_table(compare, films, twin):
    models = ["--model", "mf", "--model", "gmf"]
    found = compare(films, *models, "--backends", "reference,twin", "--epochs", 2)
    assert found.done.status == 0
    for model in ("mf", "gmf"):
        rows = table_of(found.done.out, model)
        assert rows.keys() == {"reference", "twin"}
        assert rows["reference"][:3] == rows["twin"][:3]
    assert re.search(r"Fastest: (reference|twin), ", found.done.out)
    assert "engines differ by less than 0.0001 in RMSE; --seeds 3" in found.done.out
    assert str(found.figures["comparisons"][0]["settings"]["epochs"]) == "2"


def test_models_are_divided_by_commas_or_repeated_and_each_is_trained_once(compare, films, twin):
    models = ["--model", "gmf, MF", "--model", "mf"]
    found = compare(films, *models, "--backends", "twin", "--epochs", 1, "--n-factors", 2)
    assert [comparison["model"] for comparison in found.figures["comparisons"]] == ["gmf", "mf"]


def test_the_table_fits_a_terminal_of_80_columns(compare, films, twin):
    found = compare(films, "--model", "mf", "--backends", "reference,twin", "--epochs", 2)
    start = found.done.out.index("\nmf: ")
    table = found.done.out[start:].splitlines()[2:5]
    # The lines of a box take ten columns more.
    assert max(map(len, table)) + 10 <= 80


def test_the_jobs_are_those_of_train(compare, command, films, twin):
    trained = json.loads(command("train", films, "--backend", "reference", "--epochs", 2, "--json").out)
    found = compare(films, "--model", "mf", "--backends", "twin", "--epochs", 2)
    [engine] = found.figures["comparisons"][0]["engines"]
    assert engine["qualities"][0]["ratings"] == trained["quality"]["ratings"]


def test_the_last_epoch_is_judged_where_train_would_choose_one(compare, command, ncf, twin):
    options = ["--model", "gmf", "--epochs", 2, "--n-factors", 2]
    last = ["--backend", "reference", "--no-validation", "--json"]
    trained = json.loads(command("train", ncf, *options, *last).out)
    found = compare(ncf, *options, "--backends", "twin")
    [engine] = found.figures["comparisons"][0]["engines"]
    assert engine["qualities"][0]["rankings"] == trained["quality"]["rankings"]
    assert "gmf: 2 epochs; 1 + 5 given" in found.done.out


def test_several_seeds_give_a_mean_and_a_spread(compare, films, twin):
    found = compare(films, "--model", "mf", "--backends", "reference,twin", "--epochs", 2, "--seeds", 2)
    assert " ± " in table_of(found.done.out, "mf")["twin"][0]
    assert found.figures["comparisons"][0]["agreement"]["holds"] is True
    assert "they agree" in found.done.out
    assert len(found.figures["comparisons"][0]["engines"][0]["qualities"]) == 2


def test_an_engine_that_refuses_or_fails_is_a_row_and_the_others_go_on(compare, films, install_backend, twin):
    install_backend("unable", Unable())
    install_backend("broken", Broken())
    found = compare(films, "--model", "mf", "--backends", "unable,broken,twin", "--epochs", 2)
    assert found.done.status == 0
    rows = table_of(found.done.out, "mf")
    assert set(rows["unable"]) == set(rows["broken"]) == {"-"}
    assert rows["twin"][0] != "-"
    assert "unable does not take part: it can do nothing; use another" in found.done.out
    assert "broken failed: RuntimeError: no luck" in found.done.out
    # A bug keeps its traceback.
    assert "Traceback" in found.done.err
    for text in ("it can do nothing; use another", "RuntimeError: no luck", "Only twin"):
        assert text in found.report


def test_where_no_engine_trains_anything_the_status_is_2(compare, films, install_backend):
    found = compare(films, "--model", "mf", "--backends", install_backend("unable", Unable()))
    assert found.done.status == 2
    assert "no engine has trained any of the models" in found.done.err
    assert "it can do nothing" in found.report


def test_all_installed_engines_but_the_reference_take_part_by_default(compare, films, install_backend, twin):
    install_backend("unable", Unable())
    found = compare(films, "--model", "mf", "--epochs", 2)
    assert table_of(found.done.out, "mf").keys() == {"twin", "unable"}


def test_an_unknown_engine_is_an_error_that_lists_the_installed_ones(compare, films, twin):
    found = compare(films, "--backends", "twim")
    assert found.done.status == 2
    assert "reference, twin; did you mean 'twin'?" in found.done.err
    assert found.report is None


def test_a_named_engine_without_its_framework_is_an_error_with_the_remedy(compare, films, install_source):
    requires = ["no-such-framework; extra == 'torch'"]
    install_source("torch", "import no_such_framework", "mfcore", requires)
    found = compare(films, "--model", "mf", "--backends", "torch")
    assert found.done.status == 2
    assert "pip install 'mfcore[torch]'" in found.done.err
    # Unless it was named, it is a row of its own.
    found = compare(films, "--model", "mf")
    assert "torch does not take part: backend 'torch' needs no_such_framework" in found.done.out


def test_without_data_the_synthetic_ones_stand_in_where_there_is_no_network(
    compare, twin, monkeypatch, command
):
    def unavailable(name):
        raise DatasetUnavailableError(f"{name} cannot be reached")

    monkeypatch.setattr(datasets, "fetch", unavailable)
    monkeypatch.setattr(comparing, "WITHOUT_NETWORK", "synthetic:1k")
    found = compare("--model", "mf", "--backends", "twin")
    assert "ml-100k cannot be reached; comparing on synthetic:1k instead" in found.done.err
    assert re.search("source +synthetic:1k", found.done.out)
    assert f"mf: {comparing.FEW_EPOCHS} epochs" in found.done.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "mf,nemf"], "--model is 'nemf'; it must be one of mf, gmf"),
        (["--model", "nemf"], "did you mean 'neumf'"),
        (["--seeds", "0"], "--seeds is 0"),
        (["--model", "mlp", "--n-factors", "4"], "--n-factors applies to"),
        (["--out", "/no/such/folder"], "there is no folder /no/such to make folder in"),
    ],
)
def test_what_is_wrong_with_the_request_is_said_before_anything_is_trained(
    command, films, twin, tmp_path, monkeypatch, arguments, says
):
    monkeypatch.chdir(tmp_path)
    done = command("compare", films, "--backends", "twin", *arguments)
    assert (done.status, done.out) == (2, "")
    assert says in done.err
    assert not list(tmp_path.iterdir())


def test_options_of_a_file_need_a_file(command):
    done = command("compare", "--columns", "0,1")
    assert done.status == 2
    assert "name it as DATA" in done.err


def test_json_is_the_figures_and_nothing_else(compare, films, twin):
    found = compare(films, "--model", "mf", "--backends", "twin", "--epochs", 2, "--json")
    printed = json.loads(found.done.out)
    assert printed.pop("report").endswith("report.html")
    assert printed == found.figures
    assert found.done.err == ""
    [engine] = printed["comparisons"][0]["engines"]
    assert len(engine["history"]) == 2
    assert engine["deviation"]["whole_parameters"] < 1e-5
    assert len(engine["recommendations"][0]["items"]) > 0


class Page(HTMLParser):
    """The tags of a page with their attributes, and the words between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data.strip())

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


def test_the_report_has_charts_with_words_and_refers_to_nothing_outside(compare, films, twin):
    options = ["--model", "mf", "--model", "gmf", "--backends", "reference,twin", "--epochs", 2]
    report = compare(films, *options).report
    page = Page(report)
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(charts) == page.count("figure") == page.count("figcaption") == 8
    assert all("twin" in chart["aria-label"] and "reference" in chart["aria-label"] for chart in charts)
    assert not page.count("script") + page.count("link") + page.count("img")
    assert not any({"src", "href"} & attributes.keys() for _, attributes in page.tags)
    assert not re.search(r"@import|url\((?!#)", report)
    assert len(report) < 2e6
    for words in ("The same answer", "What gmf recommends", "Settings and machine", "Brazil (1985)"):
        assert words in page.words


def test_the_report_says_how_many_recommendations_engines_share(compare, films, twin):
    report = compare(films, "--model", "mf", "--backends", "reference,twin", "--epochs", 2).report
    assert re.search(r"(twin|reference): the same 10\.", report)


def test_without_matplotlib_there_is_a_report_that_says_what_is_missing(compare, films, twin, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    found = compare(films, "--model", "mf", "--backends", "twin", "--epochs", 2)
    assert found.done.status == 0
    assert "pip install &#39;mfcore[plot]&#39;" in found.report
    assert "<svg" not in found.report


@pytest.mark.skipif(find_spec("numba") is None, reason="numba is not installed")
def test_an_engine_in_a_process_of_its_own_ends_in_a_report(environment, tmp_path):
    words = ["compare", "synthetic:2k", "--model", "mf", "--backends", "numba", "--epochs", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "mfcore", *words, "--out", tmp_path / "report"],
        capture_output=True,
        text=True,
        # Kernels may have to be compiled.
        timeout=300,
        check=False,
        env={**environment, "NUMBA_CACHE_DIR": KERNELS},
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = table_of(done.stdout, "mf")
    assert float(rows["numba"][0]) < 1.5
    assert float(rows["numba"][2]) < 1e-5
    assert done.stdout.isascii()
    assert (tmp_path / "report" / reports.REPORT).stat().st_size > 10_000
