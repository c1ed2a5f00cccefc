"""Training by batches, in numpy: the definition of a step."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfcore import sampling
from mfcore.contract import STEP, TrainingJob
from mfcore.optimizers import GradientOptimizer
from mfcore.sampling import Instances
from mfcore.specs.base import Floats


class GradientTrainer:
    """A job of any spec and any gradient optimizer."""

    def __init__(self, job: TrainingJob) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        self.job = job
        self.optimizer: GradientOptimizer = job.optimizer
        self.rule = job.optimizer.rule(np.sqrt)
        self.layout = job.spec.parameters(job.data.n_users, job.data.n_items)
        self.values = {name: array.copy() for name, array in job.parameters.items()}
        self.state = {name: array.copy() for name, array in job.optimizer_state.items()}

    def run_epoch(self, epoch: int) -> float:
        """Train one epoch and return its mean objective."""
        job = self.job
        learning_rate = self.optimizer.learning_rate_at(epoch)
        instances = sampling.epoch(job.data, job.sampling, seed=job.seed, epoch=epoch)
        total = sum(
            len(batch) * self.step(batch, learning_rate) for batch in instances.batches(job.batch_size)
        )
        return total / len(instances)

    def parameters(self) -> dict[str, Floats]:
        """Return copies of all parameters."""
        return {name: array.copy() for name, array in self.values.items()}

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the optimizer's state."""
        return {name: array.copy() for name, array in self.state.items()}

    def step(self, batch: Instances, learning_rate: float) -> float:
        """Move the parameters along the batch's gradient, and return the batch's objective before that."""
        objective, gradients = self.objective_and_gradients(batch)
        self.state[STEP] += 1
        coefficients = np.array(
            self.optimizer.coefficients(int(self.state[STEP][0]), learning_rate), dtype=self.job.dtype
        )
        for name, gradient in gradients.items():
            side = self.layout[name].side
            if side is None:
                self._move(name, slice(None), gradient, coefficients)
                continue
            rows = batch.users if side == "user" else batch.items
            if self.optimizer.sparse:
                touched, place = np.unique(rows, return_inverse=True)
                self._move(name, touched, _summed(gradient, place, len(touched)), coefficients)
            else:
                summed = _summed(gradient, rows, len(self.values[name]))
                self._move(name, slice(None), summed, coefficients)
        return objective

    def objective_and_gradients(self, batch: Instances) -> tuple[float, dict[str, Floats]]:
        """Return the batch's objective and its gradient by each trained parameter.

        Gradients of parameters with a side are per instance, [len(batch), ...].
        """
        job, share = self.job, self.job.dtype.type(1 / len(batch))
        scores = job.spec.score(self.values, batch.users, batch.items)
        targets = np.where(batch.positive, job.targets[batch.interactions], job.dtype.type(0))
        losses, upstream = job.objective.loss(scores, targets, job.spec.output)
        if job.weights is not None:
            weights = np.where(batch.positive, job.weights[batch.interactions], job.dtype.type(1))
            losses, upstream = losses * weights, upstream * weights
        gradients = job.spec.score_gradients(self.values, batch.users, batch.items, upstream * share)
        objective = float(losses.mean(dtype=np.float64))
        for name, gradient in gradients.items():
            side, decayed = self.layout[name].side, self.layout[name].decayed
            decay = self.optimizer.l2 if side else self.optimizer.l2_dense
            if not (decayed and decay):
                continue
            touched = self.values[name]
            if side:
                touched = touched[batch.users if side == "user" else batch.items]
            scale = share if side else job.dtype.type(1)
            gradients[name] = gradient + job.dtype.type(decay) * scale * touched
            objective += 0.5 * decay * float(scale) * float(np.square(touched, dtype=np.float64).sum())
        return objective, gradients

    def _move(self, name: str, where: Any, gradient: Floats, coefficients: Floats) -> None:
        names = [f"{name}/{slot}" for slot in self.optimizer.slot_names]
        slots: list[Any] = [self.state[slot][where] for slot in names]
        first, second = slots + [self.job.dtype.type(0)] * (2 - len(slots))
        moved, *new_slots = self.rule(self.values[name][where], gradient, first, second, coefficients)
        self.values[name][where] = moved
        for slot, value in zip(names, new_slots, strict=False):
            self.state[slot][where] = value


def _summed(gradient: Floats, rows: NDArray[np.int64], n_rows: int) -> Floats:
    summed = np.zeros((n_rows, *gradient.shape[1:]), dtype=gradient.dtype)
    np.add.at(summed, rows, gradient)
    return summed
