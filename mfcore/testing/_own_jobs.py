"""A job of one's own, with parts that mfcore need not know, compared as the cells are."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mfcore.data import Interactions
from mfcore.engines import Backend, TrainingJob
from mfcore.metrics import Metric, evaluate
from mfcore.model import Model
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import ModelSpec
from mfcore.testing._cells import STRIDE, faster
from mfcore.testing._deviations import in_float64
from mfcore.testing._runs import BOUNDS
from mfcore.training import fit, make_job


@dataclass(frozen=True, eq=False)
class OwnJob:
    """What engines train by `verify_job`.

    Attributes
    ----------
    spec : ModelSpec
    train_data, held_out : Interactions
    settings : mapping of str to object
        Further arguments of `make_job`.
    metric : Metric
        Of the model on `held_out`.
    epochs : int
    dtype : "float64" or "float32"
    """

    spec: ModelSpec
    train_data: Interactions
    held_out: Interactions
    settings: Mapping[str, Any]
    metric: Metric
    epochs: int
    dtype: str = "float64"

    def __str__(self) -> str:
        job = self.job()
        parts = (job.spec, job.objective, job.optimizer)
        return f"{', '.join(type(part).__name__ for part in parts)}, {self.dtype}"

    @property
    def kind(self) -> str:
        """The model's name on the command line."""
        return self.spec.short_name

    @property
    def exact(self) -> "OwnJob":
        """The same in float64."""
        return replace(self, dtype="float64")

    @property
    def bound(self) -> float:
        """How far the metric of two runs may be apart."""
        return BOUNDS.get(self.metric.name, min(BOUNDS.values()))

    def job(self, device: str = "cpu") -> TrainingJob:
        """Return the whole job; in either dtype it starts from the same values, those of float32."""
        job = make_job(self.spec, self.train_data, **self.settings, device=device, dtype="float32")
        return job if self.dtype == "float32" else in_float64(job)

    def first_step(self, device: str = "cpu") -> TrainingJob:
        """Return a job from the same start with the instances of one batch, as `Cell.first_step` does."""
        job = self.job(device)
        if not isinstance(job.optimizer, GradientOptimizer):
            return job
        n_interactions = max(1, job.batch_size * len(job.data) // job.n_instances)
        return replace(
            job,
            data=job.data.select(np.arange(n_interactions)),
            optimizer=faster(job.optimizer, STRIDE),
        )

    def train(self, backend: Backend, device: str = "cpu") -> Model:
        """Return the model, as an engine trains it."""
        return fit(
            self.spec,
            self.train_data,
            **self.settings,
            device=device,
            dtype=self.dtype,
            epochs=self.epochs,
            backend=backend,
            progress=False,
        )

    def quality(self, model: Model) -> float:
        """Return the metric of a model on what was held out."""
        return float(evaluate(model, self.held_out, [self.metric])[self.metric.name])
