"""Which rows a batch touches, and where: so that the gradients of a row are added up before it is moved."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Touched(NamedTuple):
    """The rows of one side that a batch of n pairs touches, at most m; int64.

    Attributes
    ----------
    rows : Tensor [m], or None
        The rows, each once, then the row of nobody for the rest; None for all rows of the side.
    places : Tensor [n]
        Where in `rows` the row of each pair is.
    order : Tensor [n]
        The pairs, sorted by row, those of one row in the batch's order.
    offsets : Tensor [m]
        Where in `order` the pairs of each of the rows begin.
    """

    rows: Tensor | None
    places: Tensor
    order: Tensor
    offsets: Tensor

    def add_up(self, gradients: Tensor) -> Tensor:
        """Return the sum over the pairs of each row, [m, width], of gradients [n, width]."""
        return functional.embedding_bag(self.order, gradients, self.offsets, mode="sum")


def touch_some(rows: Tensor, n_rows: int) -> list[Touched]:
    """Return what each of several batches, int64 [n_batches, n], touches."""
    n_batches, n = rows.shape
    most = min(n, n_rows)
    found, order = torch.sort(rows, dim=1, stable=True)
    is_first = torch.ones_like(found, dtype=torch.bool)
    is_first[:, 1:] = found[:, 1:] != found[:, :-1]
    numbers = is_first.cumsum(dim=1) - 1
    # What is no first place of its row is written beside the table.
    targets = torch.where(is_first, numbers, most)
    positions = torch.arange(n, device=rows.device).expand(n_batches, n)
    offsets = torch.full((n_batches, most + 1), n, device=rows.device).scatter_(1, targets, positions)
    once = torch.full((n_batches, most + 1), n_rows, device=rows.device).scatter_(1, targets, found)
    places = torch.empty_like(rows).scatter_(1, order, numbers)
    parts = (once[:, :most].contiguous(), places, order, offsets[:, :most].contiguous())
    return [Touched(*batch) for batch in zip(*(part.unbind() for part in parts), strict=True)]


def touch_all(rows: Tensor, n_rows: int) -> list[Touched]:
    """Return the same with all rows of the side, touched or not, and the row of nobody."""
    found, order = torch.sort(rows, dim=1, stable=True)
    every = torch.arange(n_rows + 1, device=rows.device).expand(len(rows), n_rows + 1).contiguous()
    offsets = torch.searchsorted(found, every)
    parts = (rows, order, offsets)
    return [Touched(None, *batch) for batch in zip(*(part.unbind() for part in parts), strict=True)]
