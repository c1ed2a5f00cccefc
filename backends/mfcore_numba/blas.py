"""Matrix products inside kernels, on parts of flat arrays, by the BLAS of scipy."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.linalg import ensure_blas

ensure_blas()


@intrinsic
def multiply(
    typing_context: Any,
    shape: Any,
    left: Any,
    right: Any,
    result: Any,
    added: Any,
) -> Any:
    """Write a matrix product, row by row: C = A B, or C += A B where `added`.

    Parameters
    ----------
    shape : (rows of C, columns of C, columns of A)
    left, right : (flat array, where the matrix begins, length of a row, whether it is transposed)
        A and B.
    result : (flat array, where the matrix begins, length of a row)
        C.
    added : bool
    """
    real = left[0].dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def matrix(kind: Any, arg: Any) -> tuple[Any, ...]:
            array, start, *others = (builder.extract_value(arg, place) for place in range(len(kind)))
            data = context.make_array(kind[0])(context, builder, array).data
            return builder.gep(data, [start]), *others

        def transposed(flag: Any) -> Any:
            char = ir.IntType(8)
            return builder.select(
                context.cast(builder, flag, types.boolean, types.boolean),
                ir.Constant(char, ord("t")),
                ir.Constant(char, ord("n")),
            )

        rows, columns, inner = (builder.extract_value(args[0], place) for place in range(3))
        (a, a_row, a_turned), (b, b_row, b_turned) = (
            matrix(signature.args[place], args[place]) for place in (1, 2)
        )
        c, c_row = matrix(signature.args[3], args[3])
        element = context.get_value_type(real)
        one = cgutils.alloca_once_value(builder, ir.Constant(element, 1.0))
        beta = cgutils.alloca_once(builder, element)
        builder.store(builder.select(args[4], ir.Constant(element, 1.0), ir.Constant(element, 0.0)), beta)
        word, char, pointer = ir.IntType(64), ir.IntType(8), element.as_pointer()
        kind = ir.FunctionType(
            ir.IntType(32),
            [
                char,
                char,
                char,
                word,
                word,
                word,
                pointer,
                pointer,
                word,
                pointer,
                word,
                pointer,
                pointer,
                word,
            ],
        )
        function = cgutils.get_or_insert_function(builder.module, kind, "numba_xxgemm")
        letter = ir.Constant(char, ord("s" if real == types.float32 else "d"))
        # BLAS counts by columns, in which these arrays hold the transposed matrices: C' = B' A'.
        builder.call(
            function,
            [
                letter,
                transposed(b_turned),
                transposed(a_turned),
                *(columns, rows, inner),
                one,
                *(b, b_row),
                *(a, a_row),
                beta,
                *(c, c_row),
            ],
        )
        return context.get_dummy_value()

    return types.void(shape, left, right, result, added), generate
