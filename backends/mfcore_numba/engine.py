"""What this engine does, and which trainer does it."""

from dataclasses import replace

import numba
import numpy as np

from mfcore.engines import API_VERSION, Gap, Scorer, StreamSlice, Trainer, TrainingJob
from mfcore.model import Model
from mfcore.optimizers import SGD, WALS
from mfcore.specs import MF
from mfcore_numba import losses
from mfcore_numba.nets import SPECS
from mfcore_numba.rules import rule_of


class NumbaBackend:
    """The engine itself."""

    name = "numba"
    api_version = API_VERSION
    description = (
        f"compiled for this CPU by Numba {numba.__version__}; every model by mini-batches, MF also by SGD"
        " and WALS, in parallel"
    )
    gaps: tuple[Gap, ...] = ()

    def unsupported(self, job: TrainingJob) -> str | None:
        """Return why the job cannot be done here, or None."""
        if job.device not in ("auto", "cpu"):
            return f"it runs on the CPU, and device is {job.device!r}; pass device='cpu'"
        if type(job.spec) not in SPECS:
            return f"it has no kernels for {type(job.spec).__name__}; use backend='reference'"
        if not isinstance(job.optimizer, WALS) and rule_of(job.optimizer) is None:
            return f"it has no compiled form of {type(job.optimizer).__name__}; use backend='reference'"
        if job.sampling.order == "blocked" and not _is_single_steps_of_sgd(job):
            return "it takes the blocked order with plain SGD and batch_size=1 alone; pass order='shuffled'"
        return losses.unsupported(job)

    def trainer(self, job: TrainingJob) -> Trainer:
        """Return a trainer."""
        if isinstance(job.optimizer, WALS):
            from mfcore_numba.wals import WalsTrainer

            return WalsTrainer(job)
        if job.sampling.order == "blocked":
            from mfcore_numba.blocked import BlockedTrainer

            return BlockedTrainer(job)
        from mfcore_numba.batches import BatchTrainer

        return BatchTrainer(job)

    def scorer(self, model: Model) -> Scorer | None:
        """Return the compiled top-k."""
        from mfcore_numba.top_k import TopK

        return TopK(model) if isinstance(model.spec, MF) else None

    def instances(self, job: TrainingJob, epoch: int, start: int, stop: int) -> StreamSlice:
        """Return what the compiled stream shows, or in the blocked order the trainer's own list."""
        # A listing tells positives from negatives by their targets, of which a negative's is 0.
        job = replace(job, data=replace(job.data, values=np.ones_like(job.data.values)))
        if job.sampling.order == "blocked":
            return self._visited(job, epoch, slice(start, stop))
        from mfcore_numba.stream import empty_listing, list_instances, shuffle_of, source

        listing = empty_listing(job, stop - start)
        list_instances(source(job), shuffle_of(job, epoch), epoch, start, stop, listing, 0)
        users, items, targets, _ = listing
        if not job.sampling.paired:
            return StreamSlice(users, items, targets > 0, None)
        return StreamSlice(users[::2], items[::2], np.ones(stop - start, dtype=np.bool_), items[1::2])

    def _visited(self, job: TrainingJob, epoch: int, where: slice) -> StreamSlice:
        from mfcore_numba.blocked import BlockedTrainer

        trainer = BlockedTrainer(job)
        trainer.run_epoch(epoch)
        visited = trainer.grid.visit_order(trainer.starts, job.seed, epoch)[where]
        users, items, targets, _ = trainer.listing
        return StreamSlice(users[visited], items[visited], targets[visited] > 0, None)


def _is_single_steps_of_sgd(job: TrainingJob) -> bool:
    optimizer = job.optimizer
    return isinstance(optimizer, SGD) and not optimizer.momentum and job.batch_size == 1


backend = NumbaBackend()
