"""What is measured of an engine, and how much it may be off.

Distances are those from the reference engine in float64. In float64 every single array agrees to 1e-9. In
float32 the distance of the whole model is measured, all arrays together, and that of all arrays of a slot: a
single array may hardly move beside its size, such as the constant of an output unit, or have gradients that
cancel but for rounding, and then the rounding of a hundred steps is more than 1e-5 of what it moved. Those of
pointwise matrix factorisation and of WALS are large in all arrays, and measured one by one.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mfcore.engines import TrainingJob
from mfcore.optimizers import WALS
from mfcore.specs import MF
from mfcore.testing._deviations import Deviation

STREAM, INITIAL, OBJECTIVE, FIRST, LAST, METRIC, TOP_K = (
    "stream",
    "initial values",
    "scores by objective",
    "1 step",
    "100 steps",
    "final metric",
    "top-k scores",
)
ASPECTS = (STREAM, INITIAL, OBJECTIVE, FIRST, LAST, METRIC, TOP_K)

OF_PARAMETERS = {"float64": 1e-9, "float32": 1e-5}
# Of an engine's own top-k; and of the mean objective of a batch, which is all that training shows of scores.
OF_SCORES = {"float64": 1e-9, "float32": 1e-6}
# Conjugate gradient is cut off before it has converged, along directions that rounding turns.
OF_CONJUGATE_GRADIENT = {"float64": 1e-9, "float32": 1e-4}


@dataclass(frozen=True)
class Measured:
    """A deviation and what is allowed of it.

    Attributes
    ----------
    value, allowed : float

    Examples
    --------
    >>> from mfcore.testing import Measured
    >>> Measured(5e-6, allowed=1e-5).is_within, Measured(5e-6, allowed=1e-5).share
    (True, 0.5)
    """

    value: float
    allowed: float

    @property
    def is_within(self) -> bool:
        """Whether it is allowed; a NaN is not."""
        return self.value <= self.allowed

    @property
    def share(self) -> float:
        """The deviation as a share of what is allowed; infinite where nothing is."""
        if self.is_within:
            return self.value / self.allowed if self.allowed else 0.0
        return (
            max(self.value / self.allowed, 1.0) if self.allowed and self.value == self.value else float("inf")
        )


Measures: TypeAlias = dict[str, Measured]


def worst(measured: list[Measured]) -> Measured:
    """Return the one that is largest relative to what is allowed."""
    return max(measured, key=lambda one: one.share)


def of_first_step(job: TrainingJob, deviation: Deviation) -> Measures:
    """Return what the first step shows: the mean objective of its batch before it, and what it moved."""
    if isinstance(job.optimizer, WALS):
        return {FIRST: worst(_moved(job, deviation))}
    objective = Measured(deviation.objective, OF_SCORES[job.dtype.name])
    return {OBJECTIVE: objective, FIRST: worst(_moved(job, deviation)[:2])}


def of_last_step(job: TrainingJob, deviation: Deviation) -> Measures:
    """Return what the whole run shows."""
    return {LAST: worst(_moved(job, deviation))}


def _moved(job: TrainingJob, deviation: Deviation) -> list[Measured]:
    """Return the deviations of parameters, state and objective after the same steps."""
    allowed = OF_PARAMETERS[job.dtype.name]
    whole = job.dtype == np.float32 and not _are_large(job)
    is_cut_off = isinstance(job.optimizer, WALS) and job.optimizer.solver == "cg"
    of_parameters = OF_CONJUGATE_GRADIENT[job.dtype.name] if is_cut_off else allowed
    return [
        Measured(deviation.whole_parameters if whole else deviation.parameters, of_parameters),
        Measured(deviation.whole_state if whole else deviation.state, allowed),
        Measured(deviation.objective, allowed),
    ]


def _are_large(job: TrainingJob) -> bool:
    """Return whether all arrays move well beyond the rounding of float32."""
    return type(job.spec) is MF and job.objective.pairing == "pointwise"
