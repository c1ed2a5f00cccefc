"""One assignment on engines: what is measured, in this process and in others, and what is made of it."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import mfcore
from mfcore.comparison import (
    Assignment,
    Audience,
    Comparison,
    EngineRun,
    Failure,
    Judging,
    Watching,
    agreement_in_words,
    run_in_process,
    seconds_in_words,
    speed_in_words,
)
from mfcore.comparison import _processes as processes
from mfcore.comparison._results import Agreement, Spread
from mfcore.comparison._runs import RefusalError, run
from mfcore.comparison.worker import attempt
from mfcore.engines import reference


class Twin:
    """The reference engine under another name."""

    api_version = reference.backend.api_version
    description = "a twin"

    def __init__(self, name="twin"):
        self.name = name

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


class Diverging(Twin):
    """An engine whose parameters are off by a thousandth after every epoch."""

    def trainer(self, job):
        trainer = super().trainer(job)
        exact = trainer.parameters
        trainer.parameters = lambda: {name: np.float32(1.001) * array for name, array in exact().items()}
        return trainer


@pytest.fixture(scope="module")
def assignment(ratings):
    train, test = mfcore.splits.ratio(ratings, 0.2, seed=0)
    spec = mfcore.MF(n_factors=3, biases=True, output=mfcore.RatingRange(1, 5))
    arguments = {
        "objective": "squared",
        "optimizer": mfcore.Adam(learning_rate=0.02),
        "batch_size": 16,
        "epochs": 3,
        "seed": 0,
    }
    return Assignment(
        spec,
        train,
        arguments,
        Watching(mfcore.RMSE(), None),
        Judging(test, [mfcore.RMSE(), mfcore.HitRate(5)], [mfcore.FullRanking()]),
        Audience([3, 5], k=4, min_count=0),
    )


def nothing(seed, record):
    """Tell nobody."""


@pytest.fixture
def outcome(assignment, install_backend):
    return run(install_backend("twin", Twin()), assignment, [0, 1], nothing)


def test_a_run_is_fit_s_with_each_seed(assignment, outcome):
    for seed, quality in enumerate(outcome.qualities):
        model = mfcore.fit(
            assignment.spec,
            assignment.train,
            **{**assignment.arguments, "seed": seed},
            backend="reference",
            progress=False,
        )
        test = assignment.judging.test
        assert quality.by_metric == {
            **mfcore.evaluate(model, test, [mfcore.RMSE()]),
            **mfcore.evaluate(model, test, [mfcore.HitRate(5)]),
        }
        if seed == 0:
            assert outcome.rankings[1].items.tolist() == model.recommend(5, k=4)[0].items.tolist()


def test_a_run_has_a_record_of_each_epoch_of_the_first_seed(assignment, outcome):
    assert [record.epoch for record in outcome.records] == [0, 1, 2]
    assert outcome.records[-1].metrics == {"RMSE": outcome.qualities[0].ratings["RMSE"]}
    assert outcome.description == "a twin"


def test_every_epoch_of_every_seed_is_told(assignment, install_backend):
    told = []
    run(
        install_backend("twin", Twin()),
        assignment,
        [0, 1],
        lambda seed, record: told.append((seed, record.epoch)),
    )
    assert told == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


def test_the_first_epoch_does_not_count_as_a_usual_one(outcome):
    first, *others = outcome.records
    timed = replace(
        outcome,
        trainer_seconds=2.0,
        records=(replace(first, seconds=5.0), *(replace(one, seconds=1.0) for one in others)),
    )
    assert timed.epoch_seconds == 1.0
    assert timed.compile_seconds == 6.0
    assert timed.clock == [7.0, 8.0, 9.0]
    alone = replace(timed, records=timed.records[:1])
    assert alone.epoch_seconds == 5.0
    assert alone.compile_seconds is None


def test_a_twin_of_the_reference_is_off_by_rounding_alone(outcome):
    short = outcome.short_run
    assert short.found == short.rounding
    assert 0 < short.found.whole_parameters < 1e-5
    assert short.agrees
    assert 90 <= short.steps <= 110


def test_an_engine_that_strays_does_not_agree(assignment, install_backend):
    found = run(install_backend("diverging", Diverging()), assignment, [0], nothing)
    assert not found.short_run.agrees
    assert found.short_run.found.whole_parameters > found.short_run.allowed


def test_the_last_epoch_is_judged_however_the_metric_went(assignment, install_backend):
    rising = {**assignment.arguments, "optimizer": mfcore.Adam(learning_rate=0.5), "epochs": 2}
    found = run(install_backend("twin", Twin()), replace(assignment, arguments=rising), [0], nothing)
    metrics = [record.metrics["RMSE"] for record in found.records]
    assert metrics[-1] > min(metrics)
    assert found.qualities[0].ratings["RMSE"] == metrics[-1]


def test_wals_is_compared_for_a_few_epochs(assignment, install_backend):
    arguments = {"optimizer": mfcore.WALS(l2=0.1), "epochs": 2, "dtype": "float32"}
    found = run(install_backend("twin", Twin()), replace(assignment, arguments=arguments), [0], nothing)
    assert found.short_run.steps == 3
    assert found.short_run.agrees


def test_an_engine_that_does_not_do_the_job_says_why(assignment, install_backend):
    name = install_backend("unable", Unable())
    with pytest.raises(RefusalError, match="it can do nothing"):
        run(name, assignment, [0], nothing)
    assert attempt(name, assignment, [0], nothing) == Failure(
        name, "it can do nothing; use another", refused=True
    )


def test_a_bug_of_an_engine_keeps_its_traceback(assignment, install_backend):
    failure = attempt(install_backend("broken", Broken()), assignment, [0], nothing)
    assert failure.reason == "RuntimeError: no luck"
    assert not failure.refused
    assert "Traceback" in failure.log


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell a process's peak simply")
def test_peak_memory_grows_with_what_is_held():
    script = (
        "import numpy as np; from mfcore.comparison._memory import peak_memory; a = peak_memory();"
        "b = np.ones(8_000_000); c = peak_memory(); del b; print(c - a, peak_memory() - c)"
    )
    grown, shrunk = map(int, subprocess.check_output([sys.executable, "-c", script], text=True).split())
    assert 60e6 < grown < 80e6
    # The system counts pages of each processor apart, and adds them up now and then.
    assert shrunk > -2e6


def test_a_process_of_its_own_comes_to_the_same(assignment):
    told = []
    found = run_in_process(
        "reference", assignment, [0], lambda seed, record: told.append((seed, record.epoch))
    )
    assert isinstance(found, EngineRun)
    assert told == [(0, 0), (0, 1), (0, 2)]
    assert (
        found.qualities[0].by_metric == attempt("reference", assignment, [0], nothing).qualities[0].by_metric
    )


def test_a_refusal_of_another_process_comes_back(assignment):
    found = run_in_process("no such engine", assignment, [0], nothing)
    assert isinstance(found, Failure)
    assert "no backend 'no such engine' is installed" in found.reason


class Deadly:
    """What ends the process that reads it."""

    def __reduce__(self):
        return os._exit, (3,)


def test_the_death_of_a_process_is_a_failure():
    found = run_in_process("reference", Deadly(), [0], nothing)
    assert found == Failure("reference", "its process died with exit status 3")


@pytest.fixture
def instead(monkeypatch):
    """Return a function that has a script run as the other process, once it has read what to do."""

    def run(script):
        def started(log):
            program = f"import os, pickle, sys, time; sys.stdin.buffer.read(); {script}"
            return subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

        monkeypatch.setattr(processes, "_started", started)
        return run_in_process("reference", None, [0], nothing)

    return run


@pytest.mark.parametrize("kept", [1, 8, 20, -1])
def test_the_death_of_a_process_in_the_middle_of_a_message_is_a_failure(instead, kept):
    found = instead(f"sys.stdout.buffer.write(pickle.dumps((0, 'x' * 100))[:{kept}]); sys.exit(4)")
    assert found == Failure("reference", "its process died with exit status 4")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_a_process_that_is_killed_may_have_used_up_the_memory(instead):
    found = instead("os.kill(os.getpid(), 9)")
    assert found.reason == "its process died of signal 9, as when the machine's memory is used up"


def test_a_process_that_falls_silent_is_ended_and_memory_is_not_blamed(instead, monkeypatch):
    monkeypatch.setattr(processes, "SECONDS_TO_END", 0.5)
    found = instead("os.close(1); time.sleep(60)")
    assert found.reason == "its process fell silent before it was done, and was ended 0.5 s later"


def test_an_interruption_ends_the_other_process(assignment, monkeypatch):
    started = []
    start = processes._started
    monkeypatch.setattr(processes, "_started", lambda log: started.append(start(log)) or started[-1])

    def interrupt(seed, record):
        raise KeyboardInterrupt

    long = replace(assignment, arguments={**assignment.arguments, "epochs": 1_000_000})
    with pytest.raises(KeyboardInterrupt):
        run_in_process("reference", long, [0], interrupt)
    assert started[0].returncode is not None


def compared(assignment, *outcomes, seeds=(0, 1)):
    return Comparison.of("mf", assignment, {}, seeds, outcomes)


def test_the_fastest_comes_first_and_failures_keep_their_reason(assignment, outcome):
    slow = replace(outcome, engine="slow", records=tuple(replace(r, seconds=10.0) for r in outcome.records))
    fast = replace(outcome, engine="fast", records=tuple(replace(r, seconds=2.0) for r in outcome.records))
    found = compared(assignment, slow, Failure("none", "why"), fast)
    assert [run.engine for run in found.runs] == ["fast", "slow"]
    assert list(found.engines) == ["slow", "none", "fast"]
    assert speed_in_words(found) == "Fastest: fast, 5.0 times as fast as slow."
    assert found.document()["failures"] == [{"engine": "none", "reason": "why", "refused": False}]


def test_equal_engines_agree_and_list_the_same(assignment, outcome):
    found = compared(assignment, outcome, replace(outcome, engine="other"))
    assert found.agreement.gap == 0
    assert found.agreement.holds
    assert found.in_common(0) == {"other": 4}
    assert found.metrics == ["RMSE", "HR@5"]


def test_an_engine_s_own_scatter_does_not_excuse_it(assignment, outcome):
    def at(engine, *values):
        qualities = tuple(replace(outcome.qualities[0], ratings={"RMSE": value}) for value in values)
        return replace(outcome, engine=engine, qualities=qualities)

    runs = [at("a", 0.90, 0.91), at("b", 0.90, 0.91), at("wild", 0.90, 1.10)]
    found = Comparison.of("mf", assignment, {}, [0, 1], runs)
    assert found.agreement.range_of_seeds == pytest.approx(0.01)
    assert found.agreement.holds is False


def test_one_seed_leaves_open_whether_engines_agree(assignment, outcome):
    alone = replace(outcome, qualities=outcome.qualities[:1])
    found = compared(assignment, alone, replace(alone, engine="other"), seeds=[0])
    assert found.agreement.holds is None
    assert "--seeds 3" in agreement_in_words(found.agreement)


@pytest.mark.parametrize(
    ("gap", "seeds", "holds"), [(0.001, 0.002, True), (0.003, 0.002, False), (0.00004, 0.0, True)]
)
def test_engines_agree_where_they_differ_no_more_than_seeds(gap, seeds, holds):
    agreement = Agreement("RMSE", gap, seeds)
    assert agreement.holds is holds
    assert ("do not agree" in agreement_in_words(agreement)) is not holds


def test_a_spread_is_the_mean_and_half_of_the_range():
    assert Spread.of([1.0, 2.0, 6.0]) == (3.0, 2.5)
    assert Spread.of([1.5]) == (1.5, 0.0)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "-"), (0.0, "0 ms"), (0.0042, "4.2 ms"), (0.25, "0.25 s"), (9.96, "10 s"), (123.4, "123 s")],
)
def test_seconds_are_said_in_two_or_three_digits(seconds, said):
    assert seconds_in_words(seconds) == said
