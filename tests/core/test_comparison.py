"""One task on engines: what is measured, in this process and in others, and what is made of it."""

import multiprocessing
import os
from dataclasses import replace

import numpy as np
import pytest

import mfcore
from mfcore.comparison import (
    Comparison,
    EngineRun,
    EvaluationPlan,
    ExampleUsers,
    Failure,
    Monitor,
    Task,
    attempt,
    attempt_in_process,
    format_agreement,
    format_seconds,
    format_speed,
)
from mfcore.comparison._results import Agreement, Spread
from mfcore.comparison._runs import RefusalError, run
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
def task(ratings):
    train, test = mfcore.splits.ratio(ratings, 0.2, seed=0)
    spec = mfcore.MF(n_factors=3, biases=True, output=mfcore.RatingRange(1, 5))
    arguments = {
        "objective": "squared",
        "optimizer": mfcore.Adam(learning_rate=0.02),
        "batch_size": 16,
        "epochs": 3,
        "seed": 0,
    }
    return Task(
        spec,
        train,
        arguments,
        Monitor(mfcore.RMSE(), None),
        EvaluationPlan(test, [mfcore.RMSE(), mfcore.HitRate(5)], [mfcore.FullRanking()]),
        ExampleUsers([3, 5], k=4, min_count=0),
    )


def nothing(seed, record):
    """Tell nobody."""


@pytest.fixture
def outcome(task, install_backend):
    return run(install_backend("twin", Twin()), task, [0, 1], nothing)


def test_a_run_is_fit_s_with_each_seed(task, outcome):
    for seed, quality in enumerate(outcome.qualities):
        model = mfcore.fit(
            task.spec,
            task.train,
            **{**task.arguments, "seed": seed},
            backend="reference",
            progress=False,
        )
        test = task.evaluation.test
        assert quality.by_metric == {
            **mfcore.evaluate(model, test, [mfcore.RMSE()]),
            **mfcore.evaluate(model, test, [mfcore.HitRate(5)]),
        }
        if seed == 0:
            assert outcome.rankings[1].items.tolist() == model.recommend(5, k=4)[0].items.tolist()


def test_a_run_has_a_record_of_each_epoch_of_the_first_seed(task, outcome):
    assert [record.epoch for record in outcome.records] == [0, 1, 2]
    assert outcome.records[-1].metrics == {"RMSE": outcome.qualities[0].ratings["RMSE"]}
    assert outcome.description == "a twin"


def test_every_epoch_of_every_seed_is_told(task, install_backend):
    told = []
    run(
        install_backend("twin", Twin()),
        task,
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


def test_an_engine_that_strays_does_not_agree(task, install_backend):
    found = run(install_backend("diverging", Diverging()), task, [0], nothing)
    assert not found.short_run.agrees
    assert found.short_run.found.whole_parameters > found.short_run.allowed


def test_the_last_epoch_is_judged_however_the_metric_went(task, install_backend):
    rising = {**task.arguments, "optimizer": mfcore.Adam(learning_rate=0.5), "epochs": 2}
    found = run(install_backend("twin", Twin()), replace(task, arguments=rising), [0], nothing)
    metrics = [record.metrics["RMSE"] for record in found.records]
    assert metrics[-1] > min(metrics)
    assert found.qualities[0].ratings["RMSE"] == metrics[-1]


def test_wals_is_compared_for_a_few_epochs(task, install_backend):
    arguments = {"optimizer": mfcore.WALS(l2=0.1), "epochs": 2, "dtype": "float32"}
    found = run(install_backend("twin", Twin()), replace(task, arguments=arguments), [0], nothing)
    assert found.short_run.steps == 3
    assert found.short_run.agrees


def test_an_engine_that_does_not_do_the_job_says_why(task, install_backend):
    name = install_backend("unable", Unable())
    with pytest.raises(RefusalError, match="it can do nothing"):
        run(name, task, [0], nothing)
    assert attempt(name, task, [0], nothing) == Failure(name, "it can do nothing; use another", refused=True)


def test_a_bug_of_an_engine_keeps_its_traceback(task, install_backend):
    failure = attempt(install_backend("broken", Broken()), task, [0], nothing)
    assert failure.reason == "RuntimeError: no luck"
    assert not failure.refused
    assert "Traceback" in failure.log


def test_a_process_of_its_own_comes_to_the_same(task):
    told = []
    found = attempt_in_process("reference", task, [0], lambda seed, record: told.append((seed, record.epoch)))
    assert isinstance(found, EngineRun)
    assert told == [(0, 0), (0, 1), (0, 2)]
    assert found.qualities[0].by_metric == attempt("reference", task, [0], nothing).qualities[0].by_metric


def test_a_refusal_of_another_process_comes_back(task):
    found = attempt_in_process("no such engine", task, [0], nothing)
    assert isinstance(found, Failure)
    assert "no backend 'no such engine' is installed" in found.reason


class Deadly:
    """What ends the process that reads it."""

    def __reduce__(self):
        return os._exit, (3,)


def test_the_death_of_a_process_is_a_failure():
    found = attempt_in_process("reference", Deadly(), [0], nothing)
    assert found == Failure("reference", "its process died with exit status 3")


def test_an_interruption_ends_the_other_process(task):
    def interrupt(seed, record):
        raise KeyboardInterrupt

    long = replace(task, arguments={**task.arguments, "epochs": 1_000_000})
    with pytest.raises(KeyboardInterrupt):
        attempt_in_process("reference", long, [0], interrupt)
    assert not multiprocessing.active_children()


def compared(task, *outcomes, seeds=(0, 1)):
    return Comparison.of("mf", task, {}, seeds, outcomes)


def test_the_fastest_comes_first_and_failures_keep_their_reason(task, outcome):
    slow = replace(outcome, engine="slow", records=tuple(replace(r, seconds=10.0) for r in outcome.records))
    fast = replace(outcome, engine="fast", records=tuple(replace(r, seconds=2.0) for r in outcome.records))
    found = compared(task, slow, Failure("none", "why"), fast)
    assert [run.engine for run in found.runs] == ["fast", "slow"]
    assert list(found.engines) == ["slow", "none", "fast"]
    assert format_speed(found) == "Fastest: fast, 5.0 times as fast as slow."
    assert found.document()["failures"] == [{"engine": "none", "reason": "why", "refused": False}]


def test_equal_engines_agree_and_list_the_same(task, outcome):
    found = compared(task, outcome, replace(outcome, engine="other"))
    assert found.agreement.gap == 0
    assert found.agreement.holds
    assert found.in_common(0) == {"other": 4}
    assert found.metrics == ["RMSE", "HR@5"]


def test_an_engine_s_own_scatter_does_not_excuse_it(task, outcome):
    def at(engine, *values):
        qualities = tuple(replace(outcome.qualities[0], ratings={"RMSE": value}) for value in values)
        return replace(outcome, engine=engine, qualities=qualities)

    runs = [at("a", 0.90, 0.91), at("b", 0.90, 0.91), at("wild", 0.90, 1.10)]
    found = Comparison.of("mf", task, {}, [0, 1], runs)
    assert found.agreement.range_of_seeds == pytest.approx(0.01)
    assert found.agreement.holds is False


def test_one_seed_leaves_open_whether_engines_agree(task, outcome):
    alone = replace(outcome, qualities=outcome.qualities[:1])
    found = compared(task, alone, replace(alone, engine="other"), seeds=[0])
    assert found.agreement.holds is None
    assert "--seeds 3" in format_agreement(found.agreement)


@pytest.mark.parametrize(
    ("gap", "seeds", "holds"), [(0.001, 0.002, True), (0.003, 0.002, False), (0.00004, 0.0, True)]
)
def test_engines_agree_where_they_differ_no_more_than_seeds(gap, seeds, holds):
    agreement = Agreement("RMSE", gap, seeds)
    assert agreement.holds is holds
    assert ("do not agree" in format_agreement(agreement)) is not holds


def test_a_spread_is_the_mean_and_half_of_the_range():
    assert Spread.of([1.0, 2.0, 6.0]) == (3.0, 2.5)
    assert Spread.of([1.5]) == (1.5, 0.0)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "-"), (0.0, "0 ms"), (0.0042, "4.2 ms"), (0.25, "0.25 s"), (9.96, "10 s"), (123.4, "123 s")],
)
def test_seconds_are_said_in_two_or_three_digits(seconds, said):
    assert format_seconds(seconds) == said
