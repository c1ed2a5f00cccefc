"""Specs, losses, outputs and rules of one's own train on PyTorch's engine as on the reference.

They have no short names, by which other tests would find them.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest

import mfcore
from mfcore.engines import registry
from mfcore.objectives import InBatchObjective, PairwiseObjective, PointwiseObjective
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import Embeddings, InnerProduct, ModelSpec, NeuMF, Output, Parameter
from mfcore.testing import in_float64
from mfcore.testing._deviations import distance

torch = pytest.importorskip("torch", reason="torch is not installed on this Python")

from mfcore_torch import TorchBackend, compiling  # noqa: E402
from mfcore_torch.modules import build_module  # noqa: E402
from mfcore_torch.top_k import TopK  # noqa: E402

INIT = mfcore.Normal(0.3)
needs_compiler = pytest.mark.skipif(
    not compiling.has_compiler(), reason="torch.compile needs a C++ compiler, and none was found"
)


@dataclass(frozen=True)
class TemperatureMF(InnerProduct):
    """Matrix factorisation with a bias of users and a learnt temperature."""

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
class ItemTaste(ModelSpec):
    """A score of items alone, beside users' bias: by losses of pairs nothing of the users is trained."""

    output: Output = field(default_factory=mfcore.Linear)

    def parameters(self, n_users, n_items):
        return {
            "user_bias": Parameter((n_users,), INIT, side="user", shared_by_items=True),
            "item_numbers": Parameter((n_items, 2, 3), INIT, side="item"),
            "taste/units/kernel": Parameter((3, 2), INIT),
            "taste/units/bias": Parameter((2,), INIT),
            "taste/weights": Parameter((2, 2), INIT, decayed=False),
        }

    def score(self, xp, users, items, dense):
        rows = xp.reshape(items["item_numbers"], (-1, 3))
        units = xp.affine(rows, dense["taste/units/kernel"], dense["taste/units/bias"])
        units = xp.reshape(xp.tanh(units), (-1, 2, 2)) * dense["taste/weights"]
        return users["user_bias"] + xp.sum(xp.sum(units, axis=2), axis=1)


@dataclass(frozen=True)
class HalvedNeuMF(NeuMF):
    """NeuMF, of which half the score counts."""

    def score(self, xp, users, items, dense):
        return 0.5 * super().score(xp, users, items, dense)

    def score_gradients(self, parameters, users, items, upstream):
        return super().score_gradients(parameters, users, items, 0.5 * upstream)

    def score_catalogue(self, parameters, users):
        return 0.5 * super().score_catalogue(parameters, users)


@dataclass(frozen=True)
class Exponential(Output):
    """Rates, exp(score)."""

    def forward(self, xp):
        def exponential(score, c):
            rate = xp.exp(score)
            return rate, rate

        return exponential


@dataclass(frozen=True)
class Rates(PointwiseObjective):
    """Poisson's loss, rate - count * log(rate), by way of the prediction."""

    through_output: ClassVar[bool] = True

    def targets(self, values, n_negatives):
        return values

    def constants(self):
        return (1.0,)

    def terms(self, xp):
        return lambda rate, count, c: (rate - count * xp.log(rate), c[0], c[0] - count / rate)


@dataclass(frozen=True)
class RatesWithoutSlope(Rates):
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
class PairwiseHingeWithoutSlope(PairwiseHinge):
    """The same, to be differentiated."""

    def terms(self, xp):
        return lambda difference, target, c: (xp.maximum(c[0] - difference, c[1]), c[2])


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
    rho: float = 0.95
    epsilon: float = 1e-4

    def coefficients(self, step, learning_rate):
        return (learning_rate, self.rho, 1 - self.rho, self.epsilon)

    @staticmethod
    def rule(xp):
        def update(parameter, gradient, square, square_step, c):
            square = c[1] * square + c[2] * gradient * gradient
            move = gradient * xp.sqrt(square_step + c[3]) / xp.sqrt(square + c[3])
            return parameter - c[0] * move, square, c[1] * square_step + c[2] * move * move

        return update


RUNS = {
    "a spec": (TemperatureMF(), {"objective": "squared", "optimizer": mfcore.Adam(0.01, l2=0.02)}),
    "a spec by pairs": (TemperatureMF(), {"objective": "bpr", "n_negatives": 1}),
    "a spec in batches": (TemperatureMF(), {"objective": "in_batch_softmax", "optimizer": mfcore.SGD(0.5)}),
    "nothing of the users": (
        ItemTaste(),
        {"objective": "bpr", "n_negatives": 2, "optimizer": mfcore.Adam(0.01, l2=0.01, l2_dense=0.02)},
    ),
    "a neural spec": (HalvedNeuMF(3, (6, 4)), {"objective": "logistic", "n_negatives": 1}),
    "an output and a loss": (
        mfcore.MF(4, output=Exponential(), init=INIT),
        {"objective": Rates(), "optimizer": Adadelta(l2=0.01)},
    ),
    "a loss without a slope": (
        mfcore.MF(4, output=Exponential(), init=INIT),
        {"objective": RatesWithoutSlope(), "optimizer": Adadelta(l2=0.01)},
    ),
    "a loss of pairs": (
        mfcore.GMF(4, init=INIT),
        {"objective": PairwiseHinge(0.7), "n_negatives": 2, "optimizer": mfcore.SGD(0.1)},
    ),
    "a loss of pairs without a slope": (
        mfcore.GMF(4, init=INIT),
        {"objective": PairwiseHingeWithoutSlope(0.7), "n_negatives": 2, "optimizer": mfcore.SGD(0.1)},
    ),
    "a loss in batches": (
        mfcore.TwoTower(4, (6, 3), "tanh", init=INIT),
        {"objective": InBatchBPR(), "optimizer": mfcore.SGD(0.02)},
    ),
}
# What the reference, which does not differentiate losses, is given in their place.
WITH_SLOPE = {RatesWithoutSlope(): Rates(), PairwiseHingeWithoutSlope(0.7): PairwiseHinge(0.7)}
COMPILED = ["a spec by pairs", "a loss in batches", "a loss without a slope"]


def agree(job, backend):
    """Assert that two epochs are as close to the reference as the dtype allows."""
    exact = replace(in_float64(job), objective=WITH_SLOPE.get(job.objective, job.objective))
    reference, trainer = registry.get("reference").trainer(exact), backend.trainer(job)
    objectives = [(trainer.run_epoch(epoch), reference.run_epoch(epoch)) for epoch in range(2)]
    allowed = {"float64": 1e-9, "float32": 1e-5}[job.dtype.name]
    assert distance(trainer.parameters(), reference.parameters(), job.parameters) <= allowed
    np.testing.assert_allclose(*np.transpose(objectives), rtol=allowed)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("run", RUNS)
def test_own_parts_agree_with_the_reference(ratings, job_of, run, dtype):
    spec, settings = RUNS[run]
    agree(job_of(spec, ratings, batch_size=37, dtype=dtype, **settings), TorchBackend(compile=False))


@needs_compiler
@pytest.mark.parametrize("run", COMPILED)
def test_so_do_compiled_ones(ratings, job_of, run):
    spec, settings = RUNS[run]
    agree(job_of(spec, ratings, batch_size=37, dtype="float64", **settings), TorchBackend(compile=True))


@pytest.fixture
def model_of(ratings):
    """A function that trains a model for an epoch."""

    def make(spec):
        backend = TorchBackend(compile=False)
        return mfcore.fit(spec, ratings, epochs=1, dtype="float64", backend=backend, progress=False)

    return make


OWN_SPECS = [
    TemperatureMF(),
    ItemTaste(output=Exponential()),
    HalvedNeuMF(3, (6, 4), "tanh"),
]


@pytest.mark.parametrize("spec", OWN_SPECS, ids=lambda spec: type(spec).__name__)
def test_models_of_own_specs_are_scored_on_the_device(model_of, spec):
    model = model_of(spec)
    assert isinstance(model.scorer, TopK)
    plain, users = replace(model, scorer=None), np.array([3, -1, 0])
    np.testing.assert_allclose(model.score_catalogue(users), plain.score_catalogue(users), rtol=1e-12)
    np.testing.assert_allclose(model.predict(3, [1, 2, 99]), plain.predict(3, [1, 2, 99]), rtol=1e-12)


@pytest.mark.parametrize("spec", OWN_SPECS, ids=lambda spec: type(spec).__name__)
def test_models_of_own_specs_become_modules_and_come_back(model_of, spec):
    model = model_of(spec)
    module = model.to_torch()
    users, items = torch.arange(20), torch.arange(20) % 7
    rows = users.numpy(), items.numpy()
    scores = model.spec.score_pairs(model.parameters, *rows)
    np.testing.assert_allclose(module(users, items).detach(), scores, rtol=1e-12)
    predictions = module.predict(users, items).detach()
    np.testing.assert_allclose(predictions, model.spec.output.predict(scores), rtol=1e-12)
    n = torch.export.Dim("n")
    program = torch.export.export(module, (users, items), dynamic_shapes={"users": {0: n}, "items": {0: n}})
    found = program.module()(users[:7], items[:7])
    torch.testing.assert_close(found, module(users[:7], items[:7]))
    back = mfcore.Model.from_torch(module, spec, model)
    for name, array in model.parameters.items():
        np.testing.assert_array_equal(back.parameters[name], array)


def test_the_module_of_an_own_spec_begins_where_fit_does_and_names_its_weights():
    module = build_module(ItemTaste(), 40, 25, torch.float64, seed=3)
    shapes = {name: tuple(weights.shape) for name, weights in module.state_dict().items()}
    assert shapes == {
        "user_bias.weight": (40, 1),
        "item_numbers.weight": (25, 6),
        "taste.units.weight": (2, 3),
        "taste.units.bias": (2,),
        "taste.weights": (2, 2),
    }
    initial = ItemTaste().initial_parameters(40, 25, seed=3, dtype=np.dtype("float64"), best_constant=0.0)
    kernel = module.state_dict()["taste.units.weight"].numpy()
    np.testing.assert_array_equal(kernel, initial["taste/units/kernel"].T)
    module(torch.arange(5), torch.arange(5)).sum().backward()
    assert all(weights.grad is not None for weights in module.parameters())
