"""What training moves: rows of users and of items, packed with their slots, and the dense parameters."""

from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from mfcore.engines import STEP, PackedTables, TrainingJob
from mfcore.specs import Floats
from mfcore_torch import devices
from mfcore_torch.ranks import Ranks
from mfcore_torch.sharding import Cut


class Rows(NamedTuple):
    """The trained parameters of one side.

    Attributes
    ----------
    numbers : Tensor [n_rows + 1, 1 + n_slots, width]
        Of each row all parameters side by side, then each slot for all of them. The last one is a padding
        row, which stands in where a batch touches fewer rows than it might. Of a table that is cut over
        ranks, those rows that this rank holds.
    latest : int64 Tensor [n_rows + 1]
        The step after which each row stands as it is here, while updates are deferred.
    """

    numbers: Tensor
    latest: Tensor


class Weights(NamedTuple):
    """All that training moves, and the parameters that it leaves alone.

    Attributes
    ----------
    users, items : Rows
    dense : Tensor [1 + n_slots, n_dense]
        The parameters without a side, one after the other, then each slot for all of them.
    constants : dict of str to Tensor
    """

    users: Rows
    items: Rows
    dense: Tensor
    constants: dict[str, Tensor]


class ParameterStore:
    """A job's weights on a device, and their way there and back.

    Attributes
    ----------
    weights : Weights
    step : int
        Steps taken so far.
    ranks : Ranks or None
        Over which the rows are cut.
    """

    def __init__(self, job: TrainingJob, device: torch.device, ranks: Ranks | None = None) -> None:
        self.job = job
        self.ranks = ranks
        self.step = int(job.optimizer_state[STEP][0])
        layout, n_blocks = job.layout, 1 + len(job.layout.slots)

        def zeros(*shape: int) -> Floats:
            # PyTorch's memory begins at a cache line, as numpy's need not: every pass over it is faster.
            made: Floats = torch.zeros(shape, dtype=devices.DTYPES[job.dtype], device="cpu").numpy()
            return made

        tables = PackedTables(
            users=zeros(job.data.n_users + 1, n_blocks, layout.users.width),
            items=zeros(job.data.n_items + 1, n_blocks, layout.items.width),
            dense=zeros(n_blocks, layout.dense.width),
        )
        layout.fill(tables, job.parameters, job.optimizer_state)
        self.weights = Weights(
            users=self._rows(tables.users, device),
            items=self._rows(tables.items, device),
            dense=torch.from_numpy(tables.dense).to(device),
            constants={
                name: torch.from_numpy(array.copy()).to(device) for name, array in job.constants.items()
            },
        )

    def parameters(self) -> dict[str, Floats]:
        """Return host copies of all parameters, in the spec's order."""
        return self.job.layout.parameters(self._on_host(slice(1)), self.job.parameters)

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return host copies of the optimizer's state."""
        return self.job.layout.optimizer_state(self._on_host(slice(None)), self.step)

    @property
    def is_cut(self) -> bool:
        """Whether the rows are cut over ranks."""
        return self.ranks is not None

    def cut_of(self, rows: Rows) -> Cut:
        """Return how the rows of a side are cut, where they are."""
        assert self.ranks is not None
        return Cut(len(rows.latest), self.ranks)

    def held(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return the rows with their slots that this process holds, [n, 1 + n_slots, width], and `latest`."""
        return rows.numbers, rows.latest[self.cut_of(rows).own] if self.is_cut else rows.latest

    def _rows(self, table: Floats, device: torch.device) -> Rows:
        numbers = torch.from_numpy(table)
        own = numbers.to(device) if self.ranks is None else Cut(len(table), self.ranks).part(numbers, device)
        return Rows(own, torch.zeros(len(table), dtype=torch.int64, device=device))

    def _on_host(self, blocks: slice) -> PackedTables:
        """Return some of the parameters and slots, in that order, of all rows."""
        users, items = (self._table(rows, blocks) for rows in (self.weights.users, self.weights.items))
        return PackedTables(users, items, self.weights.dense[blocks].cpu().numpy())

    def _table(self, rows: Rows, blocks: slice) -> Floats:
        held = rows.numbers[:, blocks]
        table = (self.cut_of(rows).gathered(held) if self.is_cut else held)[:-1]
        found: Floats = table.cpu().numpy()
        return found
