"""The sample stream of `mfcore.sampling`, compiled: the same instances, bit for bit, from any position."""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mfcore.contract import TrainingJob
from mfcore.sampling import KeyedShuffle, Purpose
from mfcore.sampling import philox as core_philox
from mfcore.sampling import shuffle as core_shuffle
from mfcore_numba.compiling import compiled

MASK = np.uint64(core_philox.MASK)
HALF = np.uint64(32)
M0, M1 = (np.uint64(multiplier) for multiplier in core_philox.MULTIPLIERS)
W0, W1 = (np.uint64(increment) for increment in core_philox.KEY_INCREMENTS)
ROUNDS = core_philox.ROUNDS
SHUFFLE_MULTIPLIER = np.uint64(core_shuffle.MULTIPLIER)
NEGATIVE = np.uint64(int(Purpose.NEGATIVE))

CHUNK = 4096


class Source(NamedTuple):
    """The training data and the plan, as kernels read them."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    targets: Any
    weights: Any
    seen_indptr: NDArray[np.int64]
    seen_indices: NDArray[np.int32]
    n_items: int
    n_negatives: int
    seed: Any


class Shuffle(NamedTuple):
    """A keyed shuffle, as kernels read it."""

    n: int
    left_bits: Any
    right_bits: Any
    keys: NDArray[np.uint64]


class Listing(NamedTuple):
    """Instances in the order in which they are shown; weights are empty where all are 1."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    targets: Any
    weights: Any

    def part(self, stop: int) -> "Listing":
        """Return the first `stop` instances."""
        return Listing(self.users[:stop], self.items[:stop], self.targets[:stop], self.weights[:stop])


def source(job: TrainingJob) -> Source:
    """Return a job's data for kernels."""
    weights = np.empty(0, dtype=job.dtype) if job.weights is None else job.weights
    return Source(
        job.data.users,
        job.data.items,
        job.targets,
        weights,
        job.data.seen.indptr,
        job.data.seen.indices,
        job.data.n_items,
        job.sampling.n_negatives,
        np.uint64(job.seed),
    )


def shuffle_of(job: TrainingJob, epoch: int) -> Shuffle:
    """Return the keyed shuffle of an epoch."""
    made = KeyedShuffle.make(job.n_instances, job.seed, epoch)
    keys = np.array(made.keys, dtype=np.uint64)
    return Shuffle(made.n, np.uint64(made.left_bits), np.uint64(made.right_bits), keys)


def empty_listing(job: TrainingJob, n: int) -> Listing:
    """Return room for n instances."""
    n_weights = 0 if job.weights is None else n
    return Listing(
        np.empty(n, dtype=np.int32),
        np.empty(n, dtype=np.int32),
        np.empty(n, dtype=job.dtype),
        np.empty(n_weights, dtype=job.dtype),
    )


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
def shuffled(shuffle, position):
    """Return the instance at a position of the shuffled order."""
    left_mask = (np.uint64(1) << shuffle.left_bits) - np.uint64(1)
    right_mask = (np.uint64(1) << shuffle.right_bits) - np.uint64(1)
    widening = shuffle.right_bits - shuffle.left_bits
    value = np.uint64(position)
    while True:
        left, right = value >> shuffle.right_bits, value & right_mask
        for key in shuffle.keys:
            product = left * SHUFFLE_MULTIPLIER
            left = ((product >> HALF) ^ key ^ right) & left_mask
            right = (((product & MASK) << widening) | (right >> shuffle.left_bits)) & right_mask
        value = (left << shuffle.right_bits) | right
        if value < np.uint64(shuffle.n):
            return np.int64(value)


@compiled()
def negative(source, epoch, user, instance):
    """Return the negative of an instance; see `mfcore.sampling.negatives`."""
    first, stop = source.seen_indptr[user], source.seen_indptr[user + 1]
    n_unseen = np.uint64(source.n_items - (stop - first))
    high, low = philox_pair(source.seed, NEGATIVE, np.uint64(epoch), np.uint64(instance))
    rank = np.int64((high * n_unseen + ((low * n_unseen) >> HALF)) >> HALF)
    bottom, top = first, stop
    while bottom < top:
        middle = (bottom + top) // 2
        if source.seen_indices[middle] - (middle - first) <= rank:
            bottom = middle + 1
        else:
            top = middle
    return rank + (bottom - first)


@compiled()
def show(source, shuffle, epoch, position, listing, place):
    """Write the instance at a position of the shuffled order to a place of a listing."""
    instance = shuffled(shuffle, position)
    width = 1 + source.n_negatives
    interaction = instance // width
    user = source.users[interaction]
    listing.users[place] = user
    if instance == interaction * width:
        listing.items[place] = source.items[interaction]
        listing.targets[place] = source.targets[interaction]
        if len(listing.weights):
            listing.weights[place] = source.weights[interaction]
    else:
        listing.items[place] = negative(source, epoch, np.int64(user), instance)
        listing.targets[place] = 0
        if len(listing.weights):
            listing.weights[place] = 1


@compiled(parallel=True)
def list_instances(source, shuffle, epoch, start, stop, listing, offset):
    """Write the instances at positions start..stop of the shuffled order to a listing, from `offset` on."""
    n_chunks = (stop - start + CHUNK - 1) // CHUNK
    for chunk in numba.prange(n_chunks):
        first = start + chunk * CHUNK
        for position in range(first, min(first + CHUNK, stop)):
            show(source, shuffle, epoch, position, listing, offset + position - start)
