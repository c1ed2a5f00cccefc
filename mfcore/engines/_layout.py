"""How parameters and slots lie in memory: a row for each user and item, and one for all dense ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfcore.operators import NUMPY, Array, Operators
from mfcore.specs import Floats, Parameter

STEP = "step"


@dataclass(frozen=True)
class RowLayout:
    """Where parameters stand in a row of numbers, side by side.

    Equal layouts are of equal models, so that engines may share what they compile for one.

    Attributes
    ----------
    names : tuple of str
    shapes : tuple of tuples of int
        Of one row of each parameter with a side, or of the whole of a dense one.
    decayed : tuple of bool
        Whether l2 (of rows) or l2_dense (of dense parameters) applies.
    absent : tuple of (str, shape)
        Parameters of the side that training leaves alone because they add the same to a user's scores of all
        items: definitions read zeros for them, which cancel as they would.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    decayed: tuple[bool, ...]
    absent: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @classmethod
    def of(cls, layout: Mapping[str, Parameter], side: str | None, trained: list[str]) -> "RowLayout":
        """Return the layout of a side's trained parameters, or of the dense ones, in the spec's order."""
        skipped = 0 if side is None else 1
        own = {name: one for name, one in layout.items() if one.side == side}
        moved = {name: one for name, one in own.items() if name in trained}
        return cls(
            names=tuple(moved),
            shapes=tuple(one.shape[skipped:] for one in moved.values()),
            decayed=tuple(one.decayed for one in moved.values()),
            absent=()
            if side is None
            else tuple((name, one.shape[1:]) for name, one in own.items() if name not in moved),
        )

    @property
    def sizes(self) -> list[int]:
        """The numbers that each parameter takes."""
        return [prod(shape) for shape in self.shapes]

    @property
    def width(self) -> int:
        """The numbers of a row."""
        return sum(self.sizes)

    @property
    def offsets(self) -> dict[str, int]:
        """Where each parameter begins in a row, by name."""
        return dict(zip(self.names, accumulate(self.sizes, initial=0), strict=False))

    def padded_width(self, n_slots: int, multiple: int) -> int:
        """Return the numbers of a row and its slots, filled up to a multiple of, say, a cache line's."""
        return -(-self.width * (1 + n_slots) // multiple) * multiple

    @property
    def decays(self) -> NDArray[np.float64]:
        """1 for each number of a row that is decayed and 0 for each other one, [width]."""
        return np.repeat(np.asarray(self.decayed, dtype=np.float64), self.sizes)

    def split(self, numbers: Array, xp: Operators = NUMPY) -> dict[str, Array]:
        """Return the parameters of rows [n, width], each [n, its shape], or of dense numbers [width]."""
        if not self.names:
            return {}
        is_row = len(numbers.shape) == 2
        parts = [numbers] if len(self.names) == 1 else xp.split(numbers, self.sizes)
        found = {}
        for name, shape, part in zip(self.names, self.shapes, parts, strict=True):
            as_is = len(shape) == 1
            found[name] = part if as_is else xp.reshape(part, (-1, *shape) if is_row else shape)
        for name, shape in self.absent:
            zeros = 0 * numbers[:, :1]
            found[name] = xp.reshape(zeros, (-1, *(1 for _ in shape)))
        return found

    def pack(self, arrays: Mapping[str, Any], n: int) -> Floats:
        """Return arrays side by side on the host, [n, width]; no numbers where there are no parameters."""
        flat = [np.asarray(arrays[name]).reshape(n, -1) for name in self.names]
        return np.concatenate(flat, axis=1) if flat else np.empty((n, 0))


class PackedTables(NamedTuple):
    """All that training moves, on the host.

    Attributes
    ----------
    users, items : arrays [n_rows, 1 + n_slots, width]
        Of each row all parameters side by side, then each slot of the optimizer for all of them.
    dense : array [1 + n_slots, width]
        The parameters without a side, one after the other, then each slot for all of them.
    """

    users: Floats
    items: Floats
    dense: Floats


@dataclass(frozen=True)
class ParameterLayout:
    """How all parameters of a job and their slots are packed.

    Attributes
    ----------
    users, items, dense : RowLayout
    slots : tuple of str
        The optimizer's.
    """

    users: RowLayout
    items: RowLayout
    dense: RowLayout
    slots: tuple[str, ...]

    @classmethod
    def of(
        cls, layout: Mapping[str, Parameter], trained: list[str], slots: tuple[str, ...]
    ) -> "ParameterLayout":
        """Return the layout of a spec's parameters, of which some are trained."""
        users, items, dense = (RowLayout.of(layout, side, trained) for side in ("user", "item", None))
        return cls(users, items, dense, slots)

    def pack(self, parameters: Mapping[str, Floats], state: Mapping[str, NDArray[Any]]) -> PackedTables:
        """Return parameters and optimizer state, named as in a job, as packed tables of their dtype."""
        dtype, n = next(iter(parameters.values())).dtype, 1 + len(self.slots)
        n_users, n_items = (
            len(parameters[rows.names[0]]) if rows.names else 1 for rows in (self.users, self.items)
        )
        tables = PackedTables(
            users=np.zeros((n_users, n, self.users.width), dtype=dtype),
            items=np.zeros((n_items, n, self.items.width), dtype=dtype),
            dense=np.zeros((n, self.dense.width), dtype=dtype),
        )
        self.fill(tables, parameters, state)
        return tables

    def fill(
        self, tables: PackedTables, parameters: Mapping[str, Floats], state: Mapping[str, NDArray[Any]]
    ) -> None:
        """Write parameters and optimizer state, named as in a job, to tables, which may have further rows."""
        for rows, table in (
            (self.users, tables.users),
            (self.items, tables.items),
            (self.dense, tables.dense[None]),
        ):
            n = len(parameters[rows.names[0]]) if rows.names and rows is not self.dense else 1
            slots = [{name: state[f"{name}/{slot}"] for name in rows.names} for slot in self.slots]
            for place, arrays in enumerate((parameters, *slots)):
                table[:n, place] = rows.pack(arrays, n)

    def unpack(self, tables: PackedTables, place: int) -> dict[str, Floats]:
        """Return the trained parameters (place 0) or a slot (places from 1) by name, as copies."""
        parts = (
            (self.users, tables.users[:, place]),
            (self.items, tables.items[:, place]),
            (self.dense, tables.dense[place]),
        )
        return {
            name: np.array(array)
            for rows, numbers in parts
            for name, array in rows.split(numbers).items()
            if name in rows.names
        }

    def parameters(self, tables: PackedTables, initial: Mapping[str, Floats]) -> dict[str, Floats]:
        """Return copies of all parameters in the spec's order; those not trained are as they began."""
        trained = self.unpack(tables, 0)
        return {
            name: trained[name].reshape(array.shape) if name in trained else array.copy()
            for name, array in initial.items()
        }

    def optimizer_state(self, tables: PackedTables, step: int) -> dict[str, NDArray[Any]]:
        """Return copies of the optimizer's state, under the names of `TrainingJob.optimizer_state`."""
        state: dict[str, NDArray[Any]] = {STEP: np.array([step], dtype=np.int64)}
        for place, slot in enumerate(self.slots, start=1):
            state.update({f"{name}/{slot}": array for name, array in self.unpack(tables, place).items()})
        return state
