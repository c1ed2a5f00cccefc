"""What training moves: rows of users and of items, packed with their slots, and the dense parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mfcore.engines import STEP, TrainingJob
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import Floats, Parameter


class Rows(NamedTuple):
    """The trained parameters of one side.

    Attributes
    ----------
    numbers : tensor [n_rows + 1, (1 + n_slots) * width]
        Of each row all parameters side by side, then each slot for all of them. The last row belongs to
        nobody: what is not to be kept is written there. Where steps move all rows, they have them `apart`.
    latest : int64 tensor [n_rows + 1]
        The step after which each row stands as it is here, while idle steps are put off.
    """

    numbers: tf.Tensor
    latest: tf.Tensor


def apart(rows: Rows, n_slots: int) -> Rows:
    """Return the rows with a tuple of 1 + n_slots tensors [n_rows + 1, width] for `numbers`.

    Each can be moved in place, whole; packed, all would be copied in every step.
    """
    return rows._replace(numbers=tuple(tf.split(rows.numbers, 1 + n_slots, axis=1)))


def together(rows: Rows) -> Rows:
    """Return the rows that `apart` took apart."""
    return rows._replace(numbers=tf.concat(rows.numbers, axis=1))


class Weights(NamedTuple):
    """All that training moves.

    Attributes
    ----------
    users, items : Rows
    dense : tensor [1 + n_slots, n_dense]
        The parameters without a side, one after the other, then each slot for all of them.
    """

    users: Rows
    items: Rows
    dense: tf.Tensor


@dataclass(frozen=True)
class Fields:
    """Where parameters stand in a row, or among the dense ones, side by side.

    Attributes
    ----------
    names : tuple of str
    shapes : tuple of tuples of int
        Of one row of each, or of the whole of a dense one.
    decayed : tuple of bool
        Whether l2 or l2_dense applies.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    decayed: tuple[bool, ...]

    @classmethod
    def of(cls, layout: Mapping[str, Parameter], side: str | None, trained: list[str]) -> "Fields":
        """Return the fields of a side, or of the dense parameters."""
        own = {name: layout[name] for name in layout if layout[name].side == side and name in trained}
        skipped = 0 if side is None else 1
        return cls(
            names=tuple(own),
            shapes=tuple(parameter.shape[skipped:] for parameter in own.values()),
            decayed=tuple(parameter.decayed for parameter in own.values()),
        )

    @property
    def sizes(self) -> list[int]:
        """How many numbers each takes."""
        return [prod(shape) for shape in self.shapes]

    def split(self, numbers: Any) -> dict[str, Any]:
        """Return the parameters of numbers [..., width], each [..., its shape]: of an array, or of a tensor.

        Of the shape of a tensor at most the first length may be unknown.
        """
        if not self.names:
            return {}
        before = [-1 if length is None else length for length in numbers.shape[:-1]]
        if isinstance(numbers, np.ndarray):
            parts, reshape = np.split(numbers, np.cumsum(self.sizes)[:-1], axis=-1), np.reshape
        else:
            parts, reshape = tf.split(numbers, self.sizes, axis=-1), tf.reshape
        return {
            name: part if len(shape) == 1 else reshape(part, (*before, *shape))
            for name, shape, part in zip(self.names, self.shapes, parts, strict=True)
        }

    def pack(self, arrays: Mapping[str, Any], n: int) -> NDArray[np.floating]:
        """Return the arrays side by side, [n, width]; one without numbers where there are none."""
        flat = [np.asarray(arrays[name]).reshape(n, -1) for name in self.names]
        return np.concatenate(flat, axis=1) if flat else np.empty((n, 0))

    @property
    def decays(self) -> NDArray[np.float64]:
        """Return 1 for each number that is decayed and 0 for each other one."""
        return np.repeat(np.array(self.decayed, dtype=np.float64), self.sizes)


class Store:
    """A job's weights on the device, and their way there and back.

    Attributes
    ----------
    users, items, dense : Fields
    variables : Weights
        Of `tf.Variable`s.
    constants : dict of str to tensor
        The parameters without a side that training leaves alone.
    step : int
        Steps taken so far.
    """

    def __init__(self, job: TrainingJob) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        self.job = job
        self.slots = job.optimizer.slot_names
        layout = job.spec.parameters(job.data.n_users, job.data.n_items)
        self.users, self.items, self.dense = (
            Fields.of(layout, side, job.trained) for side in ("user", "item", None)
        )
        self.step = int(job.optimizer_state[STEP][0])
        self.variables = Weights(
            users=self._rows(self.users, job.data.n_users),
            items=self._rows(self.items, job.data.n_items),
            dense=tf.Variable(self._packed(self.dense, 1)[0]),
        )
        self.constants = {
            name: tf.constant(job.parameters[name])
            for name, parameter in layout.items()
            if name not in job.trained and parameter.side is None
        }

    def read(self) -> Weights:
        """Return the values of the variables."""
        weights: Weights = tf.nest.map_structure(lambda variable: variable.read_value(), self.variables)
        return weights

    def assign(self, weights: Weights) -> None:
        """Give the variables these values."""
        tf.nest.map_structure(lambda variable, value: variable.assign(value), self.variables, weights)

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

    def _rows(self, fields: Fields, n_rows: int) -> Rows:
        numbers = self._packed(fields, n_rows).reshape(n_rows, -1)
        nobody = np.zeros_like(numbers[:1])
        return Rows(
            tf.Variable(np.concatenate([numbers, nobody])), tf.Variable(tf.zeros(n_rows + 1, tf.int64))
        )

    def _packed(self, fields: Fields, n: int) -> NDArray[Any]:
        """Return parameters and slots, [n, 1 + n_slots, width]."""
        job = self.job
        slots = [
            {name: job.optimizer_state[f"{name}/{slot}"] for name in fields.names} for slot in self.slots
        ]
        blocks = [fields.pack(arrays, n) for arrays in (job.parameters, *slots)]
        return np.stack(blocks, axis=1).astype(job.dtype)

    def _unpacked(self, place: int) -> dict[str, Floats]:
        """Return the trained parameters, or one of their slots, as arrays of the spec's shapes."""
        variables = self.variables
        return {
            **self.users.split(self._columns(variables.users, self.users, place)),
            **self.items.split(self._columns(variables.items, self.items, place)),
            **self.dense.split(variables.dense[place].numpy()),
        }

    @staticmethod
    def _columns(rows: Rows, fields: Fields, place: int) -> Floats:
        width = sum(fields.sizes)
        columns: Floats = rows.numbers[:-1, place * width : (place + 1) * width].numpy()
        return columns
