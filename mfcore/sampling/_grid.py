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

    Parameters
    ----------
    n_instances, n_users, n_items : int

    Returns
    -------
    int
        min(32, max(4, sqrt(n_instances / 65,536))), at most n_users and n_items; 1 for small data.

    Examples
    --------
    >>> from mfcore.sampling import choose_n_blocks
    >>> choose_n_blocks(10_000, 500, 200), choose_n_blocks(20_000_000, 138_000, 27_000)
    (1, 17)
    """
    if n_instances < WORTH_CUTTING:
        return 1
    n_blocks = int(np.clip(np.sqrt(n_instances / INSTANCES_PER_CELL), MINIMUM_BLOCKS, MAXIMUM_BLOCKS))
    return max(1, min(n_blocks, n_users, n_items))


@dataclass(frozen=True)
class Grid:
    """Which block each user and each item belongs to.

    Attributes
    ----------
    n_blocks : int
    user_block : int32 array [n_users]
    item_block : int32 array [n_items]

    Examples
    --------
    >>> from mfcore.sampling import Grid
    >>> grid = Grid.make(n_users=6, n_items=4, n_blocks=2, seed=0)
    >>> sorted(grid.user_block.tolist()), sorted(grid.item_block.tolist())
    ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1])
    """

    n_blocks: int
    user_block: NDArray[np.int32]
    item_block: NDArray[np.int32]

    @classmethod
    def make(cls, n_users: int, n_items: int, n_blocks: int, seed: int) -> "Grid":
        """Return the grid of a seed; it is the same in every epoch.

        Parameters
        ----------
        n_users, n_items, n_blocks : int
        seed : int in [0, 2^64)

        Returns
        -------
        Grid
            Its blocks differ in size by one at most.

        Examples
        --------
        >>> from mfcore.sampling import Grid
        >>> Grid.make(n_users=6, n_items=4, n_blocks=2, seed=0).n_blocks
        2
        """
        return cls(
            n_blocks,
            _blocks(n_users, n_blocks, seed, Purpose.USER_GRID),
            _blocks(n_items, n_blocks, seed, Purpose.ITEM_GRID),
        )

    def cells(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the number of each instance's cell, user block * n_blocks + item block.

        Parameters
        ----------
        users, items : integer arrays [n]
            Rows.

        Returns
        -------
        int32 array [n], in [0, n_blocks^2)

        Examples
        --------
        >>> import numpy as np
        >>> from mfcore.sampling import Grid
        >>> grid = Grid(2, user_block=np.array([0, 1, 1]), item_block=np.array([1, 0]))
        >>> grid.cells(np.array([0, 1, 2]), np.array([0, 0, 1])).tolist()
        [1, 3, 2]
        """
        cells: NDArray[np.int32] = self.user_block[users] * np.int32(self.n_blocks) + self.item_block[items]
        return cells

    def strata(self, seed: int, epoch: int) -> Words:
        """Return the order in which an epoch visits the strata.

        Parameters
        ----------
        seed : int in [0, 2^64)
        epoch : int

        Returns
        -------
        int64 array [n_blocks]
            A permutation of [0, n_blocks).

        Examples
        --------
        >>> from mfcore.sampling import Grid
        >>> grid = Grid.make(n_users=60, n_items=40, n_blocks=8, seed=0)
        >>> sorted(grid.strata(seed=0, epoch=1).tolist())
        [0, 1, 2, 3, 4, 5, 6, 7]
        """
        order = KeyedShuffle.make(self.n_blocks, seed, epoch, Purpose.STRATUM_ORDER)
        return order(np.arange(self.n_blocks, dtype=np.int64))

    def rotations(self, sizes: Words, seed: int, epoch: int) -> Words:
        """Return where an epoch starts within each cell.

        Instances of a cell keep their shuffled order from epoch to epoch and are rotated: that reads memory
        in sequence, and shuffling once converges like reshuffling (Mishchenko, Khaled & Richtárik, "Random
        reshuffling: simple analysis with vast improvements", NeurIPS 2020).

        Parameters
        ----------
        sizes : int64 array [n_blocks^2]
            Number of instances of each cell.
        seed : int in [0, 2^64)
        epoch : int

        Returns
        -------
        int64 array [n_blocks^2]
            In [0, size of the cell), 0 for an empty one.

        Examples
        --------
        >>> import numpy as np
        >>> from mfcore.sampling import Grid
        >>> grid = Grid.make(n_users=6, n_items=4, n_blocks=2, seed=0)
        >>> sizes = np.array([5, 1, 0, 9])
        >>> rotations = grid.rotations(sizes, seed=0, epoch=1)
        >>> bool(np.all((rotations >= 0) & (rotations < np.maximum(sizes, 1))))
        True
        """
        word = philox.words(seed, Purpose.CELL_ROTATION, epoch, np.arange(len(sizes), dtype=np.int64))
        return philox.bounded(word[0], word[1], np.maximum(sizes, 1))

    def visit_order(self, starts: Words, seed: int, epoch: int) -> Words:
        """Return the positions, in the list sorted by cell, that an epoch visits one after another.

        Parameters
        ----------
        starts : int64 array [n_blocks^2 + 1]
            Where each cell begins in that list, and where the list ends.
        seed : int in [0, 2^64)
        epoch : int

        Returns
        -------
        int64 array [starts[-1]]
            A permutation: stratum by stratum, the cells of a stratum by user block, each cell rotated.

        Examples
        --------
        >>> import numpy as np
        >>> from mfcore.sampling import Grid
        >>> grid = Grid.make(n_users=6, n_items=4, n_blocks=2, seed=0)
        >>> sorted(grid.visit_order(np.array([0, 2, 3, 3, 6]), seed=0, epoch=1).tolist())
        [0, 1, 2, 3, 4, 5]
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
