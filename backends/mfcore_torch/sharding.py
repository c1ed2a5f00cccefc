"""Tables cut over the ranks by rows: for those too large for one device.

A look-up gives the same rows to every rank; each rank writes those that it holds. A whole
table lies on the host alone, where it comes from and where it goes back to.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from mfcore_torch.ranks import Ranks

# Bytes of a table that a device holds at a time, of all ranks' rows, on their way to the host.
GATHERED_AT_ONCE = 1 << 28


@dataclass(frozen=True)
class Cut:
    """How a table is cut: every rank holds as many rows as the next, but for the last ones.

    Attributes
    ----------
    n_rows : int
        Of the whole table.
    ranks : Ranks
    """

    n_rows: int
    ranks: Ranks

    @property
    def each(self) -> int:
        """How many rows a rank holds; the last ones hold what is left."""
        return -(-self.n_rows // self.ranks.n)

    @property
    def own(self) -> slice:
        """The rows that this rank holds."""
        first = min(self.each * self.ranks.number, self.n_rows)
        return slice(first, min(first + self.each, self.n_rows))

    def part(self, table: Tensor, device: torch.device) -> Tensor:
        """Return this rank's rows, [m, ...], of a table that every rank has on its host, [n_rows, ...]."""
        # A copy on a CPU, too: a view would keep all rows in memory.
        return table[self.own].to(device, copy=True)

    def held_of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return which of some rows, [n], this rank holds, [n_own], and where these stand in its part."""
        own = torch.nonzero((rows >= self.own.start) & (rows < self.own.stop))[:, 0]
        return own, rows[own] - self.own.start

    def read(self, held: Tensor, rows: Tensor) -> Tensor:
        """Return rows of the table, [n, ...], on every rank, given the part that each holds, [m, ...]."""
        own, positions = self.held_of(rows)
        found = held.new_zeros(len(rows), *held.shape[1:])
        found.index_copy_(0, own, held[positions])
        distributed.all_reduce(found)
        return found

    def write(self, held: Tensor, rows: Tensor, numbers: Tensor) -> None:
        """Put rows back, [n, ...], which are the same on every rank: each keeps its own."""
        own, positions = self.held_of(rows)
        held.index_copy_(0, positions, numbers[own])

    def gathered(self, held: Tensor) -> Tensor:
        """Return all rows, [n_rows, ...], on every rank's host."""
        found = torch.empty(self.ranks.n, self.each, *held.shape[1:], dtype=held.dtype, device="cpu")
        of_a_row = held[:1].numel() * held.element_size()
        n_together = max(1, GATHERED_AT_ONCE // max(1, self.ranks.n * of_a_row))
        for first in range(0, self.each, n_together):
            n = min(n_together, self.each - first)
            # Every rank gives as many rows: those that the last ones lack come to lie after the table.
            own = held.new_zeros(n, *held.shape[1:])
            part = held[first : first + n]
            own[: len(part)] = part
            together = held.new_empty(self.ranks.n, *own.shape)
            distributed.all_gather(list(together.unbind()), own)
            found[:, first : first + n] = together.cpu()
        return found.flatten(0, 1)[: self.n_rows]
