"""One step: the gradients of a batch are worked out, those of a row added up, and the rule moves it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import tensorflow as tf

from mfcore.engines import BatchProblem, CatchUpTables
from mfcore.optimizers import GradientOptimizer
from mfcore_keras.batch_rows import BatchRows
from mfcore_keras.gradients import BatchTensors, Side, find_gradients, read_rows
from mfcore_keras.operators import TENSORFLOW
from mfcore_keras.tables import SideTable, Tables


class Marks(NamedTuple):
    """Room for `find_owners` to work in, of users and of items: int tensors [n_rows + 1]."""

    users: tf.Tensor
    items: tf.Tensor


class Batches(NamedTuple):
    """Several batches of one size: `BatchTensors` with one more axis before the others."""

    users: tf.Tensor
    items: tf.Tensor
    targets: tf.Tensor | None
    weights: tf.Tensor | None
    log_q: tf.Tensor | None

    def at(self, position: tf.Tensor) -> BatchTensors:
        """Return one of the batches."""
        return BatchTensors(*(None if column is None else tf.gather(column, position) for column in self))


@dataclass(frozen=True)
class Stepper:
    """Takes steps; equal ones do the same.

    Attributes
    ----------
    problem : BatchProblem
    optimizer : type of GradientOptimizer
        Whose rule it is.
    sparse : bool
        Whether rows that the batch does not use stay as they are.
    users, items : Side
    pairs_at_once : int
        See `Limits`.
    """

    problem: BatchProblem
    optimizer: type[GradientOptimizer]
    sparse: bool
    users: Side
    items: Side
    pairs_at_once: int

    def __call__(
        self,
        tables: Tables,
        batches: Batches,
        coefficients: tf.Tensor,
        n_steps: tf.Tensor,
        done: tf.Tensor,
        catch_up: CatchUpTables | None,
        constants: dict[str, tf.Tensor],
    ) -> tuple[Tables, tf.Tensor]:
        """Take steps; return what they moved, and the objective before each, summed over the instances.

        Parameters
        ----------
        tables : Tables
        batches : Batches
        coefficients : tensor [n_batches, n_coefficients]
            Of the rule.
        n_steps : int tensor []
            How many of the batches are trained on.
        done : int64 tensor []
            Steps taken before.
        catch_up : CatchUpTables, or None
            Given where updates are deferred.
        constants : dict of str to tensor
            The parameters without a side that training leaves alone.
        """

        def step(place: tf.Tensor, tables: Tables, marks: Marks, total: tf.Tensor) -> tuple[Any, ...]:
            number = done + tf.cast(place, tf.int64) + 1
            batch, c = batches.at(place), tf.gather(coefficients, place)
            tables, marks, objective = self._step(tables, marks, batch, c, number, catch_up, constants)
            return place + 1, tables, marks, total + objective

        marks = Marks(*(tf.zeros(side.padding_row + 1, tf.int32) for side in (self.users, self.items)))
        separate = self._where_all_move(tables, partial(SideTable.separate, n_slots=self.users.n_slots))
        start = (tf.constant(0), separate, marks, tf.zeros([], tf.float64))
        _, tables, _, total = tf.while_loop(lambda place, *_: place < n_steps, step, start)
        return self._where_all_move(tables, SideTable.packed), total

    def _step(
        self,
        tables: Tables,
        marks: Marks,
        batch: BatchTensors,
        c: tf.Tensor,
        number: tf.Tensor,
        catch_up: CatchUpTables | None,
        constants: dict[str, tf.Tensor],
    ) -> tuple[Tables, Marks, tf.Tensor]:
        """Return the tables after step `number`, whose coefficients are c, and the objective before it."""
        user_marks, user_numbers, users = read_rows(
            self.users, tables.users, marks.users, batch.users, number - 1, catch_up
        )
        item_marks, item_numbers, items = read_rows(
            self.items, tables.items, marks.items, batch.items, number - 1, catch_up
        )
        gradients = find_gradients(
            self.problem,
            batch,
            self._of_pairs(self.users, user_numbers, users),
            self._of_pairs(self.items, item_numbers, items),
            tables.dense[0],
            constants=constants,
            pairs_at_once=self.pairs_at_once,
        )
        dense = self._moved(tuple(tf.unstack(tables.dense)), gradients.dense, c)
        moved = Tables(
            users=self._move(self.users, tables.users, user_numbers, users, gradients.users, c, number),
            items=self._move(self.items, tables.items, item_numbers, items, gradients.items, c, number),
            dense=tf.stack(dense),
        )
        return moved, Marks(user_marks, item_marks), gradients.objective

    @staticmethod
    def _of_pairs(side: Side, numbers: tuple[tf.Tensor, ...], rows: BatchRows) -> tf.Tensor:
        """Return the parameters of each pair's row, [n, width]."""
        return tf.gather(numbers[0], rows.rows) if side.updates == "all" else numbers[0]

    def _move(
        self,
        side: Side,
        table: SideTable,
        numbers: tuple[tf.Tensor, ...],
        rows: BatchRows,
        gradients: tf.Tensor,
        c: tf.Tensor,
        number: tf.Tensor,
    ) -> SideTable:
        """Return the table of a side after the step, given what `read_rows` found in it."""
        after = self._moved(numbers, rows.add_up(gradients, side.padding_row + 1), c)
        if side.updates == "all":
            if self.sparse:
                mask = rows.mask(side.padding_row + 1)[:, None]
                after = tuple(tf.where(mask, new, old) for new, old in zip(after, numbers, strict=True))
            return table._replace(numbers=after)
        written = rows.written(side.padding_row)[:, None]
        packed = tf.tensor_scatter_nd_update(table.numbers, written, tf.concat(after, axis=1))
        if side.updates == "batch":
            return table._replace(numbers=packed)
        steps = tf.fill(tf.shape(written)[:1], number)
        return SideTable(packed, tf.tensor_scatter_nd_update(table.latest, written, steps))

    def _moved(
        self, numbers: tuple[tf.Tensor, ...], gradient: tf.Tensor, c: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Return parameters and slots after the step; all are of the gradient's shape."""
        parameter, first, second = (*numbers, 0.0, 0.0)[:3]
        rule = self.optimizer.rule(TENSORFLOW)
        return rule(parameter, gradient, first, second, tf.unstack(c))[: len(numbers)]

    def _where_all_move(self, tables: Tables, change: Callable[[SideTable], SideTable]) -> Tables:
        users, items = (
            change(table) if side.updates == "all" else table
            for side, table in ((self.users, tables.users), (self.items, tables.items))
        )
        return tables._replace(users=users, items=items)


def take_in_graph(
    stepper: Stepper, tables: Tables, batches: Batches, coefficients: tf.Tensor, *others: Any
) -> tuple[Tables, tf.Tensor]:
    """Call a stepper as a graph, which all jobs with equal ones share, for any number of batches of a size.

    Called step by step, TensorFlow would spend more in Python than on a small batch.
    """
    graph, any_batches = _graph(stepper), Batches(*map(_of_any_length, batches))
    graph.get_concrete_function(tables, any_batches, _of_any_length(coefficients), *others)
    taken: tuple[Tables, tf.Tensor] = graph(tables, batches, coefficients, *others)
    return taken


def _of_any_length(tensor: tf.Tensor | None) -> tf.TensorSpec | None:
    return None if tensor is None else tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)


@lru_cache(maxsize=32)
def _graph(stepper: Stepper) -> Any:
    # Not `in_graph`: that would come to leave the size of batches open, too, on which the mean and the parts
    # of an in-batch objective depend.
    return tf.function(partial(stepper), autograph=False)
