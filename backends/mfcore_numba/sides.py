"""The first half of a step of a model whose sides meet at the end: an inner product of two towers.

Pairs are scored one by one, or, for the in-batch softmax, every user of the batch with every item of it. A
side without layers is its rows, weighed by the kernel of a GMF on the users' side.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfcore_numba.blas import multiply
from mfcore_numba.compiling import compiled
from mfcore_numba.layers import backward, forward, upstream_of
from mfcore_numba.nets import ABSENT
from mfcore_numba.pairs import find_slopes, pairs_at, squared_norms
from mfcore_numba.vectors import load, peek, poke

# Users that are scored with all items of a batch together, and the tasks that share them.
USERS_A_BLOCK, N_SHARES = 16, 8


class Ends(NamedTuple):
    """The ends of both towers over a batch, and what the in-batch softmax makes of them.

    Attributes
    ----------
    users, items : arrays [n * (width + 1)]
        In the last column the users have ones and the items their biases.
    by_users : array [n * (width + 1)]
        The objective's derivative.
    by_items : array [N_SHARES * n * (width + 1)]
        The same, in shares.
    scores : array [n_workers * USERS_A_BLOCK * n]
    log_q : array [n_items]
    losses : float64 [N_SHARES]
    width : int
    temperature : number
    remove_accidental_hits : bool
    """

    users: Any
    items: Any
    by_users: Any
    by_items: Any
    scores: Any
    log_q: Any
    losses: NDArray[np.float64]
    width: int
    temperature: Any
    remove_accidental_hits: bool


@compiled()
def run_side(table, layers, dense, work, start, rows):
    """Run rows of a table through a side's layers; return where the ends begin in `work`."""
    n_in = layers[0, 0] if len(layers) > 0 else width_of(table, work)
    for place in range(len(rows)):
        at = start + place * (n_in + 1)
        poke(work, at, load(table, rows[place]))
        work[at + n_in] = 1
    return forward(layers, dense, work, start, len(rows))


@compiled()
def width_of(table, work):
    """Return how many numbers a row has."""
    return table.itemsize // work.itemsize


@compiled()
def train_sides(net, tables, dense, listing, head, step, scratch, worker, share, first, batch, begin, stop):
    """Do what `pairs.train_pairs` does, for two towers."""
    work, slopes, n_rows = scratch.work, scratch.slopes, stop - begin
    users, items = pairs_at(listing, first + begin, first + stop)
    width, start = ends_width(net, tables, work), worker * scratch.room
    item_start = start + scratch.room // 2
    of_users = run_side(tables.tower[0], net.user_layers, net.dense, work, start, users)
    of_items = run_side(tables.tower[1], net.item_layers, net.dense, work, item_start, items)
    for row in range(n_rows):
        score = slopes.dtype.type(0)
        for column in range(row * (width + 1), row * (width + 1) + width):
            score += work[of_users + column] * work[of_items + column]
        slopes[begin + row] = score
    loss = find_slopes(listing, head, step, slopes[begin:stop], first + begin, batch)
    if step.l2 > 0:
        loss += 0.5 * step.l2 * squared_norms(tables, users, items, step.pairs, step.pairs == 1)
    pass_side(net.user_layers, net, dense, scratch, share, of_users, of_items, begin, n_rows, True)
    pass_side(net.item_layers, net, dense, scratch, share, of_items, of_users, begin, n_rows, False)
    return loss


@compiled()
def ends_width(net, tables, work):
    """Return the width of the towers' ends."""
    n_layers = len(net.user_layers)
    return net.user_layers[n_layers - 1, 1] if n_layers > 0 else width_of(tables.tower[0], work)


@compiled()
def pass_side(layers, net, dense, scratch, share, own, other, begin, n_rows, is_user):
    """Write the gradients of a side's inputs for pairs with an inner product, and add those of its layers."""
    work, slopes = scratch.work, scratch.slopes
    to = scratch.tower_users if is_user else scratch.tower_items
    if len(layers) == 0:
        width = len(to) // len(slopes) - 1
        for row in range(n_rows):
            for column in range(row * (width + 1), row * (width + 1) + width):
                to[begin * (width + 1) + column] = slopes[begin + row] * work[other + column]
        return
    width, upstream = layers[len(layers) - 1, 1], upstream_of(layers, own)
    for row in range(n_rows):
        for column in range(row * (width + 1), row * (width + 1) + width):
            work[upstream + column] = slopes[begin + row] * work[other + column]
    place = begin * (layers[0, 0] + 1)
    backward(layers, net.dense, work, own, n_rows, dense.shares, share * len(dense.values), to, place)


@compiled()
def find_ends(net, tables, listing, scratch, ends, worker, first, begin, stop):
    """Write both ends of the pairs in [begin, stop) of the batch that begins at `first`."""
    work, start, width = scratch.work, worker * scratch.room, ends.width
    to_users, to_items = ends.users, ends.items
    users, items = pairs_at(listing, first + begin, first + stop)
    place, n = begin * (width + 1), (stop - begin) * (width + 1)
    at = run_side(tables.tower[0], net.user_layers, net.dense, work, start, users)
    to_users[place : place + n] = work[at : at + n]
    if net.kernel != ABSENT:
        for row in range(stop - begin):
            for column in range(width):
                to_users[place + row * (width + 1) + column] *= net.dense[net.kernel + column]
    at = run_side(tables.tower[1], net.item_layers, net.dense, work, start, items)
    to_items[place : place + n] = work[at : at + n]
    add_item_biases(tables.biases, items, to_items, place, width)


@compiled()
def add_item_biases(biases, items, ends, place, width):
    """Write the biases of the items, or zeros, behind their ends."""
    for row in range(len(items)):
        ends[place + row * (width + 1) + width] = 0
    if biases is not None:
        for row in range(len(items)):
            ends[place + row * (width + 1) + width] = biases[1][items[row]]


@compiled()
def compare_users(listing, ends, worker, share, first, n):
    """Work out the softmax of a share of the batch's users, and the derivatives by both ends."""
    stride, blocks = ends.width + 1, (n + USERS_A_BLOCK - 1) // USERS_A_BLOCK
    items, scores = listing.items[first : first + n], ends.scores
    at, to = worker * USERS_A_BLOCK * n, share * n * stride
    ends.by_items[to : to + n * stride] = 0
    loss = 0.0
    for block in range(share * blocks // N_SHARES, (share + 1) * blocks // N_SHARES):
        begin = block * USERS_A_BLOCK
        n_users = min(USERS_A_BLOCK, n - begin)
        users = (ends.users, begin * stride, stride, False)
        multiply((n_users, n, stride), users, (ends.items, 0, stride, True), (scores, at, n), False)
        for row in range(n_users):
            own = scores[at + row * n : at + (row + 1) * n]
            loss += softmax(own, items, ends, begin + row, n)
        slopes = (scores, at, n, False)
        result = (ends.by_users, begin * stride, stride)
        multiply((n_users, stride, n), slopes, (ends.items, 0, stride, False), result, False)
        slopes = (scores, at, n, True)
        multiply((n, stride, n_users), slopes, users, (ends.by_items, to, stride), True)
    ends.losses[share] = loss


@compiled()
def softmax(scores, items, ends, place, n):
    """Turn the scores of one user into the derivatives by them, divided by n; return the loss."""
    log_q, inverse = ends.log_q, scores.dtype.type(1) / ends.temperature
    highest = -math.inf
    for other in range(n):
        z = scores[other] * inverse - log_q[items[other]]
        if ends.remove_accidental_hits and items[other] == items[place] and other != place:
            z = scores.dtype.type(-math.inf)
        scores[other] = z
        highest = max(highest, z)
    own = scores[place] - highest
    total = 0.0
    for other in range(n):
        weight = math.exp(scores[other] - highest)
        scores[other] = weight
        total += weight
    scale = scores.dtype.type(inverse / (total * n))
    for other in range(n):
        scores[other] *= scale
    scores[place] -= inverse / scores.dtype.type(n)
    return math.log(total) - own


@compiled()
def pass_ends(net, tables, dense, listing, step, scratch, ends, worker, share, first, n, begin, stop):
    """Write the gradients of the rows of the pairs in [begin, stop), and add those of the layers.

    Returns what l2 adds to the objective.
    """
    stride, place = ends.width + 1, begin * (ends.width + 1)
    size = (stop - begin) * stride
    by_items = ends.by_items[place : place + size]
    for other in range(1, N_SHARES):
        at = other * n * stride + place
        by_items += ends.by_items[at : at + size]
    origin = share * len(dense.values)
    users, items = pairs_at(listing, first + begin, first + stop)
    pass_end(
        net.user_layers,
        tables.tower[0],
        net,
        dense,
        scratch,
        worker,
        origin,
        users,
        begin,
        (ends.by_users, place),
        scratch.tower_users,
    )
    pass_end(
        net.item_layers,
        tables.tower[1],
        net,
        dense,
        scratch,
        worker,
        origin,
        items,
        begin,
        (ends.by_items, place),
        scratch.tower_items,
    )
    if net.kernel != ABSENT:
        weigh_back(net, tables, dense, scratch, users, begin, origin, ends.width)
    if step.l2 > 0:
        return 0.5 * step.l2 * squared_norms(tables, users, items, 1, False)
    return 0.0


@compiled()
def pass_end(layers, table, net, dense, scratch, worker, origin, rows, begin, upstream, to):
    """Pass the derivative by a side's ends back to its inputs."""
    work, start, (by_ends, place) = scratch.work, worker * scratch.room, upstream
    if len(layers) == 0:
        n = len(rows) * (width_of(table, work) + 1)
        to[place : place + n] = by_ends[place : place + n]
        return
    own = run_side(table, layers, net.dense, work, start, rows)
    n = len(rows) * (layers[len(layers) - 1, 1] + 1)
    at = upstream_of(layers, own)
    work[at : at + n] = by_ends[place : place + n]
    backward(layers, net.dense, work, own, len(rows), dense.shares, origin, to, begin * (layers[0, 0] + 1))


@compiled()
def weigh_back(net, tables, dense, scratch, users, begin, origin, width):
    """Turn the gradient by the weighed rows of a GMF into those by its rows and by its kernel."""
    to, shares, table = scratch.tower_users, dense.shares, tables.tower[0]
    kernel, at = peek(table, net.dense, net.kernel), origin + net.kernel
    gradient = peek(table, shares, at)
    for place in range(len(users)):
        by_row = peek(table, to, (begin + place) * (width + 1))
        gradient = gradient + by_row * load(table, users[place])
        poke(to, (begin + place) * (width + 1), kernel * by_row)
    poke(shares, at, gradient)
