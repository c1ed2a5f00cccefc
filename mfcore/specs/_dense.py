"""Stacks of dense layers, forward and backward: the towers of the neural models."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfcore.errors import InvalidArgumentError
from mfcore.specs._base import Floats, Parameter, Parameters
from mfcore.specs._initializers import Constant, GlorotUniform
from mfcore.specs._outputs import sigmoid

LINEAR = "linear"

# By name: the function, and its derivative written in terms of its own value.
ACTIVATIONS: dict[str, tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]] = {
    "relu": (lambda z: np.maximum(z, z.dtype.type(0)), lambda a: (a > 0).astype(a.dtype)),
    "tanh": (np.tanh, lambda a: 1 - a * a),
    "sigmoid": (sigmoid, lambda a: a * (1 - a)),
    LINEAR: (lambda z: z, np.ones_like),
}


@dataclass(frozen=True)
class Layer:
    """One dense layer: a -> f(a W + c).

    Attributes
    ----------
    name : str
        Its parameters are "name/kernel" [n_in, n_out] and "name/bias" [n_out].
    n_in, n_out : int
    activation : str
        f: a name in `ACTIVATIONS`.
    """

    name: str
    n_in: int
    n_out: int
    activation: str

    @property
    def kernel(self) -> str:
        """The name of W."""
        return f"{self.name}/kernel"

    @property
    def bias(self) -> str:
        """The name of c."""
        return f"{self.name}/bias"

    def parameters(self) -> dict[str, Parameter]:
        """Return W, drawn uniformly after Glorot & Bengio, and c, zero at the start."""
        return {
            self.kernel: Parameter((self.n_in, self.n_out), GlorotUniform()),
            self.bias: Parameter((self.n_out,), Constant(0.0), decayed=False),
        }

    def activate(self, sums: Floats) -> Floats:
        """Return f of the sums a W + c."""
        function, _ = ACTIVATIONS[self.activation]
        return function(sums)

    def forward(self, parameters: Parameters, inputs: Floats) -> Floats:
        """Return f(a W + c), [n, n_out]."""
        return self.activate(inputs @ parameters[self.kernel] + parameters[self.bias])

    def backward(
        self, parameters: Parameters, inputs: Floats, outputs: Floats, upstream: Floats
    ) -> tuple[Floats, dict[str, Floats]]:
        """Return the derivatives by the inputs [n, n_in] and by the parameters, given that by the outputs."""
        _, slope = ACTIVATIONS[self.activation]
        upstream = upstream * slope(outputs)
        gradients: dict[str, Floats] = {
            self.kernel: inputs.T @ upstream,
            self.bias: upstream.sum(axis=0),
        }
        return upstream @ parameters[self.kernel].T, gradients


@dataclass(frozen=True)
class Stack:
    """Dense layers, one after the other; without any, the identity.

    Attributes
    ----------
    layers : tuple of Layer
    """

    layers: tuple[Layer, ...]

    @classmethod
    def make(cls, prefix: str, widths: tuple[int, ...], activation: str, last: str | None = None) -> "Stack":
        """Return the layers prefix_0, prefix_1, ... that lead from widths[0] over widths[1] on to the last.

        Parameters
        ----------
        prefix : str
        widths : tuple of int
        activation : str
        last : str, optional
            The activation of the last layer, where it is another one.
        """
        kinds = [activation] * (len(widths) - 1)
        if kinds and last is not None:
            kinds[-1] = last
        sizes = zip(widths[:-1], widths[1:], kinds, strict=True)
        return cls(tuple(Layer(f"{prefix}_{number}", *size) for number, size in enumerate(sizes)))

    def parameters(self) -> dict[str, Parameter]:
        """Return the parameters of all layers."""
        return {name: parameter for layer in self.layers for name, parameter in layer.parameters().items()}

    def forward(self, parameters: Parameters, inputs: Floats, first: int = 0) -> list[Floats]:
        """Return the inputs of layer `first`, and the outputs of it and of each layer after it."""
        outputs = [inputs]
        for layer in self.layers[first:]:
            outputs.append(layer.forward(parameters, outputs[-1]))
        return outputs

    def backward(
        self, parameters: Parameters, outputs: list[Floats], upstream: Floats
    ) -> tuple[Floats, dict[str, Floats]]:
        """Return the derivatives by the inputs and by the parameters; outputs as `forward` returned them."""
        gradients: dict[str, Floats] = {}
        steps = zip(self.layers, outputs[:-1], outputs[1:], strict=True)
        for layer, before, after in reversed(list(steps)):
            upstream, found = layer.backward(parameters, before, after, upstream)
            gradients.update(found)
        return upstream, gradients


def checked_widths(place: str, widths: Any, at_least: int) -> tuple[int, ...]:
    """Return the widths of layers as a tuple of integers.

    Raises
    ------
    InvalidArgumentError
        Fewer than `at_least`, or one that is no positive integer.
    """
    example = "(64, 32, 16, 8)"
    if isinstance(widths, str) or not hasattr(widths, "__iter__"):
        raise InvalidArgumentError(f"{place} is {widths!r}; pass a sequence of widths, e.g. {example}")
    found = tuple(widths)
    for width in found:
        if isinstance(width, bool) or not isinstance(width, int | np.integer) or width < 1:
            raise InvalidArgumentError(f"{place} holds {width!r}; widths are integers from 1, e.g. {example}")
    if len(found) < at_least:
        raise InvalidArgumentError(f"{place} is {found}; it needs at least {at_least} widths, e.g. {example}")
    return tuple(int(width) for width in found)


def require_activation(place: str, activation: Any) -> None:
    """Raise unless the activation is relu, tanh or sigmoid."""
    valid = [name for name in ACTIVATIONS if name != LINEAR]
    if activation not in valid:
        raise InvalidArgumentError(f"{place} is {activation!r}; it must be one of {', '.join(valid)}")
