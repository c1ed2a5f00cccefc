"""Training by mini-batches: of every model, with every gradient optimizer."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfcore.engines import BatchProblem, TrainingJob, in_batch_part, memory
from mfcore.errors import InvalidArgumentError
from mfcore.objectives import InBatchObjective, ScoreObjective
from mfcore.optimizers import SGD, GradientOptimizer
from mfcore.sampling import choose_n_blocks
from mfcore.specs import Floats
from mfcore_torch import devices
from mfcore_torch.batch_rows import BYTES_OF_A_ROW, BatchRows, all_rows, touched_rows
from mfcore_torch.compiling import Compiler
from mfcore_torch.deferral import Deferral, Deferred
from mfcore_torch.limits import Limits
from mfcore_torch.operators import TorchOperators, multiply_in_bfloat16
from mfcore_torch.ranks import Ranks, find_ranks
from mfcore_torch.steps import Batch, Stepper
from mfcore_torch.store import ParameterStore, Weights
from mfcore_torch.stream import Instances, Stream


class BatchTrainer:
    """A job with a gradient optimizer.

    Parameters
    ----------
    job : TrainingJob
    compile, matmul, cut_tables, limits : optional
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
        limits: Limits | None = None,
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
        self.limits = Limits.of(self.device) if limits is None else limits
        with self._memory_errors_explained(), devices.apart():
            self.store = ParameterStore(job, self.device, self._cut_over(cut_tables))
            self.compiler = Compiler.make(job, compile, self._n_together(), self.limits)
            self.stream = Stream(job, self._stream_device(), self.compiler.for_any_length)
            self.targets, self.weights, self.log_q = self._of_interactions()
        self.deferral = Deferral(job, self.store)
        self.stepper = self._stepper()
        # Between ranks, sums are made in the middle of a step; an in-batch objective goes block by block.
        is_whole = self.ranks.n == 1 and job.objective.pairing != "in-batch"
        self.compiled_step = (
            self.compiler.step(self.stepper.step, self.device) if self.compiler.is_on and is_whole else None
        )

    def run_epoch(self, epoch: int) -> float:
        """Train one epoch and return its mean objective."""
        n, start = self.job.n_instances, 0
        with devices.settings(self._threads, self.matmul), self._memory_errors_explained():
            total = torch.zeros((), dtype=torch.float64, device=self.device)
            learning_rate = self.optimizer.learning_rate_at(epoch)
            if self.stepper.are_apart:
                total += self._train_apart(epoch, learning_rate)
                start = n
            while start < n:
                stop = min(start + self._n_at_once(learning_rate), n)
                total += self._train(self.stream.instances(epoch, start, stop), learning_rate)
                start = stop
            self.deferral.end(learning_rate)
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
        # Batches of another size than the job's, and steps before updates can be deferred, are few.
        is_steady = self.deferral.steps_before(learning_rate) in (0, None)
        deferred = self.deferral.begin(learning_rate)
        numbers = torch.arange(self.store.step + 1, self.store.step + 1 - (-n // size), device=self.device)
        coefficients = self._coefficients(learning_rate, len(numbers))
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        steps = zip(
            self._batches(instances, deferred), coefficients.unbind(), numbers[:, None].unbind(), strict=True
        )
        with devices.on_threads(self._threads_of_a_step):
            for batch, c, number in steps:
                is_usual = len(batch.targets) == size and is_steady
                take = self.compiled_step if self.compiled_step and is_usual else self._step
                total += take(self.store.weights, batch, c, number, deferred)
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
        for part in groups.split(max(1, self.limits.instances_at_once // n_blocks)):
            instances, is_real = self.stream.take_apart(epoch, part)
            for batch in self._even_batches(instances, n_blocks, None, is_real):
                total += take(self.store.weights, batch, c, number, None)
        self.store.step += self.job.n_instances
        return total

    def _step(
        self, weights: Weights, batch: Batch, c: Tensor, number: Tensor, deferred: Deferred | None
    ) -> Tensor:
        """Take a step, together with the other ranks; return the objective of this one's share."""
        if self.ranks.n == 1:
            return self.stepper.step(weights, batch, c, number, deferred)
        found = self.stepper.gradients(weights, batch, number, deferred)
        users, items, dense = self.ranks.add_up([found.grad_users, found.grad_items, found.grad_dense])
        found = found._replace(grad_users=users, grad_items=items, grad_dense=dense)
        penalty = self.stepper.move(weights, batch, found, c, number, deferred)
        return found.objective + penalty if self.is_main else found.objective

    def _coefficients(self, learning_rate: float, n_steps: int) -> Tensor:
        steps = range(self.store.step + 1, self.store.step + 1 + n_steps)
        table = [self.optimizer.coefficients(step, learning_rate) for step in steps]
        return torch.from_numpy(np.array(table, dtype=self.job.dtype)).to(self.device)

    def _batches(self, instances: Instances, deferred: Deferred | None) -> Iterator[Batch]:
        """Yield the batches of some instances; the last one may be shorter."""
        n, size = len(instances.users), self.job.batch_size
        whole = n - n % size
        for start, stop, n_each in ((0, whole, size), (whole, n, n % size)):
            if start < stop:
                yield from self._even_batches(instances.take(slice(start, stop)), n_each, deferred)

    def _even_batches(
        self, instances: Instances, size: int, deferred: Deferred | None, is_real: Tensor | None = None
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
        for number, (of_users, of_items) in enumerate(self._batch_rows(users, all_items, deferred)):
            yield Batch(
                users=of_users,
                items=of_items,
                targets=targets[number],
                weights=None if weights is None else weights[number],
                item_rows=items[number] if in_batch else None,
                log_q=self.log_q[items[number]] if self.log_q is not None else None,
            )

    def _batch_rows(
        self, users: Tensor, items: Tensor, deferred: Deferred | None
    ) -> Iterator[tuple[BatchRows, ...]]:
        """Yield the rows of users and of items of several batches, [n_batches, n]."""
        n_rows = self.job.data.n_users, self.job.data.n_items
        have_all = [
            not (self.optimizer.sparse or self.store.is_cut) and tables is None
            for tables in deferred or (None, None)
        ]
        # Of small batches there are many thousand, and each may have all rows.
        of_a_batch = sum(
            BYTES_OF_A_ROW * (n + 1) for n, has_all in zip(n_rows, have_all, strict=True) if has_all
        )
        n_together = max(1, self.limits.batch_rows_bytes // of_a_batch if of_a_batch else len(users))
        for some in zip(users.split(n_together), items.split(n_together), strict=True):
            sides = (
                all_rows(rows, n) if has_all else touched_rows(rows, n)
                for rows, n, has_all in zip(some, n_rows, have_all, strict=True)
            )
            yield from zip(*sides, strict=True)

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
        is_all_in_rows = not job.layout.dense.names
        return job.sampling.order == "blocked" and job.batch_size == 1 and is_plain and is_all_in_rows

    def _n_together(self) -> int:
        """Return how many instances are trained at once."""
        job = self.job
        if not self._are_apart():
            return job.batch_size
        return choose_n_blocks(job.n_instances, job.data.n_users, job.data.n_items)

    def _stepper(self) -> Stepper:
        objective = self.job.objective
        xp = TorchOperators(multiply_in_bfloat16) if self.matmul == "bfloat16" else TorchOperators()
        matrix_part = None
        if isinstance(objective, InBatchObjective):
            matrix_part = self.compiler.for_any_length(in_batch_part_once(xp, objective))
        if isinstance(objective, ScoreObjective):
            # Found out here, for compiled steps to find it known.
            assert objective.gives_slope in (True, False)
        return Stepper(
            problem=BatchProblem.of(self.job),
            optimizer=self.optimizer,
            store=self.store,
            xp=xp,
            ranks=self.ranks,
            are_apart=self._are_apart(),
            n_scores=self.limits.scores_at_once,
            matrix_part=matrix_part,
        )

    @property
    def _threads_of_a_step(self) -> int:
        """The threads that share a step: one where there is too little of it to be handed about."""
        n_numbers = self.job.batch_size * sum([self.job.layout.users.width, self.job.layout.items.width])
        return 1 if n_numbers < self.limits.shared_numbers else self._threads

    @property
    def _threads(self) -> int:
        return self.ranks.own_threads(self.job.threads)

    def _cut_over(self, wanted: Literal["auto"] | bool) -> Ranks | None:
        """Return the ranks over which tables are cut, where they are to be or do not fit onto the device."""
        if wanted == "auto" and self.device.type == "cuda":
            left, _ = torch.cuda.mem_get_info(self.device)
            wanted = self._needed()["parameters and optimizer state"] > self.limits.tables_share * left
        if wanted is not True or self.ranks.n == 1:
            return None
        return self.ranks

    def _n_at_once(self, learning_rate: float) -> int:
        """Return how many instances are drawn together: whole batches, of which all defer updates or none."""
        size = self.job.batch_size
        n_steps = max(1, self.limits.instances_at_once // size)
        return size * min(n_steps, self.deferral.steps_before(learning_rate) or n_steps)

    def _stream_device(self) -> torch.device:
        """Return where the training data is held and samples are drawn: on the device, if they fit there."""
        if self.device.type == "cuda":
            left, _ = torch.cuda.mem_get_info(self.device)
            if self._needed()["training data"] > self.limits.data_share * left:
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


@lru_cache(maxsize=64)
def in_batch_part_once(xp: TorchOperators, objective: InBatchObjective) -> Any:
    """Return `in_batch_part`, the same function of equal arguments, so that it is compiled once."""
    return in_batch_part(xp, objective)
