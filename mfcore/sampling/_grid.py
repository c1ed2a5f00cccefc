"""The blocked order: a grid of users x items whose strata can be trained in parallel without a race.

Source: DSGD, Gemulla, Nijkamp, Haas & Sismanis, "Large-scale matrix factorization with distributed
stochastic gradient descent", KDD 2011.

Users and items are permuted and cut into `n_blocks` blocks each. Cell (b, c) holds the instances whose
user lies in user block b and whose item lies in item block c. Stratum s is the set of cells
(b, (b + s) mod n_blocks), b = 0, 1, ...: no two of them share a user or an item, so an engine may train
them at the same time, on any number of threads, and gets the bits of training them one after another.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfcore.sampling import philox
from mfcore.sampling.philox import Purpose, Words
from mfcore.sampling.shuffle import KeyedShuffle

INSTANCES_PER_CELL = 65_536
WORTH_CUTTING = 16_384
MINIMUM_BLOCKS, MAXIMUM_BLOCKS = 4, 32


def choose_n_blocks(n_instances: int, n_users: int, n_items: int) -> int:
    """Return the number of blocks a side: a function of the data's size alone.

    About 65,536 instances a cell keep the rows of a cell in a core's cache and give each thread enough to
    do between two barriers; data below 16,384 instances are not cut.
    """
    if n_instances < WORTH_CUTTING:
        return 1
    wanted = int(np.clip(np.sqrt(n_instances / INSTANCES_PER_CELL), MINIMUM_BLOCKS, MAXIMUM_BLOCKS))
    return max(1, min(wanted, n_users, n_items))


@dataclass(frozen=True)
class Grid:
    """Which block each user and each item belongs to.

    Attributes
    ----------
    n_blocks : int
    user_block : int32 array [n_users]
    item_block : int32 array [n_items]
    """

    n_blocks: int
    user_block: NDArray[np.int32]
    item_block: NDArray[np.int32]

    @classmethod
    def make(cls, n_users: int, n_items: int, n_blocks: int, seed: int) -> "Grid":
        """Return the grid of a seed; it is the same in every epoch."""
        return cls(
            n_blocks,
            _blocks(n_users, n_blocks, seed, Purpose.USER_GRID),
            _blocks(n_items, n_blocks, seed, Purpose.ITEM_GRID),
        )

    def cells(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the number of each instance's cell, user block * n_blocks + item block."""
        cells: NDArray[np.int32] = self.user_block[users] * np.int32(self.n_blocks) + self.item_block[items]
        return cells

    def strata(self, seed: int, epoch: int) -> Words:
        """Return the order in which an epoch visits the strata: a permutation of [0, n_blocks)."""
        order = KeyedShuffle.make(self.n_blocks, seed, epoch, Purpose.STRATUM_ORDER)
        return order(np.arange(self.n_blocks, dtype=np.int64))

    def rotations(self, sizes: Words, seed: int, epoch: int) -> Words:
        """Return where an epoch starts within each cell, in [0, size of the cell).

        Instances of a cell keep their shuffled order from epoch to epoch and are rotated: that reads
        memory in sequence, and shuffling once converges like reshuffling (Mishchenko, Khaled & Richtárik,
        "Random reshuffling: simple analysis with vast improvements", NeurIPS 2020).
        """
        word = philox.words(seed, Purpose.CELL_ROTATION, epoch, np.arange(len(sizes), dtype=np.int64))
        return philox.bounded(word[0], word[1], np.maximum(sizes, 1))

    def visit_order(self, starts: Words, seed: int, epoch: int) -> Words:
        """Return the positions, in the list sorted by cell, that an epoch visits one after another.

        Parameters
        ----------
        starts : int64 array [n_blocks^2 + 1]
            Where each cell begins in that list.
        """
        sizes = np.diff(starts)
        rotations = self.rotations(sizes, seed, epoch)
        pieces = []
        for stratum in self.strata(seed, epoch):
            for block in range(self.n_blocks):
                cell = block * self.n_blocks + (block + int(stratum)) % self.n_blocks
                rotated = (np.arange(sizes[cell]) + rotations[cell]) % max(sizes[cell], 1)
                pieces.append(starts[cell] + rotated)
        return np.concatenate(pieces)


def _blocks(n: int, n_blocks: int, seed: int, purpose: Purpose) -> NDArray[np.int32]:
    positions = KeyedShuffle.make(n, seed, 0, purpose)(np.arange(n, dtype=np.int64))
    return (positions * n_blocks // n).astype(np.int32)
