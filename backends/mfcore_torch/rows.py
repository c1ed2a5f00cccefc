"""What training moves: rows of users and of items, packed with their slots, and the dense parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfcore.engines import STEP, TrainingJob
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import Floats, Parameter
from mfcore_torch import devices
from mfcore_torch.ranks import Ranks
from mfcore_torch.sharding import Cut


class Rows(NamedTuple):
    """The trained parameters of one side.

    Attributes
    ----------
    numbers : Tensor [n_rows + 1, 1 + n_slots, width]
        Of each row all parameters side by side, then each slot for all of them. The last row belongs to
        nobody: it stands in where a batch touches fewer rows than it might. Of a table that is cut over
        ranks, those rows that this rank holds.
    latest : int64 Tensor [n_rows + 1]
        The step after which each row stands as it is here, while idle steps are put off.
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


@dataclass(frozen=True)
class Fields:
    """Where parameters stand in a row, or among the dense ones.

    Attributes
    ----------
    shapes : dict of str to tuple of int
        Of one row of each parameter, or of the whole of a dense one.
    decayed : dict of str to bool
        Whether l2 or l2_dense applies.
    """

    shapes: dict[str, tuple[int, ...]]
    decayed: dict[str, bool]

    @classmethod
    def of(cls, layout: Mapping[str, Parameter], side: str | None, trained: list[str]) -> "Fields":
        """Return the fields of a side, or of the dense parameters."""
        own = {name: layout[name] for name in layout if layout[name].side == side and name in trained}
        skipped = 0 if side is None else 1
        return cls(
            shapes={name: parameter.shape[skipped:] for name, parameter in own.items()},
            decayed={name: parameter.decayed for name, parameter in own.items()},
        )

    @property
    def sizes(self) -> list[int]:
        """How many numbers each takes."""
        return [prod(shape) for shape in self.shapes.values()]

    def split(self, numbers: Tensor) -> dict[str, Tensor]:
        """Return the parameters of numbers [..., width], each [..., its shape]."""
        parts = numbers.split(self.sizes, dim=-1)
        return {
            name: part.reshape(*numbers.shape[:-1], *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def pack(self, arrays: Mapping[str, Any], n: int) -> NDArray[np.floating]:
        """Return the arrays side by side, [n, width]; one without numbers where there are none."""
        flat = [np.asarray(arrays[name]).reshape(n, -1) for name in self.shapes]
        return np.concatenate(flat, axis=1) if flat else np.empty((n, 0))

    def decays(self, like: Tensor) -> Tensor:
        """Return 1 for each number that is decayed and 0 for each other one."""
        marks = zip(self.sizes, self.decayed.values(), strict=True)
        return torch.cat([like.new_zeros(0), *(like.new_full((size,), float(mark)) for size, mark in marks)])


class Store:
    """A job's weights on a device, and their way there and back.

    Attributes
    ----------
    users, items, dense : Fields
    weights : Weights
    step : int
        Steps taken so far.
    ranks : Ranks or None
        Over which the rows are cut.
    """

    def __init__(self, job: TrainingJob, device: torch.device, ranks: Ranks | None = None) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        self.job = job
        self.ranks = ranks
        self.slots = job.optimizer.slot_names
        layout = job.spec.parameters(job.data.n_users, job.data.n_items)
        self.users, self.items, self.dense = (
            Fields.of(layout, side, job.trained) for side in ("user", "item", None)
        )
        self.step = int(job.optimizer_state[STEP][0])
        self.weights = Weights(
            users=self._rows(self.users, job.data.n_users, device),
            items=self._rows(self.items, job.data.n_items, device),
            dense=self._packed(self.dense, 1)[0].to(device),
            constants={
                name: torch.from_numpy(job.parameters[name].copy()).to(device)
                for name, parameter in layout.items()
                if name not in job.trained and parameter.side is None
            },
        )

    def parameters(self) -> dict[str, Floats]:
        """Return host copies of all parameters, in the spec's order."""
        found = self._unpacked(0)
        return {name: found.get(name, array).copy() for name, array in self.job.parameters.items()}

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return host copies of the optimizer's state."""
        state: dict[str, NDArray[Any]] = {STEP: np.array([self.step], dtype=np.int64)}
        for place, slot in enumerate(self.slots, start=1):
            found = self._unpacked(place)
            state.update({f"{name}/{slot}": found[name].copy() for name in self.job.trained})
        return state

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

    def _rows(self, fields: Fields, n_rows: int, device: torch.device) -> Rows:
        table = self._packed(fields, n_rows, n_beside=1)
        numbers = table.to(device) if self.ranks is None else Cut(n_rows + 1, self.ranks).part(table, device)
        return Rows(numbers, torch.zeros(n_rows + 1, dtype=torch.int64, device=device))

    def _table(self, rows: Rows, place: int) -> Tensor:
        """Return the parameters of all rows, or one of their slots, [n_rows, width]."""
        held = rows.numbers[:, place]
        return (self.cut_of(rows).gathered(held) if self.is_cut else held)[:-1]

    def _packed(self, fields: Fields, n: int, n_beside: int = 0) -> Tensor:
        """Return parameters and slots on the host, [n + n_beside, 1 + n_slots, width]; zeros beside them."""
        job = self.job
        slots = [
            {name: job.optimizer_state[f"{name}/{slot}"] for name in fields.shapes} for slot in self.slots
        ]
        shape = (n + n_beside, 1 + len(slots), sum(fields.sizes))
        numbers = torch.zeros(shape, dtype=devices.DTYPES[job.dtype], device="cpu")
        for place, arrays in enumerate((job.parameters, *slots)):
            numbers.numpy()[:n, place] = fields.pack(arrays, n)
        return numbers

    def _unpacked(self, place: int) -> dict[str, Floats]:
        """Return the trained parameters, or one of their slots, as arrays of the spec's shapes."""
        weights = self.weights
        tensors = {
            **self.users.split(self._table(weights.users, place)),
            **self.items.split(self._table(weights.items, place)),
            **self.dense.split(weights.dense[place]),
        }
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
