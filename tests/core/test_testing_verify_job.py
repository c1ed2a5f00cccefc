"""A spec, an objective or an optimizer of one's own on engines: held to the reference, shown in a table."""

from dataclasses import dataclass, replace

import pytest

import mfcore
from mfcore.engines import reference
from mfcore.objectives import Squared
from mfcore.testing import ConformanceError, verify_job


class Twin:
    """The reference engine, which takes another job than it is given."""

    name = "twin"
    api_version = reference.backend.api_version

    def __init__(self, instead=lambda job: job):
        self.instead = instead

    def unsupported(self, job):
        return None

    def trainer(self, job):
        return reference.backend.trainer(self.instead(job))

    def scorer(self, model):
        return None


@dataclass(frozen=True)
class Huber(Squared):
    """An objective of one's own: errors above 1 count by their size alone."""

    def terms(self, xp):
        def huber(prediction, target, c):
            half, one = c
            error = prediction - target
            inner = xp.minimum(xp.maximum(error, -one), one)
            return inner * (error - half * inner), one, inner

        return huber


SETTINGS = {"optimizer": mfcore.SGD(0.1, l2=0.02)}
ASPECTS = {"initial values", "scores by objective", "1 step", "100 steps", "final metric"}


def test_an_objective_of_one_s_own_is_compared_in_both_dtypes_from_the_first_value_to_the_metric():
    found = verify_job(mfcore.MF(4, biases=True), objective=Huber(), backends=[Twin()], **SETTINGS)
    assert found.holds
    assert [finding.subject.dtype for finding in found.findings] == ["float64", "float32"]
    for finding in found.findings:
        assert finding.measures.keys() == ASPECTS
        assert finding.measures["initial values"].value == 0
    exact, rounded = found.findings
    assert exact.measures["100 steps"].value == 0
    assert 0 < rounded.measures["100 steps"].value < 1e-5
    assert str(found).startswith("twin: MF, Huber, SGD, float64: holds\n    scores by objective 0 of 1e-09\n")


@pytest.mark.parametrize(
    ("instead", "aspect"),
    [
        (lambda job: replace(job, objective=Squared()), "scores by objective"),
        (lambda job: replace(job, optimizer=replace(job.optimizer, l2=0.021)), "1 step"),
        (
            lambda job: replace(
                job, optimizer=replace(job.optimizer, learning_rate=mfcore.Schedule(0.1, 0.5))
            ),
            "100 steps",
        ),
        (lambda job: replace(job, seed=1), "100 steps"),
    ],
    ids=["another objective", "another l2", "another schedule", "another order"],
)
def test_an_engine_that_deviates_is_an_error_that_says_where(instead, aspect):
    settings = {"objective": Huber(), "backends": [Twin(), Twin(instead)], **SETTINGS}
    with pytest.raises(AssertionError, match=rf"twin: MF, Huber, SGD, float64: deviates: .*{aspect}: "):
        verify_job(mfcore.MF(4), **settings)
    found = verify_job(mfcore.MF(4), strict=False, **settings)
    assert [finding.holds for finding in found.findings] == [True, False, True, False]
    assert all(aspect in finding.beyond for finding in found.findings[1::2])


def test_a_refusal_is_an_error_with_its_reason():
    engine = Twin()
    engine.unsupported = lambda job: "it cannot; use another"
    with pytest.raises(ConformanceError, match="twin refuses the job: it cannot; use another"):
        verify_job(mfcore.MF(4), backends=[engine], **SETTINGS)


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "logistic", "n_negatives": 2, "optimizer": mfcore.Adam(0.01, epsilon=1e-4)},
        {"objective": "bpr", "n_negatives": 1, "optimizer": "adagrad"},
        {"optimizer": mfcore.WALS(l2=0.1), "dtypes": ["float64"]},
        {"data": mfcore.data.synthetic(500).interactions, "metric": mfcore.MAE(), "batch_size": 50},
    ],
    ids=["negatives", "pairs", "wals", "data of one's own"],
)
def test_any_job_of_fit_can_be_verified(settings):
    assert verify_job(mfcore.MF(3), backends=["reference"], **settings).holds


def test_more_is_allowed_where_rounding_alone_comes_to_more():
    spec = mfcore.MF(4, init=mfcore.Normal(10.0))
    found = verify_job(spec, backends=["reference"], optimizer=mfcore.SGD(1e-6), dtypes=["float32"])
    [finding] = found.findings
    assert finding.measures["100 steps"].value > 1e-5
