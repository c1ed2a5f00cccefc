"""Dense layers and stacks of them, forward on any operators and backward on numpy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfcore.errors import InvalidArgumentError
from mfcore.operators import NUMPY, Operators
from mfcore.specs._base import Arrays, Floats, Parameter, Parameters
from mfcore.specs._initializers import Constant, GlorotUniform

LINEAR = "linear"


@dataclass(frozen=True)
class Activation:
    """A function that follows a dense layer.

    Attributes
    ----------
    function : callable
        From (xp, z) to f(z).
    slope : callable
        From f(z) to the derivative f'(z), on numpy: the reference's definition.
    """

    function: Callable[[Operators, Any], Any]
    slope: Callable[[Floats], Floats]


# By the names that specs know them by; one of one's own is one more entry.
ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(lambda xp, z: xp.relu(z), lambda a: (a > 0).astype(a.dtype)),
    "tanh": Activation(lambda xp, z: xp.tanh(z), lambda a: 1 - a * a),
    "sigmoid": Activation(lambda xp, z: xp.sigmoid(z), lambda a: a * (1 - a)),
    LINEAR: Activation(lambda xp, z: z, np.ones_like),
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

    def activate(self, xp: Operators, sums: Any) -> Any:
        """Return f of the sums a W + c."""
        return ACTIVATIONS[self.activation].function(xp, sums)

    def forward(self, xp: Operators, dense: Arrays, inputs: Any) -> Any:
        """Return f(a W + c), [n, n_out], of inputs [n, n_in]."""
        return self.activate(xp, xp.affine(inputs, dense[self.kernel], dense[self.bias]))

    def backward(
        self, parameters: Parameters, inputs: Floats, outputs: Floats, upstream: Floats
    ) -> tuple[Floats, dict[str, Floats]]:
        """Return the derivatives by the inputs [n, n_in] and by the parameters, given that by the outputs."""
        upstream = upstream * ACTIVATIONS[self.activation].slope(outputs)
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

    def forward(self, xp: Operators, dense: Arrays, inputs: Any, first: int = 0) -> Any:
        """Return the outputs of the last layer, given the inputs of layer `first`."""
        for layer in self.layers[first:]:
            inputs = layer.forward(xp, dense, inputs)
        return inputs

    def outputs(self, parameters: Parameters, inputs: Floats) -> list[Floats]:
        """Return the inputs and the outputs of each layer, on numpy, as `backward` takes them."""
        outputs = [inputs]
        for layer in self.layers:
            outputs.append(layer.forward(NUMPY, parameters, outputs[-1]))
        return outputs

    def backward(
        self, parameters: Parameters, outputs: list[Floats], upstream: Floats
    ) -> tuple[Floats, dict[str, Floats]]:
        """Return the derivatives by the inputs and by the parameters, given that by the last outputs."""
        gradients: dict[str, Floats] = {}
        steps = zip(self.layers, outputs[:-1], outputs[1:], strict=True)
        for layer, before, after in reversed(list(steps)):
            upstream, own = layer.backward(parameters, before, after, upstream)
            gradients.update(own)
        return upstream, gradients


def checked_widths(name: str, widths: Any, at_least: int) -> tuple[int, ...]:
    """Return the widths of layers as a tuple of integers.

    Raises
    ------
    InvalidArgumentError
        Fewer than `at_least`, or one that is no positive integer.
    """
    example = "(64, 32, 16, 8)"
    if isinstance(widths, str) or not hasattr(widths, "__iter__"):
        raise InvalidArgumentError(f"{name} is {widths!r}; pass a sequence of widths, e.g. {example}")
    given = tuple(widths)
    for width in given:
        if isinstance(width, bool) or not isinstance(width, int | np.integer) or width < 1:
            raise InvalidArgumentError(f"{name} holds {width!r}; widths are integers from 1, e.g. {example}")
    if len(given) < at_least:
        raise InvalidArgumentError(f"{name} is {given}; it needs at least {at_least} widths, e.g. {example}")
    return tuple(int(width) for width in given)


def require_activation(name: str, activation: Any) -> None:
    """Raise unless the activation is relu, tanh, sigmoid or one that was added."""
    valid = [known for known in ACTIVATIONS if known != LINEAR]
    if activation not in valid:
        raise InvalidArgumentError(f"{name} is {activation!r}; it must be one of {', '.join(valid)}")
