"""What training moves, on the device: rows of users and items with their slots, and dense parameters."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mfcore.engines import STEP, PackedTables, RowLayout, TrainingJob
from mfcore.specs import Floats


class SideTable(NamedTuple):
    """The trained parameters of one side.

    Attributes
    ----------
    numbers : tensor [n_rows + 1, (1 + n_slots) * width]
        Of each row all parameters side by side, then each slot for all of them. The last one is the padding
        row: what is not to be kept is written there. Where steps move all rows, they have them `separate`.
    latest : int64 tensor [n_rows + 1]
        The step after which each row stands as it is here, while updates are deferred.
    """

    numbers: Any
    latest: tf.Tensor

    def separate(self, n_slots: int) -> "SideTable":
        """Return the table with a tuple of 1 + n_slots tensors [n_rows + 1, width] for `numbers`.

        Each can be moved in place, whole; packed, all would be copied in every step.
        """
        return self._replace(numbers=tuple(tf.split(self.numbers, 1 + n_slots, axis=1)))

    def packed(self) -> "SideTable":
        """Return the table with the numbers of a row side by side again."""
        return self._replace(numbers=tf.concat(self.numbers, axis=1))


class Tables(NamedTuple):
    """All that training moves.

    Attributes
    ----------
    users, items : SideTable
    dense : tensor [1 + n_slots, n_dense]
        The parameters without a side, one after the other, then each slot for all of them.
    """

    users: SideTable
    items: SideTable
    dense: tf.Tensor


class ParameterStore:
    """A job's tables as variables on the device, and their way there and back.

    Attributes
    ----------
    variables : Tables
        Of `tf.Variable`s.
    constants : dict of str to tensor
        The parameters without a side that training leaves alone.
    step : int
        Steps taken so far.
    """

    def __init__(self, job: TrainingJob) -> None:
        self.job = job
        self.step = int(job.optimizer_state[STEP][0])
        tables = job.layout.pack(job.parameters, job.optimizer_state)
        self.variables = Tables(
            users=self._variables(tables.users, job.data.n_users),
            items=self._variables(tables.items, job.data.n_items),
            dense=tf.Variable(tables.dense),
        )
        self.constants = {name: tf.constant(array) for name, array in job.constants.items()}

    def read(self) -> Tables:
        """Return the values of the variables."""
        tables: Tables = tf.nest.map_structure(lambda variable: variable.read_value(), self.variables)
        return tables

    def assign(self, tables: Tables) -> None:
        """Give the variables these values."""
        tf.nest.map_structure(lambda variable, value: variable.assign(value), self.variables, tables)

    def parameters(self) -> dict[str, Floats]:
        """Return host copies of all parameters, in the spec's order."""
        return self.job.layout.parameters(self._arrays(), self.job.parameters)

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return host copies of the optimizer's state."""
        return self.job.layout.optimizer_state(self._arrays(), self.step)

    def _arrays(self) -> PackedTables:
        layout, variables = self.job.layout, self.variables
        return PackedTables(
            users=self._rows(variables.users, layout.users),
            items=self._rows(variables.items, layout.items),
            dense=variables.dense.numpy(),
        )

    def _rows(self, table: SideTable, layout: RowLayout) -> Floats:
        numbers: Floats = table.numbers[:-1].numpy()
        return numbers.reshape(len(numbers), 1 + len(self.job.layout.slots), layout.width)

    @staticmethod
    def _variables(numbers: Floats, n_rows: int) -> SideTable:
        # One row for all where the side has no parameters.
        width = numbers.shape[1] * numbers.shape[2]
        with_padding = np.zeros((n_rows + 1, width), dtype=numbers.dtype)
        with_padding[:-1] = numbers.reshape(len(numbers), width)
        return SideTable(tf.Variable(with_padding), tf.Variable(tf.zeros(n_rows + 1, tf.int64)))
