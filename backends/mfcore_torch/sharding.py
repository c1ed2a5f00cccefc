"""Tables cut over the ranks by rows, as PyTorch's distributed tensors: for those too large for one device.

A look-up gives the same rows to every rank; each rank writes those that it holds. A whole
table lies on the host alone, where it comes from and where it is given out.
"""

from typing import cast

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.nn import functional

from mfcore_torch.ranks import Ranks

# Bytes of a table that a device holds at a time, of all ranks' rows, on their way to the host.
GATHERED_AT_ONCE = 1 << 28


def cut(table: Tensor, device: torch.device, ranks: Ranks) -> DTensor:
    """Return a table on the host, [n_rows, ...], the same on every rank, cut by rows; each is flat in it."""
    mesh = init_device_mesh(device.type, (ranks.n,))
    flat = table.flatten(1)
    each = _rows_of_each(len(flat), ranks.n)
    # A copy on a CPU, too: a view would keep all rows in memory.
    own = flat[each * ranks.number : each * (ranks.number + 1)].to(device, copy=True)
    return DTensor.from_local(own, mesh, [Shard(0)], shape=flat.shape, stride=flat.stride())


def read(table: Tensor, rows: Tensor) -> Tensor:
    """Return rows of a cut table, [m, width], on every rank."""
    assert isinstance(table, DTensor)
    asked = DTensor.from_local(rows, table.device_mesh, [Replicate()])
    found = functional.embedding(asked, table)
    return cast("DTensor", found).full_tensor()


def write(table: Tensor, rows: Tensor, numbers: Tensor) -> None:
    """Put rows back, [m, width], which are the same on every rank: each keeps its own."""
    held, first = own_part(table)
    own = torch.nonzero((rows >= first) & (rows < first + len(held)))[:, 0]
    held.index_copy_(0, rows[own] - first, numbers[own])


def own_part(table: Tensor) -> tuple[Tensor, int]:
    """Return the rows of a cut table that this rank holds, and the number of the first of them."""
    assert isinstance(table, DTensor)
    held = table.to_local()
    each = _rows_of_each(len(table), table.device_mesh.size())
    return held, min(each * table.device_mesh.get_local_rank(), len(table))


def gathered(table: Tensor, columns: slice) -> Tensor:
    """Return columns of all rows of a cut table, on every rank's host."""
    assert isinstance(table, DTensor)
    n_ranks, group = table.device_mesh.size(), table.device_mesh.get_group()
    held = own_part(table)[0][:, columns]
    each, width = _rows_of_each(len(table), n_ranks), held.shape[1]
    found = torch.empty(n_ranks, each, width, dtype=held.dtype, device="cpu")
    n_together = max(1, GATHERED_AT_ONCE // max(1, n_ranks * width * held.element_size()))
    for first in range(0, each, n_together):
        n = min(n_together, each - first)
        # Every rank gives as many rows: those that the last ones lack come to lie after the table.
        own = held.new_zeros(n, width)
        part = held[first : first + n]
        own[: len(part)] = part
        together = held.new_empty(n_ranks, n, width)
        distributed.all_gather(list(together.unbind()), own, group=group)
        found[:, first : first + n] = together.cpu()
    return found.flatten(0, 1)[: len(table)]


def _rows_of_each(n_rows: int, n_ranks: int) -> int:
    """Return how many rows a rank holds, as `Shard` cuts; the last ones hold what is left."""
    return -(-n_rows // n_ranks)
