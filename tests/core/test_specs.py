"""Specs: what all of them keep to, matrix factorisation, initial values, output functions."""

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from mfcore import MF, Constant, GlorotUniform, Linear, Normal, RatingRange, ReLU, Sigmoid, Uniform
from mfcore.errors import InvalidArgumentError
from mfcore.operators import NUMPY
from mfcore.settings import from_dict, to_dict
from mfcore.specs import MODELS

OUTPUTS = [Linear(), ReLU(), Sigmoid(), RatingRange(1, 5), RatingRange(1, 5, "sigmoid")]


def parameters_of(spec, seed=0, dtype=np.float64, n_users=6, n_items=5):
    return spec.initial_parameters(n_users, n_items, seed=seed, dtype=np.dtype(dtype), best_constant=3.5)


def moved(spec, dtype=np.float64):
    """Return parameters of which none is zero."""
    return {name: array + dtype(0.1) for name, array in parameters_of(spec, dtype=dtype).items()}


# What every spec keeps to


def test_initial_values_have_the_shapes_and_the_dtype_asked_for(any_spec):
    for dtype in (np.float32, np.float64):
        parameters = parameters_of(any_spec, dtype=dtype)
        assert {name: array.shape for name, array in parameters.items()} == any_spec.parameter_shapes(6, 5)
        assert {array.dtype for array in parameters.values()} == {np.dtype(dtype)}


def test_rows_are_of_one_side_and_the_other_arrays_do_not_grow_with_the_data(any_spec):
    small, large = any_spec.parameters(6, 5), any_spec.parameters(60, 50)
    for name, parameter in small.items():
        n_rows = {"user": (6, 60), "item": (5, 50), None: (parameter.shape[0],) * 2}[parameter.side]
        assert (parameter.shape[0], large[name].shape[0]) == n_rows
        assert parameter.shape[1:] == large[name].shape[1:]


def test_decay_spares_the_biases_of_dense_layers_and_constants_alone(any_spec):
    spared = [name for name, parameter in any_spec.parameters(6, 5).items() if not parameter.decayed]
    assert spared == [
        name for name in any_spec.parameter_shapes(6, 5) if name.endswith("/bias") or name == "global_bias"
    ]


def test_what_is_shared_by_items_shifts_all_scores_of_a_user_alike(any_spec):
    parameters = moved(any_spec)
    generator, users = np.random.default_rng(0), np.arange(6)
    before = any_spec.score_catalogue(parameters, users)
    for name, parameter in any_spec.parameters(6, 5).items():
        shift = generator.normal(size=parameter.shape)
        change = any_spec.score_catalogue({**parameters, name: parameters[name] + shift}, users) - before
        alike = np.ptp(change, axis=1).max() < 1e-9
        assert alike == (parameter.shared_by_items or not parameter.trained), name


def test_the_catalogue_is_scored_as_its_pairs_are(any_spec):
    parameters = moved(any_spec)
    users = np.array([3, 0, 3])
    pairs = [any_spec.score_pairs(parameters, np.full(5, user), np.arange(5)) for user in users]
    assert any_spec.score_catalogue(parameters, users) == pytest.approx(np.array(pairs), rel=1e-12)


def test_scores_and_gradients_keep_the_dtype_of_the_parameters(any_spec):
    users, items = np.array([0, 5, 5]), np.array([4, 0, 0])
    for dtype in (np.float32, np.float64):
        parameters = moved(any_spec, dtype)
        upstream = np.array([1, -1, 0.5], dtype=dtype)
        gradients = any_spec.score_gradients(parameters, users, items, upstream)
        arrays = (
            any_spec.score_pairs(parameters, users, items),
            any_spec.score_catalogue(parameters, users),
            any_spec.item_vectors(parameters),
            *gradients.values(),
        )
        assert {array.dtype for array in arrays} == {np.dtype(dtype)}


def test_no_pairs_have_no_scores(any_spec):
    none = np.array([], dtype=np.int64)
    assert any_spec.score_pairs(moved(any_spec), none, none).shape == (0,)
    assert any_spec.score_catalogue(moved(any_spec), none).shape == (0, 5)


def test_gradients_are_those_of_finite_differences(any_spec, numeric_gradient):
    parameters = moved(any_spec)
    users, items = np.array([0, 2, 2, 5]), np.array([1, 1, 1, 4])
    upstream = np.array([0.3, -1.0, 2.0, 0.5])
    gradients = any_spec.score_gradients(parameters, users, items, upstream)
    layout = any_spec.parameters(6, 5)
    assert set(gradients) == {name for name, parameter in layout.items() if parameter.trained}
    for name, gradient in gradients.items():
        rows = {"user": users, "item": items, None: ...}[layout[name].side]
        summed = np.zeros_like(parameters[name])
        np.add.at(summed, rows, gradient)
        numeric = numeric_gradient(
            lambda: upstream @ any_spec.score_pairs(parameters, users, items), parameters[name]
        )
        assert summed == pytest.approx(numeric, abs=1e-8), name


def test_an_inner_product_is_of_no_higher_rank_than_its_vectors_are_long(any_spec):
    spec = any_spec
    parameters = {name: array + 0.1 for name, array in parameters_of(spec, n_users=20, n_items=20).items()}
    rank = np.linalg.matrix_rank(spec.score_catalogue(parameters, np.arange(20)))
    width = spec.item_vectors(parameters).shape[1]
    # The sum of both biases and of the constant adds two at most.
    assert (rank <= width + 2) == spec.is_inner_product


def test_a_spec_is_a_value(any_spec):
    same = replace(any_spec)
    assert same == any_spec
    assert len({same, any_spec}) == 1
    assert replace(any_spec, output=Sigmoid()) != any_spec
    with pytest.raises(FrozenInstanceError):
        any_spec.output = Sigmoid()


def test_a_spec_comes_back_from_the_text_of_its_settings(any_spec):
    spec = replace(any_spec, output=RatingRange(1, 5, "sigmoid"))
    back = from_dict(json.loads(json.dumps(to_dict(spec))))
    assert back == spec
    assert hash(back) == hash(spec)


def test_every_kind_of_spec_has_a_name_on_the_command_line():
    assert list(MODELS) == ["mf", "gmf", "mlp", "neumf", "two-tower"]
    assert all(MODELS[name].short_name == name for name in MODELS)


@pytest.mark.parametrize("kind", MODELS.values(), ids=MODELS.keys())
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": Linear}, r"output is <class .*Linear'>; pass an instance such as Linear\(\)"),
        ({"init": "normal"}, "init is 'normal'; pass an instance such as"),
    ],
    ids=["output", "init"],
)
def test_every_spec_refuses_a_class_or_a_name_for_an_instance(kind, arguments, message):
    with pytest.raises(InvalidArgumentError, match=f"{kind.__name__}: {message}"):
        kind(**arguments)


# Matrix factorisation


@pytest.fixture(params=[False, True], ids=["factors only", "with biases"])
def spec(request):
    return MF(3, biases=request.param, init=Normal(1.0))


def test_the_first_argument_is_the_number_of_factors():
    assert MF(64) == MF(n_factors=64)


def test_parameters_have_the_names_and_shapes_that_every_engine_uses():
    assert MF(8).parameter_shapes(10, 20) == {"user_factors": (10, 8), "item_factors": (20, 8)}
    assert MF(8, biases=True).parameter_shapes(10, 20) == {
        "user_factors": (10, 8),
        "item_factors": (20, 8),
        "user_bias": (10,),
        "item_bias": (20,),
        "global_bias": (1,),
    }


def test_only_the_global_bias_is_not_trained():
    layout = MF(2, biases=True).parameters(3, 4)
    assert [name for name, parameter in layout.items() if not parameter.trained] == ["global_bias"]
    assert [parameter.side for parameter in layout.values()] == ["user", "item", "user", "item", None]


def test_biases_start_at_zero_and_the_global_bias_at_the_best_constant():
    parameters = parameters_of(MF(2, biases=True))
    assert not parameters["user_bias"].any()
    assert not parameters["item_bias"].any()
    assert parameters["global_bias"].tolist() == [3.5]


def test_the_score_is_the_sum_of_biases_and_the_product_of_factors(spec):
    parameters = parameters_of(spec)
    users, items = np.array([0, 5, 5]), np.array([4, 0, 1])
    expected = []
    for user, item in zip(users, items, strict=True):
        factors = zip(parameters["user_factors"][user], parameters["item_factors"][item], strict=True)
        score = sum(p * q for p, q in factors)
        if spec.biases:
            score += 3.5 + parameters["user_bias"][user] + parameters["item_bias"][item]
        expected.append(score)
    assert spec.score_pairs(parameters, users, items) == pytest.approx(expected, rel=1e-14)


def test_item_vectors_are_the_item_factors(spec):
    parameters = parameters_of(spec)
    assert spec.item_vectors(parameters) is parameters["item_factors"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_factors": 0}, "MF: n_factors is 0; it must be an integer of at least 1"),
        ({"n_factors": 2.5}, "MF: n_factors is 2.5; it must be an integer"),
        ({"n_factors": True}, "MF: n_factors is True; it must be an integer"),
        ({"biases": 3}, "MF: biases is 3; pass an instance such as True"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_matrix_factorisation_refuses_settings_outside_their_domain(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        MF(**arguments)


# Initial values


def test_normal_values_are_pinned():
    drawn = Normal(1.0).draw("user_factors", (2, 3), seed=5)
    expected = [
        [0.42366893347454276, -1.6730070896770106, 0.5045660169966525],
        [-0.838261701250312, 1.2583831573080644, -0.698126583552249],
    ]
    assert drawn == pytest.approx(np.array(expected), rel=1e-13)


def test_uniform_values_are_pinned():
    drawn = Uniform(0, 1).draw("user_factors", (3,), seed=5)
    assert drawn.tolist() == [0.22554760274942964, 0.7894742205971852, 0.6196287487400696]


def test_normal_values_have_the_moments_of_the_normal_distribution():
    drawn = Normal(std=2.0).draw("user_factors", (500, 200), seed=0) / 2
    assert drawn.mean() == pytest.approx(0, abs=0.01)
    assert drawn.std() == pytest.approx(1, abs=0.01)
    assert (drawn**3).mean() == pytest.approx(0, abs=0.05)
    assert (drawn**4).mean() == pytest.approx(3, abs=0.1)


def test_uniform_values_fill_their_interval():
    drawn = Uniform(-1, 3).draw("user_factors", (10_000,), seed=0)
    assert -1 < drawn.min() < -0.99
    assert 2.99 < drawn.max() < 3
    assert drawn.mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("shape", [(64, 32), (6, 1), (300, 2)], ids=str)
def test_the_values_of_a_kernel_fill_the_interval_of_glorot_and_bengio(shape):
    drawn = GlorotUniform().draw("dense_0/kernel", shape, seed=0)
    limit = np.sqrt(6 / sum(shape))
    assert drawn.shape == shape
    assert np.abs(drawn).max() < limit
    assert np.array_equal(drawn, Uniform(-limit, limit).draw("dense_0/kernel", shape, seed=0))


def test_a_kernel_keeps_the_spread_of_what_runs_through_it():
    inputs = np.random.default_rng(0).normal(size=(500, 256))
    outputs = inputs @ GlorotUniform().draw("dense_0/kernel", (256, 256), seed=0)
    assert outputs.std() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    "initializer", [Normal(), Uniform(), GlorotUniform()], ids=["normal", "uniform", "glorot"]
)
def test_another_seed_or_parameter_has_other_initial_values(initializer):
    drawn = initializer.draw("user_factors", (40, 2), seed=0)
    assert not np.isin(initializer.draw("user_factors", (40, 2), seed=1), drawn).any()
    assert not np.isin(initializer.draw("item_factors", (40, 2), seed=0), drawn).any()


def test_a_longer_table_begins_with_the_values_of_a_shorter_one():
    short, long = (Normal().draw("user_factors", (n, 3), seed=0) for n in (5, 50))
    assert np.array_equal(long[:5], short)


def test_constants_are_constant():
    assert Constant(0.5).draw("user_factors", (2, 2), seed=0).tolist() == [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normal(std=-1), "Normal: std is -1; it must be a finite number of at least 0"),
        (lambda: Normal(std="small"), "Normal: std is 'small'; it must be a finite number"),
        (lambda: Uniform(1, 0), "Uniform: low is 1 and high 0; exchange them"),
        (lambda: Uniform(float("nan"), 0), "Uniform: low is nan; it must be a finite number"),
        (lambda: Constant(float("inf")), "Constant: value is inf; it must be a finite number"),
    ],
    ids=["negative std", "std of text", "reversed interval", "NaN", "infinity"],
)
def test_an_initializer_refuses_settings_outside_their_domain(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()


# Output functions


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (Linear(), [-2, 0.5, 9]),
        (ReLU(), [0, 0.5, 9]),
        (Sigmoid(), [1 / (1 + np.exp(2)), 1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(-9))]),
        (RatingRange(1, 5), [1, 1, 5]),
        (RatingRange(1, 5, "sigmoid"), [1 + 4 / (1 + np.exp(-score)) for score in (-2, 0.5, 9)]),
    ],
    ids=str,
)
def test_predictions_are_the_output_function_of_the_scores(output, expected):
    assert output.predict(np.array([-2.0, 0.5, 9.0])) == pytest.approx(expected, rel=1e-14)


def trained_through(output, scores):
    """Return what training sees of scores, and its derivative, as arrays."""
    c = tuple(map(scores.dtype.type, output.constants()))
    return np.broadcast_arrays(*output.forward(NUMPY)(scores, c))


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_keep_dtype_and_stay_finite_for_extreme_scores(output, dtype):
    scores = np.array([-1e4, -50, 0, 50, 1e4], dtype=dtype)
    for values in (output.predict(scores), *trained_through(output, scores)):
        assert values.dtype == dtype
        assert np.isfinite(values).all()
    assert (np.diff(output.predict(scores)) >= 0).all()


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
def test_the_derivative_of_an_output_is_that_of_finite_differences(output, numeric_gradient):
    scores = np.array([-3.0, -0.4, 0.3, 4.0])

    def total():
        return trained_through(output, scores)[0].sum()

    numeric = numeric_gradient(total, scores)
    assert trained_through(output, scores)[1] == pytest.approx(numeric, abs=1e-9)


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
def test_the_inverse_gives_a_score_of_that_prediction(output):
    prediction = 0.7 if isinstance(output, Sigmoid) else 3.2
    score = np.array([output.inverse(prediction)])
    assert output.predict(score) == pytest.approx([prediction], rel=1e-12)


@pytest.mark.parametrize("output", [Sigmoid(), RatingRange(0, 1, "sigmoid")], ids=str)
def test_the_inverse_of_the_ends_of_a_sigmoid_is_finite(output):
    assert np.isfinite([output.inverse(0.0), output.inverse(1.0)]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 1), "RatingRange: low is 5 and high 1; low must be below high"),
        ((1, float("nan")), "RatingRange: high is nan; it must be a finite number"),
        ((1, 5, "round"), "RatingRange: method is 'round'; it must be 'clip' or 'sigmoid'"),
    ],
    ids=["reversed", "NaN", "unknown method"],
)
def test_a_rating_range_refuses_settings_outside_their_domain(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        RatingRange(*arguments)
