"""Stable counting sort: the order of many things that have few keys."""

import numba
import numpy as np
from numpy.typing import NDArray

from mfcore_numba.compiling import compiled

MAXIMUM_CHUNKS = 64
COUNTS_PER_CHUNK = 4


def counting_sort(keys: NDArray[np.int32], n_keys: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the stable order of keys in [0, n_keys), and where each key begins in it.

    Returns
    -------
    order : int64 array [n]
        ``keys[order]`` is sorted; equal keys keep their order.
    starts : int64 array [n_keys + 1]
    """
    n_chunks = int(np.clip(len(keys) // (COUNTS_PER_CHUNK * n_keys), 1, MAXIMUM_CHUNKS))
    counts = np.zeros((n_chunks, n_keys), dtype=np.int64)
    _count(keys, counts)
    starts = np.zeros(n_keys + 1, dtype=np.int64)
    np.cumsum(counts.sum(axis=0), out=starts[1:])
    counts[1:] = np.cumsum(counts[:-1], axis=0)
    counts[0] = 0
    counts += starts[:-1]
    order = np.empty(len(keys), dtype=np.int64)
    _place(keys, counts, order)
    return order, starts


@compiled(parallel=True)
def _count(keys, counts):
    n_chunks = len(counts)
    for chunk in numba.prange(n_chunks):
        for position in range(chunk * len(keys) // n_chunks, (chunk + 1) * len(keys) // n_chunks):
            counts[chunk, keys[position]] += 1


@compiled(parallel=True)
def _place(keys, next_place, order):
    n_chunks = len(next_place)
    for chunk in numba.prange(n_chunks):
        for position in range(chunk * len(keys) // n_chunks, (chunk + 1) * len(keys) // n_chunks):
            key = keys[position]
            order[next_place[chunk, key]] = position
            next_place[chunk, key] += 1
