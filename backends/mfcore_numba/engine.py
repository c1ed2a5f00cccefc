"""What this engine does, and which trainer does it."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numba
import numpy as np

from mfcore.engines import API_VERSION, Gap, Scorer, StreamSlice, Trainer, TrainingJob, missing_slope
from mfcore.model import Model
from mfcore.optimizers import SGD, WALS, GradientOptimizer
from mfcore.specs import MF
from mfcore_numba.limits import Limits
from mfcore_numba.nets import scores_as, unsupported_model
from mfcore_numba.objectives import built_in_loss, unsupported_in_batch
from mfcore_numba.own_parts import own_rule, own_terms, why_not_compiled
from mfcore_numba.rules import OWN_RULE, SGD_RULE, rule_of


@dataclass(frozen=True)
class NumbaBackend:
    """The engine itself.

    Attributes
    ----------
    limits : Limits
        How much is done at once.
    """

    name: ClassVar[str] = "numba"
    api_version: ClassVar[int] = API_VERSION
    description: ClassVar[str] = (
        f"compiled for this CPU by Numba {numba.__version__}; every built-in model by mini-batches, MF also"
        " by SGD and WALS, in parallel"
    )
    gaps: ClassVar[tuple[Gap, ...]] = ()

    limits: Limits = field(default_factory=Limits, repr=False)

    def unsupported(self, job: TrainingJob) -> str | None:
        """Return why the job cannot be done here, or None."""
        if job.device not in ("auto", "cpu"):
            return f"it runs on the CPU, and device is {job.device!r}; pass device='cpu'"
        reason = unsupported_model(job.spec)
        if reason or isinstance(job.optimizer, WALS):
            return reason
        if job.sampling.order == "blocked" and not _is_single_steps_of_sgd(job):
            return "it takes the blocked order with plain SGD and batch_size=1 alone; pass order='shuffled'"
        if job.weights is not None and job.objective.pairing != "pointwise":
            return (
                "its kernels take weights of pairs alone, not of comparisons between items; use"
                " backend='torch', 'keras' or 'reference'"
            )
        return missing_slope(job.objective) or unsupported_in_batch(job.objective) or _not_compiled(job)

    def trainer(self, job: TrainingJob) -> Trainer:
        """Return a trainer."""
        if isinstance(job.optimizer, WALS):
            from mfcore_numba.wals import WalsTrainer

            return WalsTrainer(job)
        if job.sampling.order == "blocked":
            from mfcore_numba.blocked import BlockedTrainer

            return BlockedTrainer(job)
        from mfcore_numba.batches import BatchTrainer

        return BatchTrainer(job, self.limits)

    def scorer(self, model: Model) -> Scorer | None:
        """Return the compiled top-k."""
        from mfcore_numba.top_k import TopK

        return TopK(model, self.limits) if scores_as(model.spec, MF) else None

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
    return (
        isinstance(optimizer, SGD)
        and rule_of(optimizer) == SGD_RULE
        and not optimizer.momentum
        and job.batch_size == 1
    )


def _not_compiled(job: TrainingJob) -> str | None:
    """Return why a person's own loss, output or rule cannot be compiled, or None."""
    objective, optimizer = job.objective, job.optimizer
    assert isinstance(optimizer, GradientOptimizer)
    if built_in_loss(job) is None:
        through = getattr(objective, "through_output", False)
        name = type(objective).__name__ + (f" through {type(job.spec.output).__name__}" if through else "")
        reason = why_not_compiled(lambda: own_terms(job), name)
        if reason:
            return reason
    if rule_of(optimizer) == OWN_RULE:
        return why_not_compiled(lambda: own_rule(optimizer, job.dtype), type(optimizer).__name__)
    return None


backend = NumbaBackend()
