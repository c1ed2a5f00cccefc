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
    """Where parameters lie in a row of numbers, side by side.

    Layouts of equal models are equal, so that engines may share what they compile for one.

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

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> from mfcore.engines import RowLayout
    >>> parameters = mfcore.MF(2, biases=True).parameters(n_users=4, n_items=3)
    >>> rows = RowLayout.of(parameters, "item", trained=["item_factors", "item_bias"])
    >>> rows.names, rows.width, rows.offsets
    (('item_factors', 'item_bias'), 3, {'item_factors': 0, 'item_bias': 2})
    >>> rows.split(np.array([[1.0, 2.0, 0.5]]))
    {'item_factors': array([[1., 2.]]), 'item_bias': array([0.5])}
    >>> rows.pack({"item_factors": np.array([[1.0, 2.0]]), "item_bias": np.array([0.5])}, n=1)
    array([[1. , 2. , 0.5]])
    >>> rows.padded_width(n_slots=2, multiple=16)
    16
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    decayed: tuple[bool, ...]
    absent: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @classmethod
    def of(cls, layout: Mapping[str, Parameter], side: str | None, trained: list[str]) -> "RowLayout":
        """Return the layout of a side's trained parameters, or of the dense ones, in the spec's order.

        Parameters
        ----------
        layout : mapping of name to Parameter
            Of the whole spec.
        side : "user", "item" or None
            None for the dense ones.
        trained : list of str

        Returns
        -------
        RowLayout
        """
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
        """Return the numbers of a row and its slots, rounded up to a multiple.

        Parameters
        ----------
        n_slots : int
        multiple : int
            Of the numbers in a cache line, say.

        Returns
        -------
        int
        """
        return -(-self.width * (1 + n_slots) // multiple) * multiple

    @property
    def decays(self) -> NDArray[np.float64]:
        """1 for each number of a row that is decayed and 0 for each other one, [width]."""
        return np.repeat(np.asarray(self.decayed, dtype=np.float64), self.sizes)

    def split(self, numbers: Array, xp: Operators = NUMPY) -> dict[str, Array]:
        """Return the parameters that packed numbers hold.

        Parameters
        ----------
        numbers : array [n, width], or [width] of dense parameters
        xp : Operators
            Numpy's by default.

        Returns
        -------
        dict of name to array
            [n, the parameter's shape] each, or that shape of dense parameters; zeros for `absent` ones.
        """
        is_row = len(numbers.shape) == 2
        parts = xp.split(numbers, self.sizes) if len(self.names) > 1 else [numbers] * len(self.names)
        found = {}
        for name, shape, part in zip(self.names, self.shapes, parts, strict=True):
            as_is = len(shape) == 1
            found[name] = part if as_is else xp.reshape(part, (-1, *shape) if is_row else shape)
        for name, shape in self.absent:
            zeros = 0 * numbers[:, :1] if self.names else xp.sum(numbers, axis=1)
            found[name] = xp.reshape(zeros, (-1, *(1 for _ in shape)))
        return found

    def pack(self, arrays: Mapping[str, Any], n: int) -> Floats:
        """Return arrays side by side on the host.

        Parameters
        ----------
        arrays : mapping of name to array
        n : int
            The number of rows; 1 for dense parameters.

        Returns
        -------
        array [n, width]
            Of width 0 where there are no parameters.
        """
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

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.training import make_job
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5], [3.0, 4.0, 5.0])
    >>> job = make_job(mfcore.MF(2), data, optimizer="adam")
    >>> tables = job.layout.pack(job.parameters, job.optimizer_state)
    >>> tables.users.shape, tables.dense.shape
    ((2, 3, 2), (3, 0))
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

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> from mfcore.training import make_job
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5], [3.0, 4.0, 5.0])
    >>> job = make_job(mfcore.MF(2), data, optimizer=mfcore.SGD(momentum=0.9))
    >>> layout = job.layout
    >>> layout.users.names, layout.slots
    (('user_factors',), ('velocity',))
    >>> tables = layout.pack(job.parameters, job.optimizer_state)
    >>> layout.fill(tables, job.parameters, job.optimizer_state)
    >>> sorted(layout.unpack(tables, 0)), sorted(layout.parameters(tables, job.parameters))
    (['item_factors', 'user_factors'], ['item_factors', 'user_factors'])
    >>> sorted(layout.optimizer_state(tables, step=7))
    ['item_factors/velocity', 'step', 'user_factors/velocity']
    """

    users: RowLayout
    items: RowLayout
    dense: RowLayout
    slots: tuple[str, ...]

    @classmethod
    def of(
        cls, layout: Mapping[str, Parameter], trained: list[str], slots: tuple[str, ...]
    ) -> "ParameterLayout":
        """Return the layout of a spec's parameters, of which some are trained.

        Parameters
        ----------
        layout : mapping of name to Parameter
        trained : list of str
        slots : tuple of str

        Returns
        -------
        ParameterLayout

        Examples
        --------
        >>> import mfcore
        >>> from mfcore.engines import ParameterLayout
        >>> parameters = mfcore.MF(2).parameters(n_users=4, n_items=3)
        >>> ParameterLayout.of(parameters, list(parameters), slots=()).items.shapes
        ((2,),)
        """
        users, items, dense = (RowLayout.of(layout, side, trained) for side in ("user", "item", None))
        return cls(users, items, dense, slots)

    def pack(self, parameters: Mapping[str, Floats], state: Mapping[str, NDArray[Any]]) -> PackedTables:
        """Return parameters and optimizer state as packed tables.

        Parameters
        ----------
        parameters, state : mapping of name to array
            Named as in a job.

        Returns
        -------
        PackedTables
            In the parameters' dtype.
        """
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
        """Write parameters and optimizer state to tables, which may have further rows.

        Parameters
        ----------
        tables : PackedTables
            Written to.
        parameters, state : mapping of name to array
            Named as in a job.
        """
        for rows, table in (
            (self.users, tables.users),
            (self.items, tables.items),
            (self.dense, tables.dense[None]),
        ):
            n = len(parameters[rows.names[0]]) if rows.names and rows is not self.dense else 1
            slots = [{name: state[f"{name}/{slot}"] for name in rows.names} for slot in self.slots]
            for position, arrays in enumerate((parameters, *slots)):
                table[:n, position] = rows.pack(arrays, n)

    def unpack(self, tables: PackedTables, position: int) -> dict[str, Floats]:
        """Return the trained parameters or a slot by name, as copies.

        Parameters
        ----------
        tables : PackedTables
        position : int
            0 for the parameters; slots are counted from 1.

        Returns
        -------
        dict of name to array
        """
        parts = (
            (self.users, tables.users[:, position]),
            (self.items, tables.items[:, position]),
            (self.dense, tables.dense[position]),
        )
        return {
            name: np.array(array)
            for rows, numbers in parts
            for name, array in rows.split(numbers).items()
            if name in rows.names
        }

    def parameters(self, tables: PackedTables, initial: Mapping[str, Floats]) -> dict[str, Floats]:
        """Return copies of all parameters in the spec's order.

        Parameters
        ----------
        tables : PackedTables
        initial : mapping of name to array
            From which those that are not trained are taken.

        Returns
        -------
        dict of name to array
        """
        trained = self.unpack(tables, 0)
        return {
            name: trained[name].reshape(array.shape) if name in trained else array.copy()
            for name, array in initial.items()
        }

    def optimizer_state(self, tables: PackedTables, step: int) -> dict[str, NDArray[Any]]:
        """Return copies of the optimizer's state.

        Parameters
        ----------
        tables : PackedTables
        step : int
            Steps taken so far.

        Returns
        -------
        dict of name to array
            Under the names of `TrainingJob.optimizer_state`.
        """
        state: dict[str, NDArray[Any]] = {STEP: np.array([step], dtype=np.int64)}
        for position, slot in enumerate(self.slots, start=1):
            state.update({f"{name}/{slot}": array for name, array in self.unpack(tables, position).items()})
        return state
