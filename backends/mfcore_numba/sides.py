"""The first half of a step of a model whose sides meet at the end: an inner product of two towers.

Pairs are scored one by one, or, for the in-batch softmax, every user of the batch with every item of it. A
side without layers is its rows, weighed by the kernel of a GMF on the users' side.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfcore_numba.compiling import compiled
from mfcore_numba.layers import backward, by_inputs, forward, upstream_of
from mfcore_numba.nets import ABSENT
from mfcore_numba.pairs import find_slopes, squared_norms, tower_gradient
from mfcore_numba.products import Matrix, multiply
from mfcore_numba.updates import add, fill
from mfcore_numba.vectors import peek, poke

# Users that are scored with all items of a batch together, and the tasks that share them.
USERS_A_BLOCK, N_SHARES = 16, 8


class Ends(NamedTuple):
    """The ends of both towers over a batch, and what the in-batch softmax makes of them.

    Attributes
    ----------
    users, items : arrays [n * (width + 1)]
        In the last column the users have ones and the items their biases.
    turned : array [(width + 1) * n]
        The items' ends, transposed.
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
    turned: Any
    by_users: Any
    by_items: Any
    scores: Any
    log_q: Any
    losses: NDArray[np.float64]
    width: int
    temperature: Any
    remove_accidental_hits: bool


@compiled(borrowing=True)
def run_side(tower, rows, layers, dense, work, start, touched):
    """Run rows through a side's layers; return where their ends begin in `work`."""
    n_in = layers[0, 0] if len(layers) > 0 else width_of(tower, work)
    for place in range(len(touched)):
        at = start + place * (n_in + 1)
        poke(work, at, peek(tower, rows.numbers, touched[place] * rows.stride))
        work[at + n_in] = 1
    return forward(layers, dense, work, start, len(touched))


@compiled(borrowing=True)
def width_of(tower, work):
    """Return how many factors the tower has."""
    return tower.itemsize // work.itemsize


@compiled(borrowing=True, inline=True)
def train_sides(trained, step, scratch, chunk):
    """Do what `pairs.train_pairs` does, for two towers."""
    net, users, items, shares = trained.net, trained.users, trained.items, trained.dense.shares
    work, slopes, start = scratch.work, chunk.slopes, chunk.start
    n_layers = len(net.user_layers)
    width = net.user_layers[n_layers - 1, 1] if n_layers > 0 else width_of(net.tower, work)
    of_users = run_side(net.tower, users.rows, net.user_layers, net.dense, work, start, chunk.users)
    start += scratch.room // 2
    of_items = run_side(net.tower, items.rows, net.item_layers, net.dense, work, start, chunk.items)
    for row in range(len(slopes)):
        score = slopes.dtype.type(0)
        for column in range(row * (width + 1), row * (width + 1) + width):
            score += work[of_users + column] * work[of_items + column]
        slopes[row] = score
    loss = find_slopes(step, chunk)
    if step.l2 > 0:
        loss += 0.5 * step.l2 * squared_norms(users.rows, items.rows, chunk, step.pairs)
    pass_pairs(net.user_layers, users, net, shares, work, chunk, of_users, of_items, width)
    pass_pairs(net.item_layers, items, net, shares, work, chunk, of_items, of_users, width)
    return loss


@compiled(borrowing=True)
def pass_pairs(layers, side, net, shares, work, chunk, own, other, width):
    """Write the gradients of a side's rows for pairs with an inner product, and add those of its layers."""
    slopes, gradient, n = chunk.slopes, side.gradient, len(chunk.slopes)
    if len(layers) == 0:
        for row in range(n):
            at, to = other + row * (width + 1), (chunk.begin + row) * side.rows.width
            for column in range(width):
                gradient[to + column] = slopes[row] * work[at + column]
        return
    upstream = upstream_of(layers, own)
    for row in range(n):
        for column in range(row * (width + 1), row * (width + 1) + width):
            work[upstream + column] = slopes[row] * work[other + column]
    pass_layers(layers, side, net, shares, work, chunk, own)


@compiled(borrowing=True)
def pass_layers(layers, side, net, shares, work, chunk, own):
    """Pass the derivative by a side's ends, which begin at `own`, back through its layers to its rows."""
    n = len(chunk.users)
    upstream = backward(layers, net.turned, work, own, n, shares, chunk.origin)
    by_inputs(layers, net.turned, work, upstream, n, 0, layers[0, 0], tower_gradient(side, net, chunk))


@compiled(borrowing=True, inline=True)
def find_ends(trained, scratch, ends, chunk, n_batch):
    """Write both ends of a chunk's pairs, of a batch of n_batch."""
    net, users, items = trained.net, trained.users, trained.items
    work, width, to_users, to_items, turned = scratch.work, ends.width, ends.users, ends.items, ends.turned
    place, n = chunk.begin * (width + 1), len(chunk.users)
    at = run_side(net.tower, users.rows, net.user_layers, net.dense, work, chunk.start, chunk.users)
    copy(to_users, place, work, at, n * (width + 1))
    if net.kernel != ABSENT:
        for row in range(n):
            for column in range(width):
                to_users[place + row * (width + 1) + column] *= net.dense[net.kernel + column]
    at = run_side(net.tower, items.rows, net.item_layers, net.dense, work, chunk.start, chunk.items)
    copy(to_items, place, work, at, n * (width + 1))
    put_biases(net.biases, chunk.items, to_items, place, width)
    for column in range(width + 1):
        for row in range(n):
            turned[column * n_batch + chunk.begin + row] = to_items[place + row * (width + 1) + column]


@compiled(borrowing=True)
def put_biases(biases, items, ends, place, width):
    """Write the biases of the items, or zeros, behind their ends."""
    for row in range(len(items)):
        ends[place + row * (width + 1) + width] = 0
    if biases is not None:
        for row in range(len(items)):
            ends[place + row * (width + 1) + width] = biases[1][items[row]]


@compiled(borrowing=True, inline=True)
def compare_users(items, ends, worker, share, n):
    """Work out the softmax of a share of the batch's users, and the derivatives by both ends."""
    stride, blocks, scores = ends.width + 1, (n + USERS_A_BLOCK - 1) // USERS_A_BLOCK, ends.scores
    at, to = worker * USERS_A_BLOCK * n, share * n * stride
    fill(ends.by_items[to : to + n * stride], 0)
    loss = 0.0
    for block in range(share * blocks // N_SHARES, (share + 1) * blocks // N_SHARES):
        begin = block * USERS_A_BLOCK
        n_users = min(USERS_A_BLOCK, n - begin)
        users, slopes = Matrix(ends.users, begin * stride, stride, 1), Matrix(scores, at, n, 1)
        multiply((n_users, n, stride), users, Matrix(ends.turned, 0, n, 1), slopes, False)
        for row in range(n_users):
            own = scores[at + row * n : at + (row + 1) * n]
            loss += softmax(own, items, ends, begin + row)
        by_users = Matrix(ends.by_users, begin * stride, stride, 1)
        multiply((n_users, stride, n), slopes, Matrix(ends.items, 0, stride, 1), by_users, False)
        slopes = Matrix(scores, at, 1, n)
        multiply((n, stride, n_users), slopes, users, Matrix(ends.by_items, to, stride, 1), True)
    ends.losses[share] = loss


@compiled(borrowing=True)
def softmax(scores, items, ends, place):
    """Turn the scores of one user into the derivatives by them, divided by their number; return the loss."""
    log_q, n, one = ends.log_q, len(scores), scores.dtype.type(1)
    inverse = one / ends.temperature
    highest = scores.dtype.type(-math.inf)
    for other in range(n):
        scores[other] = scores[other] * inverse - log_q[items[other]]
    if ends.remove_accidental_hits:
        own, item = scores[place], items[place]
        for other in range(n):
            if items[other] == item:
                scores[other] = -math.inf
        scores[place] = own
    for other in range(n):
        highest = max(highest, scores[other])
    own, total = scores[place] - highest, 0.0
    for other in range(n):
        weight = math.exp(scores[other] - highest)
        scores[other] = weight
        total += weight
    scale = scores.dtype.type(inverse / (total * n))
    for other in range(n):
        scores[other] *= scale
    scores[place] -= inverse / scores.dtype.type(n)
    return math.log(total) - own


@compiled(borrowing=True, inline=True)
def pass_ends(trained, step, scratch, ends, chunk, n):
    """Write the gradients of the rows of a chunk's pairs, and add those of the layers.

    Returns what l2 adds to the objective.
    """
    net, users, items, shares = trained.net, trained.users, trained.items, trained.dense.shares
    stride, work = ends.width + 1, scratch.work
    place, size = chunk.begin * stride, len(chunk.users) * stride
    by_items = ends.by_items[place : place + size]
    for other in range(1, N_SHARES):
        at = other * n * stride + place
        add(by_items, ends.by_items[at : at + size])
    by_users = ends.by_users[place : place + size]
    pass_end(net.user_layers, users, net, shares, work, chunk, chunk.users, by_users, stride)
    pass_end(net.item_layers, items, net, shares, work, chunk, chunk.items, by_items, stride)
    if net.kernel != ABSENT:
        weigh_back(net.tower, net, users, shares, chunk)
    if items.rows.bias != ABSENT:
        for row in range(len(chunk.items)):
            at = (chunk.begin + row) * items.rows.width + items.rows.bias
            items.gradient[at] = by_items[row * stride + ends.width]
    if step.l2 > 0:
        return 0.5 * step.l2 * squared_norms(users.rows, items.rows, chunk, 1)
    return 0.0


@compiled(borrowing=True)
def pass_end(layers, side, net, shares, work, chunk, touched, by_ends, stride):
    """Pass the derivative by a side's ends back to its rows."""
    n = len(touched)
    if len(layers) == 0:
        for row in range(n):
            copy(side.gradient, (chunk.begin + row) * side.rows.width, by_ends, row * stride, stride - 1)
        return
    own = run_side(net.tower, side.rows, layers, net.dense, work, chunk.start, touched)
    copy(work, upstream_of(layers, own), by_ends, 0, n * stride)
    pass_layers(layers, side, net, shares, work, chunk, own)


@compiled(borrowing=True)
def weigh_back(tower, net, users, shares, chunk):
    """Turn the gradient by the weighed rows of a GMF into those by its rows and by its kernel."""
    to, rows, at = users.gradient, users.rows, chunk.origin + net.kernel
    kernel, gradient = peek(tower, net.dense, net.kernel), peek(tower, shares, at)
    for place in range(len(chunk.users)):
        begin = (chunk.begin + place) * rows.width
        by_row = peek(tower, to, begin)
        gradient = gradient + by_row * peek(tower, rows.numbers, chunk.users[place] * rows.stride)
        poke(to, begin, kernel * by_row)
    poke(shares, at, gradient)


@compiled(borrowing=True)
def copy(to, place, numbers, first, n):
    """Copy n numbers from one flat array to another."""
    target, source = to[place : place + n], numbers[first : first + n]
    for other in range(n):
        target[other] = source[other]
