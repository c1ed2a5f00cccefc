"""GMF, MLP and NeuMF: their parameters, and their scores against the equations of their docstrings."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mfcore import GMF, MLP, GlorotUniform, Linear, NeuMF, Normal, ReLU
from mfcore.errors import InvalidArgumentError
from mfcore.specs import _branches as arms

INIT = Normal(0.7)
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


def dense(inputs, parameters, name, function):
    """Return f(a W + c) of one row, written out."""
    kernel, bias = parameters[f"{name}/kernel"], parameters[f"{name}/bias"]
    n_in, n_out = kernel.shape
    return [function(sum(inputs[k] * kernel[k, j] for k in range(n_in)) + bias[j]) for j in range(n_out)]


def tower(spec, parameters, user, item, prefix=""):
    """Return a_L of one pair, written out."""
    outputs = [*parameters[f"{prefix}user_factors"][user], *parameters[f"{prefix}item_factors"][item]]
    for number in range(len(spec.layers) - 1):
        outputs = dense(outputs, parameters, f"dense_{number}", ACTIVATIONS[spec.activation])
    return outputs


def product(parameters, user, item):
    """Return p_u * q_i of one pair, written out."""
    p, q = parameters["user_factors"][user], parameters["item_factors"][item]
    return [p[k] * q[k] for k in range(len(p))]


def weighed(features, parameters):
    """Return h . features + c, written out."""
    kernel = parameters["output/kernel"]
    assert kernel.shape == (len(features), 1)
    return sum(kernel[k, 0] * features[k] for k in range(len(features))) + parameters["output/bias"][0]


def assert_scores(spec, score_of_a_pair):
    parameters = moved(spec)
    expected = [score_of_a_pair(parameters, user, item) for user, item in zip(USERS, ITEMS, strict=True)]
    assert spec.score_pairs(parameters, USERS, ITEMS) == pytest.approx(expected, rel=1e-12)


# GMF


def test_gmf_has_factors_an_output_unit_and_perhaps_biases():
    shapes = {
        "user_factors": (10, 8),
        "item_factors": (20, 8),
        "output/kernel": (8, 1),
        "output/bias": (1,),
    }
    biases = {"user_bias": (10,), "item_bias": (20,), "global_bias": (1,)}
    assert list(GMF(8).parameter_shapes(10, 20).items()) == list(shapes.items())
    assert list(GMF(8, biases=True).parameter_shapes(10, 20).items()) == list({**shapes, **biases}.items())


def test_the_score_of_gmf_is_the_weighed_product_of_the_factors():
    assert_scores(GMF(3, init=INIT), lambda p, user, item: weighed(product(p, user, item), p))


def test_the_score_of_gmf_with_biases_adds_them_and_the_constant():
    assert_scores(
        GMF(3, biases=True, init=INIT),
        lambda p, user, item: (
            weighed(product(p, user, item), p)
            + p["global_bias"][0]
            + p["user_bias"][user]
            + p["item_bias"][item]
        ),
    )


def test_gmf_trains_everything_but_the_constant():
    layout = GMF(2, biases=True).parameters(3, 4)
    assert [name for name, parameter in layout.items() if not parameter.trained] == ["global_bias"]


# MLP


def test_mlp_has_factors_of_half_the_first_width_a_tower_and_an_output_unit():
    assert list(MLP((8, 6, 3)).parameter_shapes(10, 20).items()) == [
        ("user_factors", (10, 4)),
        ("item_factors", (20, 4)),
        ("dense_0/kernel", (8, 6)),
        ("dense_0/bias", (6,)),
        ("dense_1/kernel", (6, 3)),
        ("dense_1/bias", (3,)),
        ("output/kernel", (3, 1)),
        ("output/bias", (1,)),
    ]


@pytest.mark.parametrize("layers", [(4, 5, 3), (2, 1), (6, 4, 4, 2)], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_score_of_mlp_is_the_weighed_end_of_its_tower(activation, layers):
    spec = MLP(layers, activation=activation, init=INIT)
    assert_scores(spec, lambda p, user, item: weighed(tower(spec, p, user, item), p))


@pytest.mark.parametrize("spec", [MLP((4, 5, 3), init=INIT), NeuMF(2, (4, 5, 3), init=INIT)], ids=str)
def test_a_catalogue_that_is_scored_in_pieces_is_the_same(monkeypatch, spec):
    parameters, users = moved(spec), np.array([5, 0, 3, 3])
    whole = spec.score_catalogue(parameters, users)
    for pairs_at_once in (1, 11):
        monkeypatch.setattr(arms, "PAIRS_AT_ONCE", pairs_at_once)
        assert spec.score_catalogue(parameters, users) == pytest.approx(whole, rel=1e-14)


# NeuMF


def test_neumf_has_factors_of_both_a_tower_and_an_output_unit_over_both():
    assert list(NeuMF(5, (8, 6, 3)).parameter_shapes(10, 20).items()) == [
        ("user_factors", (10, 5)),
        ("item_factors", (20, 5)),
        ("mlp_user_factors", (10, 4)),
        ("mlp_item_factors", (20, 4)),
        ("dense_0/kernel", (8, 6)),
        ("dense_0/bias", (6,)),
        ("dense_1/kernel", (6, 3)),
        ("dense_1/bias", (3,)),
        ("output/kernel", (8, 1)),
        ("output/bias", (1,)),
    ]


def test_a_projection_brings_the_tower_to_the_width_of_the_product():
    shapes = NeuMF(5, (8, 6, 3), fusion="projected").parameter_shapes(10, 20)
    names = list(shapes)
    assert names[names.index("dense_1/bias") + 1 :] == [
        "projection/kernel",
        "projection/bias",
        "output/kernel",
        "output/bias",
    ]
    assert (shapes["projection/kernel"], shapes["projection/bias"]) == ((3, 5), (5,))
    assert shapes["output/kernel"] == (10, 1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_score_of_neumf_weighs_the_product_and_the_end_of_the_tower(activation):
    spec = NeuMF(2, (4, 5, 3), activation=activation, init=INIT)
    assert_scores(
        spec,
        lambda p, user, item: weighed([*product(p, user, item), *tower(spec, p, user, item, "mlp_")], p),
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_projection_of_the_tower_has_no_activation(activation):
    spec = NeuMF(2, (4, 5, 3), activation=activation, fusion="projected", init=INIT)

    def score(p, user, item):
        end = tower(spec, p, user, item, "mlp_")
        return weighed([*product(p, user, item), *dense(end, p, "projection", lambda z: z)], p)

    assert_scores(spec, score)


def test_items_are_compared_by_the_factors_of_both_arms():
    spec = NeuMF(2, (4, 3), init=INIT)
    parameters = moved(spec)
    vectors = spec.item_vectors(parameters)
    assert np.array_equal(vectors[:, :2], parameters["item_factors"])
    assert np.array_equal(vectors[:, 2:], parameters["mlp_item_factors"])


# All three


def test_defaults_are_those_of_the_paper():
    assert NeuMF() == NeuMF(8, (64, 32, 16, 8), "relu", "concat", Linear(), Normal(0.01))
    assert MLP() == MLP(layers=(64, 32, 16, 8), activation="relu", init=Normal(std=0.01))
    assert GMF() == GMF(n_factors=32, biases=False, init=Normal(std=0.01))


@pytest.mark.parametrize("spec", [GMF(3), MLP((4, 2)), NeuMF(3, (4, 2), fusion="projected")], ids=str)
def test_factors_and_kernels_are_drawn_and_biases_are_zero_at_the_start(spec):
    layout = spec.parameters(6, 5)
    drawn = spec.initial_parameters(6, 5, seed=0, dtype=np.dtype(np.float64), best_constant=0.0)
    for name, array in drawn.items():
        assert array.any() == (not name.endswith("/bias")), name
    kernels = {name for name in layout if name.endswith("/kernel")}
    assert all(layout[name].init == GlorotUniform() for name in kernels)
    assert {layout[name].init for name in layout if name.endswith("factors")} == {Normal(std=0.01)}


@pytest.mark.parametrize("spec", [MLP((4, 2)), NeuMF(3, (4, 2))], ids=str)
def test_layers_given_as_a_list_are_the_same_spec(spec):
    assert replace(spec, layers=[4, 2]) == spec
    assert hash(replace(spec, layers=[4, 2])) == hash(spec)


def test_only_gmf_is_an_inner_product():
    assert [kind.is_inner_product for kind in (GMF, MLP, NeuMF)] == [True, False, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GMF(0), "GMF: n_factors is 0; it must be an integer of at least 1"),
        (lambda: GMF(8, biases=1), "GMF: biases is 1; pass an instance such as True"),
        (lambda: MLP((65, 32)), r"MLP: layers is \(65, 32\); its first width .* must be even: 66, say"),
        (lambda: MLP((64,)), r"MLP: layers is \(64,\); it needs at least 2 widths"),
        (lambda: MLP(64), "MLP: layers is 64; pass a sequence of widths"),
        (lambda: MLP((4, 0)), "MLP: layers holds 0; widths are integers from 1"),
        (lambda: MLP(activation="elu"), "MLP: activation is 'elu'; it must be one of relu, tanh, sigmoid"),
        (lambda: NeuMF(2.5), "NeuMF: n_factors is 2.5; it must be an integer"),
        (lambda: NeuMF(8, (3, 2)), r"NeuMF: layers is \(3, 2\); its first width .* must be even: 4, say"),
        (lambda: NeuMF(8, ()), r"NeuMF: layers is \(\); it needs at least 2 widths"),
        (lambda: NeuMF(activation=ReLU()), r"NeuMF: activation is ReLU\(\); it must be one of"),
        (lambda: NeuMF(fusion="sum"), "NeuMF: fusion is 'sum'; it must be 'concat' or 'projected'"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_settings_outside_their_domain_are_refused(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()
