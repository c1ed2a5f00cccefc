"""Training by mini-batches: of every model, with every gradient optimizer."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfcore.engines import IdleAdam, TrainingJob, memory, smooth_from
from mfcore.errors import InvalidArgumentError
from mfcore.optimizers import SGD, Adam, GradientOptimizer
from mfcore.sampling import choose_n_blocks
from mfcore.specs import Floats
from mfcore_torch import devices
from mfcore_torch.compiling import compiled_for_any_length, compiled_step, compiles, left_alone
from mfcore_torch.losses import in_batch
from mfcore_torch.ranks import Ranks, find_ranks
from mfcore_torch.rows import Store, Weights
from mfcore_torch.scores import multiply_in_bfloat16
from mfcore_torch.steps import Batch, Idle, Stepper, rested
from mfcore_torch.stream import Instances, Stream
from mfcore_torch.touched import BYTES_OF_A_ROW, Touched, touch_all, touch_some

# Instances whose samples are drawn and whose rows are sorted together, on a CPU and on a CUDA device.
INSTANCES_AT_ONCE = {"cpu": 1 << 17, "cuda": 1 << 22}
# Bytes that finding the touched rows of several batches together may take where every batch has all rows.
TOUCHED_AT_ONCE = {"cpu": 1 << 28, "cuda": 1 << 30}
# The parts of a device's free memory that the training data and the tables may take.
DATA_SHARE, TABLE_SHARE = 0.5, 0.7
# Numbers of a batch's rows from which several threads do a step faster than one does.
WORTH_SHARING = 1 << 17
# Idle steps are put off where a batch touches less than this part of the rows.
FEW = 0.25


class BatchTrainer:
    """A job with a gradient optimizer.

    Parameters
    ----------
    job : TrainingJob
    compile, matmul, cut_tables : optional
        As in `TorchBackend`.

    Raises
    ------
    DeviceMemoryError
        The device has too little memory, on the way in or in an epoch.
    InvalidArgumentError
        `compile` is True where several processes train together, or where there is no C++ compiler.
    MfcoreError
        The processes were given different jobs.
    """

    def __init__(
        self,
        job: TrainingJob,
        *,
        compile: Literal["auto"] | bool = "auto",
        matmul: devices.MatmulPrecision = "highest",
        cut_tables: Literal["auto"] | bool = "auto",
    ) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        self.job = job
        self.optimizer: GradientOptimizer = job.optimizer
        self.matmul = matmul
        self.ranks = find_ranks(job.device)
        self.ranks.require_same(job)
        if compile is True and self.ranks.n > 1:
            raise InvalidArgumentError(
                f"TorchBackend: compile is True, but {self.ranks.n} processes train together, and steps in"
                " which they add up gradients are not compiled: leave compile at 'auto', or run one process"
            )
        self.device = self.ranks.own_device(job.device)
        with self._memory_errors_explained(), devices.apart():
            self.store = Store(job, self.device, self._cut_over(cut_tables))
            is_compiled = compiles(job, compile, self._n_together())
            self.stream = Stream(
                job, self._stream_device(), compiled_for_any_length if is_compiled else left_alone
            )
            self.targets, self.weights, self.log_q = self._of_interactions()
        multiply = multiply_in_bfloat16 if matmul == "bfloat16" else torch.matmul
        compare = compiled_for_any_length(in_batch) if is_compiled else in_batch
        self.stepper = Stepper(job, self.store, multiply, self.ranks, self._are_apart(), compare)
        # Between ranks, sums are made in the middle of a step; the in-batch softmax goes block by block.
        is_whole = self.ranks.n == 1 and job.objective.pairing != "in-batch"
        self.compiled_step = (
            compiled_step(self.stepper.step, self.device) if is_compiled and is_whole else None
        )
        self.is_resting = False
        # The last learning rate, and what it takes at it.
        self._idle_at: tuple[float, Idle] | None = None

    def run_epoch(self, epoch: int) -> float:
        """Train one epoch and return its mean objective."""
        n, n_at_once = self.job.n_instances, self._n_at_once()
        with devices.settings(self._threads, self.matmul), self._memory_errors_explained():
            total = torch.zeros((), dtype=torch.float64, device=self.device)
            learning_rate = self.optimizer.learning_rate_at(epoch)
            if self.stepper.are_apart:
                total += self._train_apart(epoch, learning_rate)
            else:
                for start in range(0, n, n_at_once):
                    instances = self.stream.instances(epoch, start, min(start + n_at_once, n))
                    total += self._train(instances, learning_rate)
            self._wake(learning_rate)
            return float(self.ranks.add_up([total])[0]) / n

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that shows progress and writes files."""
        return self.ranks.is_main

    def parameters(self) -> dict[str, Floats]:
        """Return copies of all parameters."""
        return self.store.parameters()

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the optimizer's state."""
        return self.store.optimizer_state()

    def _train(self, instances: Instances, learning_rate: float) -> Tensor:
        """Take the steps of some instances; return the objective before each, summed over the instances."""
        n, size = len(instances.users), self.job.batch_size
        idle = self._rest(learning_rate)
        numbers = torch.arange(self.store.step + 1, self.store.step + 1 - (-n // size), device=self.device)
        coefficients = self._coefficients(learning_rate, len(numbers))
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        steps = zip(
            self._batches(instances, idle), coefficients.unbind(), numbers[:, None].unbind(), strict=True
        )
        with devices.on_threads(self._threads_of_a_step):
            for batch, c, number in steps:
                # Batches of another size than the job's, and steps before idle ones can be put off, are few.
                is_usual = len(batch.targets) == size and (idle is not None or self._rests_from is None)
                take = self.compiled_step if self.compiled_step and is_usual else self._step
                total += take(self.store.weights, batch, c, number, idle)
        self.store.step += len(numbers)
        return total

    def _train_apart(self, epoch: int, learning_rate: float) -> Tensor:
        """Take the single steps of an epoch in groups that share no row; return the objective's sum."""
        groups = self.stream.groups_apart(epoch)
        c = self._coefficients(learning_rate, 1)[0]
        number = torch.tensor([self.store.step], device=self.device)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        n_blocks = groups.shape[1]
        take = self.compiled_step or self._step
        for part in groups.split(max(1, INSTANCES_AT_ONCE[self.device.type] // n_blocks)):
            instances, is_real = self.stream.take_apart(epoch, part)
            for batch in self._even_batches(instances, n_blocks, None, is_real):
                total += take(self.store.weights, batch, c, number, None)
        self.store.step += self.job.n_instances
        return total

    def _step(self, weights: Weights, batch: Batch, c: Tensor, number: Tensor, idle: Idle | None) -> Tensor:
        """Take a step, together with the other ranks; return the objective of this one's share."""
        if self.ranks.n == 1:
            return self.stepper.step(weights, batch, c, number, idle)
        found = self.stepper.find(weights, batch, number, idle)
        by_users, by_items, by_dense = self.ranks.add_up([found.by_users, found.by_items, found.by_dense])
        found = found._replace(by_users=by_users, by_items=by_items, by_dense=by_dense)
        penalty = self.stepper.move(weights, batch, found, c, number, idle)
        return found.objective + penalty if self.is_main else found.objective

    def _coefficients(self, learning_rate: float, n_steps: int) -> Tensor:
        steps = range(self.store.step + 1, self.store.step + 1 + n_steps)
        table = [self.optimizer.coefficients(step, learning_rate) for step in steps]
        return torch.from_numpy(np.array(table, dtype=self.job.dtype)).to(self.device)

    def _batches(self, instances: Instances, idle: Idle | None) -> Iterator[Batch]:
        """Yield the batches of some instances; the last one may be shorter."""
        n, size = len(instances.users), self.job.batch_size
        whole = n - n % size
        for start, stop, n_each in ((0, whole, size), (whole, n, n % size)):
            if start < stop:
                yield from self._even_batches(instances.take(slice(start, stop)), n_each, idle)

    def _even_batches(
        self, instances: Instances, size: int, idle: Idle | None, is_real: Tensor | None = None
    ) -> Iterator[Batch]:
        """Yield batches of one size; instances that are not real weigh nothing."""

        def cut(column: Tensor | None) -> Any:
            return None if column is None else column.view(-1, size).to(self.device, non_blocking=True)

        users, items, negatives = cut(instances.users), cut(instances.items), cut(instances.negatives)
        all_items = items if negatives is None else torch.cat([items, negatives], dim=1)
        targets = cut(self._at(self.targets, instances, 0.0))
        weights = cut(self._at(self.weights, instances, 1.0))
        if is_real is not None:
            real = cut(is_real).to(targets.dtype)
            weights = real if weights is None else weights * real
        in_batch = self.log_q is not None
        for number, (of_users, of_items) in enumerate(self._touched(users, all_items, idle)):
            yield Batch(
                users=of_users,
                items=of_items,
                targets=targets[number],
                weights=None if weights is None else weights[number],
                item_rows=items[number] if in_batch else None,
                log_q=self.log_q[items[number]] if self.log_q is not None else None,
            )

    def _touched(self, users: Tensor, items: Tensor, idle: Idle | None) -> Iterator[tuple[Touched, Touched]]:
        """Yield what each of several batches, [n_batches, n], touches of the users and of the items."""
        n_users, n_items = self.job.data.n_users, self.job.data.n_items
        if self.optimizer.sparse or idle is not None or self.store.is_cut:
            yield from zip(touch_some(users, n_users), touch_some(items, n_items), strict=True)
            return
        # Of small batches there are many thousand, and each has all rows.
        n_together = max(1, TOUCHED_AT_ONCE[self.device.type] // (BYTES_OF_A_ROW * (n_users + n_items + 2)))
        for some_users, some_items in zip(users.split(n_together), items.split(n_together), strict=True):
            yield from zip(touch_all(some_users, n_users), touch_all(some_items, n_items), strict=True)

    def _at(self, numbers: Tensor | None, instances: Instances, of_negatives: float) -> Tensor | None:
        """Return a number of each instance, given those of the interactions."""
        if numbers is None:
            return None
        found = numbers[instances.interactions]
        if not self.job.sampling.n_negatives:
            return found
        return torch.where(instances.positive, found, torch.full_like(found, of_negatives))

    def _of_interactions(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return targets and weights of the interactions, beside the stream, and log q of the items."""
        job, device = self.job, self.stream.device
        targets = torch.from_numpy(job.targets.copy()).to(device)
        weights = None if job.weights is None else torch.from_numpy(job.weights.copy()).to(device)
        in_batch = job.objective.pairing == "in-batch"
        log_q = torch.from_numpy(job.log_q.copy()).to(self.device) if in_batch else None
        return targets, weights, log_q

    def _are_apart(self) -> bool:
        """Whether the instances of a stratum's cells are trained at once: single steps of plain SGD."""
        job, optimizer = self.job, self.optimizer
        # Where somebody derived their own coefficients, these may differ from step to step.
        is_steady = type(optimizer).coefficients is SGD.coefficients
        is_plain = isinstance(optimizer, SGD) and not optimizer.momentum and is_steady
        is_all_in_rows = not self.store.dense.shapes
        return job.sampling.order == "blocked" and job.batch_size == 1 and is_plain and is_all_in_rows

    def _n_together(self) -> int:
        """Return how many instances are trained at once."""
        job = self.job
        if not self._are_apart():
            return job.batch_size
        return choose_n_blocks(job.n_instances, job.data.n_users, job.data.n_items)

    @cached_property
    def _rests_from(self) -> int | None:
        """After how many steps idle ones are put off, as they can be summed up from there; None for never."""
        job, optimizer = self.job, self.optimizer
        if not isinstance(optimizer, Adam) or optimizer.sparse or job.dtype != np.float32:
            return None
        n_touched = job.batch_size * (3 if job.objective.pairing == "pairwise" else 2)
        return smooth_from(optimizer) if n_touched < FEW * (job.data.n_users + job.data.n_items) else None

    def _rest(self, learning_rate: float) -> Idle | None:
        """Return what it takes to put idle steps off, or None where every step moves all rows."""
        if self._rests_from is None or self.store.step < self._rests_from:
            return None
        if not self.is_resting:
            for rows in (self.store.weights.users, self.store.weights.items):
                rows.latest.fill_(self.store.step)
            self.is_resting = True
        return self._idle(learning_rate)

    def _idle(self, learning_rate: float) -> Idle:
        if self._idle_at is not None and self._idle_at[0] == learning_rate:
            return self._idle_at[1]
        optimizer = self.optimizer
        assert isinstance(optimizer, Adam)
        kept = float(self.job.dtype.type(optimizer.coefficients(1, learning_rate)[-1]))
        summed = IdleAdam.make(optimizer, learning_rate, kept)
        assert summed is not None
        like: Any = {"dtype": torch.float64, "device": self.device}
        idle = Idle(
            sums=torch.from_numpy(summed.sums.astype(self.job.dtype)).to(self.device),
            kept=torch.tensor([kept, optimizer.beta_1, optimizer.beta_2], **like).log(),
            scale=torch.tensor([summed.scale], **like),
            epsilon=torch.tensor([optimizer.epsilon], **like),
        )
        self._idle_at = (learning_rate, idle)
        return idle

    def _wake(self, learning_rate: float) -> None:
        """Make up for all steps that were put off."""
        if not self.is_resting:
            return
        idle = self._idle(learning_rate)
        number = torch.tensor([self.store.step], device=self.device)
        for rows in (self.store.weights.users, self.store.weights.items):
            numbers, latest = self.store.held(rows)
            numbers.copy_(rested(numbers, latest, number, idle))
        self.is_resting = False

    @property
    def _threads_of_a_step(self) -> int:
        """The threads that share a step: one where there is too little of it to be handed about."""
        n_numbers = self.job.batch_size * sum(self.store.users.sizes + self.store.items.sizes)
        return 1 if n_numbers < WORTH_SHARING else self._threads

    @property
    def _threads(self) -> int:
        return self.ranks.own_threads(self.job.threads)

    def _cut_over(self, wanted: Literal["auto"] | bool) -> Ranks | None:
        """Return the ranks over which tables are cut, where they are to be or do not fit onto the device."""
        if wanted == "auto" and self.device.type == "cuda":
            left, _ = torch.cuda.mem_get_info(self.device)
            wanted = self._needed()["parameters and optimizer state"] > TABLE_SHARE * left
        if wanted is not True or self.ranks.n == 1:
            return None
        return self.ranks

    def _n_at_once(self) -> int:
        """Return how many instances are drawn together: whole batches."""
        size = self.job.batch_size
        return size * max(1, INSTANCES_AT_ONCE[self.device.type] // size)

    def _stream_device(self) -> torch.device:
        """Return where the training data is held and samples are drawn: on the device, if they fit there."""
        if self.device.type == "cuda":
            left, _ = torch.cuda.mem_get_info(self.device)
            if self._needed()["training data"] > DATA_SHARE * left:
                return torch.device("cpu")
        return self.device

    def _needed(self) -> dict[str, int]:
        """Return about what takes how many bytes."""
        job, width = self.job, self.job.dtype.itemsize
        n_numbers = sum(array.size for array in job.parameters.values())
        in_a_row = sum(array.shape[-1] if array.ndim > 1 else 1 for array in job.parameters.values())
        n_pairs = job.batch_size * (2 if job.objective.pairing == "pairwise" else 1)
        return {
            "parameters and optimizer state": n_numbers * (1 + len(self.optimizer.slot_names)) * width,
            "training data": len(job.data) * (8 + width) + 24 * len(job.data.seen.indices),
            "a batch": n_pairs * (6 * in_a_row * width + 120),
        }

    def _memory_errors_explained(self) -> Any:
        remedy = memory.smaller_batches(self.job.batch_size, on_cpu=self.device.type == "cpu")
        return devices.memory_errors_explained(self.device, self._needed(), remedy)
