"""Matrix factorisation by mini-batches, with any gradient optimizer of the core.

A step has three phases: the losses of the batch's instances, the gradient of every row that the batch
touches (added up in the order of the batch, whichever thread does it), and the update rule. Small steps run
on one thread; large ones share each phase among tasks that own disjoint instances or rows, so the bits do
not depend on the number of threads.
"""

import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mfcore.contract import STEP, TrainingJob
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import MF
from mfcore.specs.base import Floats
from mfcore_numba.compiling import compiled, threads
from mfcore_numba.losses import head, loss_and_slope
from mfcore_numba.rules import move, rule_of
from mfcore_numba.stream import empty_listing, list_instances, shuffle_of, source
from mfcore_numba.tables import tables
from mfcore_numba.vectors import add_scaled, aligned_copy, combine, dot, load, store

# Instances whose losses are added up together; the sum does not depend on who adds.
GROUP = 256
# Row ranges that the tasks of a parallel step own, on each side.
N_RANGES = 8
# Numbers read and written by a step above which it is shared among threads: below, a barrier costs more.
WORTH_SHARING = 200_000
# Numbers handled between two returns to Python, where an interrupt is noticed.
AT_ONCE = 100_000_000
STEPS_AT_ONCE = 100_000


class Table(NamedTuple):
    """One parameter with its gradient and slots, flat; `width` numbers a row; empty where there is none."""

    parameter: Any
    gradient: Any
    slot0: Any
    slot1: Any
    width: int


class Moved(NamedTuple):
    """The four tables that a step moves. Not a tuple of `Table`: a prange takes one level of tuples only."""

    p: Any
    p_gradient: Any
    p_slot0: Any
    p_slot1: Any
    q: Any
    q_gradient: Any
    q_slot0: Any
    q_slot1: Any
    b: Any
    b_gradient: Any
    b_slot0: Any
    b_slot1: Any
    c: Any
    c_gradient: Any
    c_slot0: Any
    c_slot1: Any
    width: int


class Step(NamedTuple):
    """What all steps of a call share."""

    rule: int
    sparse: bool
    l2: Any
    batch_size: int


class Scratch(NamedTuple):
    """Room for one batch: slopes of its instances, losses of its groups, and which rows it has moved."""

    slopes: Any
    losses: Any
    moved_users: NDArray[np.bool_]
    moved_items: NDArray[np.bool_]


class BatchTrainer:
    """A job of `MF` with a gradient optimizer."""

    def __init__(self, job: TrainingJob) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        assert isinstance(job.spec, MF)
        self.job = job
        self.optimizer: GradientOptimizer = job.optimizer
        self.values = {name: aligned_copy(array) for name, array in job.parameters.items()}
        self.state = {name: aligned_copy(array) for name, array in job.optimizer_state.items()}
        self.gradients = {name: aligned_copy(np.zeros_like(self.values[name])) for name in job.trained}
        self.tables = tables(self.values, job.dtype)
        self.gradient_tables = tables(self.gradients, job.dtype)
        names = ("user_factors", "item_factors", "user_bias", "item_bias")
        flat = [array for name in names for array in self._flat(name)]
        self.moved = Moved._make([*flat, job.spec.n_factors])
        rule = rule_of(job.optimizer)
        assert rule is not None
        self.step = Step(rule, self.optimizer.sparse, job.dtype.type(self.optimizer.l2), job.batch_size)
        self.scratch = Scratch(
            np.empty(job.batch_size, dtype=job.dtype),
            np.empty(-(-job.batch_size // GROUP)),
            np.zeros(job.data.n_users, dtype=np.bool_),
            np.zeros(job.data.n_items, dtype=np.bool_),
        )

    def run_epoch(self, epoch: int) -> float:
        """Train one epoch and return its mean objective."""
        job = self.job
        data, shuffle = source(job), shuffle_of(job, epoch)
        learning_rate = self.optimizer.learning_rate_at(epoch)
        size, n = self._n_at_once(), job.n_instances
        listing = empty_listing(job, min(size, n))
        objective = 0.0
        for start in range(0, n, size):
            stop = min(start + size, n)
            steps = int(self.state[STEP][0]) + 1 + np.arange(-(-(stop - start) // job.batch_size))
            coefficients = np.array(
                [self.optimizer.coefficients(int(step), learning_rate) for step in steps], dtype=job.dtype
            )
            with threads(job.threads):
                list_instances(data, shuffle, epoch, start, stop, listing, 0)
                objective += self._train(listing.part(stop - start), coefficients)
            self.state[STEP] += len(steps)
        return objective / n

    def parameters(self) -> dict[str, Floats]:
        """Return copies of all parameters."""
        return {name: array.copy() for name, array in self.values.items()}

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the optimizer's state."""
        return {name: array.copy() for name, array in self.state.items()}

    def _flat(self, name: str) -> list[NDArray[Any]]:
        """Return a parameter, its gradient and its two slots, flat."""
        none = np.empty(0, dtype=self.job.dtype)
        if name not in self.values:
            return [none] * 4
        slots = [self.state[f"{name}/{slot}"].ravel() for slot in self.optimizer.slot_names]
        return [self.values[name].ravel(), self.gradients[name].ravel(), *[*slots, none, none][:2]]

    def _work(self) -> int:
        """Return about how many numbers a step reads and writes."""
        dense = 0 if self.optimizer.sparse else sum(array.size for array in self.gradients.values())
        return 4 * self.job.batch_size * self.moved.width + dense

    def _n_at_once(self) -> int:
        """Return how many instances to train between two returns to Python: whole batches."""
        return int(np.clip(AT_ONCE // self._work(), 1, STEPS_AT_ONCE)) * self.job.batch_size

    def _train(self, listing: Any, coefficients: Any) -> float:
        # Not a matter of job.threads: the two are compiled apart and may round differently.
        train = train_shared if self._work() >= WORTH_SHARING else train_alone
        return float(
            train(
                self.tables,
                self.gradient_tables,
                self.moved,
                listing,
                head(self.job),
                self.step,
                coefficients,
                self.scratch,
            )
        )


@compiled()
def train_alone(tables, gradients, moved, listing, head, step, coefficients, scratch):
    """Take the steps of a listing on this thread; return the sum of the objective over its instances."""
    objective = 0.0
    n_users, n_items = len(scratch.moved_users), len(scratch.moved_items)
    for number in range(len(coefficients)):
        first = number * step.batch_size
        stop = min(first + step.batch_size, len(listing.users))
        for group in range((stop - first + GROUP - 1) // GROUP):
            find_slopes(tables, listing, head, step, scratch, first, stop, group)
            objective += scratch.losses[group]
        add_user_gradients(tables, gradients, listing, step, scratch, first, stop, 0, n_users)
        add_item_gradients(tables, gradients, listing, step, scratch, first, stop, 0, n_items)
        c = coefficients[number]
        move_users(moved, listing, step, c, scratch, first, stop, 0, n_users)
        move_items(moved, listing, step, c, scratch, first, stop, 0, n_items)
    return objective


@compiled(parallel=True)
def train_shared(tables, gradients, moved, listing, head, step, coefficients, scratch):
    """Do what `train_alone` does, with each phase shared among threads."""
    objective = 0.0
    n_users, n_items = len(scratch.moved_users), len(scratch.moved_items)
    for number in range(len(coefficients)):
        first = number * step.batch_size
        stop = min(first + step.batch_size, len(listing.users))
        n_groups = (stop - first + GROUP - 1) // GROUP
        for group in numba.prange(n_groups):
            find_slopes(tables, listing, head, step, scratch, first, stop, group)
        objective += scratch.losses[:n_groups].sum()
        for task in numba.prange(2 * N_RANGES):
            part = task // 2
            if task % 2 == 0:
                low, high = part * n_users // N_RANGES, (part + 1) * n_users // N_RANGES
                add_user_gradients(tables, gradients, listing, step, scratch, first, stop, low, high)
            else:
                low, high = part * n_items // N_RANGES, (part + 1) * n_items // N_RANGES
                add_item_gradients(tables, gradients, listing, step, scratch, first, stop, low, high)
        for task in numba.prange(2 * N_RANGES):
            part = task // 2
            if task % 2 == 0:
                low, high = part * n_users // N_RANGES, (part + 1) * n_users // N_RANGES
                move_users(moved, listing, step, coefficients[number], scratch, first, stop, low, high)
            else:
                low, high = part * n_items // N_RANGES, (part + 1) * n_items // N_RANGES
                move_items(moved, listing, step, coefficients[number], scratch, first, stop, low, high)
    return objective


@compiled()
def find_slopes(tables, listing, head, step, scratch, first, stop, group):
    """Write the slope of each instance of a group, divided by the size of the batch, and the group's loss."""
    p_table, q_table = tables.user_factors, tables.item_factors
    user_bias, item_bias, global_bias = tables.user_bias, tables.item_bias, tables.global_bias
    users, items, targets, weights = listing.users, listing.items, listing.targets, listing.weights
    slopes, weighted, biased = scratch.slopes, len(weights) > 0, len(user_bias) > 0
    linear_sum, argument_product, log_sum = 0.0, 1.0, 0.0
    share = type(step.l2)(1.0 / (stop - first))
    begin = first + group * GROUP
    for place in range(begin, min(begin + GROUP, stop)):
        user, item = users[place], items[place]
        p, q = load(p_table, user), load(q_table, item)
        score = dot(p, q)
        if biased:
            score += global_bias + user_bias[user] + item_bias[item]
        linear, argument, slope = loss_and_slope(head, score, targets[place])
        if weighted:
            weight = weights[place]
            linear, slope = weight * linear, weight * slope
            log_sum += weight * math.log(argument)
        else:
            argument_product *= argument
        linear_sum += linear
        slopes[place - first] = slope * share
        if step.l2 > 0:
            squares = dot(p, p) + dot(q, q)
            if biased:
                squares += user_bias[user] ** 2 + item_bias[item] ** 2
            linear_sum += 0.5 * step.l2 * squares
    scratch.losses[group] = linear_sum + math.log(argument_product) + log_sum


@compiled()
def add_gradients(own, other, gradient, places, step, scratch, low, high):
    """Add the batch's gradients of one side's rows in [low, high), in the order of the batch.

    own, other and gradient are (factors, bias) of this side, of the other side, and of this side's gradient;
    places are the rows that each instance touches on this side and on the other.
    """
    n, rows, other_rows, slopes = len(places[0]), places[0], places[1], scratch.slopes
    (own_factors, own_bias), (gradient_factors, gradient_bias), other_factors = own, gradient, other[0]
    one, decay = type(step.l2)(1), step.l2 * type(step.l2)(1.0 / n)
    biased = len(own_bias) > 0
    for place in range(n):
        row = rows[place]
        if low <= row < high:
            slope = slopes[place]
            pull = combine(slope, load(other_factors, other_rows[place]), decay, load(own_factors, row))
            store(gradient_factors, row, add_scaled(load(gradient_factors, row), one, pull))
            if biased:
                gradient_bias[row] += slope + decay * own_bias[row]


@compiled()
def add_user_gradients(tables, gradients, listing, step, scratch, first, stop, low, high):
    """Add the batch's gradients of the user rows in [low, high)."""
    own, other = (tables.user_factors, tables.user_bias), (tables.item_factors, tables.item_bias)
    places = (listing.users[first:stop], listing.items[first:stop])
    add_gradients(own, other, (gradients.user_factors, gradients.user_bias), places, step, scratch, low, high)


@compiled()
def add_item_gradients(tables, gradients, listing, step, scratch, first, stop, low, high):
    """Add the batch's gradients of the item rows in [low, high)."""
    own, other = (tables.item_factors, tables.item_bias), (tables.user_factors, tables.user_bias)
    places = (listing.items[first:stop], listing.users[first:stop])
    add_gradients(own, other, (gradients.item_factors, gradients.item_bias), places, step, scratch, low, high)


@compiled()
def move_users(moved, listing, step, c, scratch, first, stop, low, high):
    """Apply the rule to the user rows in [low, high)."""
    factors = Table(moved.p, moved.p_gradient, moved.p_slot0, moved.p_slot1, moved.width)
    bias = Table(moved.b, moved.b_gradient, moved.b_slot0, moved.b_slot1, 1)
    move_side(factors, bias, listing.users[first:stop], step, c, scratch.moved_users, low, high)


@compiled()
def move_items(moved, listing, step, c, scratch, first, stop, low, high):
    """Apply the rule to the item rows in [low, high)."""
    factors = Table(moved.q, moved.q_gradient, moved.q_slot0, moved.q_slot1, moved.width)
    bias = Table(moved.c, moved.c_gradient, moved.c_slot0, moved.c_slot1, 1)
    move_side(factors, bias, listing.items[first:stop], step, c, scratch.moved_items, low, high)


@compiled()
def move_side(factors, bias, touched, step, c, done, low, high):
    """Apply the rule to the rows in [low, high): to all, or once to each that the batch touches."""
    if not step.sparse:
        move_rows(factors, step, c, low, high)
        move_rows(bias, step, c, low, high)
        return
    for place in range(len(touched)):
        row = touched[place]
        if low <= row < high and not done[row]:
            done[row] = True
            move_rows(factors, step, c, row, row + 1)
            move_rows(bias, step, c, row, row + 1)
    for place in range(len(touched)):
        if low <= touched[place] < high:
            done[touched[place]] = False


@compiled()
def move_rows(table, step, c, low, high):
    """Apply the rule to every row in [low, high)."""
    a, b = low * table.width, high * table.width
    move(step.rule, table.parameter[a:b], table.gradient[a:b], table.slot0[a:b], table.slot1[a:b], c)
