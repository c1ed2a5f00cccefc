"""A person's own losses, outputs and rules on the numba engine, and which parts it refuses."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest

import mfcore
from mfcore.engines import TrainingJob, registry
from mfcore.objectives import InBatchObjective, PairwiseObjective, PointwiseObjective
from mfcore.operators import NUMPY
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import ACTIVATIONS, Activation, Embeddings, InnerProduct, Output, Parameter
from mfcore.testing import Deviation, Outcome, in_float64

numba = pytest.importorskip("numba", reason="numba is not installed on this Python")

from mfcore_numba import operators  # noqa: E402
from mfcore_numba.objectives import built_in_loss  # noqa: E402

TOLERANCE = {"float64": 1e-9, "float32": 1e-5}
ELSEWHERE = "use backend='torch', 'keras' or 'reference'"


@dataclass(frozen=True)
class PairwiseHinge(PairwiseObjective):
    """The interaction's item is to score higher than the negative by a margin."""

    margin: float = 0.1

    def constants(self):
        return (self.margin, 0.0, 1.0)

    def terms(self, xp):
        def hinge(difference, target, c):
            margin, zero, one = c
            room = margin - difference
            return xp.maximum(room, zero), one, xp.where(room > zero, zero * room - one, zero * room)

        return hinge


def own_softplus(xp, x):
    return xp.maximum(x, 0 * x) + xp.log1p(xp.exp(-xp.abs(x)))


@dataclass(frozen=True)
class Softplus(PointwiseObjective):
    """The logistic loss, by a function of its author's, weighted, with numbers of Python's in it."""

    def targets(self, values, n_negatives):
        return (values > 3).astype(values.dtype)

    def weights(self, values):
        return 1 + values / 5

    def terms(self, xp):
        return lambda score, target, c: (
            own_softplus(xp, score) - target * score,
            1,
            xp.sigmoid(score) - target,
        )


@dataclass(frozen=True)
class Cauchy(PointwiseObjective):
    """log(1 + e^2) of the error e of the prediction: its arguments' product would soon overflow."""

    through_output: ClassVar[bool] = True

    def targets(self, values, n_negatives):
        return values * 1e6

    def constants(self):
        return (1.0, 2.0)

    def terms(self, xp):
        def cauchy(prediction, target, c):
            error = prediction - target
            argument = c[0] + error * error
            return 0 * error, argument, c[1] * error / argument

        return cauchy


@dataclass(frozen=True)
class Exponential(Output):
    """Predictions that are counts, exp(score)."""

    def forward(self, xp):
        def exponential(score, c):
            rate = xp.exp(score)
            return rate, rate

        return exponential

    def inverse(self, prediction):
        return float(np.log(prediction))


@dataclass(frozen=True)
class Adadelta(GradientOptimizer):
    """Zeiler, "ADADELTA: an adaptive learning rate method", 2012."""

    slots: ClassVar[tuple[str, ...]] = ("mean_square", "mean_square_step")
    learning_rate: float = 1.0
    rho: float = 0.95
    epsilon: float = 1e-4

    def coefficients(self, step, learning_rate):
        return (learning_rate, self.rho, 1 - self.rho, self.epsilon)

    @staticmethod
    def rule(xp):
        def update(parameter, gradient, square, square_step, c):
            rate, rho, rest, epsilon = c
            square = rho * square + rest * gradient * gradient
            move = gradient * xp.sqrt(square_step + epsilon) / xp.sqrt(square + epsilon)
            return parameter - rate * move, square, rho * square_step + rest * move * move

        return update


@dataclass(frozen=True)
class Drifting(GradientOptimizer):
    """A rule without slots that moves every row in every step, by another part of it each time."""

    def coefficients(self, step, learning_rate):
        return (learning_rate, 1 - 1e-3 * (step % 7))

    @staticmethod
    def rule(xp):
        def update(parameter, gradient, unused, also_unused, c):
            kept = xp.where(gradient == 0, 0.999 * parameter, c[1] * parameter)
            return kept - c[0] * xp.tanh(gradient), unused, also_unused

        return update


class OwnLogistic(mfcore.Logistic):
    """A logistic loss of another name."""


MF = mfcore.MF(7, biases=True, init=mfcore.Normal(0.1))
NEUMF = mfcore.NeuMF(7, (10, 9, 5), "tanh", init=mfcore.Normal(0.3))
ADAM, SGD = mfcore.Adam(0.01, l2=0.02), mfcore.SGD(0.05, l2=0.02)
BATCHES = {"batch_size": 64}
JOBS: dict[str, tuple[Any, dict[str, Any]]] = {
    "hinge": (MF, {"objective": PairwiseHinge(), "n_negatives": 2, "optimizer": ADAM, **BATCHES}),
    "weighted": (MF, {"objective": Softplus(), "optimizer": ADAM, **BATCHES}),
    "large arguments": (MF, {"objective": Cauchy(), "optimizer": mfcore.LazyAdam(0.01), **BATCHES}),
    "output": (
        mfcore.MF(7, biases=True, output=Exponential(), init=mfcore.Normal(0.1)),
        {"objective": "squared", "optimizer": ADAM, **BATCHES},
    ),
    "single steps": (MF, {"objective": Softplus(), "optimizer": SGD, "batch_size": 1}),
    "two slots": (MF, {"objective": "squared", "optimizer": Adadelta(l2=0.02), **BATCHES}),
    "never at rest": (MF, {"objective": "squared", "optimizer": Drifting(0.05, l2=0.02), "batch_size": 3}),
    "all of them": (
        NEUMF,
        {
            "objective": PairwiseHinge(),
            "n_negatives": 1,
            "optimizer": Adadelta(l2=0.02, l2_dense=0.01),
            **BATCHES,
        },
    ),
    "towers": (
        mfcore.TwoTower(7, (9, 5), "tanh", init=mfcore.Uniform(-0.5, 0.5)),
        {"objective": "in_batch_softmax", "optimizer": Drifting(0.05), **BATCHES},
    ),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", JOBS)
def test_own_parts_train_as_on_the_reference(ratings, job_of, name, dtype):
    spec, settings = JOBS[name]
    job = job_of(spec, ratings, dtype=dtype, threads=2, **settings)
    assert registry.get("numba").unsupported(job) is None
    exact = Outcome.of(registry.get("reference"), in_float64(job), 2)
    found = Deviation.between(exact, Outcome.of(registry.get("numba"), job, 2), in_float64(job).parameters)
    together = dtype == "float32"
    assert (found.whole_parameters if together else found.parameters) <= TOLERANCE[dtype]
    assert (found.whole_state if together else found.state) <= TOLERANCE[dtype]
    assert found.objective <= TOLERANCE[dtype]


def test_a_derived_loss_that_keeps_its_formulas_runs_on_the_built_in_kernels(ratings, job_of):
    settings = {"n_negatives": 1, "optimizer": ADAM}
    own, built_in = (
        job_of(MF, ratings, objective=objective, **settings) for objective in (OwnLogistic(), "logistic")
    )
    assert built_in_loss(own) == built_in_loss(built_in) is not None
    found, expected = (Outcome.of(registry.get("numba"), job, 1) for job in (own, built_in))
    for one, array in expected.parameters.items():
        np.testing.assert_array_equal(found.parameters[one], array)


# Nothing out of date


def test_a_class_that_is_defined_anew_takes_effect(ratings, job_of):
    def moved(sign: float) -> float:
        @dataclass(frozen=True)
        class Linear(PointwiseObjective):
            def targets(self, values, n_negatives):
                return values

            def terms(self, xp):
                return lambda score, target, c: (sign * score, 1, sign)

        job = job_of(MF, ratings, objective=Linear(), optimizer=SGD, **BATCHES)
        return float(Outcome.of(registry.get("numba"), job, 1).parameters["item_bias"].sum())

    assert moved(1.0) < 0 < moved(-1.0)


def test_a_source_that_changed_does_not_meet_a_kernel_of_the_old_one(tmp_path):
    module = textwrap.dedent("""
        from typing import ClassVar
        from mfcore.objectives import PointwiseObjective
        class Linear(PointwiseObjective):
            def targets(self, values, n_negatives):
                return values
            def terms(self, xp):
                return lambda score, target, c: (SIGN * score, 1, SIGN)
    """)
    script = (
        "import mfcore, own\n"
        "from numba.core import event\n"
        "compiled = event.RecordingListener()\n"
        "data = mfcore.data.synthetic(500, 40, 30, seed=0).interactions\n"
        "with event.install_listener('numba:compile', compiled):\n"
        "    model = mfcore.fit(mfcore.MF(5, biases=True), data, objective=own.Linear(), epochs=1,\n"
        "        optimizer=mfcore.SGD(0.05), batch_size=1, backend='numba', progress=False)\n"
        "print(len(compiled.buffer), model.parameters['item_bias'].sum())\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": path}
    counts, sums = [], []
    for sign in ("1.0", "-1.0"):
        # Of one length and one time stamp.
        (tmp_path / "own.py").write_text(module.replace("SIGN", sign.rjust(4)))
        os.utime(tmp_path / "own.py", (1e9, 1e9))
        printed = subprocess.check_output(
            [sys.executable, "-B", "-c", script], env=environment, text=True
        ).split()
        counts.append(int(printed[0]))
        sums.append(float(printed[1]))
    assert sums[0] < 0 < sums[1]
    # The second process compiles the loss, and reads all else from disk.
    assert counts[1] < counts[0] / 5


# What is refused


@dataclass(frozen=True)
class WithoutSlope(PointwiseObjective):
    def targets(self, values, n_negatives):
        return values

    def terms(self, xp):
        return lambda score, target, c: ((score - target) * (score - target), 1)


@dataclass(frozen=True)
class OfItself(PointwiseObjective):
    scale: float = 2.0

    def targets(self, values, n_negatives):
        return values

    def terms(self, xp):
        return lambda score, target, c: (self.scale * score, 1, self.scale)


@dataclass(frozen=True)
class InBatchHinge(InBatchObjective):
    def matrix_terms(self, xp):
        return lambda scores, own, hits, log_q: (xp.sum(scores, axis=1), scores)


@dataclass(frozen=True)
class OfNumpy(mfcore.SGD):
    @staticmethod
    def rule(xp):
        return lambda parameter, gradient, first, second, c: (xp.clip(parameter), first, second)


@dataclass(frozen=True)
class Shifted(InnerProduct):
    n_factors: int = 4
    output: Output = field(default_factory=mfcore.Linear)

    def parameters(self, n_users, n_items):
        init = mfcore.Normal(0.1)
        return {
            "user_factors": Parameter((n_users, self.n_factors), init, side="user"),
            "item_factors": Parameter((n_items, self.n_factors), init, side="item"),
        }

    def user_embeddings(self, xp, rows, dense):
        return Embeddings(rows["user_factors"] + 1)

    def item_embeddings(self, xp, rows, dense):
        return Embeddings(rows["item_factors"])


class HalfMF(mfcore.MF):
    def score(self, xp, users, items, dense):
        return 0.5 * super().score(xp, users, items, dense)


REFUSED: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "a loss without slope": (
        MF,
        {"objective": WithoutSlope()},
        ["WithoutSlope.terms gives no slope", "return (linear, argument, slope)"],
    ),
    "a loss of its own attributes": (
        MF,
        {"objective": OfItself()},
        ["Numba cannot compile OfItself for single numbers", "its constants", ELSEWHERE],
    ),
    "an in-batch loss": (
        mfcore.TwoTower(4),
        {"objective": InBatchHinge()},
        ["compiles the in-batch softmax alone", "InBatchHinge", ELSEWHERE],
    ),
    "a rule of another library": (
        MF,
        {"optimizer": OfNumpy(0.1)},
        ["Numba cannot compile OfNumpy for single numbers", "clip", ELSEWHERE],
    ),
    "a model": (Shifted(), {}, ["kernels of its own for the built-in models", "Shifted", ELSEWHERE]),
    "a derived model": (HalfMF(4), {}, ["none for the score of HalfMF", ELSEWHERE]),
    "a derived model by alternating least squares": (
        HalfMF(4),
        {"optimizer": "wals"},
        ["none for the score of HalfMF", ELSEWHERE],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_lacks_is_refused_with_the_engines_that_take_it(ratings, job_of, name):
    spec, settings, reasons = REFUSED[name]
    reason = registry.get("numba").unsupported(job_of(spec, ratings, **{"batch_size": 64, **settings}))
    for words in reasons:
        assert words in reason


def test_an_activation_that_was_added_is_refused(ratings, job_of, monkeypatch):
    softplus = Activation(lambda xp, z: xp.log1p(xp.exp(z)), lambda a: 1 - np.exp(-a))
    monkeypatch.setitem(ACTIVATIONS, "softplus", softplus)
    for spec in (mfcore.MLP((6, 4), "softplus"), mfcore.TwoTower(4, (4, 3), "softplus")):
        reason = registry.get("numba").unsupported(job_of(spec, ratings, batch_size=64))
        assert "not 'softplus'; use backend='torch'" in reason


def test_a_derived_model_that_scores_in_its_own_way_is_ranked_by_the_core(ratings):
    model = mfcore.fit(HalfMF(4), ratings, epochs=1, batch_size=64, backend="reference", progress=False)
    assert registry.get("numba").scorer(model) is None


def test_a_derived_model_that_keeps_its_score_is_taken(ratings, job_of):
    class Named(mfcore.NeuMF):
        """NeuMF by another name."""

        def __str__(self) -> str:
            return "named"

    job: TrainingJob = job_of(Named(4, (8, 4)), ratings, batch_size=64)
    assert registry.get("numba").unsupported(job) is None


# Operators on single numbers

NUMBERS = [-np.inf, -1e4, -1.5, -0.0, 0.0, 1e-9, 0.7, 3.0, 1e4, np.inf, np.nan]
OF_ONE = ["exp", "expm1", "log", "log1p", "abs", "sqrt", "tanh", "sigmoid", "relu"]


def compiled(function: Callable[[float], float]) -> Any:
    """Return an operator compiled as a part of a definition."""

    def definition(x):
        return function(x)

    return numba.njit(definition)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", OF_ONE)
def test_operators_of_a_number_are_numpy_s_and_keep_the_dtype(name, dtype):
    function, numbers = compiled(getattr(operators, name)), np.array(NUMBERS, dtype=dtype)
    with np.errstate(all="ignore"):
        expected = getattr(NUMPY, name)(numbers)
    found = [function(number) for number in numbers]
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps)
    (overload,) = function.overloads.values()
    assert str(overload.signature.return_type) == dtype


@numba.njit
def of_two(x, y):
    return operators.maximum(x, y), operators.minimum(x, y), operators.where(x >= y, x, y)


def test_operators_of_two_numbers_are_numpy_s():
    for x in NUMBERS:
        for y in NUMBERS:
            expected = np.maximum(x, y), np.minimum(x, y), np.where(x >= y, x, y)
            np.testing.assert_array_equal(of_two(x, y), expected)
