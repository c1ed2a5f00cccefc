"""The numpy engine: slow, plain, and the oracle that every other engine is compared with."""

from mfcore.engines import API_VERSION, Gap, Scorer, Trainer, TrainingJob, missing_slope
from mfcore.engines.reference._gradient import GradientTrainer
from mfcore.engines.reference._wals import WalsTrainer
from mfcore.optimizers import WALS


class ReferenceBackend:
    """The reference engine."""

    name = "reference"
    api_version = API_VERSION
    description = "numpy; every model, objective and optimizer; slow, the definition of the others"
    gaps: tuple[Gap, ...] = ()

    def unsupported(self, job: TrainingJob) -> str | None:
        """Return why the job cannot be done here, or None."""
        if job.device not in ("auto", "cpu"):
            return f"it runs on the CPU, and device is {job.device!r}; pass device='cpu'"
        return missing_slope(job.objective)

    def trainer(self, job: TrainingJob) -> Trainer:
        """Return a trainer."""
        return WalsTrainer(job) if isinstance(job.optimizer, WALS) else GradientTrainer(job)

    def scorer(self, model: object) -> Scorer | None:
        """Return None: the core's top-k serves."""
        return None


backend = ReferenceBackend()
