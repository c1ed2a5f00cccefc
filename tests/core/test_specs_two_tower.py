"""TwoTower: its parameters, and its score against the equation of its docstring."""

import math

import numpy as np
import pytest

from mfcore import MF, Normal, TwoTower, Uniform
from mfcore.errors import InvalidArgumentError

USERS, ITEMS = np.array([0, 5, 5, 2]), np.array([4, 0, 0, 1])
ACTIVATIONS = {
    "relu": lambda z: max(z, 0.0),
    "tanh": math.tanh,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
}


def moved(spec):
    """Return float64 parameters of 6 users and 5 items, of which none is zero."""
    drawn = spec.initial_parameters(6, 5, seed=1, dtype=np.dtype(np.float64), best_constant=3.5)
    return {name: array + 0.1 for name, array in drawn.items()}


def end(spec, parameters, side, row):
    """Return a_L of one user or item, written out: f after every layer but the last."""
    outputs = list(parameters[f"{side}_factors"][row])
    for number in range(len(spec.layers)):
        kernel = parameters[f"{side}_dense_{number}/kernel"]
        bias = parameters[f"{side}_dense_{number}/bias"]
        sums = [
            sum(outputs[k] * kernel[k, j] for k in range(len(outputs))) + bias[j] for j in range(len(bias))
        ]
        last = number == len(spec.layers) - 1
        outputs = sums if last else [ACTIVATIONS[spec.activation](z) for z in sums]
    return outputs


def test_each_tower_has_factors_and_layers_of_its_own():
    assert list(TwoTower(8, (6, 3)).parameter_shapes(10, 20).items()) == [
        ("user_factors", (10, 8)),
        ("item_factors", (20, 8)),
        ("user_dense_0/kernel", (8, 6)),
        ("user_dense_0/bias", (6,)),
        ("user_dense_1/kernel", (6, 3)),
        ("user_dense_1/bias", (3,)),
        ("item_dense_0/kernel", (8, 6)),
        ("item_dense_0/bias", (6,)),
        ("item_dense_1/kernel", (6, 3)),
        ("item_dense_1/bias", (3,)),
    ]


def test_by_default_there_are_no_layers():
    assert TwoTower() == TwoTower(32, (), "relu", init=Uniform(-0.05, 0.05))
    assert TwoTower(8).parameter_shapes(10, 20) == {"user_factors": (10, 8), "item_factors": (20, 8)}


@pytest.mark.parametrize("layers", [(4,), (4, 2), (5, 5, 3)], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_score_is_the_inner_product_of_the_ends_of_the_towers(activation, layers):
    spec = TwoTower(3, layers, activation, init=Normal(0.7))
    parameters = moved(spec)
    expected = [
        sum(
            a * b
            for a, b in zip(end(spec, parameters, "user", u), end(spec, parameters, "item", i), strict=True)
        )
        for u, i in zip(USERS, ITEMS, strict=True)
    ]
    assert spec.score_pairs(parameters, USERS, ITEMS) == pytest.approx(expected, rel=1e-12)


def test_without_layers_it_is_matrix_factorisation_without_biases():
    parameters = moved(TwoTower(3, init=Normal(0.7)))
    for method in ("score_pairs", "score_catalogue"):
        arguments = (parameters, USERS, ITEMS)[: 3 if method == "score_pairs" else 2]
        of_towers, of_mf = (getattr(spec, method)(*arguments) for spec in (TwoTower(3), MF(3)))
        assert of_towers == pytest.approx(of_mf, rel=1e-13)


def test_items_are_compared_by_the_ends_of_their_tower():
    spec = TwoTower(3, (4, 2), "tanh", init=Normal(0.7))
    parameters = moved(spec)
    expected = [end(spec, parameters, "item", row) for row in range(5)]
    assert spec.item_vectors(parameters) == pytest.approx(np.array(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TwoTower(0), "TwoTower: n_factors is 0; it must be an integer of at least 1"),
        (lambda: TwoTower(8, 4), "TwoTower: layers is 4; pass a sequence of widths"),
        (lambda: TwoTower(8, (4, -1)), "TwoTower: layers holds -1; widths are integers from 1"),
        (lambda: TwoTower(8, (4,), "linear"), "TwoTower: activation is 'linear'; it must be one of relu"),
    ],
    ids=["no factors", "a number of layers", "negative width", "unknown activation"],
)
def test_settings_outside_their_domain_are_refused(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()
