"""What is measured: distances, bounds, streams and whole runs; and what is computed once."""

from dataclasses import replace

import numpy as np
import pytest

from mfcore.engines import StreamSlice, reference
from mfcore.testing import RUNS, Cell, Deviation, Measured, Outcome, References, in_float64
from mfcore.testing import _references as references
from mfcore.testing import _streams as streams
from mfcore.testing._measures import FIRST, LAST, OBJECTIVE, of_first_step, of_last_step, worst
from mfcore.testing._runs import BOUNDS, scorer_deviation

START = {"small": np.zeros(4), "large": np.zeros(4)}
EXACT = Outcome({"small": np.full(4, 1e-3), "large": np.full(4, 10.0)}, {"small/slot": np.ones(4)}, 2.0)


def test_a_deviation_is_of_the_distance_moved_of_each_array_and_of_all_together():
    found = replace(EXACT, parameters={**EXACT.parameters, "small": np.full(4, 1.1e-3)}, objective=2.2)
    deviation = Deviation.between(EXACT, found, START)
    assert deviation.parameters == pytest.approx(0.1)
    assert deviation.whole_parameters == pytest.approx(1e-5, rel=1e-3)
    assert deviation.objective == pytest.approx(0.1)
    assert deviation.state == deviation.whole_state == 0


def test_a_nan_is_never_within_what_is_allowed():
    found = replace(EXACT, parameters={**EXACT.parameters, "small": np.full(4, np.nan)})
    deviation = Deviation.between(EXACT, found, START)
    job = Cell("mf", "squared", "sgd", "float64").job()
    measured = of_last_step(job, deviation)[LAST]
    assert np.isnan(measured.value)
    assert not measured.is_within


def test_the_worst_is_the_largest_beside_what_it_may_be():
    lax, strict = Measured(1e-5, 1e-4), Measured(1e-6, 1e-6)
    assert worst([lax, strict]) is strict
    assert worst([Measured(np.nan, 1.0), strict]).value is not strict.value
    assert Measured(3, 0).share == np.inf
    assert Measured(0, 0).share == 0


def test_single_arrays_count_in_float64_and_the_whole_model_in_float32():
    deviation = Deviation(parameters=1e-4, state=1e-4, objective=0, whole_parameters=1e-7, whole_state=1e-7)
    for dtype, expected in (("float64", 1e-4), ("float32", 1e-7)):
        job = Cell("neumf", "bpr", "adam", dtype).job()
        assert of_last_step(job, deviation)[LAST].value == expected
        assert of_first_step(job, deviation)[FIRST].value == expected
    pointwise = Cell("mf", "squared", "adam", "float32").job()
    assert of_last_step(pointwise, deviation)[LAST].value == 1e-4


def test_the_first_step_tells_of_the_objective_before_it():
    deviation = Deviation(parameters=0, state=0, objective=5e-7, whole_parameters=0, whole_state=0)
    measured = of_first_step(Cell("mf", "squared", "adam", "float32").job(), deviation)
    assert measured[OBJECTIVE] == Measured(5e-7, 1e-6)
    assert measured[FIRST].value == 0


def test_a_float64_job_starts_from_the_same_numbers():
    job = Cell("mf", "squared", "adam", "float32").job()
    wide = in_float64(job)
    assert wide.dtype == np.float64
    np.testing.assert_array_equal(wide.parameters["user_factors"], job.parameters["user_factors"])
    assert wide.optimizer_state["step"].dtype == np.int64


def test_a_run_of_the_reference_is_done_once_for_all_dtypes_and_processes(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(references, "_train", lambda job, epochs: trained.append(job) or EXACT)
    here, elsewhere = References(tmp_path), References(tmp_path)
    for dtype in ("float32", "float64"):
        cell = Cell("mf", "squared", "sgd", dtype)
        for one in (here, elsewhere, here):
            assert one.whole(cell).objective == one.first_step(cell).objective == EXACT.objective
    assert [job.n_instances for job in trained] == [1_200, 23]


# Streams


class Teller:
    """An engine that shows what the core defines, with one column as a function makes it."""

    def __init__(self, **changes):
        self.changes = changes

    def instances(self, job, epoch, start, stop):
        shown = streams.defined(job, epoch, start, stop)
        found = StreamSlice(shown.users, shown.items, shown.positive, shown.negatives)
        return found._replace(**{name: change(getattr(found, name)) for name, change in self.changes.items()})


def swapped(column):
    return np.concatenate([column[1::-1], column[2:]])


@pytest.mark.parametrize("plan", streams.STREAM_CASES)
def test_the_core_s_stream_has_no_differences(plan):
    job = streams.STREAM_CASES[plan].job(streams.uneven(), seed=3)
    assert streams.n_differences(Teller(), job, 2, 10, 500) == 0


@pytest.mark.parametrize(
    ("plan", "changes", "expected"),
    [
        ("interactions alone", {"users": swapped}, 2),
        ("negatives", {"positive": np.logical_not}, 490),
        ("pairs", {"negatives": lambda column: None}, 490),
        ("interactions alone", {"items": lambda column: column[:-1]}, 490),
    ],
    ids=["in another order", "marked wrongly", "without negatives", "too few"],
)
def test_what_differs_is_counted(plan, changes, expected):
    job = streams.STREAM_CASES[plan].job(streams.uneven(), seed=3)
    assert streams.n_differences(Teller(**changes), job, 2, 10, 500) == expected


# Whole runs


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_seeds_differ_by_far_more_than_engines_may(run):
    found = [run.quality(run.train(reference.backend, seed=seed)) for seed in range(3)]
    assert max(found) - min(found) > 3 * BOUNDS[run.metric.name]


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_rounding_in_float32_is_far_less_than_engines_may_differ_by(run):
    found = run.quality(run.train(reference.backend))
    assert abs(found - References().quality(run)) < BOUNDS[run.metric.name] / 10


def test_a_scorer_that_is_off_is_found():
    run = RUNS[0]
    model = run.train(reference.backend)
    assert scorer_deviation(model) is None

    class Scorer:
        def __init__(self, factor):
            self.factor = factor

        def top_k(self, users, k, exclude_seen):
            scores = model.spec.score_catalogue(model.parameters, users)
            items = np.argsort(-scores, axis=1)[:, :k]
            return items, self.factor * np.take_along_axis(scores, items, axis=1)

    assert scorer_deviation(replace(model, scorer=Scorer(1))) < 1e-6
    assert scorer_deviation(replace(model, scorer=Scorer(1.01))) == pytest.approx(0.01, rel=0.01)
