"""The few functions that definitions are written on, and numpy's set of them.

A definition (a loss, an output, an activation, a score, an update rule) is a plain function of arrays that
takes its functions from an object `xp`. Numpy runs it as the reference, PyTorch and TensorFlow run it on
tensors, and Numba compiles the loss, the output and the rule to work on single numbers. Beside the functions
below, definitions use the arithmetic operators, comparisons, ``@`` and slices, which arrays of all libraries
have.

>>> import numpy as np
>>> from mfcore.operators import NUMPY
>>> def softplus(xp, x):
...     return xp.maximum(x, 0 * x) + xp.log1p(xp.exp(-xp.abs(x)))
>>> softplus(NUMPY, np.array([0.0, 1000.0])).round(4).tolist()
[0.6931, 1000.0]
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

Array: TypeAlias = Any


class Operators(Protocol):
    """What an engine hands in as `xp`.

    Functions of one array work element by element and keep its shape and dtype. An engine whose losses,
    outputs and rules run on single numbers (as Numba's do) needs the functions up to `minimum` alone.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.operators import NUMPY
    >>> NUMPY.where(np.array([True, False]), np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([1., 4.])
    >>> NUMPY.inner(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]))
    array([[11., 17.]])
    """

    def exp(self, x: Array) -> Array:
        """Return e to the power of x."""

    def expm1(self, x: Array) -> Array:
        """Return exp(x) - 1, exact for small x."""

    def log(self, x: Array) -> Array:
        """Return the natural logarithm of x."""

    def log1p(self, x: Array) -> Array:
        """Return log(1 + x), exact for small x."""

    def abs(self, x: Array) -> Array:
        """Return the absolute value of x."""

    def sqrt(self, x: Array) -> Array:
        """Return the square root of x."""

    def tanh(self, x: Array) -> Array:
        """Return the hyperbolic tangent of x."""

    def sigmoid(self, x: Array) -> Array:
        """Return 1 / (1 + exp(-x)), without overflow for x of any size."""

    def relu(self, x: Array) -> Array:
        """Return max(x, 0), whose derivative at 0 is 0."""

    def where(self, condition: Array, x: Array, y: Array) -> Array:
        """Return x where the condition holds, else y."""

    def maximum(self, x: Array, y: Array) -> Array:
        """Return the larger of x and y, element by element; y may be a single number."""

    def minimum(self, x: Array, y: Array) -> Array:
        """Return the smaller of x and y, element by element; y may be a single number."""

    def sum(self, x: Array, axis: int) -> Array:
        """Return the sum of x along an axis, which disappears from the shape."""

    def max(self, x: Array, axis: int) -> Array:
        """Return the largest element of x along an axis, which disappears from the shape."""

    def concat(self, arrays: Sequence[Array], axis: int) -> Array:
        """Return the arrays joined one after the other along an axis."""

    def split(self, x: Array, sizes: Sequence[int]) -> Sequence[Array]:
        """Return the parts of x, [..., sum of sizes], whose lengths along its last axis are sizes."""

    def reshape(self, x: Array, shape: tuple[int, ...]) -> Array:
        """Return the elements of x in another shape; -1 stands for the length that remains."""

    def take(self, x: Array, rows: Array) -> Array:
        """Return the rows of x with the given row numbers: [n, ...] from x [m, ...] and integer rows [n]."""

    def affine(self, x: Array, kernel: Array, bias: Array) -> Array:
        """Return x @ kernel + bias: [n, n_out] from [n, n_in], [n_in, n_out] and [n_out]."""

    def inner(self, x: Array, y: Array) -> Array:
        """Return the inner product of each row of x [n, d] with each row of y [m, d]: [n, m]."""


class _Numpy:
    """Numpy's operators: the reference."""

    exp = staticmethod(np.exp)
    expm1 = staticmethod(np.expm1)
    log = staticmethod(np.log)
    log1p = staticmethod(np.log1p)
    abs = staticmethod(np.abs)
    sqrt = staticmethod(np.sqrt)
    tanh = staticmethod(np.tanh)
    maximum = staticmethod(np.maximum)
    minimum = staticmethod(np.minimum)
    inner = staticmethod(np.inner)
    # Of many overloads, none of which is an operator's.
    where: Any = staticmethod(np.where)
    sum: Any = staticmethod(np.sum)
    max: Any = staticmethod(np.max)
    reshape: Any = staticmethod(np.reshape)

    @staticmethod
    def sigmoid(x: Array) -> Array:
        small = np.exp(-np.abs(x))
        inverse = 1 / (1 + small)
        return np.where(x >= 0, inverse, small * inverse).astype(x.dtype)

    @staticmethod
    def relu(x: Array) -> Array:
        return np.maximum(x, x.dtype.type(0))

    @staticmethod
    def concat(arrays: Sequence[Array], axis: int) -> Array:
        return np.concatenate(list(arrays), axis=axis)

    @staticmethod
    def split(x: Array, sizes: Sequence[int]) -> Sequence[Array]:
        return np.split(x, np.cumsum(np.asarray(sizes, dtype=np.int64))[:-1], axis=-1)

    @staticmethod
    def take(x: Array, rows: Array) -> Array:
        return x[rows]

    @staticmethod
    def affine(x: Array, kernel: Array, bias: Array) -> Array:
        return x @ kernel + bias


NUMPY: Operators = _Numpy()
