"""One step: the gradients of a batch are worked out, those of a row added up, and the rule moves it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import tensorflow as tf

from mfcore.contract import TrainingJob
from mfcore.optimizers import SGD, Adagrad, Adam, GradientOptimizer, RMSprop
from mfcore_keras.compiling import in_graph
from mfcore_keras.gradients import Batch, Differentiator, Found, Gradients, Idle, Marks, Side
from mfcore_keras.rows import Rows, Store, Weights

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
            dense=self._moved(weights.dense[None], gradients.dense[None], c)[0],
        )

    def _move(self, side: Side, rows: Rows, found: Found, c: tf.Tensor, number: tf.Tensor) -> Rows:
        """Return the rows of a side after the step."""
        summed = found.touched.add_up(found.gradients, side.nobody + 1)
        numbers = self._moved(found.numbers, summed, c)
        if side.moves == "all":
            if self.sparse:
                numbers = tf.where(found.touched.mask(side.nobody + 1)[:, None, None], numbers, found.numbers)
            return rows._replace(numbers=numbers)
        kept = found.touched.kept(side.nobody)[:, None]
        numbers = tf.tensor_scatter_nd_update(rows.numbers, kept, numbers)
        if side.moves == "touched":
            return rows._replace(numbers=numbers)
        return Rows(
            numbers, tf.tensor_scatter_nd_update(rows.latest, kept, tf.fill(tf.shape(kept)[:1], number))
        )

    def _moved(self, numbers: tf.Tensor, gradient: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
        """Return parameters and slots, [m, 1 + n_slots, width], after the step."""
        parameter, *slots = tf.unstack(numbers, axis=1)
        first, second = [*slots, 0.0, 0.0][:2]
        after = self.kind.rule(tf.sqrt)(parameter, gradient, first, second, tf.unstack(c))
        return tf.stack(after[: 1 + len(slots)], axis=1)


@dataclass(frozen=True, eq=False)
class Stepper:
    """What takes the steps of a job.

    Attributes
    ----------
    differentiate : Differentiator, or a function that does the same
    move : Mover, or a function that does the same
    constants : dict of str to tensor
        The parameters without a side that training leaves alone.
    n_rows : tuple of two ints
        Of users and items, that of nobody included.
    """

    differentiate: Callable[..., tuple[Marks, Gradients]]
    move: Callable[..., Weights]
    constants: dict[str, tf.Tensor]
    n_rows: tuple[int, int]

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
            n_rows=(users.nobody + 1, items.nobody + 1),
        )

    def marks(self) -> Marks:
        """Return the marks before the first step."""
        return Marks(*(tf.zeros(n, tf.int32) for n in self.n_rows))

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
