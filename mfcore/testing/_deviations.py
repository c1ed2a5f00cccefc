"""How far a run of an engine is from that of the reference engine in float64."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mfcore.engines import Backend, Trainer, TrainingJob
from mfcore.specs import Floats

# By name: the norm of a difference, and of what it is measured against.
Differences: TypeAlias = dict[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of a run.

    Attributes
    ----------
    parameters, state : mapping of name to array
        Of the trainer, after the last epoch.
    objective : float
        Of the last epoch.

    Examples
    --------
    >>> from mfcore.engines.reference import backend
    >>> from mfcore.testing import Cell, Outcome
    >>> job = Cell("mf", "squared", "adam", "float64").first_step()
    >>> outcome = Outcome.of(backend, job, epochs=1)
    >>> sorted(outcome.parameters), int(outcome.state["step"][0])
    (['item_factors', 'user_factors'], 1)
    >>> again = Outcome.of_trainer(backend.trainer(job), epochs=range(1))
    >>> again.objective == outcome.objective
    True
    """

    parameters: Mapping[str, Floats]
    state: Mapping[str, NDArray[Any]]
    objective: float

    @classmethod
    def of(cls, backend: Backend, job: TrainingJob, epochs: int) -> "Outcome":
        """Train a job for some epochs.

        Parameters
        ----------
        backend : Backend
        job : TrainingJob
        epochs : int
            At least one.

        Returns
        -------
        Outcome
        """
        return cls.of_trainer(backend.trainer(job), range(epochs))

    @classmethod
    def of_trainer(cls, trainer: Trainer, epochs: Iterable[int]) -> "Outcome":
        """Train some epochs of a job in progress.

        Parameters
        ----------
        trainer : Trainer
        epochs : iterable of int
            At least one.

        Returns
        -------
        Outcome
        """
        objectives = [trainer.run_epoch(epoch) for epoch in epochs]
        return cls(trainer.parameters(), trainer.optimizer_state(), objectives[-1])


@dataclass(frozen=True)
class Deviation:
    """How far two runs of one job are apart.

    Attributes
    ----------
    parameters : float
        Largest over the arrays: |difference| / |distance moved from the start|, in the Euclidean norm.
    state : float
        Largest over the optimizer's arrays: |difference| / |value|.
    objective : float
        Relative, of the last epoch.
    whole_parameters : float
        As `parameters`, of all arrays together, as if they were one.
    whole_state : float
        As `state`, of all arrays of a slot together; largest over the slots.

    Examples
    --------
    >>> from mfcore.engines.reference import backend
    >>> from mfcore.testing import Cell, Deviation, Outcome, in_float64
    >>> job = Cell("mf", "squared", "sgd", "float32").first_step()
    >>> exact, rounded = (Outcome.of(backend, one, epochs=1) for one in (in_float64(job), job))
    >>> 0 < Deviation.between(exact, rounded, job.parameters).parameters < 1e-5
    True
    """

    parameters: float
    state: float
    objective: float
    whole_parameters: float
    whole_state: float

    @classmethod
    def between(cls, exact: Outcome, found: Outcome, start: Mapping[str, Floats]) -> "Deviation":
        """Return how far a run is from the exact one of the same start.

        Parameters
        ----------
        exact, found : Outcome
            With arrays of the same names.
        start : mapping of name to array
            The initial parameters of both.

        Returns
        -------
        Deviation
        """
        parameters = _differences(exact.parameters, found.parameters, start)
        state = _differences(exact.state, found.state, None)
        return cls(
            parameters=_worst(parameters),
            state=_worst(state),
            objective=abs(found.objective / exact.objective - 1),
            whole_parameters=distance(found.parameters, exact.parameters, start),
            # "PARAMETER/SLOT", and the step by itself.
            whole_state=_worst(_together(state, lambda name: name.rpartition("/")[2])),
        )


def distance(found: Mapping[str, Floats], exact: Mapping[str, Floats], start: Mapping[str, Floats]) -> float:
    """Return how far all parameters together are from the exact ones, as a part of the way from the start.

    Parameters
    ----------
    found, exact, start : mapping of name to array
        The arrays of `exact` count; the others have arrays of their names and shapes.
    """
    return _worst(_together(_differences(exact, found, start), lambda name: "parameters"))


def in_float64(job: TrainingJob) -> TrainingJob:
    """Return a job in float64 that starts from the same numbers: what `Deviation` takes as exact.

    Parameters
    ----------
    job : TrainingJob

    Returns
    -------
    TrainingJob

    Examples
    --------
    >>> from mfcore.testing import Cell, in_float64
    >>> in_float64(Cell("mf", "squared", "sgd", "float32").job()).dtype.name
    'float64'
    """

    def widened(arrays: Any) -> dict[str, Any]:
        return {
            name: array.astype(np.float64) if array.dtype.kind == "f" else array
            for name, array in arrays.items()
        }

    return replace(
        job,
        dtype=np.dtype(np.float64),
        parameters=widened(job.parameters),
        optimizer_state=widened(job.optimizer_state),
    )


def _differences(exact: Any, found: Any, start: Any) -> Differences:
    """Return how far arrays are apart, and how far they have moved from the start, or are from 0."""
    return {
        name: (
            float(np.linalg.norm(array - found[name].astype(np.float64))),
            float(np.linalg.norm(array - (start[name] if start else 0.0))),
        )
        for name, array in exact.items()
    }


def _together(differences: Differences, group_of: Callable[[str], str]) -> Differences:
    """Return the same of groups of arrays, each as if it were one array."""
    groups: Differences = {}
    for name, norms in differences.items():
        earlier = groups.get(group_of(name), (0.0, 0.0))
        groups[group_of(name)] = (
            float(np.hypot(earlier[0], norms[0])),
            float(np.hypot(earlier[1], norms[1])),
        )
    return groups


def _worst(differences: Differences) -> float:
    # Not max(): it would pass over a NaN.
    return float(np.max([apart / size if size else apart for apart, size in differences.values()]))
