"""Which updates of a job are deferred, from which step on, and the tables for catching up."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfcore.engines import CatchUpTables, DeferredAdam, TrainingJob, catch_up, defers, smooth_from
from mfcore.optimizers import GradientOptimizer
from mfcore_torch.operators import TorchOperators
from mfcore_torch.store import ParameterStore


class Deferred(NamedTuple):
    """What it takes to catch up, of each side whose updates are deferred; else None."""

    users: CatchUpTables | None
    items: CatchUpTables | None


class Deferral:
    """The deferred updates of a job's untouched rows; see `mfcore.engines.deferred_updates`.

    Parameters
    ----------
    job : TrainingJob
    store : ParameterStore
        Whose rows are caught up with, and whose step is the present one.
    """

    def __init__(self, job: TrainingJob, store: ParameterStore) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        self.job, self.store, self.optimizer = job, store, job.optimizer
        self.sides = (defers(job, "user"), defers(job, "item"))
        self._smooth_from = smooth_from(job.optimizer) if any(self.sides) else None
        self._has_begun = False
        # The last learning rate, and the tables at it.
        self._made: tuple[float, Deferred | None] | None = None

    def begin(self, learning_rate: float) -> Deferred | None:
        """Return the tables for the steps from now on, or None where these are to move all rows."""
        if self.steps_before(learning_rate) != 0:
            return None
        if not self._has_begun:
            for rows in (self.store.weights.users, self.store.weights.items):
                rows.latest.fill_(self.store.step)
            self._has_begun = True
        return self._tables(learning_rate)

    def steps_before(self, learning_rate: float) -> int | None:
        """Return how many steps from now on move all rows; None for all steps at this learning rate."""
        if self._smooth_from is None or self._tables(learning_rate) is None:
            return None
        return max(0, self._smooth_from - self.store.step)

    def end(self, learning_rate: float) -> None:
        """Catch up with all steps that were deferred."""
        if not self._has_begun:
            return
        deferred = self._tables(learning_rate)
        assert deferred is not None
        number = torch.tensor([self.store.step], device=self.store.weights.dense.device)
        for rows, tables in zip((self.store.weights.users, self.store.weights.items), deferred, strict=True):
            if tables is not None:
                numbers, latest = self.store.held(rows)
                numbers.copy_(caught_up(TorchOperators(), numbers, latest, number, tables))
        self._has_begun = False

    def _tables(self, learning_rate: float) -> Deferred | None:
        if self._made is None or self._made[0] != learning_rate:
            plan = DeferredAdam.make(self.optimizer, learning_rate, self.job.dtype)
            self._made = learning_rate, None if plan is None else self._deferred(plan)
        return self._made[1]

    def _deferred(self, plan: DeferredAdam) -> Deferred:
        def array(numbers: NDArray[np.float32]) -> Tensor:
            return torch.from_numpy(numbers).to(self.store.weights.dense.device)

        tables = CatchUpTables.of(plan, array)
        return Deferred(*(tables if is_deferred else None for is_deferred in self.sides))


def caught_up(
    xp: TorchOperators, numbers: Tensor, latest: Tensor, number: Tensor, tables: CatchUpTables
) -> Tensor:
    """Return rows [m, 1 + n_slots, width] after the deferred steps from `latest` [m] to `number` [1]."""
    parameter, first, second = numbers.unbind(dim=1)
    n_steps = number - latest
    after = catch_up(
        xp,
        (parameter, first, second),
        latest=latest.to(numbers.dtype)[:, None],
        steps=n_steps.to(numbers.dtype)[:, None],
        n_steps=n_steps,
        tables=tables,
    )
    return torch.stack(after, dim=1)
