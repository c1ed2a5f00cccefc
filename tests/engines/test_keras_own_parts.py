"""Specs, losses, outputs and rules of one's own train on Keras's engine as on the reference."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest

import mfcore
from mfcore.engines import registry
from mfcore.objectives import InBatchObjective, PairwiseObjective, PointwiseObjective
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import Embeddings, InnerProduct, Output, Parameter
from mfcore.testing import in_float64
from mfcore.testing._deviations import distance

pytest.importorskip("mfcore_keras", reason="TensorFlow is not installed on this Python")

from mfcore_keras import KerasBackend

INIT = mfcore.Normal(0.3)


@dataclass(frozen=True)
class TemperatureMF(InnerProduct):
    """Matrix factorisation with biases of users and a learnt temperature."""

    n_factors: int = 5
    output: Output = field(default_factory=mfcore.Linear)

    def parameters(self, n_users, n_items):
        return {
            "user_factors": Parameter((n_users, self.n_factors), INIT, side="user"),
            "user_bias": Parameter((n_users,), INIT, side="user", shared_by_items=True),
            "item_factors": Parameter((n_items, self.n_factors), INIT, side="item"),
            "temperature": Parameter((1,), mfcore.Constant(1.0)),
        }

    def user_embeddings(self, xp, rows, dense):
        return Embeddings(xp.tanh(rows["user_factors"]) * dense["temperature"], rows["user_bias"])

    def item_embeddings(self, xp, rows, dense):
        return Embeddings(rows["item_factors"])


@dataclass(frozen=True)
class ItemTaste(mfcore.specs.ModelSpec):
    """Scores of items alone, beside a bias of users: by rank losses nothing of the users is trained."""

    output: Output = field(default_factory=mfcore.Linear)

    def parameters(self, n_users, n_items):
        return {
            "user_bias": Parameter((n_users,), INIT, side="user", shared_by_items=True),
            "item_numbers": Parameter((n_items, 2, 2), INIT, side="item"),
        }

    def score(self, xp, users, items, dense):
        return users["user_bias"] + xp.sum(xp.sum(items["item_numbers"], axis=2), axis=1)


@dataclass(frozen=True)
class Exponential(Output):
    """Rates, exp(score)."""

    def forward(self, xp):
        def exponential(score, c):
            rate = xp.exp(score)
            return rate, rate

        return exponential


@dataclass(frozen=True)
class PoissonLoss(PointwiseObjective):
    """Rate - count * log(rate), by way of the prediction."""

    through_output: ClassVar[bool] = True

    def targets(self, values, n_negatives):
        return values

    def constants(self):
        return (1.0,)

    def terms(self, xp):
        return lambda rate, count, c: (rate - count * xp.log(rate), c[0], c[0] - count / rate)


@dataclass(frozen=True)
class PoissonWithoutSlope(PoissonLoss):
    """The same, to be differentiated."""

    def terms(self, xp):
        return lambda rate, count, c: (rate - count * xp.log(rate), c[0])


@dataclass(frozen=True)
class PairwiseHinge(PairwiseObjective):
    """max(margin - difference, 0)."""

    margin: float = 1.0

    def constants(self):
        return (self.margin, 0.0, 1.0)

    def terms(self, xp):
        def hinge(difference, target, c):
            margin, zero, one = c
            room = margin - difference
            return xp.maximum(room, zero), one, xp.where(room > zero, zero * room - one, zero * room)

        return hinge


@dataclass(frozen=True)
class InBatchBPR(InBatchObjective):
    """log(1 + exp(other score - own score)), summed over the other items of the batch."""

    def matrix_terms(self, xp):
        def logistic(scores, own, hits, log_q):
            own_scores = xp.sum(xp.where(own, scores, 0.0), axis=1)
            difference = xp.where(hits | own, -100.0, scores - own_scores[:, None])
            slopes = xp.sigmoid(difference)
            losses = xp.sum(xp.log1p(xp.exp(difference)), axis=1)
            return losses, xp.where(own, -xp.sum(slopes, axis=1)[:, None], slopes)

        return logistic


@dataclass(frozen=True)
class Adadelta(GradientOptimizer):
    """Steps of the size of the steps before (Zeiler, 2012)."""

    slots: ClassVar[tuple[str, ...]] = ("mean_square", "mean_square_step")

    learning_rate: float = 1.0

    def coefficients(self, step, learning_rate):
        return (learning_rate, 0.9, 0.1, 1e-4)

    @staticmethod
    def rule(xp):
        def update(parameter, gradient, square, square_step, c):
            square = c[1] * square + c[2] * gradient * gradient
            move = gradient * xp.sqrt(square_step + c[3]) / xp.sqrt(square + c[3])
            return parameter - c[0] * move, square, c[1] * square_step + c[2] * move * move

        return update


@dataclass(frozen=True)
class SparseAdadelta(Adadelta):
    """The same for the rows of a batch alone."""

    @property
    def sparse(self):
        return True


RUNS = {
    "a temperature and a Poisson loss by Adadelta": (
        TemperatureMF(output=Exponential()),
        {"objective": PoissonLoss(), "optimizer": Adadelta(l2=0.02, l2_dense=0.01)},
    ),
    "a temperature and a hinge by sparse Adadelta": (
        TemperatureMF(),
        {"objective": PairwiseHinge(), "n_negatives": 2, "optimizer": SparseAdadelta(l2=0.02)},
    ),
    "a temperature and an in-batch loss by Adam": (
        TemperatureMF(),
        {"objective": InBatchBPR(), "optimizer": mfcore.Adam(0.01, epsilon=1e-5)},
    ),
    "a side of which nothing is trained, by BPR": (
        ItemTaste(),
        {"objective": "bpr", "n_negatives": 1, "optimizer": mfcore.SGD(0.5, l2=0.02)},
    ),
}


def trained(job, engine):
    trainer = engine.trainer(job)
    objectives = [trainer.run_epoch(epoch) for epoch in range(2)]
    return trainer.parameters(), objectives


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "in graphs"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-5)])
@pytest.mark.parametrize("run", RUNS)
def test_own_parts_agree_with_the_reference(ratings, job_of, run, dtype, tolerance, compile):
    spec, settings = RUNS[run]
    job = job_of(spec, ratings, batch_size=46, dtype=dtype, **settings)
    engine, exact = KerasBackend(compile=compile), in_float64(job)
    assert engine.unsupported(job) is None
    expected, expected_objectives = trained(exact, registry.get("reference"))
    found, objectives = trained(job, engine)
    moved = {name for name in expected if np.any(expected[name] != exact.parameters[name])}
    assert "user_bias" not in moved or settings["objective"] == PoissonLoss()
    together = [
        {"all": np.concatenate([one[name].ravel() for name in sorted(moved)])}
        for one in (found, expected, exact.parameters)
    ]
    assert distance(*together) <= tolerance
    np.testing.assert_allclose(objectives, expected_objectives, rtol=tolerance)


def test_a_loss_without_slope_is_differentiated(ratings, job_of):
    spec = TemperatureMF(output=Exponential())
    job = job_of(spec, ratings, batch_size=46, objective=PoissonLoss(), optimizer=Adadelta())
    expected, _ = trained(job, registry.get("reference"))
    found, _ = trained(replace(job, objective=PoissonWithoutSlope()), KerasBackend(compile=False))
    assert distance(found, expected, job.parameters) <= 1e-9
