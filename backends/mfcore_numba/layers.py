"""Stacks of dense layers on the rows of a chunk, after `mfcore.specs.dense`.

All dense parameters stand in one flat array. A layer's kernel [n_in, n_out] is followed by its bias, which
together are a matrix [n_in + 1, n_out]; the inputs of a layer have a column of ones at the end that meets the
bias. So a layer is one matrix product, and so are its gradients.
"""

import math

import numpy as np
from numpy.typing import NDArray

from mfcore.specs import Layer
from mfcore_numba.compiling import compiled
from mfcore_numba.products import Matrix, multiply

# Rows that go through the layers together: their outputs stay in a core's first caches.
CHUNK = 64

ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid")
RELU, TANH, SIGMOID = 1, 2, 3

# Columns of the description of a stack.
N_IN, N_OUT, ACTIVATION, BEGIN = range(4)


def describe(layers: tuple[Layer, ...], begins: dict[str, int]) -> NDArray[np.int64]:
    """Return layers for kernels, int64 [n_layers, 4]; begins says where each kernel stands by its name."""
    described = [
        (layer.n_in, layer.n_out, ACTIVATIONS.index(layer.activation), begins[layer.kernel])
        for layer in layers
    ]
    return np.array(described, dtype=np.int64).reshape(len(layers), 4)


def room(layers: NDArray[np.int64], n_in: int) -> int:
    """Return how many numbers `forward` and `backward` need for a stack with so many inputs."""
    widths = [n_in, *(int(n_out) for n_out in layers[:, N_OUT])]
    return CHUNK * (sum(width + 1 for width in widths) + 2 * (max(widths) + 1))


@compiled(borrowing=True)
def forward(layers, dense, work, start, n_rows):
    """Run rows through the layers; return where the last outputs begin in `work`.

    The inputs begin at `start`, [n_rows, n_in + 1] with ones in the last column; so do the outputs of each
    layer, CHUNK rows further on.
    """
    for number in range(len(layers)):
        n_in, n_out = layers[number, N_IN], layers[number, N_OUT]
        end = start + CHUNK * (n_in + 1)
        multiply(
            (n_rows, n_out, n_in + 1),
            Matrix(work, start, n_in + 1, 1),
            Matrix(dense, layers[number, BEGIN], n_out, 1),
            Matrix(work, end, n_out + 1, 1),
            False,
        )
        outputs = work[end : end + n_rows * (n_out + 1)]
        activate(layers[number, ACTIVATION], outputs)
        for row in range(n_rows):
            outputs[row * (n_out + 1) + n_out] = 1
        start = end
    return start


@compiled(borrowing=True)
def backward(layers, transposed, work, start, n_rows, gradient, origin):
    """Add the gradients of the layers' parameters to `gradient`; return what `by_inputs` needs.

    `start` is where the last outputs begin in `work`; the derivative by them stands where `upstream_of` says.
    The gradient is laid out as the dense parameters are, from `origin` on.
    """
    upstream = upstream_of(layers, start)
    other = upstream + CHUNK * (widest(layers) + 1)
    for number in range(len(layers) - 1, -1, -1):
        n_in, n_out = layers[number, N_IN], layers[number, N_OUT]
        before = start - CHUNK * (n_in + 1)
        n = n_rows * (n_out + 1)
        outputs, by_outputs = work[start : start + n], work[upstream : upstream + n]
        pass_activation(layers[number, ACTIVATION], outputs, by_outputs)
        multiply(
            (n_in + 1, n_out, n_rows),
            Matrix(work, before, 1, n_in + 1),
            Matrix(work, upstream, n_out + 1, 1),
            Matrix(gradient, origin + layers[number, BEGIN], n_out, 1),
            True,
        )
        if number > 0:
            multiply(
                (n_rows, n_in, n_out),
                Matrix(work, upstream, n_out + 1, 1),
                Matrix(transposed, layers[number, BEGIN], n_in, 1),
                Matrix(work, other, n_in + 1, 1),
                False,
            )
            start, upstream, other = before, other, upstream
    return upstream


@compiled(borrowing=True)
def by_inputs(layers, transposed, work, upstream, n_rows, first, n, result):
    """Write the derivative by the inputs first, ..., first + n - 1 of the first layer.

    `upstream` is what `backward` returned; `transposed` holds the transposed kernel of each layer where the
    dense parameters hold the kernel, see `transpose`.
    """
    n_in, n_out = layers[0, N_IN], layers[0, N_OUT]
    multiply(
        (n_rows, n, n_out),
        Matrix(work, upstream, n_out + 1, 1),
        Matrix(transposed, layers[0, BEGIN] + first, n_in, 1),
        result,
        False,
    )


@compiled(borrowing=True)
def upstream_of(layers, start):
    """Return where the derivative by the last outputs, which begin at `start`, goes: [n_rows, n_out + 1]."""
    return start + CHUNK * (layers[len(layers) - 1, N_OUT] + 1)


@compiled(borrowing=True)
def widest(layers):
    """Return the largest number of inputs or outputs of a layer."""
    most = 0
    for number in range(len(layers)):
        most = max(most, layers[number, N_IN], layers[number, N_OUT])
    return most


@compiled(borrowing=True)
def activate(activation, sums):
    """Apply an activation in place."""
    one = sums.dtype.type(1)
    if activation == RELU:
        for position in range(len(sums)):
            # A NaN stays one.
            sums[position] = 0 if sums[position] < 0 else sums[position]
    elif activation == TANH:
        for position in range(len(sums)):
            sums[position] = math.tanh(sums[position])
    elif activation == SIGMOID:
        for position in range(len(sums)):
            small = math.exp(-abs(sums[position]))
            inverse = one / (one + small)
            sums[position] = inverse if sums[position] >= 0 else small * inverse


@compiled(borrowing=True)
def pass_activation(activation, outputs, upstream):
    """Multiply derivatives by the slope of the activation, worked out from its values."""
    one, zero = upstream.dtype.type(1), upstream.dtype.type(0)
    if activation == RELU:
        for position in range(len(outputs)):
            upstream[position] = upstream[position] if outputs[position] > 0 else zero
    elif activation == TANH:
        for position in range(len(outputs)):
            upstream[position] *= one - outputs[position] * outputs[position]
    elif activation == SIGMOID:
        for position in range(len(outputs)):
            upstream[position] *= outputs[position] * (one - outputs[position])


@compiled(borrowing=True)
def transpose(layers, dense, transposed, first, stop):
    """Write the kernels' transposes, as far as the kernels lie in [first, stop) of the dense parameters."""
    for number in range(len(layers)):
        n_in, n_out, begin = layers[number, N_IN], layers[number, N_OUT], layers[number, BEGIN]
        for position in range(max(first, begin), min(stop, begin + n_in * n_out)):
            row = (position - begin) // n_out
            transposed[begin + (position - begin - row * n_out) * n_in + row] = dense[position]
