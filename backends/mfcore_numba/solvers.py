"""Solvers of the rows' systems A x = y of WALS.

    A = gram + sum a f f' + ridge I,    y = sum (b - a o) f - pull

The sums run over the row's interactions; f and o are the features and the offset of the other side's row.
"""

from typing import Any, NamedTuple

import numpy as np

from mfcore_numba.compiling import compiled
from mfcore_numba.products import Matrix, multiply
from mfcore_numba.vectors import add_scaled, dot, fetch, load, prefetch, put, store, zeros

# Interactions ahead of the one in work whose features are asked for: about the latency of memory.
AHEAD = 8
# Bytes of features that are gathered at a time: they stay in a core's second cache.
GATHERED_BYTES = 262_144
# Columns of a system that are added up together, from the diagonal down: Cholesky reads nothing above it.
COLUMNS = 32


class Room(NamedTuple):
    """Room for the blocks of a row's elements, which are solved one after the other.

    Attributes
    ----------
    width : int
    table : array [n_others * width]
        The features of the other side.
    gathered : array [size * width]
        Those of interactions.
    scaled : array [size * block_size]
        The same of a block, times a.
    scores : array [n]
        Of all interactions of the row.
    image : array [width]
        (gram + ridge I) x + pull.
    change : array [block_size]
        Of the block that was solved last.
    system, right : arrays [block_size * block_size], [block_size]
        For the block that is solved next.
    """

    width: int
    table: Any
    gathered: Any
    scaled: Any
    scores: Any
    image: Any
    change: Any
    system: Any
    right: Any


class Block(NamedTuple):
    """A block of a row's elements from `column` on: its system [n * n] and its right side [n]."""

    column: int
    system: Any
    right: Any


class Part(NamedTuple):
    """Interactions of a row that are handled together, with their scores: arrays [n]."""

    others: Any
    a: Any
    b: Any
    scores: Any


@compiled()
def conjugate_gradient(half, solved, observed, first, stop, steps):
    """Improve rows first..stop of `solved`, rows of vectors, by some steps of conjugate gradient each."""
    numbers = np.empty((1, half.table.shape[1]), dtype=half.table.dtype)
    for row in range(first, stop):
        begin, end, ridge = observed.starts[row], observed.starts[row + 1], half.ridge[row]
        x = load(solved, row)
        residual = observed_residual(half, observed, begin, end, x)
        residual = add_scaled(residual, type(ridge)(-1), gram_times(half, numbers, ridge, x))
        residual = add_scaled(residual, type(ridge)(-1), load(half.pull, 0))
        direction, square = residual, dot(residual, residual)
        floor = square * type(ridge)(1e-20)
        for _ in range(steps):
            if square <= floor:
                break
            image = gram_times(half, numbers, ridge, direction)
            image = add_observed(half, observed, begin, end, direction, image)
            curvature = dot(direction, image)
            if curvature <= 0:
                break
            length = square / curvature
            x = add_scaled(x, length, direction)
            residual = add_scaled(residual, -length, image)
            new_square = dot(residual, residual)
            direction = add_scaled(residual, new_square / square, direction)
            square = new_square
        store(solved, row, x)


@compiled()
def observed_residual(half, observed, begin, end, x):
    """Return sum (b - a (o + f.x)) f over a row's interactions."""
    features, others = half.features, observed.others
    result = zeros(features)
    for position in range(begin, end):
        prefetch(features, others[min(position + AHEAD, end - 1)])
        f = load(features, others[position])
        score = dot(f, x)
        if len(half.offsets):
            score += half.offsets[others[position]]
        result = add_scaled(result, observed.b[position] - observed.a[position] * score, f)
    return result


@compiled()
def add_observed(half, observed, begin, end, x, result):
    """Return result + sum a (f.x) f over a row's interactions."""
    features, others = half.features, observed.others
    for position in range(begin, end):
        prefetch(features, others[min(position + AHEAD, end - 1)])
        f = load(features, others[position])
        result = add_scaled(result, observed.a[position] * dot(f, x), f)
    return result


@compiled()
def gram_times(half, numbers, ridge, x):
    """Return (gram + ridge I) x."""
    result = add_scaled(zeros(half.features), ridge, x)
    if len(half.gram):
        put(numbers, 0, x)
        for k in range(numbers.shape[1]):
            result = add_scaled(result, numbers[0, k], load(half.gram_rows, k))
    return result


@compiled()
def solve_positive(system, right):
    """Overwrite `right` with the solution of system x = right; return whether the system is positive."""
    # The error must not reach the parallel loop that calls this: it would not come out whole.
    try:
        lower = np.linalg.cholesky(system)
    except Exception:
        return False
    n = len(right)
    for i in range(n):
        value = right[i]
        for k in range(i):
            value -= lower[i, k] * right[k]
        right[i] = value / lower[i, i]
    for i in range(n - 1, -1, -1):
        value = right[i] / lower[i, i]
        right[i] = value
        for k in range(i):
            right[k] -= lower[i, k] * value
    return True


@compiled()
def solve_blocks(half, solved, observed, first, stop, block_size):
    """Pass once over blocks of the elements of rows first..stop, solving each with the others fixed.

    A block of all elements is the whole system. Returns whether all systems are positive.
    """
    width, kind, longest = half.table.shape[1], half.table.dtype, 0
    for row in range(first, stop):
        longest = max(longest, observed.starts[row + 1] - observed.starts[row])
    size = max(8, min(longest, GATHERED_BYTES // (width * half.table.itemsize)))
    room = Room(
        width=width,
        table=half.table.reshape(half.table.size),
        gathered=np.empty(size * width, dtype=kind),
        scaled=np.empty(size * block_size, dtype=kind),
        scores=np.empty(longest, dtype=kind),
        image=np.empty(width, dtype=kind),
        change=np.empty(block_size, dtype=kind),
        system=np.empty(block_size * block_size, dtype=kind),
        right=np.empty(block_size, dtype=kind),
    )
    for row in range(first, stop):
        x, ridge = solved[row], half.ridge[row]
        if block_size == width:
            # The solution of the whole system does not depend on where the row stands.
            x[:] = 0
        start_image(half, x, ridge, room.image)
        for column in range(0, width, block_size):
            n = min(block_size, width - column)
            block = Block(column, room.system[: n * n], room.right[:n])
            start_block(half, ridge, room.image, block)
            add_interactions(half.offsets, observed, row, x, room, block)
            if not solve_positive(block.system.reshape((n, n)), block.right):
                return False
            move_block(half, x, ridge, room, block)
    return True


@compiled(borrowing=True)
def start_image(half, x, ridge, image):
    """Write (gram + ridge I) x + pull."""
    for k in range(len(image)):
        image[k] = half.pull_numbers[k] + ridge * x[k]
        if len(half.gram):
            for j in range(len(image)):
                image[k] += half.gram[k, j] * x[j]


@compiled(borrowing=True)
def start_block(half, ridge, image, block):
    """Write what the system of a block has without the row's interactions."""
    column, system, right, n = block.column, block.system, block.right, len(block.right)
    for i in range(n):
        right[i] = -image[column + i]
        for j in range(n):
            system[i * n + j] = half.gram[column + i, column + j] if len(half.gram) else image.dtype.type(0)
        system[i * n + i] += ridge


@compiled(borrowing=True)
def add_interactions(offsets, observed, row, x, room, block):
    """Add a row's interactions to the system of a block, as many at a time as there is room for."""
    width = room.width
    begin, end, size = observed.starts[row], observed.starts[row + 1], len(room.gathered) // width
    for start in range(begin, end, size):
        stop = min(start + size, end)
        part = Part(
            observed.others[start:stop],
            observed.a[start:stop],
            observed.b[start:stop],
            room.scores[start - begin : stop - begin],
        )
        if block.column == 0 or end - begin > size:
            gather(part.others, room)
        if block.column == 0:
            start_scores(offsets, part, x, room)
        else:
            change_scores(part, room, block.column - len(room.change))
        weigh(part, room, block)
        add_products(room, block, stop - start)


@compiled(borrowing=True)
def add_products(room, block, size):
    """Add sum a f f' over gathered interactions to the system of a block, on and below its diagonal."""
    n, width = len(block.right), room.width
    for column in range(0, n, COLUMNS):
        multiply(
            (n - column, min(COLUMNS, n - column), size),
            Matrix(room.scaled, column, 1, n),
            Matrix(room.gathered, block.column + column, width, 1),
            Matrix(block.system, column * n + column, n, 1),
            True,
        )


@compiled(borrowing=True)
def gather(others, room):
    """Copy the features of interactions."""
    table, width = room.table, room.width
    for position in range(len(others)):
        fetch(table, others[min(position + AHEAD, len(others) - 1)] * width, width)
        at = others[position] * width
        features, copy = table[at : at + width], room.gathered[position * width : (position + 1) * width]
        for k in range(width):
            copy[k] = features[k]


@compiled(borrowing=True)
def start_scores(offsets, part, x, room):
    """Write the scores of interactions, o + f.x."""
    width = room.width
    for position in range(len(part.scores)):
        f, score = room.gathered[position * width : (position + 1) * width], x.dtype.type(0)
        for k in range(width):
            score += f[k] * x[k]
        part.scores[position] = score + offsets[part.others[position]] if len(offsets) else score


@compiled(borrowing=True)
def change_scores(part, room, column):
    """Add what the change of the block at `column` makes of the scores of interactions."""
    change = room.change
    for position in range(len(part.scores)):
        at, score = position * room.width + column, part.scores[position]
        f = room.gathered[at : at + len(change)]
        for k in range(len(change)):
            score += f[k] * change[k]
        part.scores[position] = score


@compiled(borrowing=True)
def weigh(part, room, block):
    """Write a f of a block, and add (b - a score) f to the right side."""
    n, right = len(block.right), block.right
    for position in range(len(part.scores)):
        at, a = position * room.width + block.column, part.a[position]
        slope = part.b[position] - a * part.scores[position]
        f, scaled = room.gathered[at : at + n], room.scaled[position * n : (position + 1) * n]
        for k in range(n):
            scaled[k] = a * f[k]
            right[k] += slope * f[k]


@compiled(borrowing=True)
def move_block(half, x, ridge, room, block):
    """Add the solution of a block to the row, and bring its image up to date."""
    column, image, change = block.column, room.image, block.right
    for k in range(len(change)):
        room.change[k] = change[k]
        x[column + k] += change[k]
        image[column + k] += ridge * change[k]
        if len(half.gram):
            for j in range(len(image)):
                image[j] += half.gram[column + k, j] * change[k]
