"""What training moves: rows of users and of items, packed with their slots, and the dense parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfcore.contract import STEP, TrainingJob
from mfcore.optimizers import GradientOptimizer
from mfcore.specs.base import Floats, Parameter
from mfcore_torch import devices

# From a table on the host to one that is cut over ranks.
Cut: TypeAlias = Callable[[Tensor], Tensor]


class Rows(NamedTuple):
    """The trained parameters of one side.

    Attributes
    ----------
    numbers : Tensor [n_rows + 1, 1 + n_slots, width]
        Of each row all parameters side by side, then each slot for all of them. The last row belongs to
        nobody: it stands in where a batch touches fewer rows than it might. A table that is cut over ranks
        is a DTensor [n_rows + 1, (1 + n_slots) * width].
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
    is_cut : bool
        Whether the rows are cut over ranks.
    """

    def __init__(self, job: TrainingJob, device: torch.device, cut: Cut | None = None) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        self.job = job
        self.is_cut = cut is not None
        self.slots = job.optimizer.slot_names
        layout = job.spec.parameters(job.data.n_users, job.data.n_items)
        self.users, self.items, self.dense = (
            Fields.of(layout, side, job.trained) for side in ("user", "item", None)
        )
        self.step = int(job.optimizer_state[STEP][0])
        self.weights = Weights(
            users=self._rows(self.users, job.data.n_users, device, cut),
            items=self._rows(self.items, job.data.n_items, device, cut),
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

    def _rows(self, fields: Fields, n_rows: int, device: torch.device, cut: Cut | None) -> Rows:
        numbers = self._packed(fields, n_rows, n_beside=1)
        latest = torch.zeros(n_rows + 1, dtype=torch.int64, device=device)
        return Rows(numbers.to(device) if cut is None else cut(numbers), latest)

    def held(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return the rows with their slots that this process holds, [n, 1 + n_slots, width], and `latest`."""
        if not self.is_cut:
            return rows.numbers, rows.latest
        from mfcore_torch import sharding

        numbers, first = sharding.own_part(rows.numbers)
        in_rows = numbers.unflatten(1, (1 + len(self.slots), -1))
        return in_rows, rows.latest[first : first + len(numbers)]

    def _table(self, rows: Rows, fields: Fields, place: int) -> Tensor:
        """Return the parameters of all rows, or one of their slots, [n_rows, width]."""
        if not self.is_cut:
            return rows.numbers[:-1, place]
        from mfcore_torch import sharding

        width = sum(fields.sizes)
        return sharding.gathered(rows.numbers, slice(place * width, (place + 1) * width))[:-1]

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
            **self.users.split(self._table(weights.users, self.users, place)),
            **self.items.split(self._table(weights.items, self.items, place)),
            **self.dense.split(weights.dense[place]),
        }
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
