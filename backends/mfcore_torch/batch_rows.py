"""Which rows a batch touches, and where: so that the gradients of a row are added up before it is moved."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# What `all_rows` takes for each row of each batch: its offset, and its number to search by.
BYTES_OF_A_ROW = 16


class BatchRows(NamedTuple):
    """The rows of one side that a batch of n pairs touches, at most m; int64.

    Attributes
    ----------
    rows : Tensor [m], or None
        The rows, each once, then the padding row for the rest; None for all rows of the side.
    positions : Tensor [n]
        Where in `rows` the row of each pair is.
    order : Tensor [n]
        The pairs, sorted by row, those of one row in the batch's order.
    offsets : Tensor [m]
        Where in `order` the pairs of each of the rows begin.
    """

    rows: Tensor | None
    positions: Tensor
    order: Tensor
    offsets: Tensor

    def add_up(self, gradients: Tensor) -> Tensor:
        """Return the sum over the pairs of each row, [m, width], of gradients [n, width]."""
        return functional.embedding_bag(self.order, gradients, self.offsets, mode="sum")


def touched_rows(rows: Tensor, n_rows: int) -> list[BatchRows]:
    """Return the rows that each of several batches touches, given its pairs' rows, int64 [n_batches, n]."""
    n_batches, n = rows.shape
    most = min(n, n_rows)
    ascending, order = _sorted(rows, n_rows)
    is_first = torch.ones_like(ascending, dtype=torch.bool)
    is_first[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    numbers = is_first.cumsum(dim=1) - 1
    # What is not the first of its row is written beside the table.
    targets = torch.where(is_first, numbers, most)
    every = torch.arange(n, device=rows.device).expand(n_batches, n)
    offsets = torch.full((n_batches, most + 1), n, device=rows.device).scatter_(1, targets, every)
    once = torch.full((n_batches, most + 1), n_rows, device=rows.device).scatter_(1, targets, ascending)
    positions = torch.empty_like(rows).scatter_(1, order, numbers)
    parts = (once[:, :most].contiguous(), positions, order, offsets[:, :most].contiguous())
    return [BatchRows(*batch) for batch in zip(*(part.unbind() for part in parts), strict=True)]


def all_rows(rows: Tensor, n_rows: int) -> list[BatchRows]:
    """Return the same with all rows of the side, touched or not, and the padding row."""
    ascending, order = _sorted(rows, n_rows)
    every = torch.arange(n_rows + 1, device=rows.device).expand(len(rows), n_rows + 1).contiguous()
    parts = (rows, order, torch.searchsorted(ascending, every))
    return [BatchRows(None, *batch) for batch in zip(*(part.unbind() for part in parts), strict=True)]


def _sorted(rows: Tensor, n_rows: int) -> tuple[Tensor, Tensor]:
    """Return the rows of each batch in ascending order, and their positions; equal ones as they came."""
    n = rows.shape[1]
    n_bits = max(1, (n - 1).bit_length())
    # The position is the lower part of the key: nothing but keys is moved about.
    keys = (rows << n_bits) | torch.arange(n, device=rows.device)
    if rows.device.type == "cpu":
        # numpy sorts keys about ten times as fast as PyTorch does on a CPU, the more so short ones.
        short = np.int32 if (n_rows + 1) << n_bits < 1 << 31 else np.int64
        keys = torch.from_numpy(np.sort(keys.numpy().astype(short), axis=1)).long()
    else:
        keys = keys.sort(dim=1).values
    return keys >> n_bits, keys & ((1 << n_bits) - 1)
