"""One step: the gradients of a batch are worked out, those of a row added up, and the rule moves it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import tensorflow as tf

from mfcore.contract import TrainingJob
from mfcore.optimizers import SGD, Adagrad, Adam, GradientOptimizer, RMSprop
from mfcore_keras.compiling import in_graph
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


@dataclass(frozen=True, eq=False)
class Stepper:
    """What takes the steps of a job.

    Attributes
    ----------
    differentiate : Differentiator, or a function that does the same
    move : Mover, or a function that does the same
    constants : dict of str to tensor
        The parameters without a side that training leaves alone.
    sides : tuple of two Sides
        Of users and items.
    """

    differentiate: Callable[..., tuple[Marks, Gradients]]
    move: Callable[..., Weights]
    constants: dict[str, tf.Tensor]
    sides: tuple[Side, Side]

    @classmethod
    def of(cls, job: TrainingJob, store: Store, users: Side, items: Side, *, is_compiled: bool) -> "Stepper":
        """Return what takes the steps of a job, given how the rows of its sides are moved.

        Where they are not compiled, its parts are graphs, shared by all jobs whose parts are equal.
        """
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
        move = Mover(type(optimizer), optimizer.sparse, users, items)
        return cls(
            differentiate=differentiate if is_compiled else _traced(differentiate),
            move=move if is_compiled else _traced(move),
            constants=store.constants,
            sides=(users, items),
        )

    def opened(self, weights: Weights) -> Weights:
        """Return the weights as steps take them."""
        return self._changed(weights, partial(apart, n_slots=self.sides[0].n_slots))

    def closed(self, weights: Weights) -> Weights:
        """Return the weights as they are kept between calls."""
        return self._changed(weights, together)

    def _changed(self, weights: Weights, change: Callable[[Rows], Rows]) -> Weights:
        users, items = (
            change(rows) if side.moves == "all" else rows
            for side, rows in zip(self.sides, (weights.users, weights.items), strict=True)
        )
        return weights._replace(users=users, items=items)

    def marks(self) -> Marks:
        """Return the marks before the first step."""
        return Marks(*(tf.zeros(side.nobody + 1, tf.int32) for side in self.sides))

    def step(
        self, weights: Weights, marks: Marks, batch: Batch, c: tf.Tensor, number: tf.Tensor, idle: Idle | None
    ) -> tuple[Weights, Marks, tf.Tensor]:
        """Take a step; return what it moved, and the objective before it, summed over the batch, float64.

        Parameters
        ----------
        weights : Weights
        marks : Marks
        batch : Batch
        c : tensor [n_coefficients]
            The rule's coefficients of this step.
        number : int64 tensor []
            Of this step, counted from 1.
        idle : Idle, or None
            Given where idle steps are put off.
        """
        marks, gradients = self.differentiate(weights, marks, batch, number, idle, self.constants)
        return self.move(weights, gradients, c, number), marks, gradients.objective


@lru_cache(maxsize=32)
def _traced(function: Any) -> Callable[..., Any]:
    return in_graph(function)
