"""The sample stream of `mfcore.sampling`, worked out in TensorFlow: the same instances, bit for bit.

The arithmetic is that of the core: 32-bit words in int64, whose products wrap modulo 2^64 here as there.

An instance is known by its number in the epoch's list, before any shuffling: the order of an epoch says which
number stands at each position, and `Stream.look_up` what the instance of a number is.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mfcore.engines import TrainingJob
from mfcore.sampling import (
    KEY_INCREMENTS,
    MASK,
    MULTIPLIER,
    MULTIPLIERS,
    Grid,
    KeyedShuffle,
    Purpose,
    choose_n_blocks,
    philox,
    split_seed,
)

# The shuffle's multiplier as an int64 of the same bits.
SIGNED_MULTIPLIER = MULTIPLIER - (1 << 64)
# Values that are shuffled again together: enough to keep a compiled loop's overhead small.
BLOCK = 1 << 12
# Where this part of the values, or less, is left to be shuffled again, they are padded less.
FEW = 8
# Instances that are listed together to be sorted by cell.
LISTED_AT_ONCE = 1 << 18


class InstanceTensors(NamedTuple):
    """Instances in the order in which they are shown; int64 but for `positive`.

    Attributes
    ----------
    users, items : tensors [n]
        Rows.
    interactions : tensor [n]
        The interaction that each instance belongs to.
    positive : bool tensor [n]
    negatives : tensor [n], or None
        The item that each instance's item is compared with, in a paired epoch.
    """

    users: tf.Tensor
    items: tf.Tensor
    interactions: tf.Tensor
    positive: tf.Tensor
    negatives: tf.Tensor | None


class Keys(NamedTuple):
    """What an epoch's random numbers depend on; int64.

    Attributes
    ----------
    shuffle : tensor [24]
        The keys of the bijection.
    listing : tensor [3]
        The seed's two words, and the epoch whose negatives are listed.
    """

    shuffle: tf.Tensor
    listing: tf.Tensor

    @classmethod
    def of(cls, job: TrainingJob, epoch: int) -> "Keys":
        """Return the keys of a job's epoch."""
        shuffle = KeyedShuffle.make(job.n_instances, job.seed, epoch)
        return cls(tf.constant(shuffle.keys, tf.int64), tf.constant([*split_seed(job.seed), epoch], tf.int64))


class Data(NamedTuple):
    """The training data on the device.

    Attributes
    ----------
    users, items : int32 tensors [n]
    first, count : int32 tensors [n_users]
        Where each user's seen items begin, and how many there are.
    room : int64 tensor [n_users]
        How many items the user has not seen, or the weight of these by popularity.
    before : int32 tensor [n_seen]
        Of each seen item, the room before it; ascending for each user.
    starts : int32 tensor [n_items + 1], or None
        With popularity: where each item's span begins on the line of weights.
    ends : int32 tensor [n_seen], or None
        With popularity: of each seen item, where its span ends.
    """

    users: tf.Tensor
    items: tf.Tensor
    first: tf.Tensor
    count: tf.Tensor
    room: tf.Tensor
    before: tf.Tensor
    starts: tf.Tensor | None
    ends: tf.Tensor | None


class Stream:
    """The instances of a job's epochs.

    Parameters
    ----------
    job : TrainingJob
    """

    def __init__(self, job: TrainingJob) -> None:
        self.job = job
        self.data = _data(job)
        self.most_seen = int(job.data.seen.counts.max(initial=0))
        # Epochs, with what was worked out for them.
        self._cells: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None
        self._visited: tuple[int, NDArray[np.int64]] | None = None

    def keys(self, epoch: int) -> Keys:
        """Return what the instances of an epoch depend on."""
        if self.job.sampling.order == "blocked":
            epoch = self.job.sampling.bucketing_epoch(epoch)
        return Keys.of(self.job, epoch)

    def positions(self, epoch: int, start: int, n: int) -> tf.Tensor:
        """Return what `instances` is to be given for n positions of an epoch; past its end anything.

        Positions, whole blocks of them, or, in the blocked order, numbers.
        """
        last = self.job.n_instances - 1
        if self.job.sampling.order == "shuffled":
            whole_blocks = -(-n // BLOCK) * BLOCK
            return tf.minimum(tf.range(start, start + whole_blocks, dtype=tf.int64), last)
        if self._visited is None or self._visited[0] != epoch:
            self._visited = (epoch, self._visit(epoch))
        return tf.constant(self._visited[1][np.minimum(np.arange(start, start + n), last)])

    def numbers(
        self, positions: tf.Tensor, n: int, keys: Keys, compiled: Callable[..., Any] | None = None
    ) -> tf.Tensor:
        """Return the numbers of the n instances at some positions of an epoch.

        Parameters
        ----------
        positions : int64 tensor
            As `positions` returns them.
        n : int
        keys : Keys
            Of the epoch.
        compiled : callable, optional
            What compiles functions of tensors of known shapes.
        """
        if self.job.sampling.order == "blocked":
            return positions
        once = shuffled_blocks if compiled is None else compiled(shuffled_blocks)
        return self._shuffled(positions, keys, once)[:n]

    def instances(
        self, positions: tf.Tensor, n: int, keys: Keys, compiled: Callable[..., Any] | None = None
    ) -> InstanceTensors:
        """Return the n instances at some positions of an epoch; arguments as of `numbers`."""
        look_up = self.look_up if compiled is None else compiled(self.look_up)
        instances: InstanceTensors = look_up(self.numbers(positions, n, keys, compiled), keys)
        return instances

    def look_up(self, numbers: tf.Tensor, keys: Keys) -> InstanceTensors:
        """Return the instances of some numbers."""
        plan, data = self.job.sampling, self.data
        interactions = numbers // plan.per_interaction
        slots = numbers - interactions * plan.per_interaction
        users = tf.cast(tf.gather(data.users, interactions), tf.int64)
        items = tf.cast(tf.gather(data.items, interactions), tf.int64)
        if not plan.n_negatives:
            return InstanceTensors(users, items, interactions, tf.ones_like(slots, tf.bool), None)
        slots = slots + int(plan.paired)
        drawn = self._negatives(users, interactions * (1 + plan.n_negatives) + slots, keys)
        if plan.paired:
            return InstanceTensors(users, items, interactions, slots > 0, drawn)
        positive = slots == 0
        return InstanceTensors(users, tf.where(positive, items, drawn), interactions, positive, None)

    def _negatives(self, users: tf.Tensor, positions: tf.Tensor, keys: Keys) -> tf.Tensor:
        data = self.data
        ranks = drawn_below(tf.gather(data.room, users), positions, keys.listing)
        first, count = tf.gather(data.first, users), tf.gather(data.count, users)
        bounds = tf.cast(ranks, tf.int32)
        n_before = n_up_to(data.before, first, count, bounds, self.most_seen)
        if data.starts is None:
            return ranks + tf.cast(n_before, tf.int64)
        assert data.ends is not None
        last = tf.maximum(first + n_before - 1, 0)
        passed = tf.gather(data.ends, last) - tf.gather(data.before, last)
        moved = bounds + tf.where(n_before > 0, passed, 0)
        n_items = self.job.data.n_items
        found = n_up_to(data.starts, tf.zeros_like(moved), tf.fill(tf.shape(moved), n_items), moved, n_items)
        return tf.cast(found - 1, tf.int64)

    def _shuffled(self, positions: tf.Tensor, keys: Keys, once: Callable[..., Any]) -> tf.Tensor:
        """Return the number at each of some whole blocks of positions of the shuffled order."""
        shuffle = KeyedShuffle.make(self.job.n_instances, self.job.seed, 0)
        bits = tf.constant([shuffle.left_bits, shuffle.right_bits], tf.int64)
        n = tf.constant(shuffle.n, tf.int64)
        if tf.executing_eagerly():
            return shuffled_anywhere(positions, n, keys.shuffle, bits)
        return shuffled(positions, n, keys.shuffle, bits, once)

    def _visit(self, epoch: int) -> NDArray[np.int64]:
        """Return the number at each position of the blocked order."""
        listing = self.job.sampling.bucketing_epoch(epoch)
        if self._cells is None or self._cells[0] != listing:
            self._cells = (listing, *self._by_cell(listing))
        _, numbers, starts = self._cells
        visited: NDArray[np.int64] = numbers[self._grid().visit_order(starts, self.job.seed, epoch)]
        return visited

    def _by_cell(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the numbers of an epoch's instances sorted by cell, and where each cell begins."""
        keys, grid, n = Keys.of(self.job, epoch), self._grid(), self.job.n_instances
        numbers, cells = [], []
        at_once = min(LISTED_AT_ONCE, -(-n // BLOCK) * BLOCK)
        for start in range(0, n, at_once):
            positions = tf.minimum(tf.range(start, start + at_once, dtype=tf.int64), n - 1)
            part = self._shuffled(positions, keys, shuffled_blocks)[: n - start]
            listed = self.look_up(part, keys)
            numbers.append(part.numpy())
            # numpy sorts numbers of 16 bits by radix.
            cells.append(grid.cells(listed.users.numpy(), listed.items.numpy()).astype(np.int16))
        found = np.concatenate(cells)
        starts = np.concatenate([[0], np.cumsum(np.bincount(found, minlength=grid.n_blocks**2))])
        return np.concatenate(numbers)[np.argsort(found, kind="stable")], starts

    def _grid(self) -> Grid:
        job = self.job
        n_users, n_items = job.data.n_users, job.data.n_items
        return Grid.make(n_users, n_items, choose_n_blocks(job.n_instances, n_users, n_items), job.seed)


def shuffled(
    positions: tf.Tensor, n: tf.Tensor, keys: tf.Tensor, bits: tf.Tensor, once: Callable[..., Any]
) -> tf.Tensor:
    """Return the value of the bijection on [0, n) at each of some whole blocks of positions.

    A value that falls outside is mapped again until it falls inside; `once` is `shuffled_blocks`.
    """
    n_positions = tf.size(positions)
    values = tf.ensure_shape(once(positions, n_positions, keys, bits), positions.shape)
    outside = tf.where(values >= n)[:, 0]
    length = positions.shape[0]
    few = -(-(n_positions if length is None else length) // (FEW * BLOCK)) * BLOCK

    def walk(values: tf.Tensor, outside: tf.Tensor, room: Any) -> tuple[tf.Tensor, tf.Tensor]:
        m = tf.size(outside)
        # Of one length, as compiled functions need it; only the blocks in use are worked on.
        padded = tf.ensure_shape(tf.pad(tf.gather(values, outside), [[0, room - m]]), _shape(room))
        walked = once(padded, m, keys, bits)[:m]
        values = tf.tensor_scatter_nd_update(values, outside[:, None], walked)
        return values, tf.boolean_mask(outside, walked >= n)

    shapes = values.shape, tf.TensorShape([None])
    for room, left in ((n_positions if length is None else length, few), (few, 0)):
        values, outside = tf.while_loop(
            lambda _, outside, left=left: tf.size(outside) > left,
            partial(walk, room=room),
            (values, outside),
            shape_invariants=shapes,
        )
    return values


def _shape(length: Any) -> list[int | None]:
    return [length if isinstance(length, int) else None]


def shuffled_blocks(values: tf.Tensor, n: tf.Tensor, keys: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Return the values, whole blocks, after one pass of the bijection: at least the first n of them."""
    blocks = tf.reshape(values, [-1, BLOCK])
    n_blocks = (n + BLOCK - 1) // BLOCK

    def one(number: tf.Tensor, blocks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shuffled = shuffled_once(blocks[number], keys, bits)
        return number + 1, tf.tensor_scatter_nd_update(blocks, [[number]], shuffled[None])

    _, blocks = tf.while_loop(lambda number, _: number < n_blocks, one, (0, blocks))
    return tf.reshape(blocks, [-1])


def _shuffled_once(values: tf.Tensor, keys: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Return the values after one pass of the bijection on [0, 2^(left bits + right bits))."""
    left_bits, right_bits = tf.unstack(bits)
    one = tf.constant(1, tf.int64)
    left_mask, right_mask = _left(one, left_bits) - 1, _left(one, right_bits) - 1
    widening = right_bits - left_bits
    left, right = _right(values, right_bits), values & right_mask
    for key in tf.unstack(keys):
        product = left * SIGNED_MULTIPLIER
        high, low = _right(product, 32) & MASK, product & MASK
        left, right = (
            (high ^ key ^ right) & left_mask,
            (_left(low, widening) | _right(right, left_bits)) & right_mask,
        )
    return _left(left, right_bits) | right


def drawn_below(bounds: tf.Tensor, positions: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Return an integer in [0, bound) for each position, as `mfcore.sampling.philox.bounded` does."""
    high, low = philox_words(positions, key)
    return _right(high * bounds + _right(low * bounds, 32), 32)


def _philox_words(positions: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first two words of each position of the stream of negatives."""
    k0, k1, epoch = tf.unstack(key)
    c0, c1 = positions & MASK, _right(positions, 32)
    c2, c3 = tf.fill(tf.shape(positions), epoch), tf.fill(tf.shape(positions), _int64(Purpose.NEGATIVE))
    for _ in range(philox.ROUNDS):
        product0, product1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (_right(product1, 32) & MASK) ^ c1 ^ k0,
            product1 & MASK,
            (_right(product0, 32) & MASK) ^ c3 ^ k1,
            product0 & MASK,
        )
        k0, k1 = (k0 + KEY_INCREMENTS[0]) & MASK, (k1 + KEY_INCREMENTS[1]) & MASK
    return c0, c1


def n_up_to(values: tf.Tensor, first: tf.Tensor, count: tf.Tensor, bounds: tf.Tensor, most: int) -> tf.Tensor:
    """Return how many of values[first : first + count] are at most the bound, for each of n ranges; int32.

    Each range is ascending, and none is longer than `most`: one binary search, in steps by powers of two.
    """
    found = tf.zeros_like(first)
    last = tf.size(values) - 1
    for power in reversed(range(most.bit_length())):
        further = found + (1 << power)
        value = tf.gather(values, tf.minimum(first + further - 1, last))
        found = tf.where((further <= count) & (value <= bounds), further, found)
    return found


def _left(values: tf.Tensor, bits: Any) -> tf.Tensor:
    return tf.bitwise.left_shift(values, tf.cast(bits, tf.int64))


def _right(values: tf.Tensor, bits: Any) -> tf.Tensor:
    return tf.bitwise.right_shift(values, tf.cast(bits, tf.int64))


def _int64(number: int) -> tf.Tensor:
    return tf.constant(int(number), tf.int64)


def _traced(function: Callable[..., Any], **shapes: list[int | None]) -> Callable[..., Any]:
    """Return a function that is one call instead of hundreds, traced once, for arguments of these shapes."""
    specs = [tf.TensorSpec(shape, tf.int64) for shape in shapes.values()]
    traced: Callable[..., Any] = tf.function(function, input_signature=specs, autograph=False)
    return traced


shuffled_once = _traced(_shuffled_once, values=[None], keys=[24], bits=[2])
philox_words = _traced(_philox_words, positions=[None], key=[3])
shuffled_anywhere = _traced(
    partial(shuffled, once=shuffled_blocks), positions=[None], n=[], keys=[24], bits=[2]
)


def _data(job: TrainingJob) -> Data:
    seen, table = job.data.seen, job.popularity
    first, count = seen.indptr[:-1], seen.counts
    starts = ends = None
    if table is None:
        before = seen.indices - (np.arange(len(seen.indices)) - np.repeat(first, count))
        room = job.data.n_items - count
    else:
        before, room = table.unseen_before, table.unseen_weight
        starts, ends = _int32(table.starts), _int32(table.starts[seen.indices + 1])
    return Data(
        users=_int32(job.data.users),
        items=_int32(job.data.items),
        first=_int32(first),
        count=_int32(count),
        room=tf.constant(room, tf.int64),
        before=_int32(before),
        starts=starts,
        ends=ends,
    )


def _int32(array: Any) -> tf.Tensor:
    return tf.constant(np.asarray(array, dtype=np.int32))
