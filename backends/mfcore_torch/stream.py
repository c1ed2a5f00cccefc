"""The sample stream of `mfcore.sampling`, worked out on the device: the same instances, bit for bit.

The arithmetic is that of the core: 32-bit words in int64, whose products wrap modulo 2^64 here as there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from mfcore.engines import TrainingJob
from mfcore.sampling import (
    KEY_INCREMENTS,
    MASK,
    MULTIPLIER,
    MULTIPLIERS,
    Grid,
    KeyedShuffle,
    Purpose,
    SamplingPlan,
    choose_n_blocks,
    philox,
    split_seed,
)

# The shuffle's multiplier as an int64 of the same bits.
SIGNED_MULTIPLIER = MULTIPLIER - (1 << 64)
# Compiled passes of the shuffle go over all values, so often at most, until no more than this part of them is
# still outside of the list: to take out those that are takes longer than a pass.
MOST_PASSES, FEW_OUTSIDE = 5, 1 / 32

Compile: TypeAlias = Callable[[Any], Any]


class Instances(NamedTuple):
    """Instances in the order in which they are shown; int64 but for `positive`.

    Attributes
    ----------
    users, items : Tensors [n]
        Rows.
    interactions : Tensor [n]
        The interaction that each instance belongs to.
    positive : bool Tensor [n]
    negatives : Tensor [n], or None
        The item that each instance's item is compared with, in a paired epoch.
    """

    users: Tensor
    items: Tensor
    interactions: Tensor
    positive: Tensor
    negatives: Tensor | None

    def take(self, where: slice | Tensor) -> "Instances":
        """Return the instances at those positions."""
        return Instances(
            self.users[where],
            self.items[where],
            self.interactions[where],
            self.positive[where],
            None if self.negatives is None else self.negatives[where],
        )


class Data(NamedTuple):
    """The training data on the device.

    Attributes
    ----------
    users, items : int32 Tensors [n]
    first : int64 Tensor [n_users + 1]
        Where each user's seen items begin.
    room : int64 Tensor [n_users]
        How many items the user has not seen, or the weight of these by popularity.
    room_before : int64 Tensor [n_seen]
        Of each seen item: the user's room before it; ascending for each user.
    halvings : int
        After so many, a search among the seen items of any user has ended.
    starts : int64 Tensor [n_items + 1], or None
        With popularity: where each item's span begins on the line of weights.
    ends : int64 Tensor [n_seen], or None
        With popularity: of each seen item, what its span's end is ahead of the room before it.
    """

    users: Tensor
    items: Tensor
    first: Tensor
    room: Tensor
    room_before: Tensor
    halvings: int
    starts: Tensor | None
    ends: Tensor | None


class Stream:
    """The instances of a job's epochs.

    Parameters
    ----------
    job : TrainingJob
    device : torch.device
    compiled : callable
        `torch.compile`, or what leaves a function as it is.
    """

    def __init__(self, job: TrainingJob, device: torch.device, compiled: Compile) -> None:
        self.job = job
        self.device = device
        self.data = _data(job, device)
        self._shuffled_once, self._walked_on = compiled(shuffled_once), compiled(walked_on)
        self._most_passes = 1 if self._walked_on is walked_on else MOST_PASSES
        self._listed_instances = compiled(listed_instances)
        self._grid: tuple[int, Instances, Tensor] | None = None

    def instances(self, epoch: int, start: int, stop: int) -> Instances:
        """Return the instances at the positions in [start, stop) of an epoch."""
        positions = torch.arange(start, stop, device=self.device)
        if self.job.sampling.order == "shuffled":
            return self._shuffled(epoch, positions)
        return self._visited(epoch, positions)

    def _shuffled(self, epoch: int, positions: Tensor) -> Instances:
        """Return the instances at some positions of the shuffled order."""
        key = torch.tensor([*split_seed(self.job.seed), epoch], device=self.device)
        return Instances(
            *self._listed_instances(self.data, self.job.sampling, self._numbers(positions, epoch), key)
        )

    def _numbers(self, positions: Tensor, epoch: int) -> Tensor:
        """Return which instance of the epoch's list stands at each position."""
        shuffle = KeyedShuffle.make(self.job.n_instances, self.job.seed, epoch)
        walk = Walk.of(shuffle, self.device)
        values: Tensor = self._shuffled_once(positions, walk)
        outside_of_all = 1 - shuffle.n / (1 << (shuffle.left_bits + shuffle.right_bits))
        for n_passes in range(1, self._most_passes):
            if outside_of_all**n_passes > FEW_OUTSIDE:
                values = self._walked_on(values, walk)
        outside = torch.nonzero(values >= walk.n)[:, 0]
        while len(outside):
            further = shuffled_once(values[outside], walk)
            values[outside] = further
            outside = outside[further >= walk.n]
        return values

    def groups_apart(self, epoch: int) -> Tensor:
        """Return an epoch of the blocked order as groups of instances that share no user and no item.

        A group has one instance of each cell of a stratum, so all of its instances can be trained at once,
        with the result of training them one after another. Positions in the list sorted by cell, int64
        [n_groups, n_blocks]; -1 where a cell has fewer instances than others.
        """
        _, starts = self._listed(epoch)
        return positions_apart(starts, self.job.seed, epoch)

    def take_apart(self, epoch: int, groups: Tensor) -> tuple[Instances, Tensor]:
        """Return the instances of some groups, one group after the other, and which of them are real.

        Those that are not have padding rows: n_users and n_items.
        """
        instances, _ = self._listed(epoch)
        positions = groups.flatten()
        is_real = positions >= 0
        found = instances.take(positions.clamp(min=0))
        users = torch.where(is_real, found.users, self.job.data.n_users)
        items = torch.where(is_real, found.items, self.job.data.n_items)
        return found._replace(users=users, items=items), is_real

    def _visited(self, epoch: int, positions: Tensor) -> Instances:
        """Return the instances at some positions of the blocked order."""
        instances, starts = self._listed(epoch)
        return instances.take(visits(starts, self.job.seed, epoch).positions[positions])

    def _listed(self, epoch: int) -> tuple[Instances, Tensor]:
        """Return the instances of an epoch sorted by cell, and where each cell begins."""
        listing = self.job.sampling.bucketing_epoch(epoch)
        if self._grid is None or self._grid[0] != listing:
            self._grid = (listing, *self._cells(listing))
        return self._grid[1:]

    def _cells(self, epoch: int) -> tuple[Instances, Tensor]:
        """Return an epoch's instances sorted by cell, and where each cell begins."""
        job = self.job
        listed = self._shuffled(epoch, torch.arange(job.n_instances, device=self.device))
        n_users, n_items = job.data.n_users, job.data.n_items
        grid = Grid.make(n_users, n_items, choose_n_blocks(job.n_instances, n_users, n_items), job.seed)
        of_users, of_items = (
            torch.from_numpy(blocks.astype(np.int64)).to(self.device)
            for blocks in (grid.user_block, grid.item_block)
        )
        cells = of_users[listed.users] * grid.n_blocks + of_items[listed.items]
        by_cell = torch.argsort(cells, stable=True)
        sizes = torch.bincount(cells, minlength=grid.n_blocks**2)
        starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        return listed.take(by_cell), starts


class Visits(NamedTuple):
    """The order in which an epoch visits the instances of a list that is sorted by cell; int64 [n].

    Attributes
    ----------
    positions : Tensor
        Where in the list each visited instance stands; see `Grid.visit_order`.
    cells : Tensor
        Which of the visited cells it is of: stratum by stratum, n_blocks cells each.
    turns : Tensor
        How many of its cell's instances are visited before it.
    """

    positions: Tensor
    cells: Tensor
    turns: Tensor


def visits(starts: Tensor, seed: int, epoch: int) -> Visits:
    """Return the visits of an epoch, given where each cell begins in the list, [n_blocks^2 + 1]."""
    sizes = starts.diff()
    n_blocks = round(len(sizes) ** 0.5)
    # A grid of which only the number of blocks is asked.
    grid = Grid(n_blocks, np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32))
    strata, blocks = grid.strata(seed, epoch)[:, None], np.arange(n_blocks)
    visited = torch.from_numpy((blocks * n_blocks + (blocks + strata) % n_blocks).ravel()).to(starts.device)
    rotations = torch.from_numpy(grid.rotations(sizes.cpu().numpy(), seed, epoch)).to(starts.device)
    n = sizes[visited]
    cells = torch.repeat_interleave(torch.arange(len(visited), device=starts.device), n)
    turns = torch.arange(len(cells), device=starts.device) - (n.cumsum(0) - n)[cells]
    own = visited[cells]
    return Visits(starts[own] + (turns + rotations[own]) % sizes[own], cells, turns)


def positions_apart(starts: Tensor, seed: int, epoch: int) -> Tensor:
    """Return the visited positions as groups [n_groups, n_blocks], each of one stratum; -1 for none."""
    found = visits(starts, seed, epoch)
    n_cells = len(starts) - 1
    n_blocks = round(n_cells**0.5)
    longest = torch.bincount(found.cells, minlength=n_cells).view(n_blocks, n_blocks).max(dim=1).values
    first = longest.cumsum(0) - longest
    groups = starts.new_full((int(longest.sum()), n_blocks), -1)
    groups[first[found.cells // n_blocks] + found.turns, found.cells % n_blocks] = found.positions
    return groups


class Walk(NamedTuple):
    """A keyed shuffle of [0, n) as the walk along the cycles of a bijection that it is.

    Attributes
    ----------
    n : int64 Tensor []
    keys : int64 Tensor [n_rounds]
    left_bits, right_bits : int
        The bijection is one on [0, 2^(left_bits + right_bits)).
    """

    n: Tensor
    keys: Tensor
    left_bits: int
    right_bits: int

    @classmethod
    def of(cls, shuffle: KeyedShuffle, device: torch.device) -> "Walk":
        """Return the walk of a shuffle."""
        n, keys = torch.tensor(shuffle.n, device=device), torch.tensor(shuffle.keys, device=device)
        return cls(n, keys, shuffle.left_bits, shuffle.right_bits)


def walked_on(values: Tensor, walk: Walk) -> Tensor:
    """Return the values after one pass of those that are not below n yet."""
    return torch.where(values < walk.n, values, shuffled_once(values, walk))


def shuffled_once(values: Tensor, walk: Walk) -> Tensor:
    """Return the values after one pass of the bijection."""
    left_bits, right_bits = walk.left_bits, walk.right_bits
    left_mask, right_mask = (1 << left_bits) - 1, (1 << right_bits) - 1
    widening = right_bits - left_bits
    left, right = values >> right_bits, values & right_mask
    for key in walk.keys.unbind():
        product = left * SIGNED_MULTIPLIER
        high, low = (product >> 32) & MASK, product & MASK
        left, right = (
            (high ^ key ^ right) & left_mask,
            ((low << widening) | (right >> left_bits)) & right_mask,
        )
    return (left << right_bits) | right


def listed_instances(
    data: Data, plan: SamplingPlan, numbers: Tensor, key: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Return the fields of the `Instances` with some numbers in an epoch's list.

    `key` holds the words of the seed, and the epoch.
    """
    interactions = numbers // plan.per_interaction
    slots = numbers - interactions * plan.per_interaction
    users, items = data.users[interactions].long(), data.items[interactions].long()
    if not plan.n_negatives:
        return users, items, interactions, torch.ones_like(slots, dtype=torch.bool), None
    slots = slots + int(plan.paired)
    draw = uniform_negatives if data.starts is None else popular_negatives
    drawn = draw(data, users, interactions * (1 + plan.n_negatives) + slots, key)
    if plan.paired:
        return users, items, interactions, slots > 0, drawn
    positive = slots == 0
    return users, torch.where(positive, items, drawn), interactions, positive, None


def uniform_negatives(data: Data, users: Tensor, numbers: Tensor, key: Tensor) -> Tensor:
    """Return the negative of each instance, drawn uniformly."""
    ranks = drawn_below(data.room[users], numbers, key)
    return ranks + _n_before(data, users, ranks)


def popular_negatives(data: Data, users: Tensor, numbers: Tensor, key: Tensor) -> Tensor:
    """Return the negative of each instance, drawn by popularity."""
    assert data.starts is not None
    assert data.ends is not None
    points = drawn_below(data.room[users], numbers, key)
    n_before = _n_before(data, users, points)
    last = (data.first[users] + n_before - 1).clamp(min=0)
    passed = torch.where(n_before > 0, data.ends[last], 0)
    return torch.searchsorted(data.starts, points + passed, right=True) - 1


def drawn_below(bounds: Tensor, numbers: Tensor, key: Tensor) -> Tensor:
    """Return an integer in [0, bound) for each instance, as `mfcore.sampling.philox.bounded` does."""
    high, low = philox_words(numbers, key)
    return (high * bounds + ((low * bounds) >> 32)) >> 32


def philox_words(positions: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first two words of each position of the stream of negatives."""
    k0, k1, epoch = key.unbind()
    c0, c1 = positions & MASK, positions >> 32
    c2, c3 = epoch.expand(positions.shape), torch.full_like(positions, int(Purpose.NEGATIVE))
    for _ in range(philox.ROUNDS):
        product0, product1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((product1 >> 32) & MASK) ^ c1 ^ k0,
            product1 & MASK,
            ((product0 >> 32) & MASK) ^ c3 ^ k1,
            product0 & MASK,
        )
        k0, k1 = (k0 + KEY_INCREMENTS[0]) & MASK, (k1 + KEY_INCREMENTS[1]) & MASK
    return c0, c1


def _n_before(data: Data, users: Tensor, points: Tensor) -> Tensor:
    """Return how many of the user's seen items lie before each point among the unseen ones."""
    first, stop = data.first[users], data.first[users + 1]
    found = first
    for power in reversed(range(data.halvings)):
        tried = found + (1 << power)
        is_before = data.room_before[(tried - 1).clamp(max=len(data.room_before) - 1)] <= points
        found = torch.where((tried <= stop) & is_before, tried, found)
    return found - first


def _data(job: TrainingJob, device: torch.device) -> Data:
    seen, table = job.data.seen, job.popularity
    n_seen = len(seen.indices)
    users_of_seen = np.repeat(np.arange(job.data.n_users), seen.counts)
    if table is None:
        before = seen.indices - (np.arange(n_seen) - seen.indptr[users_of_seen])
        room, starts, ends = job.data.n_items - seen.counts, None, None
    else:
        before, room, starts = table.unseen_before, table.unseen_weight, table.starts
        ends = table.starts[seen.indices + 1] - before

    def moved(array: Any, dtype: type[np.integer] = np.int64) -> Tensor:
        return torch.from_numpy(np.array(array, dtype=dtype)).to(device)

    return Data(
        users=moved(job.data.users, np.int32),
        items=moved(job.data.items, np.int32),
        first=moved(seen.indptr),
        room=moved(room),
        room_before=moved(before),
        halvings=int(seen.counts.max()).bit_length(),
        starts=None if starts is None else moved(starts),
        ends=None if ends is None else moved(ends),
    )
