"""Fixtures of the core's tests: a small spec of every kind, and the objectives that each is trained by."""

from itertools import product

import pytest

from mfcore import (
    BPR,
    GMF,
    MF,
    MLP,
    InBatchSoftmax,
    Logistic,
    NeuMF,
    Normal,
    Squared,
    TwoTower,
    WeightedSquared,
)
from mfcore.objectives import Objective
from mfcore.specs import ModelSpec

INIT = Normal(0.7)
SPECS: dict[str, ModelSpec] = {
    "MF": MF(3, init=INIT),
    "MF with biases": MF(3, biases=True, init=INIT),
    "GMF": GMF(3, init=INIT),
    "GMF with biases": GMF(3, biases=True, init=INIT),
    "MLP of relu": MLP((4, 5, 3), init=INIT),
    "MLP of tanh": MLP((6, 2), activation="tanh", init=INIT),
    "MLP of sigmoid": MLP((4, 3, 3), activation="sigmoid", init=INIT),
    "NeuMF": NeuMF(2, (4, 3, 2), activation="tanh", init=INIT),
    "NeuMF, projected": NeuMF(3, (4, 2), activation="tanh", fusion="projected", init=INIT),
    "TwoTower": TwoTower(3, init=INIT),
    "TwoTower with layers": TwoTower(3, (4, 2), activation="tanh", init=INIT),
}
# Each with a number of negatives per interaction.
OBJECTIVES: dict[str, tuple[Objective, int]] = {
    "squared": (Squared(), 0),
    "weighted squared": (WeightedSquared(0.5), 1),
    "logistic": (Logistic(), 2),
    "BPR": (BPR(), 2),
    "in-batch softmax": (InBatchSoftmax(0.7), 0),
    "in-batch softmax, plain": (InBatchSoftmax(1.0, logq=False, remove_accidental_hits=False), 0),
}
TRAININGS = {
    f"{model}, {name}": (spec, *objective)
    for (model, spec), (name, objective) in product(SPECS.items(), OBJECTIVES.items())
    if spec.is_inner_product or objective[0].pairing != "in-batch"
}


@pytest.fixture(params=SPECS.values(), ids=SPECS.keys())
def any_spec(request: pytest.FixtureRequest) -> ModelSpec:
    """Return each model in turn, of few parameters, with every option that changes its score."""
    spec: ModelSpec = request.param
    return spec


@pytest.fixture(params=TRAININGS.values(), ids=TRAININGS.keys())
def any_training(request: pytest.FixtureRequest) -> tuple[ModelSpec, Objective, int]:
    """Return each model with each objective that it can be trained by, and a number of negatives."""
    training: tuple[ModelSpec, Objective, int] = request.param
    return training
