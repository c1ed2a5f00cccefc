"""Stacks of dense layers: what they compute, how they are built, which settings they refuse."""

import math

import numpy as np
import pytest

from mfcore.errors import InvalidArgumentError
from mfcore.operators import NUMPY
from mfcore.specs import ACTIVATIONS, Layer, Stack
from mfcore.specs._dense import checked_widths, require_activation

PLAIN = {
    "relu": lambda z: max(z, 0.0),
    "tanh": math.tanh,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "linear": lambda z: z,
}


def drawn(stack, seed=0):
    """Return parameters of which none is zero, and three rows of inputs."""
    generator = np.random.default_rng(seed)
    parameters = {name: generator.normal(size=p.shape) for name, p in stack.parameters().items()}
    return parameters, generator.normal(size=(3, stack.layers[0].n_in))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_layer_is_the_activation_of_a_weighed_sum(activation):
    stack = Stack((Layer("dense_0", 4, 3, activation),))
    parameters, inputs = drawn(stack)
    kernel, bias = parameters["dense_0/kernel"], parameters["dense_0/bias"]
    expected = [
        [PLAIN[activation](sum(row[k] * kernel[k, j] for k in range(4)) + bias[j]) for j in range(3)]
        for row in inputs
    ]
    assert stack.layers[0].forward(NUMPY, parameters, inputs) == pytest.approx(np.array(expected), rel=1e-13)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_stack_is_differentiated_as_finite_differences_do(activation, numeric_gradient):
    stack = Stack.make("dense", (4, 5, 2), activation)
    parameters, inputs = drawn(stack)
    upstream = np.random.default_rng(1).normal(size=(3, 2))

    def total():
        return (upstream * stack.forward(NUMPY, parameters, inputs)).sum()

    by_inputs, gradients = stack.backward(parameters, stack.outputs(parameters, inputs), upstream)
    assert by_inputs == pytest.approx(numeric_gradient(total, inputs), abs=1e-8)
    assert set(gradients) == set(parameters)
    for name, gradient in gradients.items():
        assert gradient == pytest.approx(numeric_gradient(total, parameters[name]), abs=1e-8), name


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_keep_their_dtype_and_stay_finite_for_extreme_sums(activation, dtype):
    values = ACTIVATIONS[activation].function(NUMPY, np.array([-1e4, -50, 0, 50, 1e4], dtype=dtype))
    for array in (values, ACTIVATIONS[activation].slope(values)):
        assert array.dtype == dtype
        assert np.isfinite(array).all()


def test_layers_are_numbered_and_lead_from_width_to_width():
    stack = Stack.make("dense", (8, 4, 2, 3), "relu", last="linear")
    assert [(layer.name, layer.n_in, layer.n_out, layer.activation) for layer in stack.layers] == [
        ("dense_0", 8, 4, "relu"),
        ("dense_1", 4, 2, "relu"),
        ("dense_2", 2, 3, "linear"),
    ]


def test_a_stack_of_one_width_is_the_identity():
    stack = Stack.make("dense", (4,), "relu", last="linear")
    inputs, upstream = np.ones((3, 4)), np.full((3, 4), 2.0)
    assert stack.parameters() == {}
    assert stack.forward(NUMPY, {}, inputs) is inputs
    assert stack.outputs({}, inputs) == [inputs]
    by_inputs, gradients = stack.backward({}, [inputs], upstream)
    assert by_inputs is upstream
    assert gradients == {}


def test_a_stack_can_begin_after_its_first_layer():
    stack = Stack.make("dense", (4, 5, 2, 3), "tanh")
    parameters, inputs = drawn(stack)
    outputs = stack.outputs(parameters, inputs)
    last = stack.forward(NUMPY, parameters, outputs[1], first=1)
    assert last.tolist() == outputs[-1].tolist() == stack.forward(NUMPY, parameters, inputs).tolist()


@pytest.mark.parametrize("widths", [[8, 4], (8, 4), np.array([8, 4]), (np.int32(8), 4)], ids=str)
def test_widths_may_be_any_sequence_of_integers(widths):
    found = checked_widths("MLP: layers", widths, at_least=2)
    assert found == (8, 4)
    assert {type(width) for width in found} == {int}


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ("64", "MLP: layers is '64'; pass a sequence of widths"),
        (64, "MLP: layers is 64; pass a sequence of widths"),
        (None, "MLP: layers is None; pass a sequence of widths"),
        ((64, 0), "MLP: layers holds 0; widths are integers from 1"),
        ((64, 2.0), "MLP: layers holds 2.0; widths are integers from 1"),
        ((64, True), "MLP: layers holds True; widths are integers from 1"),
        (("a", "b"), "MLP: layers holds 'a'; widths are integers from 1"),
        ((64,), r"MLP: layers is \(64,\); it needs at least 2 widths"),
    ],
    ids=["text", "number", "nothing", "zero", "float", "bool", "names", "too few"],
)
def test_widths_that_are_none_are_refused_with_an_example(widths, message):
    with pytest.raises(InvalidArgumentError, match=rf"{message}, e\.g\. \(64, 32, 16, 8\)"):
        checked_widths("MLP: layers", widths, at_least=2)


@pytest.mark.parametrize("activation", ["linear", "ReLU", "gelu", None, np.tanh, ["relu"]], ids=str)
def test_an_activation_that_is_none_of_three_is_refused(activation):
    with pytest.raises(InvalidArgumentError, match="it must be one of relu, tanh, sigmoid"):
        require_activation("MLP: activation", activation)
