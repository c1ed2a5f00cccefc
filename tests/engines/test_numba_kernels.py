"""The parts that the numba engine's kernels are made of, each against numpy or the core."""

import math

import numpy as np
import pytest

import mfcore
from mfcore.operators import NUMPY
from mfcore.specs import Stack

numba = pytest.importorskip("numba", reason="numba is not installed on this Python")

from mfcore_numba import layers, rules  # noqa: E402
from mfcore_numba.products import Matrix, multiply  # noqa: E402
from mfcore_numba.vectors import (  # noqa: E402
    aligned_copy,
    one_vector,
    peek,
    peek_some,
    poke,
    poke_some,
    root,
    rows,
    same,
    two_vectors,
)
from mfcore_numba.workers import Workers, wait  # noqa: E402

DTYPES = {"float32": 1e-5, "float64": 1e-13}


# Products


def multiplied(left, right, before, *, transposed, added, stride):
    """Return the whole array of which the result is the first columns of all rows but the first."""
    (n_rows, n_inner), n_columns = left.shape, right.shape[1]
    stored = left.T if transposed else left
    a = np.concatenate([[np.nan], np.ascontiguousarray(stored).ravel()]).astype(left.dtype)
    b = np.concatenate([[np.nan] * 3, right.ravel()]).astype(left.dtype)
    c = np.full((n_rows + 2, stride), np.nan, dtype=left.dtype)
    c[1:-1, :n_columns] = before
    flat = c.ravel()
    steps = (1, n_rows) if transposed else (n_inner, 1)
    shape = (n_rows, n_columns, n_inner)
    multiply(shape, Matrix(a, 1, *steps), Matrix(b, 3, n_columns, 1), Matrix(flat, stride, stride, 1), added)
    return flat.reshape(c.shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("added", [False, True], ids=["written", "added"])
@pytest.mark.parametrize("transposed", [False, True], ids=["as is", "transposed"])
def test_a_product_is_numpy_s_and_touches_nothing_else(transposed, added, dtype):
    rng = np.random.default_rng(1)
    sizes = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 70]
    for n_rows in sizes:
        for n_columns in sizes:
            n_inner = int(rng.integers(1, 71))
            left, right = rng.normal(size=(n_rows, n_inner)), rng.normal(size=(n_inner, n_columns))
            before = rng.normal(size=(n_rows, n_columns)).astype(dtype)
            left, right = left.astype(dtype), right.astype(dtype)
            stride = n_columns + int(rng.integers(0, 3))
            found = multiplied(left, right, before, transposed=transposed, added=added, stride=stride)
            expected = left.astype(float) @ right.astype(float) + (before if added else 0)
            assert np.abs(found[1:-1, :n_columns] - expected).max() <= DTYPES[dtype] * (1 + n_inner)
            assert np.isnan(found[[0, -1]]).all()
            assert np.isnan(found[:, n_columns:]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_product_over_nothing_is_zero(dtype):
    found = multiplied(
        np.empty((9, 0), dtype),
        np.empty((0, 5), dtype),
        np.ones((9, 5), dtype),
        transposed=False,
        added=False,
        stride=5,
    )
    assert (found[1:-1] == 0).all()


# Values


@numba.njit
def operate(like, a, b, number, results):
    n = len(a)
    x, y = peek(like, a, 0), peek(like, b, 0)
    poke(results, 0, x + y)
    poke(results, n, x - y)
    poke(results, 2 * n, x * y)
    poke(results, 3 * n, x / y)
    poke(results, 4 * n, number * x + number / y)
    poke(results, 5 * n, (x - number) * number)
    poke(results, 6 * n, root(y))
    return same(x, y), same(x, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 7, 16, 19, 33])
def test_values_take_the_operators_number_by_number(width, dtype):
    rng = np.random.default_rng(2)
    a, b = (rng.uniform(0.5, 2, width).astype(dtype) for _ in range(2))
    number = np.dtype(dtype).type(1.7)
    results = np.full(7 * width + 1, -9, dtype=dtype)
    assert operate(rows(np.empty((0, width), dtype=dtype)), a, b, number, results) == (False, True)
    assert results[-1] == -9
    expected = [a + b, a - b, a * b, a / b, number * a + number / b, (a - number) * number, np.sqrt(b)]
    np.testing.assert_allclose(
        results[:-1].reshape(7, width), expected, rtol=DTYPES[dtype], atol=DTYPES[dtype]
    )


@numba.njit
def are_same(like, a, b):
    return same(peek(like, a, 0), peek(like, b, 0))


@pytest.mark.parametrize("place", [0, 15, 16, 18])
def test_values_are_the_same_only_where_every_number_is(place):
    a = np.linspace(1, 2, 19, dtype=np.float32)
    b, like = a.copy(), rows(np.empty((0, 19), dtype=np.float32))
    assert are_same(like, a, b)
    b[place] = np.nextafter(b[place], np.float32(9))
    assert not are_same(like, a, b)
    b[place] = a[place] = np.nan
    assert not are_same(like, a, b)


@numba.njit
def copy_some(source, target, start, count):
    poke_some(target, start, peek_some(one_vector(source), source, start, count), count)


@numba.njit
def widen_some(source, target, count):
    poke(target, 0, peek_some(one_vector(source), source, 0, count))


@numba.njit
def copy_two_vectors(source, target, count):
    poke_some(target, 0, peek_some(two_vectors(source), source, 0, count), count)


@pytest.mark.parametrize("dtype", DTYPES)
def test_some_numbers_are_read_and_written_and_no_others(dtype):
    lanes = 64 // np.dtype(dtype).itemsize
    for count in range(lanes + 1):
        source = np.arange(1, 2 * lanes + 1, dtype=dtype)
        target = np.zeros_like(source)
        copy_some(source, target, 3, count)
        assert target.tolist() == [0] * 3 + source[3 : 3 + count].tolist() + [0] * (2 * lanes - 3 - count)
        # Beyond those that were asked for there are zeros, so that they add nothing to a sum.
        target.fill(-1)
        widen_some(source, target, count)
        assert target[:lanes].tolist() == source[:count].tolist() + [0] * (lanes - count)
        copy_two_vectors(source, target, 1)
        np.testing.assert_array_equal(target, source)


@pytest.mark.parametrize("shape", [(5,), (3, 7)])
def test_an_aligned_copy_begins_on_a_cache_line(shape):
    table = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    copy = aligned_copy(table[::-1])
    assert copy.ctypes.data % 64 == 0
    np.testing.assert_array_equal(copy, table[::-1])


# Layers


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_rows", [1, 13, 64])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "linear"])
@pytest.mark.parametrize("widths", [(7, 5), (10, 9, 5), (4, 40, 3, 1)], ids=str)
def test_layers_are_the_core_s_forward_and_backward(widths, activation, n_rows, dtype):
    rng = np.random.default_rng(3)
    stack = Stack.make("dense", widths, activation)
    parameters = {name: rng.normal(size=one.shape).astype(dtype) for name, one in stack.parameters().items()}
    # Something else stands before them.
    sizes = [array.size for array in parameters.values()]
    begins = dict(zip(parameters, (5 + np.cumsum([0, *sizes[:-1]])).tolist(), strict=True))
    dense = np.concatenate([np.full(5, np.nan), *(array.ravel() for array in parameters.values())]).astype(
        dtype
    )
    described = layers.describe(stack.layers, begins)
    transposed = np.zeros_like(dense)
    for first in range(0, len(dense), 11):  # in parts, as tasks do
        layers.transpose(described, dense, transposed, first, min(first + 11, len(dense)))

    inputs, upstream = rng.normal(size=(n_rows, widths[0])), rng.normal(size=(n_rows, widths[-1]))
    inputs, upstream = inputs.astype(dtype), upstream.astype(dtype)
    outputs = stack.outputs(parameters, inputs)
    grad_inputs, grad_parameters = stack.backward(parameters, outputs, upstream)

    start = 3
    work = np.full(start + layers.room(described, widths[0]), np.nan, dtype=dtype)
    view(work, start, n_rows, widths[0] + 1)[...] = np.column_stack([inputs, np.ones(n_rows)])
    end = layers.forward(described, dense, work, start, n_rows)
    close = {"rtol": 100 * DTYPES[dtype], "atol": 100 * DTYPES[dtype]}
    found = view(work, end, n_rows, widths[-1] + 1)
    np.testing.assert_allclose(found[:, :-1], outputs[-1], **close)
    assert (found[:, -1] == 1).all()

    view(work, layers.upstream_of(described, end), n_rows, widths[-1] + 1)[:, :-1] = upstream
    origin = 2
    gradient = np.ones(origin + len(dense), dtype=dtype)
    at = layers.backward(described, transposed, work, end, n_rows, gradient, origin)
    for name, array in grad_parameters.items():
        first = origin + begins[name]
        own = gradient[first : first + array.size].reshape(array.shape)
        np.testing.assert_allclose(own, 1 + array, **close)  # added to what was there
    assert (gradient[: origin + 5] == 1).all()

    for first, n in ((0, widths[0]), (1, widths[0] - 2)):
        result = np.zeros((n_rows, n + 1), dtype=dtype)
        flat = Matrix(result.ravel(), 0, n + 1, 1)
        layers.by_inputs(described, transposed, work, at, n_rows, first, n, flat)
        np.testing.assert_allclose(
            flat.numbers.reshape(result.shape)[:, :-1], grad_inputs[:, first : first + n], **close
        )


def view(work, start, n_rows, width):
    return work[start : start + n_rows * width].reshape(n_rows, width)


@pytest.mark.parametrize("code", [layers.RELU, layers.TANH, layers.SIGMOID])
def test_activations_hand_on_nan_and_saturate_without_overflow(code):
    numbers = np.array([np.nan, -1e4, 1e4], dtype=np.float32)
    layers.activate(code, numbers)
    assert np.isnan(numbers[0])
    expected = {layers.RELU: [0, 1e4], layers.TANH: [-1, 1], layers.SIGMOID: [0, 1]}[code]
    np.testing.assert_array_equal(numbers[1:], expected)


# Workers


@numba.njit(nogil=True)
def take_turns(worker, board, n_rounds):
    """Write to a place of one's own, and read everybody else's after the barrier; count what is amiss."""
    amiss = 0
    for number in range(n_rounds):
        board[worker.number] = number
        wait(worker)
        for other in range(worker.n):
            amiss += board[other] != number
        wait(worker)
    return 1000 * worker.number + amiss


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_workers_see_after_a_barrier_what_all_others_wrote_before_it(n):
    workers = Workers(n)
    for _ in range(3):
        assert workers.run(take_turns, np.zeros(n, dtype=np.int64), 2_000) == 0


@numba.njit(nogil=True)
def fail(worker):
    if worker.number == 1:
        raise ValueError("worker 1")


def test_an_error_in_any_worker_is_raised():
    with pytest.raises(ValueError, match="worker 1"):
        Workers(2).run(fail)


# Rules


@pytest.mark.parametrize(
    ("optimizer", "settled"),
    [
        (mfcore.Adam(), 5),
        (mfcore.AdamW(), rules.NEVER),
        (mfcore.Adam(beta_1=0.95, beta_2=0.9999), 10),
        (mfcore.Adam(beta_1=0.7, beta_2=0.99), 1),
        (mfcore.Adam(beta_1=0.0), 1),
        (mfcore.Adam(beta_1=0.99), 57),
        (mfcore.Adam(beta_2=0.5), rules.NEVER),
        (mfcore.Adam(beta_2=0.0), rules.NEVER),
    ],
    ids=str,
)
def test_the_steps_from_which_a_row_at_rest_stays_there(optimizer, settled):
    assert rules.settled_from(optimizer) == settled


@pytest.mark.parametrize("beta_1", [0.0, 0.5, 0.9, 0.99])
def test_from_the_settled_step_on_deferred_steps_of_adam_shrink(beta_1):
    optimizer = mfcore.Adam(beta_1=beta_1)
    sizes = []
    first, second, move = 1.0, 1.0, optimizer.rule(NUMPY)
    for step in range(rules.settled_from(optimizer), 2_000):
        moved, first, second = move(0.0, 0.0, first, second, optimizer.coefficients(step, 0.01))
        sizes.append(abs(moved))
    assert (np.diff(sizes) <= 0).all()


@pytest.mark.parametrize("done", [0, 400, 5_000])
def test_deferred_steps_are_counted_from_the_start_of_a_call(done):
    optimizer = mfcore.Adam()
    table = [optimizer.coefficients(done + 1 + step, 0.01) for step in range(20)]
    in_float32, in_float64 = (
        rules.deferred_steps(optimizer, np.array(table, dtype=dtype), done, 0.01)
        for dtype in (np.float32, np.float64)
    )
    assert in_float32.smooth == max(0, 1_000 - done)
    assert in_float64.smooth == rules.NEVER  # the series is good for float32 alone
    assert in_float64.settled == max(0, 5 - done)
    np.testing.assert_allclose(in_float64.kept[20], [1, 0.9**20, 0.999**20], rtol=1e-14)
