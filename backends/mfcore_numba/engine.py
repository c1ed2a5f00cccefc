"""What this engine does, and which trainer does it."""

import numba

from mfcore.contract import API_VERSION, Scorer, Trainer, TrainingJob
from mfcore.model import Model
from mfcore.optimizers import WALS
from mfcore.specs import MF
from mfcore_numba import losses


class NumbaBackend:
    """The engine itself."""

    name = "numba"
    api_version = API_VERSION
    description = (
        f"compiled for this CPU by Numba {numba.__version__}; MF by SGD, mini-batches and WALS, in parallel"
    )

    def unsupported(self, job: TrainingJob) -> str | None:
        """Return why the job cannot be done here, or None."""
        if job.device not in ("auto", "cpu"):
            return f"it runs on the CPU, and device is {job.device!r}; pass device='cpu'"
        if not isinstance(job.spec, MF):
            return f"it has no kernels for {type(job.spec).__name__}; use backend='reference'"
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


backend = NumbaBackend()
