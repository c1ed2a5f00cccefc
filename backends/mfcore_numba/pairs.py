"""The first half of a step of a model that scores pairs: scores, losses and gradients of a chunk.

A score is that of the product, of the tower over both rows, or of both, with biases; see `nets`.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfcore_numba.compiling import compiled
from mfcore_numba.layers import backward, forward, upstream_of
from mfcore_numba.losses import loss_and_slope
from mfcore_numba.nets import ABSENT
from mfcore_numba.vectors import dot, load, peek, poke, zeros


class Scratch(NamedTuple):
    """Room for one batch.

    Attributes
    ----------
    slopes : array [n_pairs]
        Scores at first, then the derivative of the objective by each.
    product_users, product_items : arrays [n_pairs * n_factors]
        Gradients by the rows of the product.
    tower_users, tower_items : arrays
        Gradients by the inputs of the towers; one and the same for a tower over both rows.
    losses : float64 [n_chunks]
    work : array [n_workers * room]
    room : int
    """

    slopes: Any
    product_users: Any
    product_items: Any
    tower_users: Any
    tower_items: Any
    losses: NDArray[np.float64]
    work: Any
    room: int


@compiled()
def train_pairs(net, tables, dense, listing, head, step, scratch, worker, share, first, batch, begin, stop):
    """Write the gradients of the pairs in [begin, stop) of the batch from `first` on; return their loss.

    `share` is which of the shares of the dense gradient this adds to, and batch the batch's number of
    instances.
    """
    origin, start = share * len(dense.values), worker * scratch.room
    slopes = scratch.slopes[begin:stop]
    users, items = pairs_at(listing, first + begin, first + stop)
    slopes[:] = net.dense[net.shift] if net.shift != ABSENT else slopes.dtype.type(0)
    end = add_tower(tables.tower, net, users, items, slopes, scratch.work, start)
    add_product(tables.product, net, users, items, slopes)
    add_biases(tables.biases, users, items, slopes)
    loss = find_slopes(listing, head, step, slopes, first + begin, batch)
    if step.l2 > 0:
        loss += 0.5 * step.l2 * squared_norms(tables, users, items, step.pairs, step.pairs == 1)
    if net.shift != ABSENT:
        dense.shares[origin + net.shift] += slopes.sum()
    pass_tower(tables.tower, net, dense, slopes, scratch, end, origin, begin)
    pass_product(tables.product, net, dense, users, items, slopes, scratch, origin, begin)
    return loss


@compiled()
def pairs_at(listing, begin, stop):
    """Return the rows of the pairs in [begin, stop) of a listing."""
    return listing.users[begin:stop], listing.items[begin:stop]


@compiled()
def add_tower(tower, net, users, items, scores, work, start):
    """Add what the tower makes of pairs to their scores; return where its outputs begin in `work`."""
    if tower is None:
        return start
    p_table, q_table = tower
    width = net.layers[0, 0]
    for row in range(len(scores)):
        place = start + row * (width + 1)
        poke(work, place, load(p_table, users[row]))
        poke(work, place + width // 2, load(q_table, items[row]))
        work[place + width] = 1
    end = forward(net.layers, net.dense, work, start, len(scores))
    for row in range(len(scores)):
        scores[row] += work[end + 2 * row]
    return end


@compiled()
def add_product(product, net, users, items, scores):
    """Add the inner products of pairs to their scores."""
    if product is None:
        return
    p_table, q_table = product
    weighed = net.kernel != ABSENT
    kernel = peek(p_table, net.dense, net.kernel) if weighed else zeros(p_table)
    for row in range(len(scores)):
        p, q = load(p_table, users[row]), load(q_table, items[row])
        scores[row] += dot(p, kernel * q) if weighed else dot(p, q)


@compiled()
def add_biases(biases, users, items, scores):
    """Add the biases of pairs to their scores."""
    if biases is None:
        return
    user_bias, item_bias, constant = biases
    for row in range(len(scores)):
        scores[row] += constant + user_bias[users[row]] + item_bias[items[row]]


@compiled()
def find_slopes(listing, head, step, slopes, first, batch):
    """Turn the scores of pairs into the objective's derivatives by them; return the sum of the losses.

    The first pair stands at `first` of the listing.
    """
    targets, weights = listing.targets, listing.weights
    weighted, one = len(weights) > 0, type(step.l2)(1)
    share = one / type(step.l2)(batch)
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
        linear, argument, slope = loss_and_slope(head, slopes[place], targets[first + place])
        if weighted:
            weight = weights[first + place]
            linear, slope = weight * linear, weight * slope
            log_sum += weight * math.log(argument)
        else:
            argument_product *= argument
        linear_sum += linear
        slopes[place] = slope * share
    return linear_sum + math.log(argument_product) + log_sum


@compiled()
def squared_norms(tables, users, items, pairs, pointwise):
    """Return the squared norms of the rows that pairs touch, the user's once an instance.

    Objectives that are not pointwise leave the users' biases as they are.
    """
    total = of_rows(tables.product, users, items, pairs) + of_rows(tables.tower, users, items, pairs)
    return total + of_biases(tables.biases, users, items, pointwise)


@compiled()
def of_rows(tables, users, items, pairs):
    """Return the squared norms of the rows of two tables."""
    total = 0.0
    if tables is not None:
        p_table, q_table = tables
        for place in range(len(users)):
            q = load(q_table, items[place])
            total += dot(q, q)
            if place % pairs == 0:
                p = load(p_table, users[place])
                total += dot(p, p)
    return total


@compiled()
def of_biases(biases, users, items, pointwise):
    """Return the squares of the biases that are trained."""
    total = 0.0
    if biases is not None:
        user_bias, item_bias, _ = biases
        for place in range(len(users)):
            total += item_bias[items[place]] ** 2
            if pointwise:
                total += user_bias[users[place]] ** 2
    return total


@compiled()
def pass_tower(tower, net, dense, slopes, scratch, end, origin, begin):
    """Write the gradients by the tower's inputs, and add those by its layers."""
    if tower is None:
        return
    work, upstream = scratch.work, upstream_of(net.layers, end)
    for row in range(len(slopes)):
        work[upstream + 2 * row] = slopes[row]
    place = begin * (net.layers[0, 0] + 1)
    inputs = scratch.tower_users
    backward(net.layers, net.dense, work, end, len(slopes), dense.shares, origin, inputs, place)


@compiled()
def pass_product(product, net, dense, users, items, slopes, scratch, origin, begin):
    """Write the gradients by the product's rows, and add those by the weights of its features."""
    if product is None:
        return
    p_table, q_table = product
    to_users, to_items, shares = scratch.product_users, scratch.product_items, dense.shares
    width, weighed = len(to_users) // len(scratch.slopes), net.kernel != ABSENT
    kernel = peek(p_table, net.dense, net.kernel) if weighed else zeros(p_table)
    gradient = zeros(p_table)
    for row in range(len(slopes)):
        slope = slopes[row]
        p, q = load(p_table, users[row]), load(q_table, items[row])
        if weighed:
            gradient = gradient + slope * (p * q)
            p, q = kernel * p, kernel * q
        poke(to_users, (begin + row) * width, slope * q)
        poke(to_items, (begin + row) * width, slope * p)
    if weighed:
        at = origin + net.kernel
        poke(shares, at, peek(p_table, shares, at) + gradient)
