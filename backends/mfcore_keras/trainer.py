"""Training by mini-batches: of every model, with every gradient optimizer."""

from functools import cached_property, partial
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mfcore.engines import (
    BatchProblem,
    CatchUpTables,
    DeferredAdam,
    TrainingJob,
    defers,
    smaller_batches,
)
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import Floats
from mfcore_keras import devices
from mfcore_keras.compiling import compiled, compiles, in_graph
from mfcore_keras.gradients import Side, caught_up
from mfcore_keras.limits import Limits
from mfcore_keras.steps import Batches, Stepper, take_in_graph
from mfcore_keras.stream import InstanceTensors, Keys, Stream
from mfcore_keras.tables import ParameterStore, SideTable

# Products that a number of a row, read and moved, takes the time of.
A_NUMBER_OF_A_ROW = 16


class StepRange(NamedTuple):
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


class TensorFlowTrainer:
    """A job with a gradient optimizer.

    Parameters
    ----------
    job : TrainingJob
    compile : "auto", True or False
    limits : Limits
        As in `KerasBackend`.
    """

    def __init__(self, job: TrainingJob, *, compile: Literal["auto"] | bool, limits: Limits) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        self.job = job
        self.limits = limits
        self.optimizer: GradientOptimizer = job.optimizer
        devices.offer_threads(job.threads)
        self.device = devices.device_of(job.device)
        self.is_compiled = compiles(job, compile, limits)
        with devices.computing_on(self.device), self._memory_errors_explained():
            self.store = ParameterStore(job)
            self.stream = Stream(job)
            self.targets = tf.constant(job.targets) if job.objective.pairing == "pointwise" else None
            self.weights = None if job.weights is None else tf.constant(job.weights)
            self.log_q = tf.constant(job.log_q) if job.objective.pairing == "in-batch" else None
        self.is_deferring = False
        self._catch_up: CatchUpTables | None = None
        self._smooth_from = 0
        self._train_compiled = compiled(self._train)
        self._draw_compiled = in_graph(partial(self._draw, compiled=compiled))
        self._train_and_draw_compiled = in_graph(self._train_and_draw)

    def run_epoch(self, epoch: int) -> float:
        """Train one epoch and return its mean objective."""
        whole, rest = self._parts(), self._rest_of_epoch()
        with devices.computing_on(self.device), self._memory_errors_explained():
            self._plan(self.optimizer.learning_rate_at(epoch))
            total = self._run_compiled(epoch, whole) if self.is_compiled else self._run(epoch, whole)
            total += self._run(epoch, rest)
            self._catch_up_all()
        return total / self.job.n_instances

    def parameters(self) -> dict[str, Floats]:
        """Return copies of all parameters."""
        return self.store.parameters()

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the optimizer's state."""
        return self.store.optimizer_state()

    def _parts(self) -> list[StepRange]:
        """Return an epoch's batches of the job's size, in parts."""
        size, at_once = self.job.batch_size, self._batches_at_once
        n_whole = self.job.n_instances // size
        return [
            StepRange(first * size, min(at_once, n_whole - first), (at_once, size))
            for first in range(0, n_whole, at_once)
        ]

    def _rest_of_epoch(self) -> list[StepRange]:
        """Return the last batch, where it is shorter than the others."""
        left = self.job.n_instances % self.job.batch_size
        return [StepRange(self.job.n_instances - left, 1, (1, left))] if left else []

    def _run(self, epoch: int, parts: list[StepRange]) -> float:
        """Take the steps of some parts of an epoch; return their objectives, summed over the instances."""
        keys, total = self.stream.keys(epoch), 0.0
        for part in parts:
            batches = self._draw(self._positions(epoch, part), keys, part.shape)
            total += float(self._train(batches, *self._steps(epoch, part)))
            self.store.step += part.n_steps
        return total

    def _run_compiled(self, epoch: int, parts: list[StepRange]) -> float:
        """Do the same by compiled functions; what a part shows is drawn while that before it is trained."""
        keys, total = self.stream.keys(epoch), 0.0
        batches = self._draw_compiled(self._positions(epoch, parts[0]), keys, parts[0].shape)
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            steps = self._steps(epoch, part)
            if following is None:
                total += float(self._train_compiled(batches, *steps))
            else:
                positions = self._positions(epoch, following)
                objective, batches = self._train_and_draw_compiled(batches, steps, positions, keys)
                total += float(objective)
            self.store.step += part.n_steps
        return total

    def _positions(self, epoch: int, part: StepRange) -> tf.Tensor:
        return self.stream.positions(epoch, part.start, part.shape[0] * part.shape[1])

    def _steps(self, epoch: int, part: StepRange) -> tuple[Any, ...]:
        """Return what `_train` takes beside the batches, to take the steps of a part."""
        rate = self.optimizer.learning_rate_at(epoch)
        return (
            self._coefficients(rate, part.shape[0]),
            tf.constant(part.n_steps),
            tf.constant(self.store.step, tf.int64),
            self._tables_to_catch_up(),
        )

    def _train_and_draw(
        self, batches: Batches, steps: tuple[Any, ...], positions: tf.Tensor, keys: Keys
    ) -> tuple[tf.Tensor, Batches]:
        """Train on some batches, and draw the next ones: at the same time, as neither waits for the other."""
        return self._train_compiled(batches, *steps), self._draw_compiled(
            positions, keys, batches.users.shape
        )

    def _train(
        self,
        batches: Batches,
        coefficients: tf.Tensor,
        n_steps: tf.Tensor,
        done: tf.Tensor,
        catch_up: CatchUpTables | None,
    ) -> tf.Tensor:
        """Take steps; return the objective before each, summed over the instances; see `Stepper`."""
        stepper = self._stepper(catch_up is not None)
        call = stepper if tf.inside_function() else partial(take_in_graph, stepper)
        tables, total = call(
            self.store.read(), batches, coefficients, n_steps, done, catch_up, self.store.constants
        )
        self.store.assign(tables)
        return total

    def _draw(
        self, positions: tf.Tensor, keys: Keys, shape: tuple[int, int], compiled: Any = None
    ) -> Batches:
        """Return the batches at some positions of an epoch, so many of one size."""
        numbers = self.stream.numbers(positions, shape[0] * shape[1], keys, compiled)
        look_up = partial(self._look_up, shape=shape)
        batches: Batches = (look_up if compiled is None else compiled(look_up))(numbers, keys)
        return batches

    def _look_up(self, numbers: tf.Tensor, keys: Keys, shape: tuple[int, int]) -> Batches:
        """Return the instances of some numbers as batches."""
        instances = self.stream.look_up(numbers, keys)
        items = [instances.items] if instances.negatives is None else [instances.items, instances.negatives]

        def cut(column: tf.Tensor) -> tf.Tensor:
            return tf.reshape(column, shape)

        return Batches(
            users=cut(tf.cast(instances.users, tf.int32)),
            items=tf.concat([cut(tf.cast(column, tf.int32)) for column in items], axis=1),
            targets=None if self.targets is None else cut(self._at(self.targets, instances, 0.0)),
            weights=None if self.weights is None else cut(self._at(self.weights, instances, 1.0)),
            log_q=None if self.log_q is None else cut(tf.gather(self.log_q, instances.items)),
        )

    def _at(self, numbers: tf.Tensor, instances: InstanceTensors, of_negatives: float) -> tf.Tensor:
        """Return a number of each instance, given those of the interactions."""
        found = tf.gather(numbers, instances.interactions)
        if not self.job.sampling.n_negatives:
            return found
        return tf.where(instances.positive, found, tf.constant(of_negatives, found.dtype))

    def _coefficients(self, learning_rate: float, n_steps: int) -> tf.Tensor:
        steps = range(self.store.step + 1, self.store.step + 1 + n_steps)
        table = [self.optimizer.coefficients(step, learning_rate) for step in steps]
        return tf.constant(np.array(table, dtype=self.job.dtype))

    def _stepper(self, is_deferring: bool) -> Stepper:
        """Return what takes the steps, now that updates are deferred, or not."""
        users, items = (
            side if is_deferring or side.updates != "deferred" else side._replace(updates="all")
            for side in self._sides
        )
        return Stepper(
            problem=BatchProblem.of(self.job),
            optimizer=type(self.optimizer),
            sparse=self.optimizer.sparse,
            users=users,
            items=items,
            pairs_at_once=self.limits.pairs_at_once,
        )

    @cached_property
    def _sides(self) -> tuple[Side, Side]:
        """How the rows of users and of items are moved, as soon as updates can be deferred."""
        job, n_slots = self.job, len(self.optimizer.slot_names)
        n_items = job.batch_size * (2 if job.sampling.paired else 1)

        def side(name: str, n_used: int, n_rows: int) -> Side:
            updates: Literal["all", "batch", "deferred"] = "deferred" if defers(job, name) else "all"
            if self.optimizer.sparse and n_used < n_rows:
                updates = "batch"
            return Side(updates, n_rows, n_slots)

        return side("user", job.batch_size, job.data.n_users), side("item", n_items, job.data.n_items)

    @property
    def _deferred(self) -> list[SideTable]:
        """The variables of the sides whose updates are deferred."""
        variables = (self.store.variables.users, self.store.variables.items)
        return [
            table for side, table in zip(self._sides, variables, strict=True) if side.updates == "deferred"
        ]

    def _plan(self, learning_rate: float) -> None:
        """Prepare what it takes to defer updates in an epoch: nothing where every step moves all rows."""
        plan = DeferredAdam.make(self.optimizer, learning_rate, self.job.dtype) if self._deferred else None
        self._catch_up = None if plan is None else CatchUpTables.of(plan, tf.constant)
        self._smooth_from = 0 if plan is None else plan.smooth_from

    def _tables_to_catch_up(self) -> CatchUpTables | None:
        """Return the plan's tables, from the step on where it holds; updates are deferred from there."""
        if self._catch_up is None or self.store.step < self._smooth_from:
            return None
        if not self.is_deferring:
            for table in self._deferred:
                table.latest.assign(tf.fill(table.latest.shape, tf.constant(self.store.step, tf.int64)))
            self.is_deferring = True
        return self._catch_up

    def _catch_up_all(self) -> None:
        """Take all steps that were deferred."""
        if not self.is_deferring:
            return
        assert self._catch_up is not None
        for table in self._deferred:
            step = tf.constant(self.store.step, tf.int64)
            table.numbers.assign(caught_up(table.numbers, table.latest, step, self._catch_up))
        self.is_deferring = False

    @cached_property
    def _batches_at_once(self) -> int:
        """Return how many batches are drawn and trained in one call: about as many in each."""
        n_batches = max(1, self.job.n_instances // self.job.batch_size)
        limits = self.limits
        most = min(
            limits.instances_at_once // self.job.batch_size,
            limits.products_at_once // self._products_of_a_step(),
        )
        return -(-n_batches // -(-n_batches // max(1, most)))

    def _products_of_a_step(self) -> int:
        """Return about how many multiplications a step takes the time of."""
        job, layout = self.job, self.job.layout
        n_pairs = job.batch_size * (2 if job.sampling.paired else 1)
        widths = layout.users.width, layout.items.width
        moved = sum(
            (side.padding_row if side.updates == "all" else n_pairs) * width
            for side, width in zip(self._sides, widths, strict=True)
        )
        pairs = n_pairs * (layout.dense.width + A_NUMBER_OF_A_ROW * sum(widths))
        matrix = job.batch_size**2 * sum(widths) if job.objective.pairing == "in-batch" else 0
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
