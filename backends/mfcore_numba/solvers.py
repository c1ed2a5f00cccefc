"""Solvers of the rows' systems A x = y of WALS.

    A = gram + sum a f f' + ridge I,    y = sum (b - a o) f - pull

The sums run over the row's interactions; f and o are the features and the offset of the other side's row.
"""

import numpy as np

from mfcore_numba.compiling import compiled
from mfcore_numba.vectors import add_scaled, dot, load, prefetch, put, store, take, zeros

# Interactions ahead of the one in work whose features are asked for: about the latency of memory.
AHEAD = 8
# Bytes of features that are gathered at a time: they stay in a core's first cache.
GATHERED_BYTES = 32_768
# Bytes of a row of the system up to which two rows fit the registers, beside one of features.
TWO_ROWS_BYTES = 512
# Interactions whose features are gathered at a time for the blocks of a subspace, to meet BLAS in cache.
GATHERED = 512


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
    for place in range(begin, end):
        prefetch(features, others[min(place + AHEAD, end - 1)])
        f = load(features, others[place])
        score = dot(f, x)
        if len(half.offsets):
            score += half.offsets[others[place]]
        result = add_scaled(result, observed.b[place] - observed.a[place] * score, f)
    return result


@compiled()
def add_observed(half, observed, begin, end, x, result):
    """Return result + sum a (f.x) f over a row's interactions."""
    features, others = half.features, observed.others
    for place in range(begin, end):
        prefetch(features, others[min(place + AHEAD, end - 1)])
        f = load(features, others[place])
        result = add_scaled(result, observed.a[place] * dot(f, x), f)
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
def direct(half, solved, observed, first, stop):
    """Solve rows first..stop of `solved`, an array of numbers; return whether all systems are positive."""
    width, kind = half.table.shape[1], half.table.dtype
    system, right = np.empty((width, width), dtype=kind), np.empty((1, width), dtype=kind)
    size = max(8, GATHERED_BYTES // (width * half.table.itemsize))
    gathered, weights = np.empty((size, width), dtype=kind), np.empty(size, dtype=kind)
    for row in range(first, stop):
        start_system(half, row, system)
        for k in range(width):
            right[0, k] = -half.pull_numbers[k]
        for begin in range(observed.starts[row], observed.starts[row + 1], size):
            n = min(begin + size, observed.starts[row + 1]) - begin
            gather_rows(half, observed, begin, n, gathered, weights, right)
            add_products(half, gathered, weights, n, system)
        if not solve_positive(system, right[0]):
            return False
        for k in range(width):
            solved[row, k] = right[0, k]
    return True


@compiled()
def gather_rows(half, observed, begin, n, gathered, weights, right):
    """Copy f and a of n interactions, and add (b - a o) f to `right`."""
    features, others, total = half.features, observed.others, take(half.features, right, 0)
    end = begin + n
    for place in range(begin, end):
        prefetch(features, others[min(place + AHEAD, end - 1)])
        f, a, pull = load(features, others[place]), observed.a[place], observed.b[place]
        if len(half.offsets):
            pull -= a * half.offsets[others[place]]
        total = add_scaled(total, pull, f)
        put(gathered, place - begin, f)
        weights[place - begin] = a
    put(right, 0, total)


@compiled()
def add_products(half, gathered, weights, n, system):
    """Add sum a f f' to `system`, one or two of its rows at a time."""
    width, i = len(system), 0
    if width * half.table.itemsize <= TWO_ROWS_BYTES:
        while i + 1 < width:
            first, second = take(half.features, system, i), take(half.features, system, i + 1)
            for place in range(n):
                f, a = take(half.features, gathered, place), weights[place]
                first = add_scaled(first, a * gathered[place, i], f)
                second = add_scaled(second, a * gathered[place, i + 1], f)
            put(system, i, first)
            put(system, i + 1, second)
            i += 2
    while i < width:
        row = take(half.features, system, i)
        for place in range(n):
            row = add_scaled(row, weights[place] * gathered[place, i], take(half.features, gathered, place))
        put(system, i, row)
        i += 1


@compiled()
def start_system(half, row, system):
    """Write gram + ridge I to `system`."""
    zero = half.table.dtype.type(0)
    for i in range(len(system)):
        for j in range(len(system)):
            system[i, j] = half.gram[i, j] if len(half.gram) else zero
        system[i, i] += half.ridge[row]


@compiled()
def add_product(system, scaled, gathered, product):
    """Add scaled' gathered to `system`; `product` is room for it."""
    np.dot(scaled.T, gathered, product)
    for i in range(len(system)):
        for j in range(len(system)):
            system[i, j] += product[i, j]


@compiled()
def gather(half, observed, begin, n, column, gathered, scaled, right):
    """Copy some columns of f and of a f for n interactions, and add (b - a o) f to `right`."""
    for place in range(n):
        other, a = observed.others[begin + place], observed.a[begin + place]
        pull = observed.b[begin + place]
        if len(half.offsets):
            pull -= a * half.offsets[other]
        for k in range(gathered.shape[1]):
            f = half.table[other, column + k]
            gathered[place, k] = f
            scaled[place, k] = a * f
            right[k] += pull * f


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
def subspace(half, solved, observed, first, stop, block_size):
    """Pass once over blocks of the elements of rows first..stop, solving each with the others fixed.

    Return whether all systems are positive.
    """
    width, kind = half.table.shape[1], half.table.dtype
    longest = 0
    for row in range(first, stop):
        longest = max(longest, observed.starts[row + 1] - observed.starts[row])
    scores, image = np.empty(longest, dtype=kind), np.empty(width, dtype=kind)
    for row in range(first, stop):
        start_scores(half, observed, solved, row, scores, image)
        for column in range(0, width, block_size):
            size = min(block_size, width - column)
            if not solve_block(half, observed, solved, row, column, size, scores, image):
                return False
    return True


@compiled()
def start_scores(half, observed, solved, row, scores, image):
    """Write the scores of a row's interactions, o + f.x, and image = (gram + ridge I) x + pull."""
    begin, end = observed.starts[row], observed.starts[row + 1]
    for place in range(end - begin):
        other = observed.others[begin + place]
        score = half.offsets[other] if len(half.offsets) else half.table.dtype.type(0)
        for k in range(len(image)):
            score += half.table[other, k] * solved[row, k]
        scores[place] = score
    for k in range(len(image)):
        image[k] = half.pull_numbers[k] + half.ridge[row] * solved[row, k]
        if len(half.gram):
            for j in range(len(image)):
                image[k] += half.gram[k, j] * solved[row, j]


@compiled()
def solve_block(half, observed, solved, row, column, size, scores, image):
    """Solve for `size` elements from `column` on, and bring scores and image up to date, if positive."""
    kind, begin, end = half.table.dtype, observed.starts[row], observed.starts[row + 1]
    system, right = np.zeros((size, size), dtype=kind), np.empty(size, dtype=kind)
    product, unused = np.empty((size, size), dtype=kind), np.empty(size, dtype=kind)
    gathered, scaled = np.empty((GATHERED, size), dtype=kind), np.empty((GATHERED, size), dtype=kind)
    for i in range(size):
        right[i] = -image[column + i]
        if len(half.gram):
            for j in range(size):
                system[i, j] = half.gram[column + i, column + j]
        system[i, i] += half.ridge[row]
    for start in range(begin, end, GATHERED):
        n = min(start + GATHERED, end) - start
        gather(half, observed, start, n, column, gathered, scaled, unused)
        add_product(system, scaled[:n], gathered[:n], product)
        for place in range(n):
            slope = observed.b[start + place] - observed.a[start + place] * scores[start + place - begin]
            for k in range(size):
                right[k] += slope * gathered[place, k]
    if not solve_positive(system, right):
        return False
    for k in range(size):
        solved[row, column + k] += right[k]
        image[column + k] += half.ridge[row] * right[k]
        if len(half.gram):
            for j in range(len(image)):
                image[j] += half.gram[column + k, j] * right[k]
    for place in range(begin, end):
        score = scores[place - begin]
        for k in range(size):
            score += half.table[observed.others[place], column + k] * right[k]
        scores[place - begin] = score
    return True
