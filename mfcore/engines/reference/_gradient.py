"""Training by batches, in numpy: the definition of a step."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfcore import sampling
from mfcore.engines import STEP, TrainingJob
from mfcore.objectives import InBatchObjective, ScoreObjective
from mfcore.operators import NUMPY
from mfcore.optimizers import GradientOptimizer
from mfcore.sampling import Instances, Words
from mfcore.specs import Floats, Parameters

# Instances that are drawn together, and pairs of an in-batch objective that are scored together.
INSTANCES_AT_ONCE, PAIRS_AT_ONCE = 1 << 17, 1 << 16


class GradientTrainer:
    """A job of any spec and any gradient optimizer."""

    def __init__(self, job: TrainingJob) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        self.job = job
        self.optimizer: GradientOptimizer = job.optimizer
        self.rule = job.optimizer.rule(NUMPY)
        self.layout = job.spec.parameters(job.data.n_users, job.data.n_items)
        self.values = {name: array.copy() for name, array in job.parameters.items()}
        self.state = {name: array.copy() for name, array in job.optimizer_state.items()}

    def run_epoch(self, epoch: int) -> float:
        """Train one epoch and return its mean objective."""
        job = self.job
        learning_rate = self.optimizer.learning_rate_at(epoch)
        drawn = sampling.slices(
            job.data,
            job.sampling,
            seed=job.seed,
            epoch=epoch,
            size=max(1, INSTANCES_AT_ONCE // job.batch_size) * job.batch_size,
            popularity=job.popularity,
        )
        total = sum(
            len(batch) * self.step(batch, learning_rate)
            for instances in drawn
            for batch in instances.batches(job.batch_size)
        )
        return total / job.n_instances

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
            moved: Any = slice(None)
            if side is not None and self.optimizer.sparse:
                moved = np.unique(np.concatenate(batch_rows(batch)[side]))
            self._move(name, moved, gradient[moved], coefficients)
        return objective

    def objective_and_gradients(self, batch: Instances) -> tuple[float, dict[str, Floats]]:
        """Return the batch's objective, and its gradient by each trained parameter in that one's shape."""
        job = self.job
        gradients = {name: np.zeros_like(self.values[name]) for name in job.trained}
        share = job.dtype.type(1 / len(batch))
        objective = 0.0
        for losses, pairs in PAIRINGS[job.objective.pairing](job, self.values, batch):
            objective += float(losses.sum(dtype=np.float64)) / len(batch)
            found = job.spec.score_gradients(self.values, pairs.users, pairs.items, pairs.grad_scores * share)
            for name, total in gradients.items():
                side = self.layout[name].side
                if side is None:
                    np.add(total, found[name], out=total)
                else:
                    np.add.at(total, pairs.users if side == "user" else pairs.items, found[name])
        return objective + self._add_decay(batch, gradients), gradients

    def _add_decay(self, batch: Instances, gradients: dict[str, Floats]) -> float:
        """Add the gradients of the regularisation; return what it adds to the objective."""
        rows_of, added = batch_rows(batch), 0.0
        for name, values in self.values.items():
            side, decayed = self.layout[name].side, self.layout[name].decayed
            decay = self.optimizer.l2 if side else self.optimizer.l2_dense
            if name not in gradients or not (decayed and decay):
                continue
            if side is None:
                gradients[name] += self.job.dtype.type(decay) * values
                added += 0.5 * decay * float(np.square(values, dtype=np.float64).sum())
            for rows in rows_of[side] if side else ():
                scale = self.job.dtype.type(decay / len(batch))
                np.add.at(gradients[name], rows, scale * values[rows])
                added += 0.5 * decay / len(batch) * float(np.square(values[rows], dtype=np.float64).sum())
        return added

    def _move(self, name: str, where: Any, gradient: Floats, coefficients: Floats) -> None:
        names = [f"{name}/{slot}" for slot in self.optimizer.slot_names]
        slots: list[Any] = [self.state[slot][where] for slot in names]
        first, second = slots + [self.job.dtype.type(0)] * (2 - len(slots))
        moved, *new_slots = self.rule(self.values[name][where], gradient, first, second, coefficients)
        self.values[name][where] = moved
        for slot, value in zip(names, new_slots, strict=False):
            self.state[slot][where] = value


@dataclass(frozen=True)
class Pairs:
    """Pairs that were scored, rows [m] a side, and the derivative of the losses' sum by each score, [m]."""

    users: Words
    items: Words
    grad_scores: Floats


Losses = Iterator[tuple[Floats, Pairs]]


def pointwise(job: TrainingJob, values: Parameters, batch: Instances) -> Losses:
    """Score each instance; losses are those of the instances, [n]."""
    assert isinstance(job.objective, ScoreObjective)
    scores = job.spec.score_pairs(values, batch.users, batch.items)
    targets = np.where(batch.positive, job.targets[batch.interactions], job.dtype.type(0))
    losses, grad_scores = job.objective.loss(scores, targets, job.spec.output)
    if job.weights is not None:
        weights = np.where(batch.positive, job.weights[batch.interactions], job.dtype.type(1))
        losses, grad_scores = losses * weights, grad_scores * weights
    yield losses, Pairs(batch.users, batch.items, grad_scores)


def pairwise(job: TrainingJob, values: Parameters, batch: Instances) -> Losses:
    """Score each instance's item and its negative; losses are those of the differences, [n]."""
    assert isinstance(job.objective, ScoreObjective)
    assert batch.negatives is not None
    users, items = np.tile(batch.users, 2), np.concatenate([batch.items, batch.negatives])
    of_items, of_negatives = np.split(job.spec.score_pairs(values, users, items), 2)
    losses, grad_scores = job.objective.loss(of_items - of_negatives)
    if job.weights is not None:
        weights = job.weights[batch.interactions]
        losses, grad_scores = losses * weights, grad_scores * weights
    yield losses, Pairs(users, items, np.concatenate([grad_scores, -grad_scores]))


def in_batch(job: TrainingJob, values: Parameters, batch: Instances) -> Losses:
    """Score the users of some instances with the items of all, part by part; losses are the parts'."""
    assert isinstance(job.objective, InBatchObjective)
    n = len(batch)
    log_q = job.log_q[batch.items]
    for start in range(0, n, max(1, PAIRS_AT_ONCE // n)):
        positions = np.arange(start, min(start + max(1, PAIRS_AT_ONCE // n), n))
        users, items = np.repeat(batch.users[positions], n), np.tile(batch.items, len(positions))
        scores = job.spec.score_pairs(values, users, items).reshape(len(positions), n)
        losses, grad_scores = job.objective.loss(scores, positions, batch.items, log_q)
        if job.weights is not None:
            weights = job.weights[batch.interactions[positions]]
            losses, grad_scores = losses * weights, grad_scores * weights[:, None]
        yield losses, Pairs(users, items, grad_scores.ravel())


PAIRINGS: dict[str, Callable[[TrainingJob, Parameters, Instances], Losses]] = {
    "pointwise": pointwise,
    "pairwise": pairwise,
    "in-batch": in_batch,
}


def batch_rows(batch: Instances) -> dict[str, list[Words]]:
    """Return the instances' rows of each side, lists of [n]: with negatives two of items."""
    items = [batch.items] if batch.negatives is None else [batch.items, batch.negatives]
    return {"user": [batch.users], "item": items}
