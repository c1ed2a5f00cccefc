"""Rows of a parameter table as vector registers, for kernels specialised to the number of factors.

`rows(table)` views an array [n, k] as n records of k numbers, so that k is part of the array's type and
kernels are compiled for it. `load` and `store` then move a whole row between memory and a vector value, and
the arithmetic below works on such values; the compiler keeps them in registers and splits them to the
machine's width.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model
from numpy.typing import NDArray

# Of an instruction: reassociate, contract to fused multiply-add, ignore the sign of zero. NaN and infinity count.
FLAGS = ("reassoc", "contract", "nsz")
CACHE_LINE = 64


def rows(table: NDArray[np.floating]) -> NDArray[np.void]:
    """View a C-contiguous array [n, k] as [n] records of one field of k numbers."""
    record = np.dtype([("row", table.dtype, (table.shape[1],))])
    return table.view(record).reshape(len(table))


def aligned_copy(table: NDArray[Any]) -> NDArray[Any]:
    """Return a C-contiguous copy that begins on a cache line, so that rows straddle as few as possible."""
    raw = np.empty(table.nbytes + CACHE_LINE, dtype=np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    copy = raw[start : start + table.nbytes].view(table.dtype).reshape(table.shape)
    copy[...] = table
    return copy


class Vector(types.Type):  # type: ignore[misc]
    """k numbers of one dtype, as a value."""

    def __init__(self, dtype: types.Float, width: int) -> None:
        self.dtype, self.width = dtype, width
        super().__init__(name=f"Vector({dtype}, {width})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, vector: Vector) -> None:
        element = ir.FloatType() if vector.dtype == types.float32 else ir.DoubleType()
        super().__init__(manager, vector, ir.VectorType(element, vector.width))


def _vector_of(table: Any) -> Vector:
    field = table.dtype.fields["row"].type
    return Vector(field.dtype, field.shape[0])


def _pointer(context: Any, builder: Any, table_type: Any, table: Any, row: Any, vector: Vector) -> Any:
    array = context.make_array(table_type)(context, builder, table)
    place = builder.gep(array.data, [row])
    return builder.bitcast(place, context.get_value_type(vector).as_pointer())


def _splat(builder: Any, vector_type: Any, number: Any) -> Any:
    undefined = ir.Constant(vector_type, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector_type.count), [0] * vector_type.count)
    return builder.shuffle_vector(first, undefined, mask)


def _sum(context: Any, builder: Any, vector: Vector, value: Any) -> Any:
    vector_type = context.get_value_type(vector)
    kind = ir.FunctionType(vector_type.element, [vector_type.element, vector_type])
    name = f"llvm.vector.reduce.fadd.v{vector.width}f{vector.dtype.bitwidth}"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [ir.Constant(vector_type.element, 0.0), value], fastmath=FLAGS)


@intrinsic
def load(typing_context: Any, table: Any, row: Any) -> Any:
    """Return row `row` of a table of rows."""
    vector = _vector_of(table)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1], vector)
        return builder.load(pointer, align=vector.dtype.bitwidth // 8, typ=context.get_value_type(vector))

    return vector(table, types.intp), generate


@intrinsic
def store(typing_context: Any, table: Any, row: Any, value: Any) -> Any:
    """Write a vector to row `row` of a table of rows."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1], value)
        builder.store(args[2], pointer, align=value.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(table, types.intp, value), generate


@intrinsic
def spread(typing_context: Any, numbers: Any, value: Any) -> Any:
    """Write a vector's elements to an array of numbers [k], to be read one by one."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        pointer = builder.bitcast(array.data, context.get_value_type(value).as_pointer())
        builder.store(args[1], pointer, align=value.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(numbers, value), generate


@intrinsic
def prefetch(typing_context: Any, table: Any, row: Any) -> Any:
    """Ask for the cache lines of row `row`, to be used soon."""
    vector = _vector_of(table)
    n_bytes = vector.width * vector.dtype.bitwidth // 8

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte_pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte_pointer, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        start = builder.bitcast(
            _pointer(context, builder, signature.args[0], args[0], args[1], vector), byte_pointer
        )
        read, keep, data = (ir.Constant(word, value) for value in (0, 3, 1))
        for offset in range(0, n_bytes, CACHE_LINE):
            line = builder.gep(start, [ir.Constant(ir.IntType(64), offset)])
            builder.call(function, [line, read, keep, data])
        return context.get_dummy_value()

    return types.void(table, types.intp), generate


@intrinsic
def dot(typing_context: Any, a: Any, b: Any) -> Any:
    """Return the inner product of two vectors."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _sum(context, builder, a, builder.fmul(args[0], args[1], flags=FLAGS))

    return a.dtype(a, b), generate


@intrinsic
def combine(typing_context: Any, s: Any, a: Any, t: Any, b: Any) -> Any:
    """Return s * a + t * b, for numbers s and t and vectors a and b."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector_type = context.get_value_type(a)
        left = builder.fmul(_splat(builder, vector_type, args[0]), args[1], flags=FLAGS)
        right = builder.fmul(_splat(builder, vector_type, args[2]), args[3], flags=FLAGS)
        return builder.fadd(left, right, flags=FLAGS)

    return a(a.dtype, a, a.dtype, b), generate


@intrinsic
def add_scaled(typing_context: Any, a: Any, t: Any, b: Any) -> Any:
    """Return a + t * b, for a number t and vectors a and b."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scaled = builder.fmul(_splat(builder, context.get_value_type(a), args[1]), args[2], flags=FLAGS)
        return builder.fadd(args[0], scaled, flags=FLAGS)

    return a(a, a.dtype, b), generate


@intrinsic
def add_squares(typing_context: Any, total: Any, a: Any, b: Any) -> Any:
    """Return total + a * a + b * b, element by element."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = builder.fadd(args[0], builder.fmul(args[1], args[1], flags=FLAGS), flags=FLAGS)
        return builder.fadd(first, builder.fmul(args[2], args[2], flags=FLAGS), flags=FLAGS)

    return total(total, a, b), generate


@intrinsic
def zeros(typing_context: Any, table: Any) -> Any:
    """Return a vector of zeros for the rows of a table."""
    vector = _vector_of(table)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(vector), None)

    return vector(table), generate


@intrinsic
def total(typing_context: Any, a: Any) -> Any:
    """Return the sum of a vector's elements."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _sum(context, builder, a, args[0])

    return a.dtype(a), generate
