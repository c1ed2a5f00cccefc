"""What a batch is to move, and where to: its rows are read and scored, and derivatives go back to them."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from mfcore.engines import N_TERMS, rest
from mfcore.objectives import InBatchSoftmax, Objective, Pointwise
from mfcore.specs import ModelSpec
from mfcore_keras import losses, scores
from mfcore_keras.rows import Fields, Rows, Weights
from mfcore_keras.touched import Touched, touch

# Pairs of the in-batch softmax that are scored together.
PAIRS_AT_ONCE = 1 << 22


class Batch(NamedTuple):
    """One batch of n instances.

    Attributes
    ----------
    users : int tensor [n]
    items : int tensor [n], or [2 n]
        Rows; those of the negatives of a pairwise objective come after.
    targets : tensor [n]
    weights : tensor [n], or None for 1
    log_q : tensor [n], or None
        What is subtracted from the items' logits, for the in-batch softmax.
    """

    users: tf.Tensor
    items: tf.Tensor
    targets: tf.Tensor
    weights: tf.Tensor | None
    log_q: tf.Tensor | None


class Idle(NamedTuple):
    """What it takes to make up for idle steps; see `mfcore.engines.deferred_updates`.

    Attributes
    ----------
    sums : tensor [n_fading + 1, 6 * 4]
        Term by term, as rows of numbers are read fastest.
    kept : tensor [3]
        The logarithms of what a step leaves of a parameter and of its slots, its own move aside.
    scale : tensor []
        The polynomials' argument at beta_2^t is scale * beta_2^t / (1 - beta_2^t).
    epsilon : tensor []
    """

    sums: tf.Tensor
    kept: tf.Tensor
    scale: tf.Tensor
    epsilon: tf.Tensor


class Marks(NamedTuple):
    """Room for `touch` to work in, of users and of items: int tensors [n_rows + 1]."""

    users: tf.Tensor
    items: tf.Tensor


class Side(NamedTuple):
    """How the rows of a side are moved.

    Attributes
    ----------
    fields : Fields
    moves : "all", "touched" or "resting"
        All rows, with gradient 0 where the batch does not touch them; only touched ones; or these, after the
        steps that they have missed were made up for.
    nobody : int
        The number of the row of nobody, which is that of rows.
    n_slots : int
        Of the optimizer.
    """

    fields: Fields
    moves: str
    nobody: int
    n_slots: int


class Found(NamedTuple):
    """The rows of a side that a batch moves.

    Attributes
    ----------
    numbers : tuple of 1 + n_slots tensors [m, width]
        Parameters and slots of all rows, or of one for each of n pairs.
    gradients : tensor [n, width]
        Of each pair.
    touched : Touched
    """

    numbers: tuple[tf.Tensor, ...]
    gradients: tf.Tensor
    touched: Touched


class Gradients(NamedTuple):
    """What a batch makes of the weights.

    Attributes
    ----------
    objective : float64 tensor []
        Summed over the batch's instances.
    users, items : Found
    dense : tensor [n_dense]
        The gradient.
    """

    objective: tf.Tensor
    users: Found
    items: Found
    dense: tf.Tensor


@dataclass(frozen=True)
class Differentiator:
    """From weights and a batch to gradients; equal ones do the same.

    Attributes
    ----------
    spec : ModelSpec
    objective : Objective
    l2, l2_dense : float
    users, items : Side
    dense : Fields
    """

    spec: ModelSpec
    objective: Objective
    l2: float
    l2_dense: float
    users: Side
    items: Side
    dense: Fields

    def __call__(
        self,
        weights: Weights,
        marks: Marks,
        batch: Batch,
        number: tf.Tensor,
        idle: Idle | None,
        constants: dict[str, tf.Tensor],
    ) -> tuple[Marks, Gradients]:
        """Return the gradients of step `number`, an int64 counted from 1, with the rows as it finds them."""
        user_marks, user_numbers, users = read(
            self.users, weights.users, marks.users, batch.users, number - 1, idle
        )
        item_marks, item_numbers, items = read(
            self.items, weights.items, marks.items, batch.items, number - 1, idle
        )
        of_users, of_items = (
            tf.gather(numbers[0], batch_rows) if side.moves == "all" else numbers[0]
            for side, numbers, batch_rows in (
                (self.users, user_numbers, batch.users),
                (self.items, item_numbers, batch.items),
            )
        )
        pair = self._in_batch if isinstance(self.objective, InBatchSoftmax) else self._by_pairs
        objective, by_users, by_items, by_dense = pair(of_users, of_items, weights.dense[0], batch, constants)
        n = tf.size(batch.users)
        if self.l2:
            share = self.l2 / tf.cast(n, of_users.dtype)
            by_users, by_items = by_users + share * of_users, by_items + share * of_items
            for pairs in (of_users, of_items):
                objective += 0.5 * self.l2 * tf.reduce_sum(tf.cast(pairs**2, tf.float64))
        if self.l2_dense:
            decayed = tf.constant(self.l2_dense * self.dense.decays, by_dense.dtype) * weights.dense[0]
            by_dense += decayed
            penalty = tf.reduce_sum(tf.cast(decayed * weights.dense[0], tf.float64))
            objective += 0.5 * tf.cast(n, tf.float64) * penalty
        return Marks(user_marks, item_marks), Gradients(
            objective, Found(user_numbers, by_users, users), Found(item_numbers, by_items, items), by_dense
        )

    def _by_pairs(
        self, users: tf.Tensor, items: tf.Tensor, dense: tf.Tensor, batch: Batch, constants: Any
    ) -> tuple[tf.Tensor, ...]:
        """Return objective and gradients where an instance is a pair, or the difference of two."""
        n = tf.size(batch.users)

        def score(users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
            split = self.users.fields.split(users), self.items.fields.split(items)
            return scores.score_rows(self.spec, *split, {**self.dense.split(dense), **constants})

        with tf.GradientTape() as tape:
            tape.watch((users, items, dense))
            if self.objective.pairing == "pairwise":
                # Apart: what both have in common cancels to the last bit, or Adam would follow the rounding.
                found = score(users, items[:n]) - score(users, items[n:])
            else:
                found = score(users, items)
        if self.objective.pairing == "pairwise":
            loss, slopes = losses.pairwise(found)
        else:
            assert isinstance(self.objective, Pointwise)
            loss, slopes = losses.pointwise(self.objective, self.spec.output, found, batch.targets)
            if batch.weights is not None:
                loss, slopes = loss * batch.weights, slopes * batch.weights
        gradients = _pulled_back(tape, found, (users, items, dense), slopes / tf.cast(n, slopes.dtype))
        return tf.reduce_sum(tf.cast(loss, tf.float64)), *gradients

    def _in_batch(
        self, users: tf.Tensor, items: tf.Tensor, dense: tf.Tensor, batch: Batch, constants: Any
    ) -> tuple[tf.Tensor, ...]:
        """Return the same where an instance is a row of the matrix of all users and items of the batch."""
        with tf.GradientTape() as tape:
            tape.watch((users, items, dense))
            # What is added to all scores of a user cancels.
            of_users, of_items, _, offsets = scores.ends(
                self.spec,
                self.users.fields.split(users),
                self.items.fields.split(items),
                {**self.dense.split(dense), **constants},
            )
        ends = (of_users, of_items) if offsets is None else (of_users, of_items, offsets)
        objective, slopes = self._slopes(*ends, batch=batch)
        share = tf.cast(tf.size(batch.users), users.dtype)
        upstream = [slope / share for slope in slopes[: len(ends)]]
        return objective, *_pulled_back(tape, ends, (users, items, dense), upstream)

    def _slopes(
        self, of_users: tf.Tensor, of_items: tf.Tensor, offsets: Any = 0.0, *, batch: Batch
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        """Return the sum of the losses, and its derivatives by the users' ends, the items', and the offsets.

        The matrix of the scores is worked out for some users at a time, where the batch is of known size.
        """
        objective = self.objective
        assert isinstance(objective, InBatchSoftmax)

        def add(places: tf.Tensor, total: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            part = tf.gather(of_users, places)
            found = tf.matmul(part, of_items, transpose_b=True) + offsets
            loss, slopes = losses.in_batch(objective, found, places, batch.items, batch.log_q)
            by_users, by_items, by_offsets = sums
            return (
                total + tf.reduce_sum(tf.cast(loss, tf.float64)),
                tf.tensor_scatter_nd_update(by_users, places[:, None], slopes @ of_items),
                by_items + tf.matmul(slopes, part, transpose_a=True),
                by_offsets + tf.reduce_sum(slopes, axis=0),
            )

        sums: Any = (
            tf.zeros([], tf.float64),
            tf.zeros_like(of_users),
            tf.zeros_like(of_items),
            tf.zeros_like(of_items[:, 0]),
        )
        n = of_users.shape[0]
        size = n if n is None or n * n <= PAIRS_AT_ONCE else max(1, PAIRS_AT_ONCE // n)
        if size == n:
            total, *slopes = add(tf.range(tf.size(batch.users)), *sums)
            return total, tuple(slopes)
        _, *sums = tf.while_loop(
            lambda part, *_: part < n // size,
            lambda part, *sums: (part + 1, *add(part * size + tf.range(size), *sums)),
            (0, *sums),
        )
        if n % size:
            sums = add(tf.range(n - n % size, n), *sums)
        total, *slopes = sums
        return total, tuple(slopes)


def read(
    side: Side, rows: Rows, marks: tf.Tensor, touched: tf.Tensor, number: tf.Tensor, idle: Idle | None
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...], Touched]:
    """Return the marks, what a batch is to move as step `number` leaves it, and what it touches."""
    if side.moves == "all":
        return marks, rows.numbers, Touched(touched, None)
    marks, owned = touch(marks, touched)
    numbers = tf.gather(rows.numbers, touched)
    if side.moves == "resting":
        assert idle is not None
        numbers = _rested_once(numbers, tf.gather(rows.latest, touched), number, idle)
    return marks, tuple(tf.split(numbers, 1 + side.n_slots, axis=1)), owned


def rested(numbers: tf.Tensor, latest: tf.Tensor, number: tf.Tensor, idle: Idle) -> tf.Tensor:
    """Return rows after the steps from `latest` to `number`, none of which touched them."""
    parameter, first, second = tf.split(numbers, 3, axis=1)
    n_steps, dtype = number - latest, numbers.dtype
    decay = tf.exp(idle.kept[2] * tf.cast(latest, dtype))
    place = (idle.scale * decay / (1 - decay))[:, None]
    terms = tf.split(
        tf.gather(idle.sums, tf.minimum(n_steps, tf.shape(idle.sums, tf.int64)[0] - 1)), N_TERMS, axis=1
    )
    sums = terms[-1]
    for term in terms[-2::-1]:
        sums = sums * place + term
    beta_2 = tf.exp(idle.kept[2])
    start = tf.sqrt(beta_2 / (1 - beta_2 * decay))
    kept = tf.exp(idle.kept * tf.cast(n_steps, dtype)[:, None])
    c = [
        start[:, None],
        *tf.split(sums, sums.shape[1], axis=1),
        idle.epsilon,
        *tf.split(kept, 3, axis=1),
        tf.ones([], dtype),
    ]
    return tf.concat(rest(tf.sqrt)(parameter, first, second, c), axis=1)


def _rested_once(numbers: tf.Tensor, latest: tf.Tensor, number: tf.Tensor, idle: Idle) -> tf.Tensor:
    """Return `rested` rows in such a way that XLA works them out once, and not again wherever they are used.

    It does not look into a loop of which it cannot tell that it runs a single time.
    """
    _, numbers = tf.while_loop(
        lambda done, _: done < tf.minimum(number, 1),
        lambda done, numbers: (done + 1, rested(numbers, latest, number, idle)),
        (tf.zeros_like(number), numbers),
    )
    return numbers


def _pulled_back(tape: tf.GradientTape, value: Any, inputs: Any, upstream: Any) -> tuple[tf.Tensor, ...]:
    """Return the derivatives by the inputs, given those by the value."""
    zero = tf.UnconnectedGradients.ZERO
    return tuple(tape.gradient(value, inputs, output_gradients=upstream, unconnected_gradients=zero))
