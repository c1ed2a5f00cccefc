"""Specs: parameters, scores and their derivatives, initial values, output functions."""

import numpy as np
import pytest

from mfcore import MF, Constant, Linear, Normal, RatingRange, ReLU, Sigmoid, Uniform
from mfcore.errors import InvalidArgumentError

OUTPUTS = [Linear(), ReLU(), Sigmoid(), RatingRange(1, 5), RatingRange(1, 5, "sigmoid")]


def parameters_of(spec, seed=0, dtype=np.float64, n_users=6, n_items=5):
    return spec.initial_parameters(n_users, n_items, seed=seed, dtype=np.dtype(dtype), best_constant=3.5)


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


def test_initial_values_have_the_shapes_and_the_dtype_asked_for(spec):
    for dtype in (np.float32, np.float64):
        parameters = parameters_of(spec, dtype=dtype)
        assert {name: array.shape for name, array in parameters.items()} == spec.parameter_shapes(6, 5)
        assert {array.dtype for array in parameters.values()} == {np.dtype(dtype)}


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
    assert spec.score(parameters, users, items) == pytest.approx(expected, rel=1e-14)


def test_the_catalogue_is_scored_as_its_pairs_are(spec):
    parameters = {name: array + 0.1 for name, array in parameters_of(spec).items()}
    users = np.array([3, 0, 3])
    pairs = [spec.score(parameters, np.full(5, user), np.arange(5)) for user in users]
    assert spec.score_catalogue(parameters, users) == pytest.approx(np.array(pairs), rel=1e-13)


def test_gradients_are_those_of_finite_differences(spec, numeric_gradient):
    parameters = {name: array + 0.1 for name, array in parameters_of(spec).items()}
    users, items = np.array([0, 2, 2, 5]), np.array([1, 1, 1, 4])
    upstream = np.array([0.3, -1.0, 2.0, 0.5])
    gradients = spec.score_gradients(parameters, users, items, upstream)
    layout = spec.parameters(6, 5)
    assert set(gradients) == {name for name, parameter in layout.items() if parameter.trained}
    for name, gradient in gradients.items():
        summed = np.zeros_like(parameters[name])
        np.add.at(summed, users if layout[name].side == "user" else items, gradient)
        numeric = numeric_gradient(lambda: upstream @ spec.score(parameters, users, items), parameters[name])
        assert summed == pytest.approx(numeric, abs=1e-8)


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
        ({"output": Linear}, r"MF: output is <class .*Linear'>; pass an instance such as Linear\(\)"),
        ({"init": "normal"}, r"MF: init is 'normal'; pass an instance such as Normal\(std=0.01\)"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_spec_refuses_settings_outside_their_domain(arguments, message):
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


@pytest.mark.parametrize("initializer", [Normal(), Uniform()], ids=["normal", "uniform"])
def test_another_seed_or_parameter_has_other_initial_values(initializer):
    drawn = initializer.draw("user_factors", (40,), seed=0)
    assert not np.isin(initializer.draw("user_factors", (40,), seed=1), drawn).any()
    assert not np.isin(initializer.draw("item_factors", (40,), seed=0), drawn).any()


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


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_keep_dtype_and_stay_finite_for_extreme_scores(output, dtype):
    scores = np.array([-1e4, -50, 0, 50, 1e4], dtype=dtype)
    for values in (output.predict(scores), *output.train(scores)):
        assert values.dtype == dtype
        assert np.isfinite(values).all()
    assert (np.diff(output.predict(scores)) >= 0).all()


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
def test_the_derivative_of_an_output_is_that_of_finite_differences(output, numeric_gradient):
    scores = np.array([-3.0, -0.4, 0.3, 4.0])

    def total():
        return output.train(scores)[0].sum()

    numeric = numeric_gradient(total, scores)
    assert output.train(scores)[1] == pytest.approx(numeric, abs=1e-9)


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
