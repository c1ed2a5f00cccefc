"""Rows of a parameter table as vector registers, for kernels specialised to the number of factors.

`rows(table)` views an array [n, k] as n records of k numbers, so that k is part of the array's type and
kernels are compiled for it. `load` and `store` move a whole row between memory and a value that the
arithmetic below works on. Such a value is a tuple of vectors of 512 bits, the last one padded with zeros;
the compiler keeps them in registers, and splits them where the machine's are narrower. Values take the
arithmetic operators, element by element, with other values and with numbers.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model
from numpy.typing import NDArray

# Reassociate, contract to fused multiply-add, ignore the sign of zero; NaN and infinity count.
FLAGS = ("reassoc", "contract", "nsz")
VECTOR_BITS = 512
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

    @property
    def lanes(self) -> int:
        """Numbers in one of the vectors."""
        return int(VECTOR_BITS // self.dtype.bitwidth)

    @property
    def n_pieces(self) -> int:
        """Vectors in the value."""
        return -(-self.width // self.lanes)

    @property
    def piece(self) -> ir.VectorType:
        """The type of one of the vectors."""
        element = ir.FloatType() if self.dtype == types.float32 else ir.DoubleType()
        return ir.VectorType(element, self.lanes)

    def mask(self, number: int) -> ir.Constant | None:
        """Return which lanes of a piece hold numbers of the row, or None for all of them."""
        used = min(self.width - number * self.lanes, self.lanes)
        if used == self.lanes:
            return None
        return ir.Constant(ir.VectorType(ir.IntType(1), self.lanes), [1] * used + [0] * (self.lanes - used))


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, ir.ArrayType(vector.piece, vector.n_pieces))


def _vector_of(table: Any) -> Vector:
    field = table.dtype.fields["row"].type
    return Vector(field.dtype, field.shape[0])


def _row_pointer(context: Any, builder: Any, table_type: Any, table: Any, row: Any) -> Any:
    array = context.make_array(table_type)(context, builder, table)
    return builder.gep(array.data, [row])


def _start_of_row(context: Any, builder: Any, numbers_type: Any, numbers: Any, row: Any) -> Any:
    array = context.make_array(numbers_type)(context, builder, numbers)
    width = builder.extract_value(array.shape, 1)
    return builder.gep(array.data, [builder.mul(row, width)])


def _piece_pointer(builder: Any, start: Any, vector: Vector, number: int) -> Any:
    first = builder.bitcast(start, vector.piece.as_pointer())
    return builder.gep(first, [ir.Constant(ir.IntType(64), number)])


def _read(builder: Any, start: Any, vector: Vector) -> Any:
    align = vector.dtype.bitwidth // 8
    value = ir.Constant(ir.ArrayType(vector.piece, vector.n_pieces), None)
    for number in range(vector.n_pieces):
        pointer, mask = _piece_pointer(builder, start, vector, number), vector.mask(number)
        if mask is None:
            piece = builder.load(pointer, align=align, typ=vector.piece)
        else:
            piece = _masked_load(builder, vector, pointer, mask)
        value = builder.insert_value(value, piece, number)
    return value


def _write(builder: Any, start: Any, vector: Vector, value: Any) -> None:
    align = vector.dtype.bitwidth // 8
    for number in range(vector.n_pieces):
        pointer, mask = _piece_pointer(builder, start, vector, number), vector.mask(number)
        piece = builder.extract_value(value, number)
        if mask is None:
            builder.store(piece, pointer, align=align)
        else:
            _masked_store(builder, vector, pointer, piece, mask)


def _masked_load(builder: Any, vector: Vector, pointer: Any, mask: Any) -> Any:
    """Return one piece, zeros where the mask is false."""
    align = ir.Constant(ir.IntType(32), vector.dtype.bitwidth // 8)
    kind = ir.FunctionType(vector.piece, [pointer.type, ir.IntType(32), mask.type, vector.piece])
    function = _llvm(builder, f"masked.load.{_suffix(vector)}.p0", kind)
    return builder.call(function, [pointer, align, mask, ir.Constant(vector.piece, None)])


def _masked_store(builder: Any, vector: Vector, pointer: Any, piece: Any, mask: Any) -> None:
    """Write one piece where the mask is true."""
    align = ir.Constant(ir.IntType(32), vector.dtype.bitwidth // 8)
    kind = ir.FunctionType(ir.VoidType(), [vector.piece, pointer.type, ir.IntType(32), mask.type])
    function = _llvm(builder, f"masked.store.{_suffix(vector)}.p0", kind)
    builder.call(function, [piece, pointer, align, mask])


def _suffix(vector: Vector) -> str:
    return f"v{vector.lanes}f{vector.dtype.bitwidth}"


def _llvm(builder: Any, name: str, kind: ir.FunctionType) -> Any:
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}")


def _each(builder: Any, vector: Vector, values: list[Any], operation: Callable[..., Any]) -> Any:
    """Return the value whose pieces are operation(pieces of the values)."""
    result = ir.Constant(ir.ArrayType(vector.piece, vector.n_pieces), None)
    for number in range(vector.n_pieces):
        piece = operation(*(builder.extract_value(value, number) for value in values))
        result = builder.insert_value(result, piece, number)
    return result


def _splat(builder: Any, vector: Vector, number: Any) -> Any:
    undefined = ir.Constant(vector.piece, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
    return builder.shuffle_vector(first, undefined, mask)


def _sum(builder: Any, vector: Vector, pieces: list[Any]) -> Any:
    while len(pieces) > 1:
        pairs = zip(pieces[::2], pieces[1::2], strict=False)
        odd = pieces[-1:] if len(pieces) % 2 else []
        pieces = [builder.fadd(a, b, flags=FLAGS) for a, b in pairs] + odd
    element = vector.piece.element
    function = _llvm(
        builder, f"vector.reduce.fadd.{_suffix(vector)}", ir.FunctionType(element, [element, vector.piece])
    )
    return builder.call(function, [ir.Constant(element, 0.0), pieces[0]], fastmath=FLAGS)


@intrinsic
def load(typing_context: Any, table: Any, row: Any) -> Any:
    """Return row `row` of a table of rows."""
    vector = _vector_of(table)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _read(builder, _row_pointer(context, builder, signature.args[0], *args), vector)

    return vector(table, types.intp), generate


@intrinsic
def store(typing_context: Any, table: Any, row: Any, value: Any) -> Any:
    """Write a value to row `row` of a table of rows."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _write(builder, _row_pointer(context, builder, signature.args[0], *args[:2]), value, args[2])
        return context.get_dummy_value()

    return types.void(table, types.intp, value), generate


@intrinsic
def put(typing_context: Any, numbers: Any, row: Any, value: Any) -> Any:
    """Write a value to row `row` of an array of numbers [n, k]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _write(builder, _start_of_row(context, builder, signature.args[0], *args[:2]), value, args[2])
        return context.get_dummy_value()

    return types.void(numbers, types.intp, value), generate


@intrinsic
def peek(typing_context: Any, table: Any, numbers: Any, start: Any) -> Any:
    """Return the numbers that begin at `start` of a flat array, as many as a row of the table has."""
    vector = _vector_of(table)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[1])(context, builder, args[1])
        return _read(builder, builder.gep(array.data, [args[2]]), vector)

    return vector(table, numbers, types.intp), generate


@intrinsic
def poke(typing_context: Any, numbers: Any, start: Any, value: Any) -> Any:
    """Write a value to a flat array, from `start` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        _write(builder, builder.gep(array.data, [args[1]]), value, args[2])
        return context.get_dummy_value()

    return types.void(numbers, types.intp, value), generate


def _some(builder: Any, vector: Vector, count: Any) -> Any:
    """Return the mask of the first `count` lanes of a vector."""
    word = ir.IntType(64)
    numbers = ir.Constant(ir.VectorType(word, vector.lanes), list(range(vector.lanes)))
    undefined = ir.Constant(ir.VectorType(word, vector.lanes), ir.Undefined)
    first = builder.insert_element(undefined, count, ir.Constant(ir.IntType(32), 0))
    zero = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
    return builder.icmp_signed("<", numbers, builder.shuffle_vector(first, undefined, zero))


@intrinsic
def peek_some(typing_context: Any, like: Any, numbers: Any, start: Any, count: Any) -> Any:
    """Return the first `count` numbers that begin at `start` of a flat array, and zeros for the others.

    A value of more than one vector is read whole, whatever the count.
    """
    vector = like

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[1])(context, builder, args[1])
        begin = builder.gep(array.data, [args[2]])
        if vector.n_pieces > 1:
            return _read(builder, begin, vector)
        pointer, mask = _piece_pointer(builder, begin, vector, 0), _some(builder, vector, args[3])
        piece = _masked_load(builder, vector, pointer, mask)
        return builder.insert_value(ir.Constant(ir.ArrayType(vector.piece, 1), None), piece, 0)

    return vector(like, numbers, types.intp, types.intp), generate


@intrinsic
def poke_some(typing_context: Any, numbers: Any, start: Any, value: Any, count: Any) -> Any:
    """Write the first `count` numbers of a value to a flat array; all, of a value of more than one vector."""
    vector = value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        begin = builder.gep(array.data, [args[1]])
        if vector.n_pieces > 1:
            _write(builder, begin, vector, args[2])
            return context.get_dummy_value()
        pointer, mask = _piece_pointer(builder, begin, vector, 0), _some(builder, vector, args[3])
        _masked_store(builder, vector, pointer, builder.extract_value(args[2], 0), mask)
        return context.get_dummy_value()

    return types.void(numbers, types.intp, value, types.intp), generate


def _whole(n_pieces: int) -> Any:
    """Return the intrinsic that gives zeros, as many as so many vectors of an array's dtype hold."""

    def nothing(typing_context: Any, numbers: Any) -> Any:
        vector = Vector(numbers.dtype, n_pieces * VECTOR_BITS // numbers.dtype.bitwidth)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return ir.Constant(ir.ArrayType(vector.piece, vector.n_pieces), None)

        return vector(numbers), generate

    return intrinsic(nothing)


one_vector, two_vectors = _whole(1), _whole(2)


@intrinsic
def lanes_of(typing_context: Any, numbers: Any) -> Any:
    """Return how many numbers of an array's dtype one vector holds."""
    lanes = VECTOR_BITS // numbers.dtype.bitwidth

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(ir.IntType(64), lanes)

    return types.intp(numbers), generate


@intrinsic
def fetch(typing_context: Any, numbers: Any, start: Any, count: Any) -> Any:
    """Ask for the cache lines of `count` numbers of a flat array, from `start` on, to be used soon."""
    size = numbers.dtype.bitwidth // 8

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte_pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = _llvm(
            builder, "prefetch.p0", ir.FunctionType(ir.VoidType(), [byte_pointer, word, word, word])
        )
        array = context.make_array(signature.args[0])(context, builder, args[0])
        start = builder.bitcast(builder.gep(array.data, [args[1]]), byte_pointer)
        read, keep, data = (ir.Constant(word, value) for value in (0, 3, 1))
        n_bytes = builder.mul(args[2], ir.Constant(args[2].type, size))
        with cgutils.for_range_slice(
            builder, ir.Constant(args[2].type, 0), n_bytes, ir.Constant(args[2].type, CACHE_LINE)
        ) as (offset, _):
            builder.call(function, [builder.gep(start, [offset]), read, keep, data])
        return context.get_dummy_value()

    return types.void(numbers, types.intp, types.intp), generate


@intrinsic
def prefetch(typing_context: Any, table: Any, row: Any) -> Any:
    """Ask for the cache lines of row `row`, to be used soon."""
    vector = _vector_of(table)
    n_bytes = vector.width * vector.dtype.bitwidth // 8

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte_pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = _llvm(
            builder, "prefetch.p0", ir.FunctionType(ir.VoidType(), [byte_pointer, word, word, word])
        )
        start = builder.bitcast(_row_pointer(context, builder, signature.args[0], *args), byte_pointer)
        read, keep, data = (ir.Constant(word, value) for value in (0, 3, 1))
        for offset in range(0, n_bytes, CACHE_LINE):
            line = builder.gep(start, [ir.Constant(ir.IntType(64), offset)])
            builder.call(function, [line, read, keep, data])
        return context.get_dummy_value()

    return types.void(table, types.intp), generate


@intrinsic
def zeros(typing_context: Any, table: Any) -> Any:
    """Return zeros, as many as a row of the table, or a value, has numbers."""
    vector = table if isinstance(table, Vector) else _vector_of(table)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(ir.ArrayType(vector.piece, vector.n_pieces), None)

    return vector(table), generate


@intrinsic
def dot(typing_context: Any, a: Any, b: Any) -> Any:
    """Return the inner product of two values."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        products = [
            builder.fmul(*(builder.extract_value(value, number) for value in args), flags=FLAGS)
            for number in range(a.n_pieces)
        ]
        return _sum(builder, a, products)

    return a.dtype(a, b), generate


@intrinsic
def total(typing_context: Any, a: Any) -> Any:
    """Return the sum of a value's numbers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _sum(builder, a, [builder.extract_value(args[0], number) for number in range(a.n_pieces)])

    return a.dtype(a), generate


@intrinsic
def combine(typing_context: Any, s: Any, a: Any, t: Any, b: Any) -> Any:
    """Return s * a + t * b, for numbers s and t and values a and b."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        left, right = (_splat(builder, a, number) for number in (args[0], args[2]))

        def one(x: Any, y: Any) -> Any:
            scaled = builder.fmul(left, x, flags=FLAGS), builder.fmul(right, y, flags=FLAGS)
            return builder.fadd(*scaled, flags=FLAGS)

        return _each(builder, a, [args[1], args[3]], one)

    return a(a.dtype, a, a.dtype, b), generate


@intrinsic
def add_scaled(typing_context: Any, a: Any, t: Any, b: Any) -> Any:
    """Return a + t * b, for a number t and values a and b."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        factor = _splat(builder, a, args[1])

        def one(x: Any, y: Any) -> Any:
            return builder.fadd(x, builder.fmul(factor, y, flags=FLAGS), flags=FLAGS)

        return _each(builder, a, [args[0], args[2]], one)

    return a(a, a.dtype, b), generate


@intrinsic
def add_scaled_by(typing_context: Any, a: Any, numbers: Any, position: Any, b: Any) -> Any:
    """Return a + t * b, for values a and b and the number t at a position from 0 of a flat array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[1])(context, builder, args[1])
        factor = _splat(builder, a, builder.load(builder.gep(array.data, [args[2]])))

        def one(x: Any, y: Any) -> Any:
            return builder.fadd(x, builder.fmul(factor, y, flags=FLAGS), flags=FLAGS)

        return _each(builder, a, [args[0], args[3]], one)

    return a(a, numbers, types.intp, b), generate


@intrinsic
def add_squares(typing_context: Any, sums: Any, a: Any, b: Any) -> Any:
    """Return sums + a * a + b * b, element by element."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def one(total: Any, x: Any, y: Any) -> Any:
            first = builder.fadd(total, builder.fmul(x, x, flags=FLAGS), flags=FLAGS)
            return builder.fadd(first, builder.fmul(y, y, flags=FLAGS), flags=FLAGS)

        return _each(builder, sums, args, one)

    return sums(sums, a, b), generate


@intrinsic
def same(typing_context: Any, a: Any, b: Any) -> Any:
    """Return whether two values are equal in every number."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(1), [ir.VectorType(ir.IntType(1), a.lanes)])
        every = _llvm(builder, f"vector.reduce.and.v{a.lanes}i1", kind)
        result = ir.Constant(ir.IntType(1), 1)
        for number in range(a.n_pieces):
            pair = [builder.extract_value(value, number) for value in args]
            equal = builder.fcmp_ordered("==", *pair)
            result = builder.and_(result, builder.call(every, [equal]))
        return result

    return types.boolean(a, b), generate


@intrinsic
def _root(typing_context: Any, a: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = _llvm(builder, f"sqrt.{_suffix(a)}", ir.FunctionType(a.piece, [a.piece]))
        return _each(builder, a, [args[0]], lambda x: builder.call(function, [x]))

    return a(a), generate


def root(x):
    """Return the square root of a number or, element by element, of a value."""
    return math.sqrt(x)


# An overload's function must have the signature of what it stands for, which intrinsics hide: hence lambdas.
# ruff: noqa: PLW0108


@overload(root, inline="always")
def _root_of(x):
    return (lambda x: _root(x)) if isinstance(x, Vector) else (lambda x: math.sqrt(x))


def _element_wise(name: str) -> Any:
    """Return the intrinsic of an arithmetic operator between two values, or a value and a number."""

    def operation(typing_context: Any, a: Any, b: Any) -> Any:
        vector = a if isinstance(a, Vector) else b

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values = [
                arg
                if kind == vector
                else _each(builder, vector, [], lambda arg=arg: _splat(builder, vector, arg))
                for kind, arg in zip(signature.args, args, strict=True)
            ]
            return _each(builder, vector, values, lambda x, y: getattr(builder, name)(x, y, flags=FLAGS))

        kinds = [kind if isinstance(kind, Vector) else vector.dtype for kind in (a, b)]
        return vector(*kinds), generate

    return intrinsic(operation)


_add, _subtract, _multiply, _divide = (_element_wise(name) for name in ("fadd", "fsub", "fmul", "fdiv"))


def _fits(a: Any, b: Any) -> bool:
    """Return whether an operator's operands are two values of one kind, or a value and a number."""
    if isinstance(a, Vector) and isinstance(b, Vector):
        return a == b
    return (isinstance(a, Vector) and isinstance(b, types.Float)) or (
        isinstance(a, types.Float) and isinstance(b, Vector)
    )


@overload(operator.add, inline="always")
def _add_values(a, b):
    return (lambda a, b: _add(a, b)) if _fits(a, b) else None


@overload(operator.sub, inline="always")
def _subtract_values(a, b):
    return (lambda a, b: _subtract(a, b)) if _fits(a, b) else None


@overload(operator.mul, inline="always")
def _multiply_values(a, b):
    return (lambda a, b: _multiply(a, b)) if _fits(a, b) else None


@overload(operator.truediv, inline="always")
def _divide_values(a, b):
    return (lambda a, b: _divide(a, b)) if _fits(a, b) else None
