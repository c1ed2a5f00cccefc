"""Training by mini-batches: of every model, with every gradient optimizer."""

from functools import cached_property, partial
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mfcore.engines import IdleAdam, TrainingJob, smaller_batches, smooth_from
from mfcore.optimizers import Adam, GradientOptimizer
from mfcore.specs import Floats
from mfcore_keras import devices
from mfcore_keras.compiling import compiled, compiles, in_graph
from mfcore_keras.gradients import Idle, Side, rested
from mfcore_keras.rows import Rows, Store
from mfcore_keras.steps import Columns, Stepper, take_in_graph
from mfcore_keras.stream import Instances, Keys, Stream

# What is trained in one call, after which an interrupt is noticed: at most so many instances, and so many
# multiplications of numbers, which take about a second.
INSTANCES_AT_ONCE, PRODUCTS_AT_ONCE = 1 << 18, 1 << 32
# Products that a number of a row, read and moved, takes the time of.
A_NUMBER_OF_A_ROW = 16
# A side's idle steps are put off where a batch touches less than this part of its rows.
FEW = 0.25


class Part(NamedTuple):
    """Some steps of an epoch.

    Attributes
    ----------
    start : int
        The position of the first instance.
    n_steps : int
    shape : tuple of two ints
        Of what is drawn for them, batches times instances: perhaps more than is needed, so that compiled
        functions are always called with the same shape.
    """

    start: int
    n_steps: int
    shape: tuple[int, int]


class BatchTrainer:
    """A job with a gradient optimizer.

    Parameters
    ----------
    job : TrainingJob
    compile : "auto", True or False
        As in `KerasBackend`.
    """

    def __init__(self, job: TrainingJob, *, compile: Literal["auto"] | bool = "auto") -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        self.job = job
        self.optimizer: GradientOptimizer = job.optimizer
        devices.offer_threads(job.threads)
        self.device = devices.device_of(job.device)
        self.is_compiled = compiles(job, compile)
        with devices.computing_on(self.device), self._memory_errors_explained():
            self.store = Store(job)
            self.stream = Stream(job)
            self.targets = tf.constant(job.targets)
            self.weights = None if job.weights is None else tf.constant(job.weights)
            self.log_q = tf.constant(job.log_q) if job.objective.pairing == "in-batch" else None
        self.is_resting = False
        self._train_compiled = compiled(self._train)
        self._draw_compiled = in_graph(partial(self._draw, compiled=compiled))
        self._train_and_draw_compiled = in_graph(self._train_and_draw)

    def run_epoch(self, epoch: int) -> float:
        """Train one epoch and return its mean objective."""
        whole, rest = self._parts(), self._rest_of_epoch()
        with devices.computing_on(self.device), self._memory_errors_explained():
            total = self._run_compiled(epoch, whole) if self.is_compiled else self._run(epoch, whole)
            total += self._run(epoch, rest)
            self._wake(self.optimizer.learning_rate_at(epoch))
        return total / self.job.n_instances

    def parameters(self) -> dict[str, Floats]:
        """Return copies of all parameters."""
        return self.store.parameters()

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the optimizer's state."""
        return self.store.optimizer_state()

    def _parts(self) -> list[Part]:
        """Return an epoch's batches of the job's size, in parts."""
        size, at_once = self.job.batch_size, self._batches_at_once
        n_whole = self.job.n_instances // size
        return [
            Part(first * size, min(at_once, n_whole - first), (at_once, size))
            for first in range(0, n_whole, at_once)
        ]

    def _rest_of_epoch(self) -> list[Part]:
        """Return the last batch, where it is shorter than the others."""
        left = self.job.n_instances % self.job.batch_size
        return [Part(self.job.n_instances - left, 1, (1, left))] if left else []

    def _run(self, epoch: int, parts: list[Part]) -> float:
        """Take the steps of some parts of an epoch; return their objectives, summed over the instances."""
        keys, total = self.stream.keys(epoch), 0.0
        for part in parts:
            columns = self._draw(self._places(epoch, part), keys, part.shape)
            total += float(self._train(columns, *self._steps(epoch, part)))
            self.store.step += part.n_steps
        return total

    def _run_compiled(self, epoch: int, parts: list[Part]) -> float:
        """Do the same by compiled functions; what a part shows is drawn while that before it is trained."""
        keys, total = self.stream.keys(epoch), 0.0
        columns = self._draw_compiled(self._places(epoch, parts[0]), keys, parts[0].shape)
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            steps = self._steps(epoch, part)
            if following is None:
                total += float(self._train_compiled(columns, *steps))
            else:
                places = self._places(epoch, following)
                objective, columns = self._train_and_draw_compiled(columns, steps, places, keys)
                total += float(objective)
            self.store.step += part.n_steps
        return total

    def _places(self, epoch: int, part: Part) -> tf.Tensor:
        return self.stream.places(epoch, part.start, part.shape[0] * part.shape[1])

    def _steps(self, epoch: int, part: Part) -> tuple[Any, ...]:
        """Return what `_train` takes beside the batches, to take the steps of a part."""
        rate = self.optimizer.learning_rate_at(epoch)
        return (
            self._coefficients(rate, part.shape[0]),
            tf.constant(part.n_steps),
            tf.constant(self.store.step, tf.int64),
            self._rest(rate),
        )

    def _train_and_draw(
        self, columns: Columns, steps: tuple[Any, ...], places: tf.Tensor, keys: Keys
    ) -> tuple[tf.Tensor, Columns]:
        """Train on some batches, and draw the next ones: at the same time, as neither waits for the other."""
        return self._train_compiled(columns, *steps), self._draw_compiled(places, keys, columns.users.shape)

    def _train(
        self,
        columns: Columns,
        coefficients: tf.Tensor,
        n_steps: tf.Tensor,
        done: tf.Tensor,
        idle: Idle | None,
    ) -> tf.Tensor:
        """Take steps; return the objective before each, summed over the instances; see `Stepper`."""
        stepper = self._stepper(idle is not None)
        call = stepper if tf.inside_function() else partial(take_in_graph, stepper)
        weights, total = call(
            self.store.read(), columns, coefficients, n_steps, done, idle, self.store.constants
        )
        self.store.assign(weights)
        return total

    def _draw(self, places: tf.Tensor, keys: Keys, shape: tuple[int, int], compiled: Any = None) -> Columns:
        """Return the batches at some places of an epoch, so many of one size."""
        numbers = self.stream.numbers(places, shape[0] * shape[1], keys, compiled)
        look_up = partial(self._look_up, shape=shape)
        columns: Columns = (look_up if compiled is None else compiled(look_up))(numbers, keys)
        return columns

    def _look_up(self, numbers: tf.Tensor, keys: Keys, shape: tuple[int, int]) -> Columns:
        """Return the instances of some numbers as batches."""
        instances = self.stream.look_up(numbers, keys)
        items = [instances.items] if instances.negatives is None else [instances.items, instances.negatives]

        def cut(column: tf.Tensor) -> tf.Tensor:
            return tf.reshape(column, shape)

        return Columns(
            users=cut(tf.cast(instances.users, tf.int32)),
            items=tf.concat([cut(tf.cast(column, tf.int32)) for column in items], axis=1),
            targets=cut(self._at(self.targets, instances, 0.0)),
            weights=None if self.weights is None else cut(self._at(self.weights, instances, 1.0)),
            log_q=None if self.log_q is None else cut(tf.gather(self.log_q, instances.items)),
        )

    def _at(self, numbers: tf.Tensor, instances: Instances, of_negatives: float) -> tf.Tensor:
        """Return a number of each instance, given those of the interactions."""
        found = tf.gather(numbers, instances.interactions)
        if not self.job.sampling.n_negatives:
            return found
        return tf.where(instances.positive, found, tf.constant(of_negatives, found.dtype))

    def _coefficients(self, learning_rate: float, n_steps: int) -> tf.Tensor:
        steps = range(self.store.step + 1, self.store.step + 1 + n_steps)
        table = [self.optimizer.coefficients(step, learning_rate) for step in steps]
        return tf.constant(np.array(table, dtype=self.job.dtype))

    def _stepper(self, is_resting: bool) -> Stepper:
        """Return what takes the steps, now that idle ones are put off, or not yet."""
        users, items = self._sides
        if not is_resting:
            users, items = (
                side._replace(moves="all") if side.moves == "resting" else side for side in (users, items)
            )
        return Stepper.of(self.job, self.store, users, items)

    @cached_property
    def _sides(self) -> tuple[Side, Side]:
        """How the rows of users and of items are moved, as soon as idle steps can be put off."""
        job = self.job
        n_items, n_slots = job.batch_size * (2 if job.sampling.paired else 1), len(self.store.slots)
        moves = self._moves(job.batch_size, job.data.n_users), self._moves(n_items, job.data.n_items)
        return (
            Side(self.store.users, moves[0], job.data.n_users, n_slots),
            Side(self.store.items, moves[1], job.data.n_items, n_slots),
        )

    def _moves(self, n_touched: int, n_rows: int) -> Literal["all", "touched", "resting"]:
        optimizer = self.optimizer
        if optimizer.sparse:
            return "touched" if n_touched < n_rows else "all"
        rests = (
            isinstance(optimizer, Adam)
            and self.job.dtype == np.float32
            and n_touched < FEW * n_rows
            and smooth_from(optimizer) is not None
        )
        return "resting" if rests else "all"

    def _rest(self, learning_rate: float) -> Idle | None:
        """Return what it takes to put idle steps off, or None where every step moves all rows."""
        resting = self._resting
        idle = self._idle(learning_rate) if resting else None
        if idle is not None and not self.is_resting:
            for rows in resting:
                rows.latest.assign(tf.fill(rows.latest.shape, tf.constant(self.store.step, tf.int64)))
            self.is_resting = True
        return idle

    @property
    def _resting(self) -> list[Rows]:
        """The variables of the sides whose idle steps are put off."""
        variables = (self.store.variables.users, self.store.variables.items)
        return [rows for side, rows in zip(self._sides, variables, strict=True) if side.moves == "resting"]

    def _idle(self, learning_rate: float) -> Idle | None:
        optimizer = self.optimizer
        assert isinstance(optimizer, Adam)
        kept = float(self.job.dtype.type(optimizer.coefficients(1, learning_rate)[-1]))
        summed = IdleAdam.make(optimizer, learning_rate, kept)
        if summed is None or self.store.step < summed.smooth_from:
            return None
        return Idle(
            sums=tf.constant(summed.sums.transpose(0, 2, 1).reshape(len(summed.sums), -1), self.job.dtype),
            kept=tf.constant(np.log([kept, optimizer.beta_1, optimizer.beta_2]), self.job.dtype),
            scale=tf.constant(summed.scale, self.job.dtype),
            epsilon=tf.constant(optimizer.epsilon, self.job.dtype),
        )

    def _wake(self, learning_rate: float) -> None:
        """Make up for all steps that were put off."""
        if not self.is_resting:
            return
        idle = self._idle(learning_rate)
        assert idle is not None
        for rows in self._resting:
            step = tf.constant(self.store.step, tf.int64)
            rows.numbers.assign(rested(rows.numbers, rows.latest, step, idle))
        self.is_resting = False

    @cached_property
    def _batches_at_once(self) -> int:
        """Return how many batches are drawn and trained in one call: about as many in each."""
        n_batches = max(1, self.job.n_instances // self.job.batch_size)
        most = min(INSTANCES_AT_ONCE // self.job.batch_size, PRODUCTS_AT_ONCE // self._products_of_a_step())
        return -(-n_batches // -(-n_batches // max(1, most)))

    def _products_of_a_step(self) -> int:
        """Return about how many multiplications a step takes the time of."""
        job, store = self.job, self.store
        n_pairs = job.batch_size * (2 if job.sampling.paired else 1)
        width, moved = sum(store.users.sizes) + sum(store.items.sizes), 0
        for side in self._sides:
            n_rows = side.nobody if side.moves == "all" else n_pairs
            moved += n_rows * sum(side.fields.sizes)
        pairs = n_pairs * (sum(store.dense.sizes) + A_NUMBER_OF_A_ROW * width)
        matrix = job.batch_size**2 * width if job.objective.pairing == "in-batch" else 0
        return pairs + A_NUMBER_OF_A_ROW * moved + matrix

    def _memory_errors_explained(self) -> Any:
        return devices.memory_errors_explained(
            self.device,
            self._needed(),
            smaller_batches(self.job.batch_size, on_cpu=self.device.startswith("CPU")),
        )

    def _needed(self) -> dict[str, int]:
        """Return about what takes how many bytes."""
        job, width = self.job, self.job.dtype.itemsize
        n_numbers = sum(array.size for array in job.parameters.values())
        in_a_row = sum(array.shape[-1] if array.ndim > 1 else 1 for array in job.parameters.values())
        n_pairs = job.batch_size * (2 if job.sampling.paired else 1)
        return {
            "parameters and optimizer state": n_numbers * (1 + len(self.optimizer.slot_names)) * width,
            "training data": len(job.data) * (8 + width) + 4 * len(job.data.seen.indices),
            "a batch": n_pairs * 12 * in_a_row * width,
        }
