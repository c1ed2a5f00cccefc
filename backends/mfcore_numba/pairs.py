"""The first half of a step of a model that scores pairs: scores, losses and gradients of a chunk.

A score is that of the product, of the tower over both rows, or of both, with biases; see `nets`.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfcore_numba.compiling import compiled
from mfcore_numba.layers import backward, by_inputs, forward, upstream_of
from mfcore_numba.objectives import loss_terms
from mfcore_numba.products import Matrix
from mfcore_numba.store import ABSENT
from mfcore_numba.updates import fetch_rows, fill, total_of
from mfcore_numba.vectors import dot, peek, poke, zeros


class Scratch(NamedTuple):
    """Room for one batch.

    Attributes
    ----------
    grad_scores : array [n_pairs]
        Scores at first, then the derivative of the objective by each.
    losses : float64 [n_chunks]
    work : array [n_workers * room]
    room : int
    in_batch : InBatch or None
        For the in-batch softmax; see `sides`.
    """

    grad_scores: Any
    losses: NDArray[np.float64]
    work: Any
    room: int
    in_batch: Any


class Chunk(NamedTuple):
    """The pairs of a batch that a worker has in hand.

    Attributes
    ----------
    users, items : int32 [n]
        The rows of the pairs.
    targets, weights : arrays [n]
        Of the pairs; empty where there are none.
    grad_scores : array [n]
    begin : int
        Which pair of the batch the first one is.
    batch : int
        The number of instances of the batch.
    start : int
        Where the worker's room begins.
    origin : int
        Where the share of the dense gradient begins that this adds to.
    """

    users: Any
    items: Any
    targets: Any
    weights: Any
    grad_scores: Any
    begin: int
    batch: int
    start: int
    origin: int


@compiled(borrowing=True, inline=True)
def train_pairs(trained, step, scratch, chunk):
    """Write the gradients of a chunk's pairs; return the sum of their losses."""
    net, users, items = trained.net, trained.users, trained.items
    work, grad_scores, shares = scratch.work, chunk.grad_scores, trained.dense.shares
    fetch_rows(chunk.users, users.rows)
    fetch_rows(chunk.items, items.rows)
    fill(grad_scores, net.dense[net.shift] if net.shift != ABSENT else grad_scores.dtype.type(0))
    end = add_tower(net.tower, net, users.rows, items.rows, chunk, work)
    add_product(net.product, net, users.rows, items.rows, chunk)
    add_biases(net.biases, chunk)
    loss = find_grad_scores(step.own_terms, step, chunk)
    if step.l2 > 0:
        loss += 0.5 * step.l2 * squared_norms(users.rows, items.rows, chunk, step.pairs)
    if net.shift != ABSENT:
        shares[chunk.origin + net.shift] += total_of(grad_scores)
    pass_tower(net.tower, net, users, items, shares, chunk, work, end)
    pass_product(net.product, net, users, items, shares, chunk)
    pass_bias(users, chunk)
    pass_bias(items, chunk)
    return loss


@compiled(borrowing=True)
def add_tower(tower, net, users, items, chunk, work):
    """Add what the tower makes of pairs to their scores; return where its outputs begin in `work`."""
    if tower is None:
        return chunk.start
    user_rows, item_rows, scores = chunk.users, chunk.items, chunk.grad_scores
    p, q, width = users.numbers, items.numbers, net.layers[0, 0]
    for row in range(len(scores)):
        position = chunk.start + row * (width + 1)
        poke(work, position, peek(tower, p, user_rows[row] * users.stride + net.tower_at))
        poke(work, position + width // 2, peek(tower, q, item_rows[row] * items.stride + net.tower_at))
        work[position + width] = 1
    end = forward(net.layers, net.dense, work, chunk.start, len(scores))
    for row in range(len(scores)):
        scores[row] += work[end + 2 * row]
    return end


@compiled(borrowing=True)
def add_product(product, net, users, items, chunk):
    """Add the inner products of pairs to their scores."""
    if product is None:
        return
    user_rows, item_rows, scores = chunk.users, chunk.items, chunk.grad_scores
    p, q, weighed = users.numbers, items.numbers, net.kernel != ABSENT
    kernel = peek(product, net.dense, net.kernel) if weighed else zeros(product)
    for row in range(len(scores)):
        own = peek(product, p, user_rows[row] * users.stride)
        other = peek(product, q, item_rows[row] * items.stride)
        scores[row] += dot(own, kernel * other) if weighed else dot(own, other)


@compiled(borrowing=True)
def add_biases(biases, chunk):
    """Add the biases of pairs to their scores."""
    if biases is None:
        return
    user_rows, item_rows, scores = chunk.users, chunk.items, chunk.grad_scores
    user_bias, item_bias, constant = biases
    for row in range(len(scores)):
        scores[row] += constant + user_bias[user_rows[row]] + item_bias[item_rows[row]]


@compiled(borrowing=True)
def find_grad_scores(own, step, chunk):
    """Turn the scores of pairs into the objective's derivatives by them; return the sum of the losses.

    `own` is the address of a person's own terms, or None. The product of many of their arguments might
    overflow; those of built-in losses are at most 2.
    """
    loss, grad_scores, targets, weights = step.loss, chunk.grad_scores, chunk.targets, chunk.weights
    weighted, one = len(weights) > 0, type(step.l2)(1)
    share = one / type(step.l2)(chunk.batch)
    linear_sum, argument_product, log_sum = 0.0, 1.0, 0.0
    if step.pairs == 2:
        for position in range(0, len(grad_scores), 2):
            difference = grad_scores[position] - grad_scores[position + 1]
            linear, argument, slope = loss_terms(own, loss, difference, one)
            linear_sum += linear
            if own is None:
                argument_product *= argument
            else:
                log_sum += math.log(argument)
            grad_scores[position], grad_scores[position + 1] = slope * share, -slope * share
        return linear_sum + math.log(argument_product) + log_sum
    for position in range(len(grad_scores)):
        linear, argument, slope = loss_terms(own, loss, grad_scores[position], targets[position])
        if weighted:
            weight = weights[position]
            linear, slope = weight * linear, weight * slope
            log_sum += weight * math.log(argument)
        elif own is None:
            argument_product *= argument
        else:
            log_sum += math.log(argument)
        linear_sum += linear
        grad_scores[position] = slope * share
    return linear_sum + math.log(argument_product) + log_sum


@compiled(borrowing=True)
def squared_norms(users, items, chunk, pairs):
    """Return the squared norms of the rows of pairs, the user's once an instance."""
    total = 0.0
    for position in range(len(chunk.users)):
        row = peek(items.like, items.numbers, chunk.items[position] * items.stride)
        total += dot(row, row)
        if position % pairs == 0:
            own = peek(users.like, users.numbers, chunk.users[position] * users.stride)
            total += dot(own, own)
    return total


@compiled(borrowing=True)
def pass_tower(tower, net, users, items, shares, chunk, work, end):
    """Write the gradients by the tower's inputs, and add those by its layers."""
    if tower is None:
        return
    grad_scores, n, half = chunk.grad_scores, len(chunk.grad_scores), net.layers[0, 0] // 2
    upstream = upstream_of(net.layers, end)
    for row in range(n):
        work[upstream + 2 * row] = grad_scores[row]
    upstream = backward(net.layers, net.transposed, work, end, n, shares, chunk.origin)
    grad_users, grad_items = tower_gradient(users, net, chunk), tower_gradient(items, net, chunk)
    by_inputs(net.layers, net.transposed, work, upstream, n, 0, half, grad_users)
    by_inputs(net.layers, net.transposed, work, upstream, n, half, half, grad_items)


@compiled(borrowing=True)
def tower_gradient(side, net, chunk):
    """Return the gradient by the tower's factors of a chunk's pairs."""
    width = side.rows.width
    return Matrix(side.gradient, chunk.begin * width + net.tower_at, width, 1)


@compiled(borrowing=True)
def pass_product(product, net, users, items, shares, chunk):
    """Write the gradients by the product's rows, and add those by the weights of its features."""
    if product is None:
        return
    user_rows, item_rows, grad_scores = chunk.users, chunk.items, chunk.grad_scores
    p, q, weighed = users.rows.numbers, items.rows.numbers, net.kernel != ABSENT
    grad_users, grad_items = users.gradient, items.gradient
    kernel = peek(product, net.dense, net.kernel) if weighed else zeros(product)
    gradient = zeros(product)
    for row in range(len(grad_scores)):
        slope = grad_scores[row]
        own = peek(product, p, user_rows[row] * users.rows.stride)
        other = peek(product, q, item_rows[row] * items.rows.stride)
        if weighed:
            gradient = gradient + slope * (own * other)
            own, other = kernel * own, kernel * other
        poke(grad_users, (chunk.begin + row) * users.rows.width, slope * other)
        poke(grad_items, (chunk.begin + row) * items.rows.width, slope * own)
    if weighed:
        at = chunk.origin + net.kernel
        poke(shares, at, peek(product, shares, at) + gradient)


@compiled(borrowing=True)
def pass_bias(side, chunk):
    """Write the gradients by the biases of a side."""
    width, bias = side.rows.width, side.rows.bias
    if bias != ABSENT:
        for row in range(len(chunk.grad_scores)):
            side.gradient[(chunk.begin + row) * width + bias] = chunk.grad_scores[row]
