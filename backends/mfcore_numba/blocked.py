"""Matrix factorisation by plain SGD, one instance a step, in the blocked order.

The cells of a stratum share no user and no item, so they are trained in parallel; within a cell instances
follow one another as in the reference engine. The bits do not depend on the number of threads.
"""

import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mfcore.engines import STEP, TrainingJob
from mfcore.optimizers import SGD
from mfcore.sampling import Grid, choose_n_blocks
from mfcore.specs import MF, Floats
from mfcore_numba.compiling import compiled, threads
from mfcore_numba.objectives import built_in_loss, loss_terms, no_loss
from mfcore_numba.own_parts import own_terms
from mfcore_numba.sorting import counting_sort
from mfcore_numba.stream import empty_listing, list_instances, shuffle_of, source
from mfcore_numba.tables import tables
from mfcore_numba.vectors import (
    add_scaled,
    add_squares,
    aligned_copy,
    combine,
    dot,
    load,
    prefetch,
    store,
    total,
    zeros,
)

# Instances ahead of the one in work whose rows are asked for: about the latency of memory.
AHEAD = 8
# Instances whose squared norms are added up in the training dtype before the sum goes on in float64.
GROUP = 256
# Positions listed between two returns to Python, where an interrupt is noticed.
LISTED_AT_ONCE = 4_000_000


class Rate(NamedTuple):
    """The step: parameter - learning_rate * gradient of the loss - decay * parameter."""

    learning_rate: Any
    decay: Any
    l2: Any


class BlockedTrainer:
    """A job of `MF` with plain `SGD` and batch_size 1."""

    def __init__(self, job: TrainingJob) -> None:
        assert isinstance(job.optimizer, SGD)
        assert isinstance(job.spec, MF)
        self.job = job
        self.optimizer: SGD = job.optimizer
        self.values = {name: aligned_copy(array) for name, array in job.parameters.items()}
        self.tables = tables(self.values, job.dtype)
        loss = built_in_loss(job)
        self.loss = loss or no_loss(job.dtype)
        self.own_terms = None if loss else own_terms(job)
        self.steps = int(job.optimizer_state[STEP][0])
        n_blocks = choose_n_blocks(job.n_instances, job.data.n_users, job.data.n_items)
        self.grid = Grid.make(job.data.n_users, job.data.n_items, n_blocks, job.seed)
        self.listing = empty_listing(job, 0)
        self.starts = np.zeros(1, dtype=np.int64)
        self.listed_epoch = -1

    def run_epoch(self, epoch: int) -> float:
        """Train one epoch and return its mean objective."""
        job = self.job
        self._list(job.sampling.bucketing_epoch(epoch))
        real = job.dtype.type
        learning_rate = self.optimizer.learning_rate_at(epoch)
        rate = Rate(real(learning_rate), real(learning_rate * self.optimizer.l2), real(self.optimizer.l2))
        rotations = self.grid.rotations(np.diff(self.starts), job.seed, epoch)
        objective = 0.0
        for stratum in self.grid.strata(job.seed, epoch):
            with threads(job.threads):
                sums = train_stratum(
                    self.own_terms and self.own_terms.address,
                    self.tables,
                    self.listing,
                    self.starts,
                    rotations,
                    int(stratum),
                    self.loss,
                    rate,
                )
            objective += float(sums.sum())
        self.steps += job.n_instances
        return objective / job.n_instances

    def parameters(self) -> dict[str, Floats]:
        """Return copies of all parameters."""
        return {name: array.copy() for name, array in self.values.items()}

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return the number of steps; plain SGD keeps nothing else."""
        return {STEP: np.array([self.steps], dtype=np.int64)}

    def _list(self, epoch: int) -> None:
        """List an epoch's instances and sort them into the cells of the grid, unless that has been done."""
        if epoch == self.listed_epoch:
            return
        job, n = self.job, self.job.n_instances
        # Room for the new one, before it is made.
        self.listing = empty_listing(job, 0)
        data, shuffle, listing = source(job), shuffle_of(job, epoch), empty_listing(job, n)
        for start in range(0, n, LISTED_AT_ONCE):
            with threads(job.threads):
                list_instances(data, shuffle, epoch, start, min(start + LISTED_AT_ONCE, n), listing, start)
        with threads(job.threads):
            keys = cells(listing, self.grid.user_block, self.grid.item_block, self.grid.n_blocks)
            order, self.starts = counting_sort(keys, self.grid.n_blocks**2)
            self.listing = empty_listing(job, n)
            reorder(listing, order, self.listing)
        self.listed_epoch = epoch


@compiled(parallel=True)
def cells(listing, user_block, item_block, n_blocks):
    """Return the number of each instance's cell."""
    keys = np.empty(len(listing.users), dtype=np.int32)
    for position in numba.prange(len(keys)):
        keys[position] = user_block[listing.users[position]] * n_blocks + item_block[listing.items[position]]
    return keys


@compiled(parallel=True)
def reorder(listing, order, ordered):
    """Write a listing in another order."""
    for position in numba.prange(len(order)):
        move(listing, order[position], ordered, position)


@compiled()
def move(listing, origin, ordered, position):
    """Copy one instance. A function of its own: Numba drops writes to a tuple's arrays made in a prange."""
    ordered.users[position] = listing.users[origin]
    ordered.items[position] = listing.items[origin]
    ordered.targets[position] = listing.targets[origin]
    if len(ordered.weights):
        ordered.weights[position] = listing.weights[origin]


@compiled(parallel=True)
def train_stratum(own, tables, listing, starts, rotations, stratum, loss, rate):
    """Train the cells of one stratum; return the sum of the objective over each.

    `own` is the address of a person's own terms, or None.
    """
    n_blocks = int(math.sqrt(len(rotations)))
    sums = np.zeros(n_blocks)
    for block in numba.prange(n_blocks):
        cell = block * n_blocks + (block + stratum) % n_blocks
        first, stop = starts[cell], starts[cell + 1]
        turn = first + rotations[cell]
        sums[block] = train_range(own, tables, listing, turn, stop, loss, rate)
        sums[block] += train_range(own, tables, listing, first, turn, loss, rate)
    return sums


@compiled()
def train_range(own, tables, listing, first, stop, loss, rate):
    """Take one step for each of a range of instances; return the sum of their objectives before the step."""
    objective = 0.0
    for group in range(first, stop, GROUP):
        last = min(group + GROUP, stop)
        objective += train_group(own, tables, listing, group, last, stop, loss, rate)
    return objective


@compiled()
def train_group(own, tables, listing, first, stop, end, loss, rate):
    """Take the steps of one group; see `GROUP`."""
    p_table, q_table = tables.user_factors, tables.item_factors
    user_bias, item_bias, global_bias = tables.user_bias, tables.item_bias, tables.global_bias
    users, items, targets, weights = listing.users, listing.items, listing.targets, listing.weights
    biased, weighted = len(user_bias) > 0, len(weights) > 0
    linear_sum, argument_product, log_sum = 0.0, 1.0, 0.0
    squares, bias_squares, one = zeros(p_table), type(rate.l2)(0), type(rate.l2)(1)
    for position in range(first, stop):
        ahead = min(position + AHEAD, end - 1)
        prefetch(p_table, users[ahead])
        prefetch(q_table, items[ahead])
        user, item = users[position], items[position]
        p, q = load(p_table, user), load(q_table, item)
        score = dot(p, q)
        if biased:
            b, c = user_bias[user], item_bias[item]
            score += global_bias + b + c
        linear, argument, slope = loss_terms(own, loss, score, targets[position])
        if weighted:
            weight = weights[position]
            linear, slope = weight * linear, weight * slope
            log_sum += weight * math.log(argument)
        elif own is None:
            argument_product *= argument
        else:
            log_sum += math.log(argument)
        linear_sum += linear
        squares = add_squares(squares, p, q)
        move = -rate.learning_rate * slope
        store(p_table, user, add_scaled(p, one, combine(move, q, -rate.decay, p)))
        store(q_table, item, add_scaled(q, one, combine(move, p, -rate.decay, q)))
        if biased:
            bias_squares += b * b + c * c
            user_bias[user] = b + (move - rate.decay * b)
            item_bias[item] = c + (move - rate.decay * c)
    penalty = 0.5 * rate.l2 * (total(squares) + bias_squares)
    return linear_sum + math.log(argument_product) + log_sum + penalty
