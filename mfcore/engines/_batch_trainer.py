"""What the trainers of engines that train batch by batch have in common."""

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

    Attributes
    ----------
    job : TrainingJob
    optimizer : GradientOptimizer
    steps_done : int
        Steps taken so far.

    Parameters
    ----------
    job : TrainingJob
        With a gradient optimizer.

    Examples
    --------
    A trainer that takes plain steps of matrix factorisation, one instance after the other, in numpy:

    >>> import mfcore
    >>> from mfcore.engines import BatchTrainer
    >>> from mfcore.training import make_job
    >>> class Numpy(BatchTrainer):
    ...     def load(self, tables):
    ...         self.tables = tables
    ...     def arrays(self):
    ...         return self.tables
    ...     def step(self, batch):
    ...         objective, rate = 0.0, batch.coefficients[0]
    ...         for user, item, target in zip(batch.users, batch.items, batch.targets, strict=True):
    ...             p, q = self.tables.users[user, 0], self.tables.items[item, 0]
    ...             error = p @ q - target
    ...             objective += 0.5 * float(error) ** 2
    ...             p[:], q[:] = p - rate * error * q, q - rate * error * p
    ...         return objective
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5], [3.0, 4.0, 5.0])
    >>> trainer = Numpy(make_job(mfcore.MF(2), data, optimizer="sgd", batch_size=1))
    >>> round(trainer.run_epoch(0), 3)
    8.333
    >>> trainer.parameters()["user_factors"].shape, trainer.optimizer_state()
    ((2, 2), {'step': array([3])})
    """

    def __init__(self, job: TrainingJob) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        self.job = job
        self.optimizer: GradientOptimizer = job.optimizer
        self.steps_done = int(job.optimizer_state[STEP][0])
        self.load(job.layout.pack(job.parameters, job.optimizer_state))

    @abstractmethod
    def load(self, tables: PackedTables) -> None:
        """Load the parameters and slots that training starts from.

        Parameters
        ----------
        tables : PackedTables
            Host arrays in the job's dtype, which the trainer may keep.
        """

    @abstractmethod
    def step(self, batch: Batch) -> Any:
        """Take a step.

        Parameters
        ----------
        batch : Batch

        Returns
        -------
        float, or scalar of the engine's library
            The objective before the step, summed over the batch's instances.
        """

    @abstractmethod
    def arrays(self) -> PackedTables:
        """Return the parameters and slots as they are now, as host arrays."""

    def run_epoch(self, epoch: int) -> float:
        """Train one epoch.

        Parameters
        ----------
        epoch : int
            Counted from 0.

        Returns
        -------
        float
            Its mean objective over the instances.
        """
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
