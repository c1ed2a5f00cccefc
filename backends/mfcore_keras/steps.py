"""One step: the gradients of a batch are worked out, those of a row added up, and the rule moves it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import tensorflow as tf

from mfcore.engines import TrainingJob
from mfcore.optimizers import SGD, Adagrad, Adam, GradientOptimizer, RMSprop
from mfcore_keras.gradients import Batch, Differentiator, Found, Gradients, Idle, Marks, Side
from mfcore_keras.rows import Rows, Store, Weights, apart, together

RULES = tuple(kind.rule for kind in (SGD, Adagrad, RMSprop, Adam))


def unsupported(job: TrainingJob) -> str | None:
    """Return why the optimizer's rule is not known here, or None; that of an heir may be its parent's."""
    optimizer = job.optimizer
    if not isinstance(optimizer, GradientOptimizer) or type(optimizer).rule not in RULES:
        return f"it has no form of the rule of {type(optimizer).__name__} on tensors; use backend='reference'"
    return None


@dataclass(frozen=True)
class Mover:
    """From gradients to weights; equal ones do the same.

    Attributes
    ----------
    kind : type of GradientOptimizer
        Whose rule it is.
    sparse : bool
        Whether rows that the batch does not touch stay as they are.
    users, items : Side
    """

    kind: type[GradientOptimizer]
    sparse: bool
    users: Side
    items: Side

    def __call__(self, weights: Weights, gradients: Gradients, c: tf.Tensor, number: tf.Tensor) -> Weights:
        """Return the weights after step `number`, whose coefficients are c."""
        return Weights(
            users=self._move(self.users, weights.users, gradients.users, c, number),
            items=self._move(self.items, weights.items, gradients.items, c, number),
            dense=tf.stack(self._moved(tuple(tf.unstack(weights.dense)), gradients.dense, c)),
        )

    def _move(self, side: Side, rows: Rows, found: Found, c: tf.Tensor, number: tf.Tensor) -> Rows:
        """Return the rows of a side after the step."""
        summed = found.touched.add_up(found.gradients, side.nobody + 1)
        numbers = self._moved(found.numbers, summed, c)
        if side.moves == "all":
            if self.sparse:
                mask = found.touched.mask(side.nobody + 1)[:, None]
                pairs = zip(numbers, found.numbers, strict=True)
                numbers = tuple(tf.where(mask, after, before) for after, before in pairs)
            return rows._replace(numbers=numbers)
        kept = found.touched.kept(side.nobody)[:, None]
        packed = tf.tensor_scatter_nd_update(rows.numbers, kept, tf.concat(numbers, axis=1))
        if side.moves == "touched":
            return rows._replace(numbers=packed)
        return Rows(
            packed, tf.tensor_scatter_nd_update(rows.latest, kept, tf.fill(tf.shape(kept)[:1], number))
        )

    def _moved(
        self, numbers: tuple[tf.Tensor, ...], gradient: tf.Tensor, c: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Return parameters and slots after the step; all are of the gradient's shape."""
        parameter, first, second = (*numbers, 0.0, 0.0)[:3]
        return self.kind.rule(tf.sqrt)(parameter, gradient, first, second, tf.unstack(c))[: len(numbers)]


class Columns(NamedTuple):
    """Several batches of one size: a `Batch` whose tensors have one more axis before the others."""

    users: tf.Tensor
    items: tf.Tensor
    targets: tf.Tensor
    weights: tf.Tensor | None
    log_q: tf.Tensor | None

    def batch(self, number: tf.Tensor) -> Batch:
        """Return one of the batches."""
        return Batch(*(None if column is None else tf.gather(column, number) for column in self))


@dataclass(frozen=True)
class Stepper:
    """Takes steps; equal ones do the same.

    Attributes
    ----------
    differentiate : Differentiator
    move : Mover
    """

    differentiate: Differentiator
    move: Mover

    @classmethod
    def of(cls, job: TrainingJob, store: Store, users: Side, items: Side) -> "Stepper":
        """Return what takes the steps of a job, given how the rows of its sides are moved."""
        optimizer = job.optimizer
        assert isinstance(optimizer, GradientOptimizer)
        differentiate = Differentiator(
            spec=job.spec,
            objective=job.objective,
            l2=optimizer.l2,
            l2_dense=optimizer.l2_dense,
            users=users,
            items=items,
            dense=store.dense,
        )
        return cls(differentiate, Mover(type(optimizer), optimizer.sparse, users, items))

    def __call__(
        self,
        weights: Weights,
        columns: Columns,
        coefficients: tf.Tensor,
        n_steps: tf.Tensor,
        done: tf.Tensor,
        idle: Idle | None,
        constants: dict[str, tf.Tensor],
    ) -> tuple[Weights, tf.Tensor]:
        """Take steps; return what they moved, and the objective before each, summed over the instances.

        Parameters
        ----------
        weights : Weights
        columns : Columns
        coefficients : tensor [n_batches, n_coefficients]
            Of the rule.
        n_steps : int tensor []
            How many of the batches are trained on.
        done : int64 tensor []
            Steps taken before.
        idle : Idle, or None
            Given where idle steps are put off.
        constants : dict of str to tensor
            The parameters without a side that training leaves alone.
        """

        def step(place: tf.Tensor, weights: Weights, marks: Marks, total: tf.Tensor) -> tuple[Any, ...]:
            number = done + tf.cast(place, tf.int64) + 1
            batch, c = columns.batch(place), tf.gather(coefficients, place)
            marks, gradients = self.differentiate(weights, marks, batch, number, idle, constants)
            weights = self.move(weights, gradients, c, number)
            return place + 1, weights, marks, total + gradients.objective

        start = (tf.constant(0), self._opened(weights), self._marks(), tf.zeros([], tf.float64))
        _, weights, _, total = tf.while_loop(lambda place, *_: place < n_steps, step, start)
        return self._changed(weights, together), total

    @property
    def _sides(self) -> tuple[Side, Side]:
        return self.move.users, self.move.items

    def _marks(self) -> Marks:
        """Return the marks before the first step."""
        return Marks(*(tf.zeros(side.nobody + 1, tf.int32) for side in self._sides))

    def _opened(self, weights: Weights) -> Weights:
        """Return the weights as steps take them."""
        return self._changed(weights, partial(apart, n_slots=self._sides[0].n_slots))

    def _changed(self, weights: Weights, change: Callable[[Rows], Rows]) -> Weights:
        users, items = (
            change(rows) if side.moves == "all" else rows
            for side, rows in zip(self._sides, (weights.users, weights.items), strict=True)
        )
        return weights._replace(users=users, items=items)


def take_in_graph(
    stepper: Stepper, weights: Weights, columns: Columns, coefficients: tf.Tensor, *others: Any
) -> tuple[Weights, tf.Tensor]:
    """Call a stepper as a graph, which all jobs with equal ones share, for any number of batches of a size.

    Called step by step, TensorFlow would spend more in Python than on a small batch.
    """
    graph, batches = _graph(stepper), Columns(*map(_of_any_length, columns))
    graph.get_concrete_function(weights, batches, _of_any_length(coefficients), *others)
    taken: tuple[Weights, tf.Tensor] = graph(weights, columns, coefficients, *others)
    return taken


def _of_any_length(tensor: tf.Tensor | None) -> tf.TensorSpec | None:
    return None if tensor is None else tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)


@lru_cache(maxsize=32)
def _graph(stepper: Stepper) -> Any:
    # Not `in_graph`: that would come to leave the size of batches open, too, on which it depends whether an
    # in-batch softmax is worked out in parts.
    return tf.function(partial(stepper), autograph=False)
