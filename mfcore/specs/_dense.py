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

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.operators import NUMPY
    >>> from mfcore.specs import ACTIVATIONS
    >>> relu = ACTIVATIONS["relu"]
    >>> outputs = relu.function(NUMPY, np.array([-1.0, 2.0]))
    >>> outputs, relu.slope(outputs)
    (array([0., 2.]), array([0., 1.]))
    """

    function: Callable[[Operators, Any], Any]
    slope: Callable[[Floats], Floats]


# By the names that specs use; add an entry for one of your own.
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

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.operators import NUMPY
    >>> from mfcore.specs import Layer
    >>> layer = Layer("dense_0", 2, 1, "relu")
    >>> list(layer.parameters())
    ['dense_0/kernel', 'dense_0/bias']
    >>> dense = {"dense_0/kernel": np.array([[1.0], [-1.0]]), "dense_0/bias": np.array([0.5])}
    >>> layer.forward(NUMPY, dense, np.array([[2.0, 1.0], [1.0, 2.0]]))
    array([[1.5],
           [0. ]])
    >>> layer.activate(NUMPY, np.array([-1.0, 1.0]))
    array([0., 1.])
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
        """Return f of the sums a W + c.

        Parameters
        ----------
        xp : Operators
        sums : array [n, n_out]

        Returns
        -------
        array [n, n_out]
        """
        return ACTIVATIONS[self.activation].function(xp, sums)

    def forward(self, xp: Operators, dense: Arrays, inputs: Any) -> Any:
        """Return f(a W + c).

        Parameters
        ----------
        xp : Operators
        dense : mapping of name to array
            With the layer's parameters.
        inputs : array [n, n_in]

        Returns
        -------
        array [n, n_out]
        """
        return self.activate(xp, xp.affine(inputs, dense[self.kernel], dense[self.bias]))

    def backward(
        self, parameters: Parameters, inputs: Floats, outputs: Floats, upstream: Floats
    ) -> tuple[Floats, dict[str, Floats]]:
        """Return the derivatives by the inputs and by the parameters, given that by the outputs, on numpy.

        Parameters
        ----------
        parameters : mapping of name to array
            With the layer's own.
        inputs : array [n, n_in]
        outputs : array [n, n_out]
            As `forward` returned them.
        upstream : array [n, n_out]

        Returns
        -------
        grad_inputs : array [n, n_in]
        gradients : dict of name to array
            Of the kernel and the bias, summed over the rows.

        Examples
        --------
        >>> import numpy as np
        >>> from mfcore.specs import Layer
        >>> layer, kernel = Layer("dense_0", 2, 1, "linear"), np.array([[1.0], [-1.0]])
        >>> grad_inputs, gradients = layer.backward(
        ...     {"dense_0/kernel": kernel}, np.array([[2.0, 1.0]]), np.array([[1.0]]), np.array([[0.5]])
        ... )
        >>> grad_inputs, gradients["dense_0/bias"]
        (array([[ 0.5, -0.5]]), array([0.5]))
        """
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

    Examples
    --------
    >>> from mfcore.specs import Stack
    >>> stack = Stack.make("dense", (6, 4, 2), "relu")
    >>> [(layer.name, layer.n_in, layer.n_out) for layer in stack.layers]
    [('dense_0', 6, 4), ('dense_1', 4, 2)]
    >>> list(stack.parameters())
    ['dense_0/kernel', 'dense_0/bias', 'dense_1/kernel', 'dense_1/bias']
    """

    layers: tuple[Layer, ...]

    @classmethod
    def make(cls, prefix: str, widths: tuple[int, ...], activation: str, last: str | None = None) -> "Stack":
        """Return the layers prefix_0, prefix_1, ... that lead from widths[0] to widths[-1].

        Parameters
        ----------
        prefix : str
        widths : tuple of int
            That of the inputs, then that of each layer.
        activation : str
        last : str, optional
            The activation of the last layer, where it differs.

        Returns
        -------
        Stack
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
        """Return the outputs of the last layer.

        Parameters
        ----------
        xp : Operators
        dense : mapping of name to array
            With the layers' parameters.
        inputs : array [n, n_in]
            Of the layer `first`.
        first : int
            The number of the layer to start from.

        Returns
        -------
        array [n, n_out]

        Examples
        --------
        >>> import numpy as np
        >>> from mfcore.operators import NUMPY
        >>> from mfcore.specs import Stack
        >>> dense = {"dense_0/kernel": np.array([[1.0], [-1.0]]), "dense_0/bias": np.array([0.5])}
        >>> Stack.make("dense", (2, 1), "relu").forward(NUMPY, dense, np.array([[2.0, 1.0]]))
        array([[1.5]])
        """
        for layer in self.layers[first:]:
            inputs = layer.forward(xp, dense, inputs)
        return inputs

    def outputs(self, parameters: Parameters, inputs: Floats) -> list[Floats]:
        """Return the inputs and the outputs of each layer, on numpy, as `backward` takes them.

        Parameters
        ----------
        parameters : mapping of name to array
        inputs : array [n, n_in]

        Returns
        -------
        list of arrays [n, width]

        Examples
        --------
        >>> import numpy as np
        >>> from mfcore.specs import Stack
        >>> dense = {"dense_0/kernel": np.array([[1.0], [-1.0]]), "dense_0/bias": np.array([0.5])}
        >>> Stack.make("dense", (2, 1), "relu").outputs(dense, np.array([[2.0, 1.0]]))
        [array([[2., 1.]]), array([[1.5]])]
        """
        outputs = [inputs]
        for layer in self.layers:
            outputs.append(layer.forward(NUMPY, parameters, outputs[-1]))
        return outputs

    def backward(
        self, parameters: Parameters, outputs: list[Floats], upstream: Floats
    ) -> tuple[Floats, dict[str, Floats]]:
        """Return the derivatives by the inputs and the parameters, given that by the last outputs, on numpy.

        Parameters
        ----------
        parameters : mapping of name to array
        outputs : list of arrays [n, width]
            As `outputs` returns them.
        upstream : array [n, n_out]

        Returns
        -------
        grad_inputs : array [n, n_in]
        gradients : dict of name to array
            Summed over the rows.

        Examples
        --------
        >>> import numpy as np
        >>> from mfcore.specs import Stack
        >>> dense = {"dense_0/kernel": np.array([[1.0], [-1.0]]), "dense_0/bias": np.array([0.5])}
        >>> stack = Stack.make("dense", (2, 1), "relu")
        >>> outputs = stack.outputs(dense, np.array([[2.0, 1.0]]))
        >>> stack.backward(dense, outputs, np.array([[0.5]]))[0]
        array([[ 0.5, -0.5]])
        """
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
        Fewer than `at_least`, or one that is not a positive integer.
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
