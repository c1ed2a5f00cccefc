"""Matrix products inside kernels, on parts of flat arrays.

The matrices of a mini-batch are small: of 64 rows, say, and 8 to 256 columns. A panel of the result, eight
rows and one or two vectors of columns, stays in registers while the sum runs; so each number that is loaded
serves several multiplications, and nothing has to be copied into another order first.
"""

from typing import Any, NamedTuple

from mfcore_numba.compiling import compiled
from mfcore_numba.vectors import (
    add_scaled_by,
    lanes_of,
    one_vector,
    peek_some,
    poke_some,
    two_vectors,
    zeros,
)

# Rows of a panel.
HEIGHT = 8


class Matrix(NamedTuple):
    """A matrix [rows, columns] in a flat array: where it begins, and the distance of rows and of columns."""

    numbers: Any
    start: int
    row: int
    column: int


@compiled(borrowing=True)
def multiply(shape, left, right, result, added):
    """Write a matrix product, C = A B, or add it to what is there, C += A B.

    Parameters
    ----------
    shape : (rows of C, columns of C, columns of A)
    left : Matrix
        A, of any order: rows and columns may be exchanged.
    right, result : Matrix
        B and C, with columns next to one another.
    added : bool
    """
    n_rows, n_columns, n_inner = shape
    single, double = one_vector(left.numbers), two_vectors(left.numbers)
    lanes = lanes_of(left.numbers)
    column = 0
    while n_columns - column >= 2 * lanes:
        multiply_columns(double, 0, n_rows, n_inner, left, right, result, column, added)
        column += 2 * lanes
    while column < n_columns:
        some = min(lanes, n_columns - column)
        multiply_columns(single, some, n_rows, n_inner, left, right, result, column, added)
        column += lanes


@compiled(borrowing=True)
def multiply_columns(like, some, n_rows, n_inner, left, right, result, column, added):
    """Write the product's columns from `column` on: as many as `like` has, or the first `some` of them."""
    a, b, c = left.numbers, right.numbers, result.numbers
    down, along, width, stride = left.row, left.column, right.row, result.row
    b_start, c_start, row = right.start + column, result.start + column, 0
    while n_rows - row >= HEIGHT:
        at, to = left.start + row * down, c_start + row * stride
        s0, s1, s2, s3 = zeros(like), zeros(like), zeros(like), zeros(like)
        s4, s5, s6, s7 = zeros(like), zeros(like), zeros(like), zeros(like)
        for inner in range(n_inner):
            b_row, x = peek_some(like, b, b_start + inner * width, some), at + inner * along
            s0 = add_scaled_by(s0, a, x, b_row)
            s1 = add_scaled_by(s1, a, x + down, b_row)
            s2 = add_scaled_by(s2, a, x + 2 * down, b_row)
            s3 = add_scaled_by(s3, a, x + 3 * down, b_row)
            s4 = add_scaled_by(s4, a, x + 4 * down, b_row)
            s5 = add_scaled_by(s5, a, x + 5 * down, b_row)
            s6 = add_scaled_by(s6, a, x + 6 * down, b_row)
            s7 = add_scaled_by(s7, a, x + 7 * down, b_row)
        write_row(like, c, to, s0, some, added)
        write_row(like, c, to + stride, s1, some, added)
        write_row(like, c, to + 2 * stride, s2, some, added)
        write_row(like, c, to + 3 * stride, s3, some, added)
        write_row(like, c, to + 4 * stride, s4, some, added)
        write_row(like, c, to + 5 * stride, s5, some, added)
        write_row(like, c, to + 6 * stride, s6, some, added)
        write_row(like, c, to + 7 * stride, s7, some, added)
        row += HEIGHT
    while row < n_rows:
        at, sums = left.start + row * down, zeros(like)
        for inner in range(n_inner):
            b_row = peek_some(like, b, b_start + inner * width, some)
            sums = add_scaled_by(sums, a, at + inner * along, b_row)
        write_row(like, c, c_start + row * stride, sums, some, added)
        row += 1


@compiled(borrowing=True)
def write_row(like, c, position, sums, some, added):
    """Write a row of a panel, or add it to what is there."""
    if added:
        sums = sums + peek_some(like, c, position, some)
    poke_some(c, position, sums, some)
