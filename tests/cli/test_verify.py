"""`mfcore verify`: what it finds, what it prints and writes, and its exit status."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from mfcore import testing
from mfcore.engines import Gap, StreamSlice, reference, registry
from mfcore.testing import RUNS, Cell, Requirement

CELL = Cell("mf", "squared", "sgd", "float64")


class Twin:
    """The reference engine under another name."""

    name = "twin"
    api_version = reference.backend.api_version
    description = "the reference engine once more"

    def unsupported(self, job):
        return reference.backend.unsupported(job)

    def trainer(self, job):
        return reference.backend.trainer(job)

    def scorer(self, model):
        return None


class Steeper(Twin):
    """Gradients are a thousandth too large."""

    def trainer(self, job):
        trainer = reference.backend.trainer(job)
        if hasattr(trainer, "objective_and_gradients"):
            exact = trainer.objective_and_gradients

            def steeper(batch):
                objective, gradients = exact(batch)
                return objective, {name: 1.001 * gradient for name, gradient in gradients.items()}

            trainer.objective_and_gradients = steeper
        return trainer


class Viewing(Twin):
    """The trainer gives out the arrays that it works on."""

    def trainer(self, job):
        trainer = reference.backend.trainer(job)
        trainer.parameters = lambda: dict(trainer.values)
        return trainer


class Telling(Twin):
    """Its stream is the core's."""

    def instances(self, job, epoch, start, stop):
        from mfcore import sampling

        shown = sampling.epoch(job.data, job.sampling, seed=job.seed, epoch=epoch).take(slice(start, stop))
        return StreamSlice(shown.users, shown.items, shown.positive, shown.negatives)


class Misleading(Telling):
    """Its stream has two instances the wrong way round."""

    def instances(self, job, epoch, start, stop):
        shown = super().instances(job, epoch, start, stop)
        return shown._replace(users=np.concatenate([shown.users[1::-1], shown.users[2:]]))


class Serving(Twin):
    """It has a top-k of its own, whose scores are a hundredth too large."""

    def scorer(self, model):
        def top_k(users, k, exclude_seen):
            scores = model.spec.score_catalogue(model.parameters, users)
            items = np.argsort(-scores, axis=1)[:, :k]
            return items, 1.01 * np.take_along_axis(scores, items, axis=1)

        return SimpleNamespace(top_k=top_k)


class Breaking(Twin):
    """It fails on some jobs."""

    def trainer(self, job):
        if job.dtype == np.float32:
            raise RuntimeError("no luck")
        return super().trainer(job)


class Refusing(Twin):
    def unsupported(self, job):
        if job.dtype == np.float32:
            return "it knows float64 alone; pass dtype='float64'"
        return super().unsupported(job)


@pytest.fixture(autouse=True)
def few_subjects(monkeypatch):
    """Look at two cells in either dtype, a run and a requirement, which shows all that many would."""
    chosen = [
        Cell(*names, dtype)
        for names in (("mf", "squared", "sgd"), ("mlp of tanh", "bpr", "adam"))
        for dtype in ("float64", "float32")
    ]
    names = ("it says who it is", "what it exported stays")
    monkeypatch.setattr(testing, "subjects", lambda selection: [*map(Requirement, names), *chosen, RUNS[0]])


@pytest.fixture
def verify(command, install_backend, tmp_path):
    """Run the command on an engine, in this process; return its outcome and what it wrote."""

    def run(engine, *arguments):
        install_backend("twin", engine)
        outcome = command("verify", "-j", 1, "--out", tmp_path / "report", *arguments)
        return outcome, json.loads((tmp_path / "report" / "results.json").read_text())

    return run


def test_an_engine_that_does_what_the_reference_does_passes(verify, tmp_path):
    outcome, document = verify(Telling())
    assert outcome.status == 0
    assert outcome.err == ""
    assert "twin, float64: the largest deviations from the reference" in outcome.out
    assert "All 7 comparisons and checks of twin hold." in outcome.out
    assert document["holds"] is True
    assert [engine["name"] for engine in document["engines"]] == ["twin"]
    assert "The same answer" in (tmp_path / "report" / "report.html").read_text()


def test_the_largest_deviation_is_shown_with_the_cell_that_it_is_in(verify):
    outcome, _ = verify(Twin())
    rows = re.findall(r"^  twin, 100 steps +(\S+) of (\S+)  (.+)$", outcome.out, re.MULTILINE)
    assert [allowed for _, allowed, _ in rows] == ["1e-09", "1e-05"]
    assert rows[0][0] == "0"
    assert [cell.split(", ")[-1] for _, _, cell in rows] == ["float64", "float32"]
    assert "not exposed" in outcome.out


def test_a_rule_that_is_off_by_a_thousandth_is_found_in_every_cell(verify):
    outcome, document = verify(Steeper())
    assert outcome.status == 1
    assert str(CELL) in outcome.out.partition("Out of tolerance")[2]
    assert "1 step: 1.0e-03, where 1e-09 is allowed" in outcome.out
    wrong = [finding["subject"] for finding in document["findings"] if not finding["holds"]]
    assert {"mlp of tanh, bpr, adam, float32", str(CELL)} <= set(wrong)


def test_a_stream_that_is_not_the_core_s_is_found(verify):
    outcome, document = verify(Misleading())
    assert outcome.status == 1
    [finding] = [finding for finding in document["findings"] if finding["subject"] == str(CELL)]
    assert finding["measures"]["stream"]["value"] > 0
    assert "stream: 4 differ" in outcome.out


def test_scores_of_a_top_k_that_are_off_are_told_apart_from_the_objective(verify):
    outcome, document = verify(Serving())
    assert outcome.status == 1
    assert re.search(r"^  twin, top-k +1.0e-02 of 1e-06  mf with biases, squared", outcome.out, re.MULTILINE)
    [finding] = [finding for finding in document["findings"] if not finding["holds"]]
    assert finding["measures"].keys() == {"final metric", "top-k scores"}
    of_mlp = [other for other in document["findings"] if other["model"] == "mlp"]
    assert all("scores by objective" in other["measures"] for other in of_mlp)


def test_views_of_what_a_trainer_works_on_are_found(verify):
    outcome, _ = verify(Viewing())
    assert outcome.status == 1
    said = outcome.out.partition("Out of tolerance")[2]
    assert f"twin: {CELL}: " in said
    assert "parameters() gives views of what the trainer works on" in said
    assert "contract: what it exported stays" in said


def test_an_engine_that_breaks_is_named_with_the_cell_and_the_others_are_looked_at(verify):
    outcome, document = verify(Breaking())
    assert outcome.status == 1
    assert "RuntimeError: no luck" in outcome.out
    by_dtype = {finding["dtype"]: finding["holds"] for finding in document["findings"]}
    assert by_dtype == {"float64": True, "float32": False}


def test_what_an_engine_refuses_is_told_with_its_reason(verify):
    outcome, document = verify(Refusing())
    assert outcome.status == 0
    assert "Not done, and why" in outcome.out
    assert "it knows float64 alone; pass dtype='float64'" in outcome.out
    assert "3 are not done, for reasons that are known" in outcome.out
    assert sum(bool(finding["gap"]) for finding in document["findings"]) == 3


def test_a_refusal_that_the_engine_s_gaps_lack_is_a_failure(verify, monkeypatch):
    monkeypatch.setattr(Refusing, "gaps", (), raising=False)
    outcome, _ = verify(Refusing())
    assert outcome.status == 1
    assert "and no gap declares it" in outcome.out


def test_a_gap_that_the_engine_declares_is_told_with_its_reason(verify, monkeypatch):
    gaps = (Gap("nobody has written its kernels", dtypes=["float32"]),)
    monkeypatch.setattr(Refusing, "gaps", gaps, raising=False)
    outcome, _ = verify(Refusing())
    assert outcome.status == 0
    assert "twin: mf, squared, sgd, float32 and 2 more: nobody has written its kernels" in outcome.out


def test_a_gap_that_the_engine_closes_is_a_failure(verify, monkeypatch):
    monkeypatch.setattr(Twin, "gaps", (Gap("too hard", models=["mlp*"]),), raising=False)
    outcome, _ = verify(Twin())
    assert outcome.status == 1
    assert "which is declared a gap (too hard); remove it from the gaps" in outcome.out


def test_reasons_that_differ_in_settings_alone_are_one_line(verify, monkeypatch):
    def unsupported(self, job):
        return f"it has no rule for {job.optimizer}; use another engine" if job.dtype == np.float32 else None

    monkeypatch.setattr(Twin, "unsupported", unsupported)
    outcome, document = verify(Twin())
    assert len({finding["gap"] for finding in document["findings"] if finding["gap"]}) == 3
    [line] = [line for line in outcome.out.splitlines() if "it has no rule for" in line]
    assert line.startswith("  twin: mf, squared, sgd, float32 and 2 more: it has no rule for SGD(")


class Hopeless(Twin):
    """Nothing can be measured of it."""

    def trainer(self, job):
        raise RuntimeError("no luck")


@pytest.mark.parametrize("unsupported", [lambda self, job: None, lambda self, job: "it cannot; use another"])
def test_where_nothing_can_be_measured_the_failures_are_told(verify, monkeypatch, unsupported):
    monkeypatch.setattr(Hopeless, "unsupported", unsupported)
    outcome, document = verify(Hopeless())
    assert outcome.status == 1
    said = outcome.out.partition("Out of tolerance")[2]
    does_nothing = Hopeless().unsupported(None)
    assert ("twin does none of the cells" if does_nothing else f"{CELL}: RuntimeError: no luck") in said
    assert document["holds"] is False


def test_an_engine_that_cannot_be_loaded_is_a_failure_and_the_others_are_verified(
    command, install_backend, monkeypatch, tmp_path
):
    install_backend("broken", None)
    install_backend("twin", Telling())
    real = registry.get
    monkeypatch.setattr(registry, "get", lambda name: real(name) if name != "broken" else 1 / 0)
    outcome = command("verify", "-j", 1, "--out", tmp_path / "report")
    assert outcome.status == 1
    assert "broken: contract: it can be loaded: ZeroDivisionError" in outcome.out
    assert "1 of 8 comparisons and checks of twin failed." in outcome.out


@pytest.mark.parametrize(
    ("option", "selection"), [((), "standard"), (("--quick",), "quick"), (("--every-cell",), "every")]
)
def test_options_choose_how_much_is_looked_at(verify, monkeypatch, option, selection):
    asked = []
    monkeypatch.setattr(
        testing, "subjects", lambda selection: asked.append(selection) or [Requirement("it says who it is")]
    )
    verify(Twin(), *option)
    assert asked == [selection]


def test_models_that_are_not_asked_for_are_left_out(verify):
    _, document = verify(Twin(), "--models", "mlp")
    assert {finding["model"] for finding in document["findings"]} == {"", "mlp"}


@pytest.mark.parametrize("models", [["mlp,mf"], ["mlp", "--models", "mf"]], ids=["commas", "repeated"])
def test_several_models_are_divided_by_commas_or_repeated(verify, models):
    _, document = verify(Twin(), "--models", *models)
    assert {finding["model"] for finding in document["findings"]} == {"", "mf", "mlp"}


def test_as_json_it_prints_one_document(verify):
    outcome, document = verify(Twin(), "--json")
    assert outcome.status == 0
    assert json.loads(outcome.out)["findings"] == document["findings"]


def test_an_engine_whose_framework_is_missing_is_left_out_with_the_reason(
    command, install_backend, monkeypatch, tmp_path
):
    install_backend("twin", Twin())
    install_backend("torch", None)
    real = registry.get

    def get(name):
        if name == "torch":
            raise registry.BackendMissingError("backend 'torch' needs torch: pip install 'mfcore[torch]'")
        return real(name)

    monkeypatch.setattr(registry, "get", get)
    outcome = command("verify", "-j", 1, "--out", tmp_path / "report")
    assert outcome.status == 0
    assert "torch is left out: backend 'torch' needs torch: pip install 'mfcore[torch]'" in outcome.err


def test_where_no_engine_is_installed_that_is_an_error(command, install_backend, monkeypatch, tmp_path):
    install_backend("torch", None)

    def get(name):
        raise registry.BackendMissingError("backend 'torch' needs torch: pip install 'mfcore[torch]'")

    monkeypatch.setattr(registry, "get", get)
    outcome = command("verify", "-j", 1, "--out", tmp_path / "report")
    assert (outcome.status, outcome.out) == (2, "")
    assert "there is no engine to verify: backend 'torch' needs torch: pip install" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--backends", "twim"], "--backends is 'twim'; it must be one of reference, twin"),
        (["--models", "mf,nmf"], "--models is 'nmf'; it must be one of mf, gmf"),
        (["-j", "0"], "--processes is 0"),
        (["--quick", "--every-cell"], "--quick and --every-cell exclude each other"),
        (["--out", "no/such/folder"], "there is no folder"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_run(command, install_backend, arguments, says):
    install_backend("twin", Twin())
    outcome = command("verify", *arguments)
    assert outcome.status == 2
    assert says in outcome.err
