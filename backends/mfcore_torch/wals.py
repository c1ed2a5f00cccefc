"""Matrix factorisation by weighted alternating least squares; `mfcore.engines.reference` has the equations.

Half an epoch solves one small system a row, in groups of rows of about as many interactions. Conjugate
gradient never forms the systems; the other solvers form and factorise those of a whole group in batched
products.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfcore.engines import STEP, TrainingJob
from mfcore.errors import InvalidArgumentError
from mfcore.optimizers import WALS
from mfcore.specs import Floats
from mfcore_torch import devices
from mfcore_torch.groups import Group, Sizes, at_once, grouped
from mfcore_torch.ranks import find_ranks
from mfcore_torch.solvers import FORMED, Equations, Half, by_blocks, conjugate_gradient

# Rows whose products a gram matrix adds up at a time; fixed, so that sums do not depend on threads.
GRAM_ROWS = 1 << 14

# `map`, or what does the same on several threads.
Run: TypeAlias = Callable[..., Iterator[Any]]


class WalsTrainer:
    """A job of `MF` with `WALS`.

    On the CPU one thread works on one group at a time, so the results have the same bits on any number of
    threads. Nothing leaves the device in an epoch but the objective. Of several processes under `torchrun`
    each solves the whole job, on a device of its own.

    Raises
    ------
    DeviceMemoryError
        The device has too little memory, on the way in or in an epoch.
    MfcoreError
        The processes were given different jobs.
    """

    def __init__(self, job: TrainingJob) -> None:
        assert isinstance(job.optimizer, WALS)
        self.job = job
        self.optimizer: WALS = job.optimizer
        self.ranks = find_ranks(job.device)
        self.ranks.require_same(job)
        self.device = self.ranks.own_device(job.device)
        self.threads = self.ranks.own_threads(job.threads)
        self.biased = "global_bias" in job.parameters
        self.state = {name: array.copy() for name, array in job.optimizer_state.items()}
        counts = {"user": job.data.user_counts, "item": job.data.item_counts}
        with self._memory_errors_explained(), _workers(self.device, self.threads) as run:
            self.mu = self._upload(job.parameters["global_bias"]) if self.biased else None
            self.rows = {side: self._initial_rows(side) for side in counts}
            self.regular = {
                side: torch.ones(len(rows), dtype=torch.bool, device=self.device)
                for side, rows in self.rows.items()
            }
            self.ridge = {
                side: self._upload(self.optimizer.ridge(counts[side], len(counts[other])))
                for side, other in (("user", "item"), ("item", "user"))
            }
            self.groups = self._groups(counts, run)
        weights = 1.0 if job.weights is None else job.weights.astype(np.float64)
        self.constant = float((weights * job.targets.astype(np.float64) ** 2).sum())

    def run_epoch(self, epoch: int) -> float:
        """Solve for all users, then for all items; return the objective per interaction.

        Raises
        ------
        InvalidArgumentError
            A row's system is not positive definite in the job's dtype; the parameters are then of no use.
        """
        with self._memory_errors_explained(), _workers(self.device, self.threads) as run:
            self._half("user", "item", run)
            observed_losses = self._half("item", "user", run)
            objective = self._objective(observed_losses, run)
            regular = [self.regular[side].all().to(torch.float64) for side in ("user", "item")]
            total, *are_regular = torch.stack([objective, *regular]).tolist()
        for side, is_regular in zip(("user", "item"), are_regular, strict=True):
            if not is_regular:
                raise self._singular(side)
        self.state[STEP] += 1
        return float(total) / len(self.job.data)

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that shows progress and writes files."""
        return self.ranks.is_main

    def parameters(self) -> dict[str, Floats]:
        """Return host copies of all parameters."""
        found = {name: array.copy() for name, array in self.job.parameters.items()}
        for side, tensor in self.rows.items():
            rows = tensor.cpu().numpy()
            factors = found[f"{side}_factors"]
            factors[:] = rows[:, : factors.shape[1]]
            if self.biased:
                found[f"{side}_bias"][:] = rows[:, -1]
        return found

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return the number of epochs solved; WALS keeps nothing else."""
        return {name: array.copy() for name, array in self.state.items()}

    def _upload(self, array: NDArray[Any]) -> Tensor:
        # A copy: the job's arrays are not to be written to, which from_numpy would warn of.
        return torch.from_numpy(array.copy()).to(self.device)

    def _initial_rows(self, side: str) -> Tensor:
        """Return a side's rows as its half solves for them: the factors, with biases (p, b)."""
        columns = [self.job.parameters[f"{side}_factors"]]
        if self.biased:
            columns.append(self.job.parameters[f"{side}_bias"][:, None])
        return self._upload(np.concatenate(columns, axis=1))

    def _groups(self, counts: dict[str, NDArray[np.int64]], run: Run) -> dict[str, list[Group]]:
        data, sizes = self.job.data, self._sizes()
        a, b = (self._upload(terms) for terms in self.optimizer.terms(self.job.targets, self.job.weights))
        rows = {"user": self._upload(data.users), "item": self._upload(data.items)}

        def of(side: str, other: str) -> list[Group]:
            return grouped(rows[side], rows[other], a, b, counts[side], sizes)

        return dict(zip(rows, run(of, ("user", "item"), ("item", "user")), strict=True))

    def _sizes(self) -> Sizes:
        """Return what a group takes: features, the same times a, sums of segments, systems and factors."""
        width = self.rows["user"].shape[1]
        block = {"cg": 0, "subspace": min(self.optimizer.block_size, width), "cholesky": width}
        formed = block[self.optimizer.solver]
        itemsize = self.job.dtype.itemsize
        return Sizes(
            row=itemsize * (2 * formed**2 + 8 * width),
            segment=itemsize * (formed * min(formed, FORMED) + width),
            interaction=itemsize * (width + formed + 8),
            at_once=at_once(self.device),
        )

    def _half(self, side: str, other: str, run: Run) -> list[Tensor]:
        """Solve for a side; for the items, return the sum of a s^2 - 2 b s over each group's interactions."""
        half, rows = self._half_of(side, other, run), self.rows[side]

        def solve(group: Group) -> Tensor | None:
            equations = Equations(half, group)
            x, regular = self._solve(equations, rows.index_select(0, group.rows))
            rows.index_copy_(0, group.rows, x)
            if regular is not None:
                self.regular[side].index_copy_(0, group.rows, regular)
            # The features of the users, gathered for the items' half, are then those of the epoch's end.
            return equations.loss(x) if side == "item" else None

        return [loss for loss in run(solve, self.groups[side]) if loss is not None]

    def _solve(self, equations: Equations, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the new rows, and whether their systems are positive definite where a solver finds out."""
        if self.optimizer.solver == "cg":
            return conjugate_gradient(equations, x, self.optimizer.steps), None
        if self.optimizer.solver == "cholesky":
            # One block of all elements; from 0, so that the answer does not depend on the present rows.
            return by_blocks(equations, torch.zeros_like(x), x.shape[1])
        return by_blocks(equations, x, self.optimizer.block_size)

    def _half_of(self, side: str, other: str, run: Run) -> Half:
        """Return what the half that solves for `side` reads."""
        features, offsets = self.rows[other], None
        w0 = self.optimizer.unobserved_weight
        pull = features.new_zeros(features.shape[1])
        if self.mu is not None:
            offsets = self.mu + features[:, -1]
            features = features.clone()
            features[:, -1] = 1
            if w0:
                pull = w0 * (features.T @ offsets)
        gram = w0 * _gram(features, run) if w0 else None
        return Half(features, offsets, gram, pull, self.ridge[side].to(features.dtype))

    def _objective(self, observed_losses: list[Tensor], run: Run) -> Tensor:
        """Return the objective at the present parameters, float64 []."""
        total = torch.stack(observed_losses).sum() + self.constant
        for side, rows in self.rows.items():
            total += self.ridge[side] @ torch.linalg.vecdot(rows, rows).to(torch.float64)
        if not self.optimizer.unobserved_weight:
            return total
        users, items = self.rows["user"], self.rows["item"]
        if self.mu is not None:
            # s = (p, b_u, 1).(q, 1, mu + b_i)
            users = torch.cat([users, torch.ones_like(users[:, :1])], dim=1)
            items = torch.cat([items[:, :-1], torch.ones_like(items[:, :1]), self.mu + items[:, -1:]], dim=1)
        # The sum of s^2 over all pairs is that of the products of the two sides' gram matrices.
        grams = (_gram(table, run, torch.float64) for table in (users, items))
        return total + self.optimizer.unobserved_weight * (next(grams) * next(grams)).sum()

    def _singular(self, side: str) -> InvalidArgumentError:
        row = int(torch.argmin(self.regular[side].to(torch.int8)))
        ids = self.job.data.user_ids if side == "user" else self.job.data.item_ids
        return InvalidArgumentError(
            f"WALS: the system of {side} {ids[row]!r} is singular in {self.job.dtype}: raise l2 (it is"
            f" {self.optimizer.l2}) or pass dtype='float64'"
        )

    def _memory_errors_explained(self) -> AbstractContextManager[None]:
        job = self.job
        n_numbers = sum(array.size for array in job.parameters.values())
        n_bytes, n_workers = job.dtype.itemsize, self.threads if self.device.type == "cpu" else 1
        needed = {
            "parameters": 2 * n_numbers * n_bytes,
            "interactions by user and by item": 2 * len(job.data) * (4 + 2 * n_bytes),
            "sorting them": len(job.data) * (24 + 4 * n_bytes),
            "groups of rows at work": n_workers * at_once(self.device),
        }
        remedy = "lower n_factors, pass dtype='float32' or choose a device with more memory"
        return devices.memory_errors_explained(self.device, needed, remedy)


@contextmanager
def _workers(device: torch.device, threads: int) -> Iterator[Run]:
    """Yield a `map` whose calls may run side by side: on the CPU, where each is left to a single thread."""
    if device.type != "cpu" or threads == 1:
        with devices.settings(threads):
            yield map
    else:
        with devices.settings(threads=1), ThreadPoolExecutor(threads) as pool:
            yield pool.map


def _gram(table: Tensor, run: Run, dtype: torch.dtype | None = None) -> Tensor:
    """Return table' table, in another dtype if asked for."""

    def product(rows: Tensor) -> Tensor:
        rows = rows.to(dtype or rows.dtype)
        return rows.T @ rows

    return torch.stack(list(run(product, torch.split(table, GRAM_ROWS)))).sum(dim=0)
