"""Tables cut over the ranks by rows, as PyTorch's distributed tensors: for those too large for one device.

A look-up gives the same rows to every rank; each rank writes those that it holds.
"""

from typing import cast

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.nn import functional

from mfcore_torch.ranks import Ranks


def cut(table: Tensor, device: torch.device, ranks: Ranks) -> DTensor:
    """Return a table [n_rows, ...], the same on every rank, cut by rows; each row is flat in it."""
    mesh = init_device_mesh(device.type, (ranks.n,))
    return distribute_tensor(table.reshape(len(table), -1), mesh, [Shard(0)])


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
    # As `Shard` cuts: all ranks hold as many rows, but for the last ones, which hold what is left.
    each = -(-len(table) // table.device_mesh.size())
    return held, min(each * table.device_mesh.get_local_rank(), len(table))


def whole(table: Tensor) -> Tensor:
    """Return all rows of a cut table on every rank."""
    assert isinstance(table, DTensor)
    return table.full_tensor()
