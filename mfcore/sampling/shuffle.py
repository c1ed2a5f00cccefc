"""A keyed bijection on [0, n): the position of each instance in an epoch, in O(1) memory.

Source: VariPhilox with cycle-walking, from Mitchell, Stokes, Frank & Holmes, "Bandwidth-Optimal Random
Shuffling for GPUs", 2021 (arXiv:2106.06161).
"""

from dataclasses import dataclass

import numpy as np

from mfcore.sampling import philox
from mfcore.sampling.philox import MASK, Words

ROUNDS = 24
MULTIPLIER = 0xD2B74407B1CE6E93
MINIMUM_BITS = 4


@dataclass(frozen=True)
class KeyedShuffle:
    """A permutation of [0, n) that is a pure function of (n, keys).

    The domain is 2^(left_bits + right_bits) >= n; a value that falls outside [0, n) is mapped again
    until it falls inside (cycle-walking), which keeps the map a bijection on [0, n).

    Attributes
    ----------
    n : int in [1, 2^62)
    left_bits, right_bits : int
        The halves of a value: its upper and its lower bits; the right half may be one bit wider.
    keys : tuple of 24 ints in [0, 2^32)

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.sampling import KeyedShuffle
    >>> shuffle = KeyedShuffle.make(1_000, seed=0, epoch=0)
    >>> values = shuffle(np.arange(1_000))
    >>> bool((np.sort(values) == np.arange(1_000)).all())
    True
    >>> bool((shuffle(np.array([7, 8])) == values[7:9]).all())
    True
    """

    n: int
    left_bits: int
    right_bits: int
    keys: tuple[int, ...]

    @classmethod
    def make(cls, n: int, seed: int, epoch: int, purpose: int = philox.Purpose.SHUFFLE) -> "KeyedShuffle":
        """Return the permutation of [0, n) that belongs to (seed, purpose, epoch).

        Parameters
        ----------
        n : int in [1, 2^62)
        seed : int in [0, 2^64)
        epoch, purpose : int in [0, 2^32)

        Returns
        -------
        KeyedShuffle

        Examples
        --------
        >>> import numpy as np
        >>> from mfcore.sampling import KeyedShuffle
        >>> sorted(KeyedShuffle.make(5, seed=0, epoch=3)(np.arange(5)).tolist())
        [0, 1, 2, 3, 4]
        """
        bits = max(int(n - 1).bit_length(), MINIMUM_BITS)
        drawn = philox.words(seed, purpose, epoch, np.arange(ROUNDS // 4, dtype=np.int64))
        keys = tuple(int(word) for word in np.stack(drawn, axis=1).ravel())
        return cls(n, bits // 2, bits - bits // 2, keys)

    def __call__(self, positions: Words) -> Words:
        """Return the value at each position.

        Parameters
        ----------
        positions : int64 array of values in [0, n)

        Returns
        -------
        int64 array of that shape
        """
        values = self._once(np.asarray(positions, dtype=np.int64))
        outside = np.flatnonzero(values >= self.n)
        while outside.size:
            values[outside] = self._once(values[outside])
            outside = outside[values[outside] >= self.n]
        return values

    def _once(self, values: Words) -> Words:
        left_mask = (1 << self.left_bits) - 1
        right_mask = (1 << self.right_bits) - 1
        widening = self.right_bits - self.left_bits
        multiplier = np.uint64(MULTIPLIER).astype(np.int64)
        left, right = values >> self.right_bits, values & right_mask
        for key in self.keys:
            product = left * multiplier
            high, low = (product >> 32) & MASK, product & MASK
            left, right = (
                (high ^ key ^ right) & left_mask,
                ((low << widening) | (right >> self.left_bits)) & right_mask,
            )
        return (left << self.right_bits) | right
