"""What the trainer of an engine that goes batch by batch has in common with every other one."""

from abc import ABC, abstractmethod
from typing import Any

from numpy.typing import NDArray

from mfcore.engines._batches import Batch
from mfcore.engines._layout import STEP, PackedTables
from mfcore.engines.contract import TrainingJob
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import Floats


class BatchTrainer(ABC):
    """The loop over batches, the copies and the state; an engine adds `load`, `step` and `arrays`.

    Parameters
    ----------
    job : TrainingJob
        With a gradient optimizer.

    Attributes
    ----------
    job : TrainingJob
    optimizer : GradientOptimizer
    steps_done : int
        Steps taken so far.
    """

    def __init__(self, job: TrainingJob) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        self.job = job
        self.optimizer: GradientOptimizer = job.optimizer
        self.steps_done = int(job.optimizer_state[STEP][0])
        self.load(job.layout.pack(job.parameters, job.optimizer_state))

    @abstractmethod
    def load(self, tables: PackedTables) -> None:
        """Take the parameters and slots that training starts from, host arrays in the job's dtype."""

    @abstractmethod
    def step(self, batch: Batch) -> Any:
        """Take a step; return the objective before it, summed over the batch's instances: a number."""

    @abstractmethod
    def arrays(self) -> PackedTables:
        """Return the parameters and slots as they are now, as host arrays."""

    def run_epoch(self, epoch: int) -> float:
        """Train one epoch, counted from 0, and return its mean objective."""
        total = 0.0
        for batch in self.job.batches(epoch, self.steps_done):
            total += self.step(batch)
            self.steps_done = batch.number
        return float(total) / self.job.n_instances

    def parameters(self) -> dict[str, Floats]:
        """Return host copies of all parameters."""
        return self.job.layout.parameters(self.arrays(), self.job.parameters)

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return host copies of the optimizer's state."""
        return self.job.layout.optimizer_state(self.arrays(), self.steps_done)
