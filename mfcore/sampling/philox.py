"""Philox4x32-10, the counter-based generator that every random number of mfcore comes from.

Source: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Random123).

A word is a pure function of (seed, purpose, epoch, position): no state travels between threads,
devices or engines. Words are held in int64 with a 32-bit mask, because that arithmetic is the same in
numpy, Numba, PyTorch and TensorFlow; the products wrap modulo 2^64, which leaves both halves right.
"""

from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

Words: TypeAlias = NDArray[np.int64]


class Purpose(IntEnum):
    """What a word is drawn for; it separates the streams that share a seed.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.sampling import Purpose, words
    >>> position = np.array([0])
    >>> words(0, Purpose.SHUFFLE, 0, position)[0] == words(0, Purpose.NEGATIVE, 0, position)[0]
    array([False])
    """

    INITIAL_VALUES = 0
    SHUFFLE = 1
    NEGATIVE = 2
    USER_GRID = 3
    ITEM_GRID = 4
    STRATUM_ORDER = 5
    CELL_ROTATION = 6
    EVALUATION = 1 << 31


def split_seed(seed: int) -> tuple[int, int]:
    """Return the low and the high 32-bit word of a seed.

    Parameters
    ----------
    seed : int in [0, 2^64)

    Returns
    -------
    low, high : int

    Examples
    --------
    >>> from mfcore.sampling import split_seed
    >>> split_seed(2**32 + 7)
    (7, 1)
    """
    return seed & MASK, (seed >> 32) & MASK


def philox4x32(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, ...]:
    """Return the four 32-bit words of each counter.

    Parameters
    ----------
    counter : four int64 arrays of one shape
        The counter's words, each in [0, 2^32).
    key : two integers in [0, 2^32)

    Returns
    -------
    four int64 arrays of that shape
        Each word in [0, 2^32).

    Examples
    --------
    The first of the known answers of Random123:

    >>> import numpy as np
    >>> from mfcore.sampling import philox4x32
    >>> zero = np.zeros(1, dtype=np.int64)
    >>> [f"{int(word[0]):08x}" for word in philox4x32((zero, zero, zero, zero), (0, 0))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        product0 = c0 * np.int64(MULTIPLIERS[0])
        product1 = c2 * np.int64(MULTIPLIERS[1])
        c0, c1, c2, c3 = (
            ((product1 >> 32) & MASK) ^ c1 ^ k0,
            product1 & MASK,
            ((product0 >> 32) & MASK) ^ c3 ^ k1,
            product0 & MASK,
        )
        k0 = (k0 + KEY_INCREMENTS[0]) & MASK
        k1 = (k1 + KEY_INCREMENTS[1]) & MASK
    return c0, c1, c2, c3


def words(seed: int, purpose: int, epoch: int, positions: Words) -> tuple[Words, ...]:
    """Return four 32-bit words for each position.

    The counter is (position's low word, position's high word, epoch, purpose); the key is the seed.

    Parameters
    ----------
    seed : int in [0, 2^64)
    purpose, epoch : int in [0, 2^32)
    positions : int64 array
        Not negative.

    Returns
    -------
    four int64 arrays of that shape
        Each word in [0, 2^32).

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.sampling import Purpose, words
    >>> several = words(3, Purpose.NEGATIVE, 0, np.arange(5))
    >>> one = words(3, Purpose.NEGATIVE, 0, np.array([4]))
    >>> bool(several[0][4] == one[0][0])  # no state: a position has its word, whatever came before
    True
    """
    positions = np.asarray(positions, dtype=np.int64)
    constant = np.zeros_like(positions)
    counter = (positions & MASK, positions >> 32, constant + epoch, constant + int(purpose))
    return philox4x32(counter, split_seed(seed))


def bounded(high: Words, low: Words, bound: Words | int) -> Words:
    """Map 64 random bits to an integer in [0, bound): floor(bits * bound / 2^64).

    The probability of each value is within bound / 2^64 of uniform; nothing is rejected, so a position always
    costs the same.

    Parameters
    ----------
    high, low : int64 arrays
        32-bit words.
    bound : int or int64 array in [1, 2^31)

    Returns
    -------
    int64 array

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.sampling import bounded
    >>> bounded(np.array([0, 2**31, 2**32 - 1]), np.array([0, 0, 0]), 10).tolist()
    [0, 5, 9]
    """
    result: Words = (high * bound + ((low * bound) >> 32)) >> 32
    return result


def uniforms(word: Words) -> NDArray[np.float64]:
    """Map 32-bit words to float64 in the open interval (0, 1): (word + 1/2) / 2^32.

    Parameters
    ----------
    word : int64 array
        32-bit words.

    Returns
    -------
    float64 array

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.sampling import philox
    >>> philox.uniforms(np.array([2**31])).round(6).tolist()
    [0.5]
    """
    return (word.astype(np.float64) + 0.5) * 2.0**-32
