"""One side's interactions, row by row, in groups of rows that are worked on at once.

A group's rows have about as many interactions each, and are padded to the same number; a row's interactions
are cut into segments, so that one row with very many is shared out as evenly as many rows with few.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Bytes that a group may take while it is worked on: a few times what a core's own caches hold; on a GPU so
# much that its work outlasts the launching of kernels, but no more than this share of the memory.
AT_ONCE = {"cpu": 4 << 20, "cuda": 2 << 30}
SHARE_AT_ONCE = 1 / 16
# Matrices of a batched product: kernels of CUDA libraries fail, some of them, above 65,535.
MATRICES_AT_ONCE = 1 << 15
# Interactions of a row that are summed up at a time.
SEGMENT = 1024
# Padding is worth no more than this many interactions a row, or this share of them.
PADDING, PADDING_SHARE = 4, 1 / 8


def at_once(device: torch.device) -> int:
    """Return how many bytes a group may take on a device."""
    limit = AT_ONCE[device.type]
    if device.type == "cuda":
        limit = min(limit, int(torch.cuda.get_device_properties(device).total_memory * SHARE_AT_ONCE))
    return limit


class Sizes(NamedTuple):
    """Bytes that work on a group takes: for each row, for each of its segments, for each interaction.

    Attributes
    ----------
    row, segment, interaction : int
    at_once : int
        What a group may take, where it has more than a row's segment.
    """

    row: int
    segment: int
    interaction: int
    at_once: int

    def of(self, n_segments: int, length: int) -> int:
        """Return the bytes of a row with so many segments, each of so many interactions."""
        return self.row + n_segments * self.of_segment(length)

    def of_segment(self, length: int) -> int:
        """Return the bytes of a segment of so many interactions."""
        return self.segment + length * self.interaction


class Part(NamedTuple):
    """Interactions of a group's rows, each [rows, segments, length]; what pads a row has a = b = 0.

    Attributes
    ----------
    others : int32 tensor
        Rows of the other side.
    a, b : tensors in the job's dtype
        See `mfcore.WALS.terms`.
    """

    others: Tensor
    a: Tensor
    b: Tensor


class Group(NamedTuple):
    """Rows, int64 [n], and their interactions: in one part, but for a row that has too many for that."""

    rows: Tensor
    parts: list[Part]


def grouped(
    owners: Tensor, others: Tensor, a: Tensor, b: Tensor, counts: NDArray[np.int64], sizes: Sizes
) -> list[Group]:
    """Return groups of all rows of a side, those with the most interactions first.

    Parameters
    ----------
    owners, others : int32 tensors [n]
        The row of each interaction on this side, and on the other.
    a, b : tensors [n]
        Its terms.
    counts : int64 array [n_rows]
        The number of interactions of each row.
    sizes : Sizes
    """
    order = torch.sort(owners, stable=True).indices
    interactions = Part(others[order], a[order], b[order])
    ranked = np.argsort(-counts, kind="stable")
    starts = np.cumsum(counts) - counts
    rows, begins, lengths = (
        torch.tensor(array, device=owners.device) for array in (ranked, starts[ranked], counts[ranked])
    )
    return [
        Group(
            rows[first:stop],
            _parts(interactions, begins[first:stop], lengths[first:stop], int(counts[ranked[first]]), sizes),
        )
        for first, stop in _cuts(counts[ranked], sizes)
    ]


def _cuts(counts: NDArray[np.int64], sizes: Sizes) -> Iterator[tuple[int, int]]:
    """Yield the first row of each group and the one after its last; counts descend."""
    first, ascending = 0, -counts
    while first < len(counts):
        longest = int(counts[first])
        shortest = longest - max(PADDING, int(longest * PADDING_SHARE))
        alike = int(np.searchsorted(ascending, -shortest, side="right"))
        n_segments, length = _segments(longest)
        n_rows = min(sizes.at_once // sizes.of(n_segments, length), MATRICES_AT_ONCE // n_segments)
        stop = min(alike, first + max(1, n_rows))
        yield first, stop
        first = stop


def _segments(count: int) -> tuple[int, int]:
    """Return into how many segments so many interactions are cut, and the length of each."""
    n_segments = max(1, -(-count // SEGMENT))
    return n_segments, -(-count // n_segments)


def _parts(interactions: Part, begins: Tensor, counts: Tensor, longest: int, sizes: Sizes) -> list[Part]:
    """Return the interactions of rows that begin at, and count, so many."""
    n_segments, length = _segments(longest)
    offsets = torch.arange(n_segments * length, device=begins.device)
    inside = offsets < counts[:, None]
    places = torch.where(inside, begins[:, None] + offsets, 0)
    shape = (len(begins), n_segments, length)
    tables = Part(
        interactions.others[places].view(shape),
        (interactions.a[places] * inside).view(shape),
        (interactions.b[places] * inside).view(shape),
    )
    if len(begins) > 1:
        return [tables]
    n_at_once = min((sizes.at_once - sizes.row) // sizes.of_segment(length), MATRICES_AT_ONCE)
    pieces = (torch.split(table, max(1, n_at_once), dim=1) for table in tables)
    return [Part(*part) for part in zip(*pieces, strict=True)]
