"""The gradients of a batch on tensors: its rows are read, caught up, and given to the core's definition."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import tensorflow as tf

from mfcore.engines import (
    BatchProblem,
    CatchUpTables,
    GatheredBatch,
    batch_gradients,
    catch_up,
    dense_decay,
)
from mfcore_keras.batch_rows import BatchRows, find_owners
from mfcore_keras.operators import TENSORFLOW
from mfcore_keras.tables import SideTable

InParts = Callable[[Callable[[Any], tuple[tf.Tensor, ...]]], tuple[tf.Tensor, ...]]


class BatchTensors(NamedTuple):
    """One batch of n instances.

    Attributes
    ----------
    users : int tensor [n]
    items : int tensor [n], or [2 n]
        Rows; those of the negatives of a pairwise objective come after.
    targets : tensor [n], or None
        Of a pointwise objective.
    weights : tensor [n], or None for 1
    log_q : tensor [n], or None
        What is subtracted from the items' logits, of an in-batch objective.
    """

    users: tf.Tensor
    items: tf.Tensor
    targets: tf.Tensor | None
    weights: tf.Tensor | None
    log_q: tf.Tensor | None


class Side(NamedTuple):
    """How the rows of a side are moved.

    Attributes
    ----------
    updates : "all", "batch" or "deferred"
        Of all rows, with gradient 0 where the batch does not use them; of the batch's rows alone; or of
        these, after they have caught up with the steps that they missed.
    padding_row : int
        The number of the padding row, which is that of rows.
    n_slots : int
        Of the optimizer.
    """

    updates: Literal["all", "batch", "deferred"]
    padding_row: int
    n_slots: int


class BatchGradients(NamedTuple):
    """The gradients of a batch's mean objective.

    Attributes
    ----------
    objective : float64 tensor []
        Summed over the batch's instances.
    users, items : tensors [n, width], [n or 2 n, width]
        Of each pair.
    dense : tensor [n_dense]
    """

    objective: tf.Tensor
    users: tf.Tensor
    items: tf.Tensor
    dense: tf.Tensor


def read_rows(
    side: Side,
    table: SideTable,
    marks: tf.Tensor,
    rows: tf.Tensor,
    number: tf.Tensor,
    tables: CatchUpTables | None,
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...], BatchRows]:
    """Return what a step is to move of a side, as the step `number` left it.

    Parameters
    ----------
    side : Side
    table : SideTable
    marks : int tensor [n_rows + 1]
        Room for `find_owners` to work in.
    rows : int tensor [n]
        Of each pair of the batch.
    number : int64 tensor []
        The step before.
    tables : CatchUpTables, or None
        Given where updates are deferred.

    Returns
    -------
    marks
    tuple of 1 + n_slots tensors
        Parameters and slots of all rows, or of each pair's, [n, width].
    BatchRows
    """
    if side.updates == "all":
        return marks, table.numbers, BatchRows(rows, None)
    marks, owned = find_owners(marks, rows)
    numbers = tf.gather(table.numbers, rows)
    if side.updates == "deferred":
        assert tables is not None
        numbers = _caught_up_once(numbers, tf.gather(table.latest, rows), number, tables)
    return marks, tuple(tf.split(numbers, 1 + side.n_slots, axis=1)), owned


def find_gradients(
    problem: BatchProblem,
    batch: BatchTensors,
    users: tf.Tensor,
    items: tf.Tensor,
    dense: tf.Tensor,
    *,
    constants: dict[str, tf.Tensor],
    pairs_at_once: int,
) -> BatchGradients:
    """Return the gradients of a batch.

    Parameters
    ----------
    problem : BatchProblem
    batch : BatchTensors
        Of known size.
    users, items : tensors [n, width], [n or 2 n, width]
        The rows of each pair, packed.
    dense : tensor [n_dense]
    constants : dict of str to tensor
        The parameters without a side that training leaves alone.
    pairs_at_once : int
        See `Limits`.
    """
    n, pairing = batch.users.shape[0], problem.objective.pairing
    paired = pairing == "pairwise"
    gathered = GatheredBatch(
        users=users,
        items=items[:n] if paired else items,
        dense=dense,
        constants=constants,
        negatives=items[n:] if paired else None,
        targets=batch.targets,
        weights=batch.weights,
    )
    parts = None
    if pairing == "in-batch":
        every = tf.range(n)
        gathered = gathered._replace(positions=every, every=every, item_rows=batch.items, log_q=batch.log_q)
        parts = in_parts(n, max(1, pairs_at_once // n))
    gradients = batch_gradients(TENSORFLOW, problem, gathered, n=n, in_parts=parts)
    objective, grad_items, grad_dense = gradients.objective, gradients.items, gradients.dense
    if gradients.negatives is not None:
        grad_items = tf.concat([grad_items, gradients.negatives], axis=0)
    if problem.l2_dense:
        decay, penalty = dense_decay(TENSORFLOW, problem, dense)
        objective, grad_dense = objective + n * penalty, grad_dense + decay
    return BatchGradients(objective, gradients.users, grad_items, grad_dense)


def in_parts(n: int, size: int) -> InParts | None:
    """Return what works an in-batch objective of n instances out for `size` of them at a time.

    None where that is all of them; see `mfcore.engines.batch_gradients`.
    """
    if size >= n:
        return None

    def run(part: Callable[[Any], tuple[tf.Tensor, ...]]) -> tuple[tf.Tensor, ...]:
        # Traced once, before the loop: that tells the shapes of what the parts add up to.
        whole = tf.function(part, autograph=False).get_concrete_function(tf.TensorSpec([size], tf.int32))
        loss, of_some, *others = whole.outputs
        shapes = [loss.shape, [n, of_some.shape[1]], *(one.shape for one in others)]
        zeros = [tf.zeros(shape, one.dtype) for shape, one in zip(shapes, whole.outputs, strict=True)]

        def add(part: Any, positions: tf.Tensor, total: tf.Tensor, grad_users: tf.Tensor, *sums: Any) -> Any:
            loss, of_some, *others = part(positions)
            return (
                total + loss,
                tf.tensor_scatter_nd_update(grad_users, positions[:, None], of_some),
                *(one + other for one, other in zip(sums, others, strict=True)),
            )

        _, *results = tf.while_loop(
            lambda start, *_: start <= n - size,
            lambda start, *sums: (start + size, *add(whole, start + tf.range(size), *sums)),
            (0, *zeros),
        )
        return tuple(add(part, tf.range(n - n % size, n), *results) if n % size else results)

    return run


def caught_up(numbers: tf.Tensor, latest: tf.Tensor, number: tf.Tensor, tables: CatchUpTables) -> tf.Tensor:
    """Return rows with slots after the steps from `latest` to `number`, none of which used them."""
    n_steps = number - latest

    def column(steps: tf.Tensor) -> tf.Tensor:
        return tf.cast(steps, numbers.dtype)[:, None]

    parameter, first, second = tf.split(numbers, 3, axis=1)
    moved = catch_up(
        TENSORFLOW,
        (parameter, first, second),
        latest=column(latest),
        steps=column(n_steps),
        n_steps=n_steps,
        tables=tables,
    )
    return tf.concat(moved, axis=1)


def _caught_up_once(
    numbers: tf.Tensor, latest: tf.Tensor, number: tf.Tensor, tables: CatchUpTables
) -> tf.Tensor:
    """Return `caught_up` rows in such a way that XLA works them out once, and not wherever they are used.

    It does not look into a loop of which it cannot tell that it runs a single time.
    """
    _, numbers = tf.while_loop(
        lambda done, _: done < tf.minimum(number, 1),
        lambda done, numbers: (done + 1, caught_up(numbers, latest, number, tables)),
        (tf.zeros_like(number), numbers),
    )
    return numbers
