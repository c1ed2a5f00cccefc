"""What the engine does, and how it trains: whole batches at a time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfcore import sampling
from mfcore.engines import API_VERSION, STEP, Gap, Scorer, Trainer, TrainingJob
from mfcore.objectives import PointwiseObjective
from mfcore.optimizers import SGD
from mfcore.sampling import Instances
from mfcore.specs import MF, Floats


class ExampleBackend:
    """The engine itself."""

    name = "example"
    api_version = API_VERSION
    description = f"numpy {np.__version__}; MF by plain SGD, a batch at a time"
    # The suite and `mfcore verify` fail where this and `unsupported` do not agree.
    gaps = (
        Gap("it has the gradients of matrix factorisation alone", models=["gmf*", "two*", "mlp*", "neumf*"]),
        Gap("it scores one pair at a time, and these compare items", objectives=["bpr", "softmax*"]),
        Gap(
            "it knows no update rule but plain SGD",
            optimizers=["momentum", "nesterov", "adagrad", "rmsprop", "*adam*", "wals*"],
        ),
    )

    def unsupported(self, job: TrainingJob) -> str | None:
        """Return why the job cannot be done here, or None."""
        if job.device not in ("auto", "cpu"):
            return f"it runs on the CPU, and device is {job.device!r}; pass device='cpu'"
        if type(job.spec) is not MF:
            return f"it has no gradients of {type(job.spec).__name__}; use MF, or backend='reference'"
        if type(job.optimizer) is not SGD or job.optimizer.momentum:
            return f"it knows plain SGD alone, and optimizer is {job.optimizer}; pass mfcore.SGD()"
        if not isinstance(job.objective, PointwiseObjective):
            return (
                f"it scores one pair at a time, and {type(job.objective).__name__} compares items; pass"
                " objective='logistic', say"
            )
        return None

    def trainer(self, job: TrainingJob) -> Trainer:
        """Return a trainer."""
        return ExampleTrainer(job)

    def scorer(self, model: Any) -> Scorer | None:
        """Return None: the core's top-k serves."""
        return None


class ExampleTrainer:
    """A job of `MF` with plain `SGD`."""

    def __init__(self, job: TrainingJob) -> None:
        assert isinstance(job.optimizer, SGD)
        assert isinstance(job.objective, PointwiseObjective)
        self.job, self.optimizer, self.objective = job, job.optimizer, job.objective
        self.values = {name: array.copy() for name, array in job.parameters.items()}
        self.steps = int(job.optimizer_state[STEP][0])

    def run_epoch(self, epoch: int) -> float:
        """Train one epoch and return its mean objective."""
        job = self.job
        instances = sampling.epoch(job.data, job.sampling, seed=job.seed, epoch=epoch)
        rate = self.optimizer.learning_rate_at(epoch)
        total = sum(len(batch) * self._step(batch, rate) for batch in instances.batches(job.batch_size))
        return total / len(instances)

    def parameters(self) -> dict[str, Floats]:
        """Return copies of all parameters."""
        return {name: array.copy() for name, array in self.values.items()}

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return the number of steps; plain SGD keeps nothing else."""
        return {STEP: np.array([self.steps], dtype=np.int64)}

    def _step(self, batch: Instances, rate: float) -> float:
        """Take a step; return the batch's objective before it."""
        rows = {"user": batch.users, "item": batch.items}
        found = {side: self.values[f"{side}_factors"][rows[side]] for side in rows}
        losses, slopes = self._losses(batch, self._scores(batch, found))
        squares = 0.0
        for side, other in (("user", "item"), ("item", "user")):
            squares += self._move(f"{side}_factors", rows[side], slopes[:, None] * found[other], rate)
            if self._is_biased:
                squares += self._move(f"{side}_bias", rows[side], slopes, rate)
        self.steps += 1
        return (float(losses.sum()) + 0.5 * self.optimizer.l2 * squares) / len(batch)

    def _scores(self, batch: Instances, found: dict[str, Floats]) -> Floats:
        scores: Floats = np.sum(found["user"] * found["item"], axis=1)
        if self._is_biased:
            scores += self.values["user_bias"][batch.users] + self.values["item_bias"][batch.items]
            scores += self.values["global_bias"]
        return scores

    def _losses(self, batch: Instances, scores: Floats) -> tuple[Floats, Floats]:
        """Return the loss of each instance, and its derivative by the score."""
        job = self.job
        targets = np.where(batch.positive, job.targets[batch.interactions], job.dtype.type(0))
        losses, slopes = self.objective.loss(scores, targets, job.spec.output)
        if job.weights is None:
            return losses, slopes
        weights = np.where(batch.positive, job.weights[batch.interactions], job.dtype.type(1))
        return losses * weights, slopes * weights

    def _move(self, name: str, rows: NDArray[np.integer], gradients: Floats, rate: float) -> float:
        """Move rows against their gradients, summed where a row is repeated; return their squared norm."""
        values, l2 = self.values[name], self.optimizer.l2
        before = values[rows]
        # Rows that were read above are copies, so that all gradients are those before the step.
        np.subtract.at(values, rows, ((rate / len(rows)) * (gradients + l2 * before)).astype(values.dtype))
        return float(np.sum(np.square(before, dtype=np.float64)))

    @property
    def _is_biased(self) -> bool:
        return "user_bias" in self.values


backend = ExampleBackend()
