"""Stacks of dense layers on the rows of a chunk, after `mfcore.specs.dense`.

All dense parameters stand in one flat array. A layer's kernel [n_in, n_out] is followed by its bias, which
together are a matrix [n_in + 1, n_out]; the inputs of a layer have a column of ones at the end that meets the
bias. So a layer is one matrix product, and so are its gradients.
"""

import math

import numpy as np
from numpy.typing import NDArray

from mfcore.specs.dense import Layer
from mfcore_numba.blas import multiply
from mfcore_numba.compiling import compiled

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


@compiled()
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
            (work, start, n_in + 1, False),
            (dense, layers[number, BEGIN], n_out, False),
            (work, end, n_out + 1),
            False,
        )
        activate(layers[number, ACTIVATION], work, end, n_rows * (n_out + 1))
        for row in range(n_rows):
            work[end + row * (n_out + 1) + n_out] = 1
        start = end
    return start


@compiled()
def backward(layers, dense, work, start, n_rows, gradient, origin, inputs, place):
    """Add the gradients of the layers' parameters to `gradient`, and write those of the inputs to `inputs`.

    `start` is where the last outputs begin in `work`; the derivative by them stands behind them, where
    `upstream` says. Both gradients are laid out as what they belong to, from `origin` and `place` on.
    """
    upstream, other = upstream_of(layers, start), 0
    if len(layers) > 0:
        other = upstream + CHUNK * (widest(layers) + 1)
    for number in range(len(layers) - 1, -1, -1):
        n_in, n_out = layers[number, N_IN], layers[number, N_OUT]
        before = start - CHUNK * (n_in + 1)
        pass_activation(layers[number, ACTIVATION], work, start, upstream, n_rows * (n_out + 1))
        multiply(
            (n_in + 1, n_out, n_rows),
            (work, before, n_in + 1, True),
            (work, upstream, n_out + 1, False),
            (gradient, origin + layers[number, BEGIN], n_out),
            True,
        )
        shape = (n_rows, n_in, n_out)
        left = (work, upstream, n_out + 1, False)
        right = (dense, layers[number, BEGIN], n_out, True)
        if number > 0:
            multiply(shape, left, right, (work, other, n_in + 1), False)
        else:
            multiply(shape, left, right, (inputs, place, n_in + 1), False)
        start, upstream, other = before, other, upstream


@compiled()
def upstream_of(layers, start):
    """Return where the derivative by the last outputs, which begin at `start`, goes: [n_rows, n_out + 1]."""
    return start + CHUNK * (layers[len(layers) - 1, N_OUT] + 1)


@compiled()
def widest(layers):
    """Return the largest number of inputs or outputs of a layer."""
    return max(layers[:, N_IN].max(), layers[:, N_OUT].max())


@compiled()
def activate(activation, work, start, n):
    """Apply an activation to n numbers in place."""
    if activation == RELU:
        for place in range(start, start + n):
            # A NaN stays one.
            work[place] = 0 if work[place] < 0 else work[place]
    elif activation == TANH:
        for place in range(start, start + n):
            work[place] = math.tanh(work[place])
    elif activation == SIGMOID:
        one = work.dtype.type(1)
        for place in range(start, start + n):
            small = math.exp(-abs(work[place]))
            inverse = one / (one + small)
            work[place] = inverse if work[place] >= 0 else small * inverse


@compiled()
def pass_activation(activation, work, start, upstream, n):
    """Multiply n derivatives by the slope of the activation, worked out from its values."""
    one = work.dtype.type(1)
    if activation == RELU:
        for place in range(n):
            if not work[start + place] > 0:
                work[upstream + place] = 0
    elif activation == TANH:
        for place in range(n):
            value = work[start + place]
            work[upstream + place] *= one - value * value
    elif activation == SIGMOID:
        for place in range(n):
            value = work[start + place]
            work[upstream + place] *= value * (one - value)
