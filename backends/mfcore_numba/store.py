"""A job's parameters and optimizer state, in memory that kernels share."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfcore.engines import PackedTables, RowLayout, TrainingJob
from mfcore.specs import Floats
from mfcore_numba.vectors import CACHE_LINE, aligned_copy, rows


class PackedRows(NamedTuple):
    """The trained parameters of one side, packed: all that belongs to a row is next to one another.

    A row holds its parameters in the order of the core's `RowLayout`, then each slot of the optimizer for all
    of these; and begins on a cache line.

    Attributes
    ----------
    numbers : array [n_rows * stride]
    like : rows
        Of no rows, as wide as a row's parameters: says to kernels how wide that is.
    width, stride : int
        Of a row's parameters, and from one row to the next.
    n_slots : int
    bias : int
        Where the bias stands in a row, or ABSENT.
    """

    numbers: Any
    like: Any
    width: int
    stride: int
    n_slots: int
    bias: int


ABSENT = -1


class ParameterStore:
    """A job's parameters and optimizer state.

    Attributes
    ----------
    layout : ParameterLayout
        The job's, but that `dense` has all parameters without a side that a spec trains, those too that the
        job's objective leaves alone: the kernel and the bias of a layer stand next to one another.
    users, items : PackedRows
    dense : array [(1 + n_slots) * layout.dense.width]
        The dense parameters, then each slot for all of them.
    """

    def __init__(self, job: TrainingJob) -> None:
        self.job, n_slots = job, len(job.layout.slots)
        parameters = job.spec.parameters(job.data.n_users, job.data.n_items)
        names = [name for name, one in parameters.items() if one.side is None and one.trained]
        self.layout = replace(job.layout, dense=RowLayout.of(parameters, None, names))
        self.users = _packed_rows(self.layout.users, job.data.n_users, n_slots, job.dtype)
        self.items = _packed_rows(self.layout.items, job.data.n_items, n_slots, job.dtype)
        n_dense = self.layout.dense.width
        self.dense: Floats = aligned_copy(np.zeros((1 + n_slots) * n_dense, dtype=job.dtype))
        self._tables = PackedTables(
            _table(self.users), _table(self.items), self.dense.reshape(1 + n_slots, n_dense)
        )
        no_state = {
            f"{name}/{slot}": np.zeros_like(job.parameters[name])
            for name in names
            for slot in self.layout.slots
            if name not in job.trained
        }
        self.layout.fill(self._tables, job.parameters, {**no_state, **job.optimizer_state})

    def column(self, name: str) -> Floats:
        """Return a number of each row, [n_rows]: as kernels read it while it is trained, where it is."""
        sides = ((self.layout.users, self._tables.users), (self.layout.items, self._tables.items))
        for layout, table in sides:
            if name in layout.names:
                column: Floats = table[:, 0, layout.offsets[name]]
                return column
        return self.job.parameters[name].copy()

    def parameters(self) -> dict[str, Floats]:
        """Return copies of all parameters."""
        return self.layout.parameters(self._tables, self.job.parameters)

    def optimizer_state(self, step: int) -> dict[str, NDArray[Any]]:
        """Return copies of the optimizer's state after so many steps."""
        state = self.layout.optimizer_state(self._tables, step)
        return {name: state[name] for name in self.job.optimizer_state}


def like(width: int, dtype: np.dtype[np.floating]) -> NDArray[np.void]:
    """Return no rows of a width."""
    return rows(np.empty((0, width), dtype=dtype))


def _packed_rows(layout: RowLayout, n_rows: int, n_slots: int, dtype: np.dtype[np.floating]) -> PackedRows:
    """Return room for the rows of a side."""
    stride = layout.padded_width(n_slots, CACHE_LINE // dtype.itemsize)
    numbers = aligned_copy(np.zeros(n_rows * stride, dtype=dtype))
    biases = [layout.offsets[name] for name in layout.names if name.endswith("_bias")]
    bias = biases[0] if biases else ABSENT
    return PackedRows(numbers, like(layout.width, dtype), layout.width, stride, n_slots, bias)


def _table(packed: PackedRows) -> Floats:
    """Return rows as the core packs them, [n_rows, 1 + n_slots, width]."""
    n_blocks = 1 + packed.n_slots
    table: Floats = packed.numbers.reshape(-1, packed.stride)[:, : n_blocks * packed.width]
    return table.reshape(len(table), n_blocks, packed.width)
