"""The second half of a step: the gradients of a row are added up over the batch, and the rule moves it.

A batch's pairs that touch the same row are chained, the last one first; whoever owns that last one adds the
chain up and moves the row. So each row is moved once, with its gradients added in an order that does not
depend on the number of workers.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfcore_numba.compiling import compiled
from mfcore_numba.rules import move, moved, rested
from mfcore_numba.vectors import load, peek, store, zeros

# Pairs whose rows, or dense parameters, make one task.
PAIRS_A_TASK, ROWS_A_TASK, DENSE_A_TASK = 32, 1024, 512
NONE = -1


class Part(NamedTuple):
    """One parameter of a side: its rows and slots, and where the gradient by each pair's row begins.

    That is at place * stride + offset of the flat array `gradient`. None stands for a parameter that the
    model has not, or does not train.
    """

    rows: Any
    slot0: Any
    slot1: Any
    gradient: Any
    stride: int
    offset: int


class Side(NamedTuple):
    """The parameters of the users or of the items, and the chains of a batch.

    Attributes
    ----------
    product, tower, bias : Part or None
    latest : int32 [n_rows]
        The last pair of the batch that touches each row, or NONE.
    previous : int32 [n_pairs]
        The pair before each pair of the batch that touches the same row, or NONE.
    done : int64 [n_rows]
        How many of the steps of this call each row has taken.
    touches : int
        Pairs of an instance that touch the same row: each instance counts once for l2.
    """

    product: Any
    tower: Any
    bias: Any
    latest: NDArray[np.int32]
    previous: NDArray[np.int32]
    done: NDArray[np.int64]
    touches: int


class Step(NamedTuple):
    """What all steps of a call share.

    Attributes
    ----------
    rule : int
    sparse : bool
    l2, l2_dense : number
    batch_size : int
        In instances.
    pairs : int
        Of an instance.
    coefficients : array [n_steps, n_coefficients]
    settled : int
        See `rules.rested`; counted in the steps of this call.
    """

    rule: int
    sparse: bool
    l2: Any
    l2_dense: Any
    batch_size: int
    pairs: int
    coefficients: Any
    settled: int


class Dense(NamedTuple):
    """The dense parameters, their slots, and the gradient's shares, added up by different tasks.

    Attributes
    ----------
    values, slot0, slot1 : arrays [n_dense]
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


@compiled()
def link(touched, side):
    """Chain the pairs that touch the same row."""
    latest, previous = side.latest, side.previous
    for place in range(len(touched)):
        row = touched[place]
        previous[place] = latest[row]
        latest[row] = place


@compiled()
def catch_up(touched, side, step, number, task):
    """Bring the rows of a task's pairs to where they are before step `number`."""
    latest = side.latest
    first = task * PAIRS_A_TASK
    for place in range(first, min(first + PAIRS_A_TASK, len(touched))):
        row = np.int64(touched[place])
        if latest[row] == place:
            catch_up_row(side, step, row, number)


@compiled()
def catch_up_all(side, step, task):
    """Bring all rows of a task to the end of the call."""
    first, n_rows, n_steps = task * ROWS_A_TASK, len(side.done), len(step.coefficients)
    for row in range(first, min(first + ROWS_A_TASK, n_rows)):
        catch_up_row(side, step, row, n_steps)
        side.done[row] = 0


@compiled()
def catch_up_row(side, step, row, number):
    """Take the steps since the row was last touched."""
    first = side.done[row]
    if first < number:
        rest(side.product, step, row, first, number)
        rest(side.tower, step, row, first, number)
        rest(side.bias, step, row, first, number)
        side.done[row] = number


@compiled()
def rest(part, step, row, first, number):
    """Take steps that do not touch a row."""
    if part is None:
        return
    table = part.rows
    none = zeros(table)
    slot0 = load(part.slot0, row) if len(part.slot0) > 0 else none
    slot1 = load(part.slot1, row) if len(part.slot1) > 0 else none
    result = rested(
        step.rule, table, (load(table, row), slot0, slot1), step.coefficients, first, number, step.settled
    )
    put_row(part, row, result)


@compiled()
def put_row(part, row, moved_row):
    """Write a row and its slots."""
    store(part.rows, row, moved_row[0])
    if len(part.slot0) > 0:
        store(part.slot0, row, moved_row[1])
    if len(part.slot1) > 0:
        store(part.slot1, row, moved_row[2])


@compiled()
def move_rows(touched, side, step, number, share, task):
    """Move the rows whose last pair is among the task's, and unlink them."""
    latest = side.latest
    first = task * PAIRS_A_TASK
    for place in range(first, min(first + PAIRS_A_TASK, len(touched))):
        row = np.int64(touched[place])
        if latest[row] == place:
            decay = step.l2 * share * type(share)(n_linked(side, place) // side.touches)
            move_part(side.product, side.previous, step, number, place, row, decay)
            move_part(side.tower, side.previous, step, number, place, row, decay)
            move_part(side.bias, side.previous, step, number, place, row, decay)
            side.done[row] = number + 1
            latest[row] = NONE


@compiled()
def n_linked(side, place):
    """Return how many pairs touch the row whose last pair this is."""
    n, previous = 0, side.previous
    while place != NONE:
        n += 1
        place = previous[place]
    return n


@compiled()
def move_part(part, previous, step, number, place, row, decay):
    """Add up the gradients of a row, and move it."""
    if part is None:
        return
    table = part.rows
    gradient = peek(table, part.gradient, place * part.stride + part.offset)
    place = previous[place]
    while place != NONE:
        gradient = gradient + peek(table, part.gradient, place * part.stride + part.offset)
        place = previous[place]
    row_before, none = load(table, row), zeros(table)
    gradient = gradient + decay * row_before
    slot0 = load(part.slot0, row) if len(part.slot0) > 0 else none
    slot1 = load(part.slot1, row) if len(part.slot1) > 0 else none
    put_row(part, row, moved(step.rule, row_before, gradient, slot0, slot1, step.coefficients[number]))


@compiled()
def move_dense(dense, step, number, n_shares, task):
    """Add up the shares of the gradient of a task's dense parameters, and move them."""
    c, n = step.coefficients[number], len(dense.values)
    first, stop = task * DENSE_A_TASK, min((task + 1) * DENSE_A_TASK, n)
    gradient = dense.shares[first:stop]
    for share in range(1, n_shares):
        gradient += dense.shares[share * n + first : share * n + stop]
    loss = 0.0
    for segment in range(len(dense.trained)):
        a, b = max(first, dense.trained[segment, 0]), min(stop, dense.trained[segment, 1])
        if a >= b:
            continue
        values, own = dense.values[a:b], gradient[a - first : b - first]
        if dense.trained[segment, 2] and step.l2_dense > 0:
            for place in range(b - a):
                loss += 0.5 * step.l2_dense * values[place] * values[place]
                own[place] += step.l2_dense * values[place]
        move(step.rule, values, own, dense.slot0[a:b], dense.slot1[a:b], c)
    dense.losses[task] = loss
