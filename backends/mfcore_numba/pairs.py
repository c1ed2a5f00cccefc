"""The first half of a step of a model that scores pairs: scores, losses and gradients of a chunk.

A score is that of the product, of the tower over both rows, or of both, with biases; see `nets`.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfcore_numba.compiling import compiled
from mfcore_numba.layers import backward, by_inputs, forward, upstream_of
from mfcore_numba.losses import loss_and_slope
from mfcore_numba.nets import ABSENT
from mfcore_numba.products import Matrix
from mfcore_numba.updates import fetch_rows, fill, total_of
from mfcore_numba.vectors import dot, peek, poke, zeros


class Scratch(NamedTuple):
    """Room for one batch.

    Attributes
    ----------
    slopes : array [n_pairs]
        Scores at first, then the derivative of the objective by each.
    losses : float64 [n_chunks]
    work : array [n_workers * room]
    room : int
    ends : Ends or None
        For the in-batch softmax; see `sides`.
    """

    slopes: Any
    losses: NDArray[np.float64]
    work: Any
    room: int
    ends: Any


class Chunk(NamedTuple):
    """The pairs of a batch that a worker has in hand.

    Attributes
    ----------
    users, items : int32 [n]
        The rows of the pairs.
    targets, weights : arrays [n]
        Of the pairs; empty where there are none.
    slopes : array [n]
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
    slopes: Any
    begin: int
    batch: int
    start: int
    origin: int


@compiled(borrowing=True, inline=True)
def train_pairs(trained, step, scratch, chunk):
    """Write the gradients of a chunk's pairs; return the sum of their losses."""
    net, users, items = trained.net, trained.users, trained.items
    work, slopes, shares = scratch.work, chunk.slopes, trained.dense.shares
    fetch_rows(chunk.users, users.rows)
    fetch_rows(chunk.items, items.rows)
    fill(slopes, net.dense[net.shift] if net.shift != ABSENT else slopes.dtype.type(0))
    end = add_tower(net.tower, net, users.rows, items.rows, chunk, work)
    add_product(net.product, net, users.rows, items.rows, chunk)
    add_biases(net.biases, chunk)
    loss = find_slopes(step, chunk)
    if step.l2 > 0:
        loss += 0.5 * step.l2 * squared_norms(users.rows, items.rows, chunk, step.pairs)
    if net.shift != ABSENT:
        shares[chunk.origin + net.shift] += total_of(slopes)
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
    of_users, of_items, scores = chunk.users, chunk.items, chunk.slopes
    p, q, width = users.numbers, items.numbers, net.layers[0, 0]
    for row in range(len(scores)):
        place = chunk.start + row * (width + 1)
        poke(work, place, peek(tower, p, of_users[row] * users.stride + net.tower_at))
        poke(work, place + width // 2, peek(tower, q, of_items[row] * items.stride + net.tower_at))
        work[place + width] = 1
    end = forward(net.layers, net.dense, work, chunk.start, len(scores))
    for row in range(len(scores)):
        scores[row] += work[end + 2 * row]
    return end


@compiled(borrowing=True)
def add_product(product, net, users, items, chunk):
    """Add the inner products of pairs to their scores."""
    if product is None:
        return
    of_users, of_items, scores = chunk.users, chunk.items, chunk.slopes
    p, q, weighed = users.numbers, items.numbers, net.kernel != ABSENT
    kernel = peek(product, net.dense, net.kernel) if weighed else zeros(product)
    for row in range(len(scores)):
        own = peek(product, p, of_users[row] * users.stride)
        other = peek(product, q, of_items[row] * items.stride)
        scores[row] += dot(own, kernel * other) if weighed else dot(own, other)


@compiled(borrowing=True)
def add_biases(biases, chunk):
    """Add the biases of pairs to their scores."""
    if biases is None:
        return
    of_users, of_items, scores = chunk.users, chunk.items, chunk.slopes
    user_bias, item_bias, constant = biases
    for row in range(len(scores)):
        scores[row] += constant + user_bias[of_users[row]] + item_bias[of_items[row]]


@compiled(borrowing=True)
def find_slopes(step, chunk):
    """Turn the scores of pairs into the objective's derivatives by them; return the sum of the losses."""
    head, slopes, targets, weights = step.head, chunk.slopes, chunk.targets, chunk.weights
    weighted, one = len(weights) > 0, type(step.l2)(1)
    share = one / type(step.l2)(chunk.batch)
    linear_sum, argument_product, log_sum = 0.0, 1.0, 0.0
    if step.pairs == 2:
        for place in range(0, len(slopes), 2):
            difference = slopes[place] - slopes[place + 1]
            linear, argument, slope = loss_and_slope(head, difference, one)
            linear_sum += linear
            argument_product *= argument
            slopes[place], slopes[place + 1] = slope * share, -slope * share
        return linear_sum + math.log(argument_product)
    for place in range(len(slopes)):
        linear, argument, slope = loss_and_slope(head, slopes[place], targets[place])
        if weighted:
            weight = weights[place]
            linear, slope = weight * linear, weight * slope
            log_sum += weight * math.log(argument)
        else:
            argument_product *= argument
        linear_sum += linear
        slopes[place] = slope * share
    return linear_sum + math.log(argument_product) + log_sum


@compiled(borrowing=True)
def squared_norms(users, items, chunk, pairs):
    """Return the squared norms of the rows that pairs touch, the user's once an instance."""
    total = 0.0
    for place in range(len(chunk.users)):
        row = peek(items.like, items.numbers, chunk.items[place] * items.stride)
        total += dot(row, row)
        if place % pairs == 0:
            own = peek(users.like, users.numbers, chunk.users[place] * users.stride)
            total += dot(own, own)
    return total


@compiled(borrowing=True)
def pass_tower(tower, net, users, items, shares, chunk, work, end):
    """Write the gradients by the tower's inputs, and add those by its layers."""
    if tower is None:
        return
    slopes, n, half = chunk.slopes, len(chunk.slopes), net.layers[0, 0] // 2
    upstream = upstream_of(net.layers, end)
    for row in range(n):
        work[upstream + 2 * row] = slopes[row]
    upstream = backward(net.layers, net.turned, work, end, n, shares, chunk.origin)
    of_users, of_items = tower_gradient(users, net, chunk), tower_gradient(items, net, chunk)
    by_inputs(net.layers, net.turned, work, upstream, n, 0, half, of_users)
    by_inputs(net.layers, net.turned, work, upstream, n, half, half, of_items)


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
    of_users, of_items, slopes = chunk.users, chunk.items, chunk.slopes
    p, q, weighed = users.rows.numbers, items.rows.numbers, net.kernel != ABSENT
    by_users, by_items = users.gradient, items.gradient
    kernel = peek(product, net.dense, net.kernel) if weighed else zeros(product)
    gradient = zeros(product)
    for row in range(len(slopes)):
        slope = slopes[row]
        own = peek(product, p, of_users[row] * users.rows.stride)
        other = peek(product, q, of_items[row] * items.rows.stride)
        if weighed:
            gradient = gradient + slope * (own * other)
            own, other = kernel * own, kernel * other
        poke(by_users, (chunk.begin + row) * users.rows.width, slope * other)
        poke(by_items, (chunk.begin + row) * items.rows.width, slope * own)
    if weighed:
        at = chunk.origin + net.kernel
        poke(shares, at, peek(product, shares, at) + gradient)


@compiled(borrowing=True)
def pass_bias(side, chunk):
    """Write the gradients by the biases of a side."""
    width, bias = side.rows.width, side.rows.bias
    if bias != ABSENT:
        for row in range(len(chunk.slopes)):
            side.gradient[(chunk.begin + row) * width + bias] = chunk.slopes[row]
