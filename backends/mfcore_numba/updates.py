"""The second half of a step: the gradients of a row are added up over the batch, and the rule moves it.

A batch's pairs that share a row are chained, the last one first; whoever owns that last one adds the
chain up and moves the row. So each row is moved once, with its gradients added in an order that does not
depend on the number of workers.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfcore_numba.compiling import compiled
from mfcore_numba.nets import Net
from mfcore_numba.objectives import Loss
from mfcore_numba.own_parts import call_rule
from mfcore_numba.rules import Deferred, caught_up, move, moved
from mfcore_numba.store import PackedRows
from mfcore_numba.vectors import fetch, peek, poke, zeros

# Pairs whose rows, or dense parameters, make one task.
PAIRS_A_TASK, ROWS_A_TASK, DENSE_A_TASK = 32, 1024, 512
NONE = -1
# Pairs ahead of the one in work whose rows are asked for: about the latency of memory.
AHEAD = 4


class Side(NamedTuple):
    """The users or the items, and the chains of a batch.

    Attributes
    ----------
    rows : PackedRows
    gradient : array [n_pairs * width]
        By the row of each pair.
    latest : int32 [n_rows]
        The last pair of the batch that pairs_sharing_row each row, or NONE.
    previous : int32 [n_pairs]
        The pair before each pair of the batch that pairs_sharing_row the same row, or NONE.
    done : int64 [n_rows]
        How many of the steps of this call each row has taken.
    pairs_sharing_row : int
        Pairs of an instance that have the same row: each instance counts once for l2.
    """

    rows: PackedRows
    gradient: Any
    latest: NDArray[np.int32]
    previous: NDArray[np.int32]
    done: NDArray[np.int64]
    pairs_sharing_row: int


class Step(NamedTuple):
    """What all steps of a call share.

    Attributes
    ----------
    loss : Loss
    own_terms : int or None
        The address of a person's own loss and output.
    rule : int
    own_rule : int or None
        The address of a person's own rule.
    sparse : bool
    l2, l2_dense : number
    batch_size : int
        In instances.
    pairs : int
        Of an instance.
    coefficients : array [n_steps, n_coefficients]
    deferred : Deferred
    """

    loss: Loss
    own_terms: int | None
    rule: int
    own_rule: int | None
    sparse: bool
    l2: Any
    l2_dense: Any
    batch_size: int
    pairs: int
    coefficients: Any
    deferred: Deferred


class Dense(NamedTuple):
    """The dense parameters, their slots, and the gradient's shares, added up by different tasks.

    Attributes
    ----------
    values, slot0, slot1 : arrays [n_dense]
        Parts of one array, one after the other; slots that the rule does not keep are empty.
    shares : array [n_shares * n_dense]
    trained : int64 [n_segments, 3]
        First, last and whether l2_dense applies, of the parameters that training moves.
    losses : float64 [n_tasks]
        What l2_dense adds to the objective.
    """

    values: Any
    slot0: Any
    slot1: Any
    shares: Any
    trained: NDArray[np.int64]
    losses: NDArray[np.float64]


class Trained(NamedTuple):
    """All that training moves, and how scores are made of it."""

    net: Net
    users: Side
    items: Side
    dense: Dense


@compiled(borrowing=True)
def link(batch_rows, side):
    """Chain the pairs that have the same row."""
    latest, previous = side.latest, side.previous
    for position in range(len(batch_rows)):
        row = batch_rows[position]
        previous[position] = latest[row]
        latest[row] = position


@compiled(borrowing=True)
def fetch_rows(batch_rows, rows):
    """Ask for the parameters of rows that are soon read one after the other."""
    for position in range(len(batch_rows)):
        fetch(rows.numbers, batch_rows[position] * rows.stride, rows.width)


@compiled(borrowing=True)
def catch_up(own, batch_rows, side, step, number, task):
    """Bring the rows of a task's pairs to where they are before step `number`."""
    latest, rows = side.latest, side.rows
    first = task * PAIRS_A_TASK
    for position in range(first, min(first + PAIRS_A_TASK, len(batch_rows))):
        if position + AHEAD < len(batch_rows):
            fetch(rows.numbers, batch_rows[position + AHEAD] * rows.stride, rows.stride)
        row = np.int64(batch_rows[position])
        if latest[row] == position:
            catch_up_row(own, side, step, row, number)


@compiled(borrowing=True)
def catch_up_all(own, side, step, task):
    """Bring all rows of a task to the end of the call."""
    first, n_rows, n_steps = task * ROWS_A_TASK, len(side.done), len(step.coefficients)
    for row in range(first, min(first + ROWS_A_TASK, n_rows)):
        catch_up_row(own, side, step, row, n_steps)
        side.done[row] = 0


@compiled(borrowing=True)
def catch_up_row(own, side, step, row, number):
    """Take the steps since a batch last had the row; `own` is the address of a person's own rule, or None."""
    first, rows = side.done[row], side.rows
    if first < number:
        begin = row * rows.stride
        if own is None:
            before = get_row(rows, begin)
            after = caught_up(step.rule, rows.like, before, step.coefficients, step.deferred, first, number)
            put_row(rows, begin, after)
        else:
            take_own_steps(own, rows, begin, side.gradient, -1, step.coefficients, first, number)
        side.done[row] = number


@compiled(borrowing=True)
def take_own_steps(own, rows, begin, gradient, gradient_at, coefficients, first, stop):
    """Take the steps in [first, stop) with a person's own rule, with no gradient where that is at -1."""
    has_gradient, at, width = gradient_at >= 0, max(gradient_at, 0), rows.width
    call_rule(own, rows.numbers, begin, width, gradient, at, has_gradient, width, coefficients, first, stop)


@compiled(borrowing=True)
def get_row(rows, begin):
    """Return a row and its slots; zeros for a slot that the rule does not keep."""
    like, numbers, width = rows.like, rows.numbers, rows.width
    none = zeros(like)
    slot0 = peek(like, numbers, begin + width) if rows.n_slots > 0 else none
    slot1 = peek(like, numbers, begin + 2 * width) if rows.n_slots > 1 else none
    return peek(like, numbers, begin), slot0, slot1


@compiled(borrowing=True)
def put_row(rows, begin, row):
    """Write a row and the slots that the rule keeps."""
    numbers, width = rows.numbers, rows.width
    poke(numbers, begin, row[0])
    if rows.n_slots > 0:
        poke(numbers, begin + width, row[1])
    if rows.n_slots > 1:
        poke(numbers, begin + 2 * width, row[2])


@compiled(borrowing=True)
def move_rows(own, batch_rows, side, step, number, share, task):
    """Move the rows whose last pair is among the task's, and unlink them; `own` as for `catch_up_row`."""
    latest, rows = side.latest, side.rows
    first = task * PAIRS_A_TASK
    for position in range(first, min(first + PAIRS_A_TASK, len(batch_rows))):
        if position + AHEAD < len(batch_rows):
            fetch(rows.numbers, batch_rows[position + AHEAD] * rows.stride, rows.stride)
        row = np.int64(batch_rows[position])
        if latest[row] == position:
            begin = row * rows.stride
            gradient, n_pairs = chained_gradient(side, position)
            before, slot0, slot1 = get_row(rows, begin)
            decay = step.l2 * share * type(share)(n_pairs // side.pairs_sharing_row)
            gradient = gradient + decay * before
            if own is None:
                c = step.coefficients[number]
                put_row(rows, begin, moved(step.rule, before, gradient, slot0, slot1, c))
            else:
                # Where the gradient of the pair was, which has been read.
                at = position * rows.width
                poke(side.gradient, at, gradient)
                take_own_steps(own, rows, begin, side.gradient, at, step.coefficients, number, number + 1)
            side.done[row] = number + 1
            latest[row] = NONE


@compiled(borrowing=True)
def chained_gradient(side, position):
    """Return the gradient of the row whose last pair this is, and how many pairs have it."""
    like, numbers, width, previous = side.rows.like, side.gradient, side.rows.width, side.previous
    gradient, n_pairs = peek(like, numbers, position * width), 1
    position = previous[position]
    while position != NONE:
        gradient = gradient + peek(like, numbers, np.int64(position) * width)
        position = previous[position]
        n_pairs += 1
    return gradient, n_pairs


@compiled(borrowing=True)
def move_dense(own_rule, dense, step, number, n_shares, task):
    """Add up the shares of the gradient of a task's dense parameters, and move them."""
    c, n = step.coefficients[number], len(dense.values)
    first, stop = task * DENSE_A_TASK, min((task + 1) * DENSE_A_TASK, n)
    gradient = dense.shares[first:stop]
    for share in range(1, n_shares):
        add(gradient, dense.shares[share * n + first : share * n + stop])
    loss = 0.0
    for segment in range(len(dense.trained)):
        a, b = max(first, dense.trained[segment, 0]), min(stop, dense.trained[segment, 1])
        if a >= b:
            continue
        values, own = dense.values[a:b], gradient[a - first : b - first]
        if dense.trained[segment, 2] and step.l2_dense > 0:
            for position in range(b - a):
                loss += 0.5 * step.l2_dense * values[position] * values[position]
                own[position] += step.l2_dense * values[position]
        if own_rule is None:
            move(step.rule, values, own, dense.slot0[a:b], dense.slot1[a:b], c)
        else:
            call_rule(own_rule, dense.values, a, n, own, 0, 1, b - a, step.coefficients, number, number + 1)
    dense.losses[task] = loss


@compiled(borrowing=True)
def add(total, numbers):
    """Add numbers to others in place."""
    for position in range(len(total)):
        total[position] += numbers[position]


@compiled(borrowing=True)
def fill(numbers, value):
    """Set all numbers to one value."""
    for position in range(len(numbers)):
        numbers[position] = value


@compiled(borrowing=True)
def total_of(numbers):
    """Return the sum of numbers."""
    total = numbers.dtype.type(0)
    for position in range(len(numbers)):
        total += numbers[position]
    return total
