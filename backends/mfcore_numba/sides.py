"""The first half of a step of a model whose sides meet in the score: an inner product of two towers.

Pairs are scored one by one, or, for the in-batch softmax, every user of the batch with every item of it. A
side without layers is its rows, weighed by the kernel of a GMF on the users' side.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfcore_numba.compiling import compiled
from mfcore_numba.layers import backward, by_inputs, forward, upstream_of
from mfcore_numba.pairs import find_grad_scores, squared_norms, tower_gradient
from mfcore_numba.products import Matrix, multiply
from mfcore_numba.store import ABSENT
from mfcore_numba.updates import add, fill
from mfcore_numba.vectors import peek, poke

# Users that are scored with all items of a batch together, and the tasks that share them.
USERS_A_BLOCK, N_SHARES = 16, 8


class InBatch(NamedTuple):
    """The embeddings of a batch, the outputs of both towers, and what the in-batch softmax makes of them.

    Attributes
    ----------
    users, items : arrays [n * (width + 1)]
        In the last column the users have ones and the items their biases.
    transposed : array [(width + 1) * n]
        The items' embeddings, transposed.
    grad_users : array [n * (width + 1)]
        The objective's derivative.
    grad_items : array [N_SHARES * n * (width + 1)]
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
    transposed: Any
    grad_users: Any
    grad_items: Any
    scores: Any
    log_q: Any
    losses: NDArray[np.float64]
    width: int
    temperature: Any
    remove_accidental_hits: bool


@compiled(borrowing=True)
def run_side(tower, rows, layers, dense, work, start, batch_rows):
    """Run rows through a side's layers; return where their outputs begin in `work`."""
    n_in = layers[0, 0] if len(layers) > 0 else width_of(tower, work)
    for position in range(len(batch_rows)):
        at = start + position * (n_in + 1)
        poke(work, at, peek(tower, rows.numbers, batch_rows[position] * rows.stride))
        work[at + n_in] = 1
    return forward(layers, dense, work, start, len(batch_rows))


@compiled(borrowing=True)
def width_of(tower, work):
    """Return how many factors the tower has."""
    return tower.itemsize // work.itemsize


@compiled(borrowing=True, inline=True)
def train_sides(trained, step, scratch, chunk):
    """Do what `pairs.train_pairs` does, for two towers."""
    net, users, items, shares = trained.net, trained.users, trained.items, trained.dense.shares
    work, grad_scores, start = scratch.work, chunk.grad_scores, chunk.start
    n_layers = len(net.user_layers)
    width = net.user_layers[n_layers - 1, 1] if n_layers > 0 else width_of(net.tower, work)
    user_outputs = run_side(net.tower, users.rows, net.user_layers, net.dense, work, start, chunk.users)
    start += scratch.room // 2
    item_outputs = run_side(net.tower, items.rows, net.item_layers, net.dense, work, start, chunk.items)
    for row in range(len(grad_scores)):
        score = grad_scores.dtype.type(0)
        for column in range(row * (width + 1), row * (width + 1) + width):
            score += work[user_outputs + column] * work[item_outputs + column]
        grad_scores[row] = score
    loss = find_grad_scores(step.own_terms, step, chunk)
    if step.l2 > 0:
        loss += 0.5 * step.l2 * squared_norms(users.rows, items.rows, chunk, step.pairs)
    pass_pairs(net.user_layers, users, net, shares, work, chunk, user_outputs, item_outputs, width)
    pass_pairs(net.item_layers, items, net, shares, work, chunk, item_outputs, user_outputs, width)
    return loss


@compiled(borrowing=True)
def pass_pairs(layers, side, net, shares, work, chunk, own, other, width):
    """Write the gradients of a side's rows for pairs with an inner product, and add those of its layers."""
    grad_scores, gradient, n = chunk.grad_scores, side.gradient, len(chunk.grad_scores)
    if len(layers) == 0:
        for row in range(n):
            at, to = other + row * (width + 1), (chunk.begin + row) * side.rows.width
            for column in range(width):
                gradient[to + column] = grad_scores[row] * work[at + column]
        return
    upstream = upstream_of(layers, own)
    for row in range(n):
        for column in range(row * (width + 1), row * (width + 1) + width):
            work[upstream + column] = grad_scores[row] * work[other + column]
    pass_layers(layers, side, net, shares, work, chunk, own)


@compiled(borrowing=True)
def pass_layers(layers, side, net, shares, work, chunk, own):
    """Pass the derivative by a side's outputs, which begin at `own`, back through its layers to its rows."""
    n = len(chunk.users)
    upstream = backward(layers, net.transposed, work, own, n, shares, chunk.origin)
    by_inputs(layers, net.transposed, work, upstream, n, 0, layers[0, 0], tower_gradient(side, net, chunk))


@compiled(borrowing=True, inline=True)
def embed_chunk(trained, scratch, in_batch, chunk, n_batch):
    """Write both embeddings of a chunk's pairs, of a batch of n_batch."""
    net, users, items = trained.net, trained.users, trained.items
    work, width, transposed = scratch.work, in_batch.width, in_batch.transposed
    to_users, to_items = in_batch.users, in_batch.items
    position, n = chunk.begin * (width + 1), len(chunk.users)
    at = run_side(net.tower, users.rows, net.user_layers, net.dense, work, chunk.start, chunk.users)
    copy(to_users, position, work, at, n * (width + 1))
    if net.kernel != ABSENT:
        for row in range(n):
            for column in range(width):
                to_users[position + row * (width + 1) + column] *= net.dense[net.kernel + column]
    at = run_side(net.tower, items.rows, net.item_layers, net.dense, work, chunk.start, chunk.items)
    copy(to_items, position, work, at, n * (width + 1))
    put_biases(net.biases, chunk.items, to_items, position, width)
    for column in range(width + 1):
        for row in range(n):
            transposed[column * n_batch + chunk.begin + row] = to_items[position + row * (width + 1) + column]


@compiled(borrowing=True)
def put_biases(biases, items, embeddings, position, width):
    """Write the biases of the items, or zeros, behind their embeddings."""
    for row in range(len(items)):
        embeddings[position + row * (width + 1) + width] = 0
    if biases is not None:
        for row in range(len(items)):
            embeddings[position + row * (width + 1) + width] = biases[1][items[row]]


@compiled(borrowing=True, inline=True)
def score_users(items, in_batch, worker, share, n):
    """Work out the softmax of a share of the batch's users, and the derivatives by both embeddings."""
    stride, blocks, scores = in_batch.width + 1, (n + USERS_A_BLOCK - 1) // USERS_A_BLOCK, in_batch.scores
    at, to = worker * USERS_A_BLOCK * n, share * n * stride
    fill(in_batch.grad_items[to : to + n * stride], 0)
    loss = 0.0
    for block in range(share * blocks // N_SHARES, (share + 1) * blocks // N_SHARES):
        begin = block * USERS_A_BLOCK
        n_users = min(USERS_A_BLOCK, n - begin)
        users, grad_scores = Matrix(in_batch.users, begin * stride, stride, 1), Matrix(scores, at, n, 1)
        multiply((n_users, n, stride), users, Matrix(in_batch.transposed, 0, n, 1), grad_scores, False)
        for row in range(n_users):
            own = scores[at + row * n : at + (row + 1) * n]
            loss += softmax(own, items, in_batch, begin + row)
        grad_users = Matrix(in_batch.grad_users, begin * stride, stride, 1)
        multiply((n_users, stride, n), grad_scores, Matrix(in_batch.items, 0, stride, 1), grad_users, False)
        grad_scores = Matrix(scores, at, 1, n)
        multiply((n, stride, n_users), grad_scores, users, Matrix(in_batch.grad_items, to, stride, 1), True)
    in_batch.losses[share] = loss


@compiled(borrowing=True)
def softmax(scores, items, in_batch, position):
    """Turn the scores of one user into the derivatives by them, divided by their number; return the loss."""
    log_q, n, one = in_batch.log_q, len(scores), scores.dtype.type(1)
    inverse = one / in_batch.temperature
    highest = scores.dtype.type(-math.inf)
    for other in range(n):
        scores[other] = scores[other] * inverse - log_q[items[other]]
    if in_batch.remove_accidental_hits:
        own, item = scores[position], items[position]
        for other in range(n):
            if items[other] == item:
                scores[other] = -math.inf
        scores[position] = own
    for other in range(n):
        highest = max(highest, scores[other])
    own, total = scores[position] - highest, 0.0
    for other in range(n):
        weight = math.exp(scores[other] - highest)
        scores[other] = weight
        total += weight
    scale = scores.dtype.type(inverse / (total * n))
    for other in range(n):
        scores[other] *= scale
    scores[position] -= inverse / scores.dtype.type(n)
    return math.log(total) - own


@compiled(borrowing=True, inline=True)
def backward_embeddings(trained, step, scratch, in_batch, chunk, n):
    """Write the gradients of the rows of a chunk's pairs, and add those of the layers.

    Returns what l2 adds to the objective.
    """
    net, users, items, shares = trained.net, trained.users, trained.items, trained.dense.shares
    stride, work = in_batch.width + 1, scratch.work
    position, size = chunk.begin * stride, len(chunk.users) * stride
    grad_items = in_batch.grad_items[position : position + size]
    for other in range(1, N_SHARES):
        at = other * n * stride + position
        add(grad_items, in_batch.grad_items[at : at + size])
    grad_users = in_batch.grad_users[position : position + size]
    backward_side(net.user_layers, users, net, shares, work, chunk, chunk.users, grad_users, stride)
    backward_side(net.item_layers, items, net, shares, work, chunk, chunk.items, grad_items, stride)
    if net.kernel != ABSENT:
        weigh_back(net.tower, net, users, shares, chunk)
    if items.rows.bias != ABSENT:
        for row in range(len(chunk.items)):
            at = (chunk.begin + row) * items.rows.width + items.rows.bias
            items.gradient[at] = grad_items[row * stride + in_batch.width]
    if step.l2 > 0:
        return 0.5 * step.l2 * squared_norms(users.rows, items.rows, chunk, 1)
    return 0.0


@compiled(borrowing=True)
def backward_side(layers, side, net, shares, work, chunk, batch_rows, grad_embeddings, stride):
    """Pass the derivative by a side's embeddings back to its rows."""
    n = len(batch_rows)
    if len(layers) == 0:
        for row in range(n):
            copy(
                side.gradient,
                (chunk.begin + row) * side.rows.width,
                grad_embeddings,
                row * stride,
                stride - 1,
            )
        return
    own = run_side(net.tower, side.rows, layers, net.dense, work, chunk.start, batch_rows)
    copy(work, upstream_of(layers, own), grad_embeddings, 0, n * stride)
    pass_layers(layers, side, net, shares, work, chunk, own)


@compiled(borrowing=True)
def weigh_back(tower, net, users, shares, chunk):
    """Turn the gradient by the weighed rows of a GMF into those by its rows and by its kernel."""
    to, rows, at = users.gradient, users.rows, chunk.origin + net.kernel
    kernel, gradient = peek(tower, net.dense, net.kernel), peek(tower, shares, at)
    for position in range(len(chunk.users)):
        begin = (chunk.begin + position) * rows.width
        by_row = peek(tower, to, begin)
        gradient = gradient + by_row * peek(tower, rows.numbers, chunk.users[position] * rows.stride)
        poke(to, begin, kernel * by_row)
    poke(shares, at, gradient)


@compiled(borrowing=True)
def copy(to, position, numbers, first, n):
    """Copy n numbers from one flat array to another."""
    target, source = to[position : position + n], numbers[first : first + n]
    for other in range(n):
        target[other] = source[other]
