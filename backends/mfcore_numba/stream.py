"""The sample stream of `mfcore.sampling`, compiled: the same instances, bit for bit, from any position."""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mfcore.engines import TrainingJob
from mfcore.sampling import KeyedShuffle, Purpose
from mfcore.sampling import philox as core_philox
from mfcore.sampling import shuffle as core_shuffle
from mfcore_numba.compiling import compiled

MASK = np.uint64(core_philox.MASK)
HALF = np.uint64(32)
M0, M1 = (np.uint64(multiplier) for multiplier in core_philox.MULTIPLIERS)
W0, W1 = (np.uint64(increment) for increment in core_philox.KEY_INCREMENTS)
ROUNDS = core_philox.ROUNDS
SHUFFLE_ROUNDS = core_shuffle.ROUNDS
SHUFFLE_MULTIPLIER = np.uint64(core_shuffle.MULTIPLIER)
NEGATIVE = np.uint64(int(Purpose.NEGATIVE))

# Instances that are listed together; their shuffle's halves stay in a core's first cache.
CHUNK = 1024
# Searches for negatives that go on side by side.
TOGETHER = 16


class Source(NamedTuple):
    """The training data and the plan, as kernels read them; what popularity needs is empty without it."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    targets: Any
    weights: Any
    seen_indptr: NDArray[np.int64]
    seen_indices: NDArray[np.int32]
    starts: NDArray[np.int64]
    unseen_before: NDArray[np.int64]
    unseen_weight: NDArray[np.int64]
    n_items: int
    n_negatives: int
    paired: bool
    seed: Any


class Shuffle(NamedTuple):
    """A keyed shuffle, as kernels read it."""

    n: int
    left_bits: Any
    right_bits: Any
    keys: NDArray[np.uint64]


class Listing(NamedTuple):
    """Pairs in the order in which they are shown; weights are empty where all are 1.

    A pair is an instance, or in a paired epoch one of the two of an instance: its interaction, then its
    negative.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    targets: Any
    weights: Any

    def part(self, stop: int) -> "Listing":
        """Return the first `stop` pairs."""
        return Listing(self.users[:stop], self.items[:stop], self.targets[:stop], self.weights[:stop])


def source(job: TrainingJob) -> Source:
    """Return a job's data for kernels."""
    weights = np.empty(0, dtype=job.dtype) if job.weights is None else job.weights
    none = np.empty(0, dtype=np.int64)
    popularity = job.popularity
    return Source(
        job.data.users,
        job.data.items,
        job.targets,
        weights,
        job.data.seen.indptr,
        job.data.seen.indices,
        *(
            (none, none, none)
            if popularity is None
            else (popularity.starts, popularity.unseen_before, popularity.unseen_weight)
        ),
        job.data.n_items,
        job.sampling.n_negatives,
        job.sampling.paired,
        np.uint64(job.seed),
    )


def shuffle_of(job: TrainingJob, epoch: int) -> Shuffle:
    """Return the keyed shuffle of an epoch."""
    made = KeyedShuffle.make(job.n_instances, job.seed, epoch)
    keys = np.array(made.keys, dtype=np.uint64)
    return Shuffle(made.n, np.uint64(made.left_bits), np.uint64(made.right_bits), keys)


def empty_listing(job: TrainingJob, n: int) -> Listing:
    """Return room for n instances."""
    n *= pairs_of(job)
    n_weights = 0 if job.weights is None else n
    return Listing(
        np.empty(n, dtype=np.int32),
        np.empty(n, dtype=np.int32),
        np.empty(n, dtype=job.dtype),
        np.empty(n_weights, dtype=job.dtype),
    )


def pairs_of(job: TrainingJob) -> int:
    """Return how many pairs an instance is listed as."""
    return 2 if job.sampling.paired else 1


@compiled()
def philox_pair(seed, purpose, epoch, position):
    """Return the first two words of a position, as the high and the low half of 64 random bits."""
    c0, c1 = position & MASK, position >> HALF
    c2, c3 = epoch, purpose
    k0, k1 = seed & MASK, seed >> HALF
    for _ in range(ROUNDS):
        product0, product1 = c0 * M0, c2 * M1
        c0, c1 = (product1 >> HALF) ^ c1 ^ k0, product1 & MASK
        c2, c3 = (product0 >> HALF) ^ c3 ^ k1, product0 & MASK
        k0, k1 = (k0 + W0) & MASK, (k1 + W1) & MASK
    return c0, c1


@compiled()
def mixed(shuffle, keys, value):
    """Return what the shuffle's rounds make of one value of its domain, as `shuffled` does of many."""
    left_mask = (np.uint64(1) << shuffle.left_bits) - np.uint64(1)
    right_mask = (np.uint64(1) << shuffle.right_bits) - np.uint64(1)
    widening = shuffle.right_bits - shuffle.left_bits
    left, right = value >> shuffle.right_bits, value & right_mask
    for number in range(SHUFFLE_ROUNDS):
        product = left * SHUFFLE_MULTIPLIER
        left = ((product >> HALF) ^ keys[number] ^ right) & left_mask
        right = (((product & MASK) << widening) | (right >> shuffle.left_bits)) & right_mask
    return (left << shuffle.right_bits) | right


@compiled()
def shuffled(shuffle, first, instances):
    """Write the instances at positions first, first + 1, ... of the shuffled order.

    The rounds go over all of them side by side: alone, each would wait for its own multiplications.
    """
    n, keys = len(instances), shuffle.keys
    left_mask = (np.uint64(1) << shuffle.left_bits) - np.uint64(1)
    right_mask = (np.uint64(1) << shuffle.right_bits) - np.uint64(1)
    widening = shuffle.right_bits - shuffle.left_bits
    left, right = np.empty(n, dtype=np.uint64), np.empty(n, dtype=np.uint64)
    for index in range(n):
        value = np.uint64(first + index)
        left[index], right[index] = value >> shuffle.right_bits, value & right_mask
    for number in range(SHUFFLE_ROUNDS):
        key = keys[number]
        for index in range(n):
            product, old = left[index] * SHUFFLE_MULTIPLIER, right[index]
            left[index] = ((product >> HALF) ^ key ^ old) & left_mask
            right[index] = (((product & MASK) << widening) | (old >> shuffle.left_bits)) & right_mask
    for index in range(n):
        value = (left[index] << shuffle.right_bits) | right[index]
        while value >= np.uint64(shuffle.n):
            value = mixed(shuffle, keys, value)
        instances[index] = np.int64(value)


@compiled()
def draw_negatives(source, epoch, users, instances, items):
    """Write the negative of each instance, one that its user has not seen, as the plan draws it."""
    seed, indptr, weights, n_items = source.seed, source.seen_indptr, source.unseen_weight, source.n_items
    popular = len(weights) > 0
    for index in range(len(users)):
        high, low = philox_pair(seed, NEGATIVE, np.uint64(epoch), np.uint64(instances[index]))
        user = users[index]
        bound = np.uint64(weights[user] if popular else n_items - (indptr[user + 1] - indptr[user]))
        items[index] = np.int64((high * bound + ((low * bound) >> HALF)) >> HALF)
    if popular:
        find_popular(source, users, items)
    else:
        find_unseen(indptr, source.seen_indices, users, items)


@compiled()
def find_unseen(indptr, indices, users, items):
    """Turn ranks among the items that each user has not seen into items; see `mfcore.sampling.negatives`.

    The binary searches of several users go on side by side, halving without a branch: alone, each would wait
    for memory at every step.
    """
    firsts, bases = np.empty(TOGETHER, dtype=np.int64), np.empty(TOGETHER, dtype=np.int64)
    lefts = np.empty(TOGETHER, dtype=np.int64)
    for start in range(0, len(users), TOGETHER):
        own = items[start : start + TOGETHER]
        longest = 0
        for lane in range(len(own)):
            user = users[start + lane]
            firsts[lane] = bases[lane] = indptr[user]
            lefts[lane] = indptr[user + 1] - indptr[user]
            longest = max(longest, lefts[lane])
        while longest > 1:
            for lane in range(len(own)):
                # Where a search has ended, half is 0 and what is looked at does not matter.
                half = lefts[lane] >> 1
                last = max(bases[lane] + half - 1, 0)
                bases[lane] += half if indices[last] - (last - firsts[lane]) <= own[lane] else 0
                lefts[lane] -= half
            longest -= longest >> 1
        for lane in range(len(own)):
            base = bases[lane]
            if lefts[lane] == 1 and indices[base] - (base - firsts[lane]) <= own[lane]:
                base += 1
            own[lane] += base - firsts[lane]


@compiled()
def find_popular(source, users, items):
    """Turn positions on the line of the weights that each user has not seen into items."""
    starts, unseen_before, indices = source.starts, source.unseen_before, source.seen_indices
    indptr = source.seen_indptr
    for index in range(len(users)):
        first, stop = indptr[users[index]], indptr[users[index] + 1]
        at = items[index]
        after = first + np.searchsorted(unseen_before[first:stop], at, side="right")
        if after > first:
            at += starts[indices[after - 1] + 1] - unseen_before[after - 1]
        items[index] = np.searchsorted(starts, at, side="right") - 1


@compiled()
def list_range(source, shuffle, epoch, first, stop, listing, index):
    """Write the instances at positions first..stop of the shuffled order to a listing, from `index` on."""
    # Every array is taken out of its tuple once: taking it out costs a shared reference count.
    users, items, targets, weights = source.users, source.items, source.targets, source.weights
    to_users, to_items, to_targets = listing.users, listing.items, listing.targets
    to_weights, weighted = listing.weights, len(listing.weights) > 0
    width = 1 + source.n_negatives
    instances = np.empty(stop - first, dtype=np.int64)
    drawn, drawn_users = np.empty_like(instances), np.empty_like(instances)
    drawn_at = np.empty_like(instances)
    n_drawn = 0
    shuffled(shuffle, first, instances)
    for instance in instances:
        interaction = instance // width
        user = np.int64(users[interaction])
        positive = instance == interaction * width
        to_users[index] = user
        to_items[index] = items[interaction]
        to_targets[index] = targets[interaction] if positive else 0
        if weighted:
            to_weights[index] = weights[interaction] if positive else 1
        drawn[n_drawn], drawn_users[n_drawn], drawn_at[n_drawn] = instance, user, index
        n_drawn += 0 if positive else 1
        index += 1
    drawn_items = np.empty(n_drawn, dtype=np.int64)
    draw_negatives(source, epoch, drawn_users[:n_drawn], drawn[:n_drawn], drawn_items)
    for number in range(n_drawn):
        to_items[drawn_at[number]] = drawn_items[number]


@compiled()
def list_paired_range(source, shuffle, epoch, first, stop, listing, index):
    """Write the instances at positions first..stop of a paired epoch: two pairs each, the negative second."""
    users, items, to_users, to_items = source.users, source.items, listing.users, listing.items
    n_negatives = source.n_negatives
    instances = np.empty(stop - first, dtype=np.int64)
    drawn_users, drawn_items = np.empty_like(instances), np.empty_like(instances)
    shuffled(shuffle, first, instances)
    for number in range(len(instances)):
        interaction = instances[number] // n_negatives
        drawn_users[number] = users[interaction]
        to_users[index + 2 * number] = to_users[index + 2 * number + 1] = drawn_users[number]
        to_items[index + 2 * number] = items[interaction]
        # The number that this negative has among all instances of a pointwise epoch.
        slot = 1 + instances[number] - interaction * n_negatives
        instances[number] = interaction * (1 + n_negatives) + slot
    draw_negatives(source, epoch, drawn_users, instances, drawn_items)
    for number in range(len(instances)):
        to_items[index + 2 * number + 1] = drawn_items[number]


@compiled(parallel=True)
def list_instances(source, shuffle, epoch, start, stop, listing, offset):
    """Write the instances at positions start..stop of the shuffled order to a listing, from `offset` on."""
    n_chunks = (stop - start + CHUNK - 1) // CHUNK
    for chunk in numba.prange(n_chunks):
        first = start + chunk * CHUNK
        index = offset + chunk * CHUNK
        if source.paired:
            list_paired_range(
                source, shuffle, epoch, first, min(first + CHUNK, stop), listing, offset + 2 * chunk * CHUNK
            )
        else:
            list_range(source, shuffle, epoch, first, min(first + CHUNK, stop), listing, index)
