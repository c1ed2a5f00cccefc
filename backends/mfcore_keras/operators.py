"""TensorFlow's operators: what the core's definitions run on here, and how they are differentiated."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from mfcore.engines import DifferentiableOperators
from mfcore.operators import Array


class _TensorFlow:
    """Operators on tensors."""

    exp = staticmethod(tf.exp)
    expm1 = staticmethod(tf.math.expm1)
    log = staticmethod(tf.math.log)
    log1p = staticmethod(tf.math.log1p)
    abs = staticmethod(tf.abs)
    sqrt = staticmethod(tf.sqrt)
    tanh = staticmethod(tf.tanh)
    sigmoid = staticmethod(tf.sigmoid)
    relu = staticmethod(tf.nn.relu)
    maximum = staticmethod(tf.maximum)
    minimum = staticmethod(tf.minimum)
    sum = staticmethod(tf.reduce_sum)
    max = staticmethod(tf.reduce_max)
    concat = staticmethod(tf.concat)
    reshape = staticmethod(tf.reshape)
    take = staticmethod(tf.gather)

    @staticmethod
    def where(condition: Array, x: Array, y: Array) -> Array:
        # A plain number would become float32, whatever the other is.
        like = x if tf.is_tensor(x) else y
        if tf.is_tensor(like):
            x, y = (tf.convert_to_tensor(one, like.dtype) for one in (x, y))
        return tf.where(condition, x, y)

    @staticmethod
    def split(x: Array, sizes: Sequence[int]) -> Sequence[Array]:
        parts: Sequence[Array] = tf.split(x, list(sizes), axis=-1)
        return parts

    @staticmethod
    def affine(x: Array, kernel: Array, bias: Array) -> Array:
        return x @ kernel + bias

    @staticmethod
    def inner(x: Array, y: Array) -> Array:
        return tf.matmul(x, y, transpose_b=True)

    @staticmethod
    def vjp(function: Callable[..., Any], *inputs: Array) -> tuple[Any, Callable[[Any], tuple[Array, ...]]]:
        # Each a tensor of its own: one that is given twice would get both derivatives in both places.
        inputs = tuple(map(tf.identity, inputs))
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = function(*inputs)

        def backward(upstream: Any) -> tuple[Array, ...]:
            zero = tf.UnconnectedGradients.ZERO
            return tuple(tape.gradient(value, inputs, upstream, unconnected_gradients=zero))

        return value, backward

    @staticmethod
    def total(x: Array) -> Array:
        return tf.reduce_sum(tf.cast(x, tf.float64))


TENSORFLOW: DifferentiableOperators = _TensorFlow()
