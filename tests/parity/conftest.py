"""Fixtures of the parity tests: small data with repeated ids, and how far an engine is from the reference."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pytest

import mfcore
from mfcore import registry
from mfcore.contract import TrainingJob

# By name: the norm of a difference, and of what it is measured against.
Differences: TypeAlias = dict[str, tuple[float, float]]


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
    """

    parameters: float
    state: float
    objective: float
    whole_parameters: float
    whole_state: float


@pytest.fixture(scope="session")
def ratings() -> mfcore.Interactions:
    """Return 1,200 ratings of 60 users and 50 items, in no particular order, with values in 1-5.

    The values are no whole numbers: gradients that cancel to zero but for rounding have a random sign, which
    optimizers that divide by the gradient's size blow up to a whole step.
    """
    return _ratings(low=1.0, high=5.0)


@pytest.fixture(scope="session")
def labels() -> mfcore.Interactions:
    """Return the same pairs with values in 0-1."""
    return _ratings(low=0.0, high=1.0)


def _ratings(low: float, high: float) -> mfcore.Interactions:
    rng = np.random.default_rng(3)
    pairs = rng.choice(60 * 50, size=1_200, replace=False)
    return mfcore.Interactions.from_columns(
        users=pairs // 50, items=pairs % 50, values=rng.uniform(low, high, len(pairs))
    )


@pytest.fixture(scope="session")
def deviation() -> Callable[..., Deviation]:
    """Return a measure of an engine's distance from the reference engine in float64."""

    def measure(engine: str, job: TrainingJob, epochs: int) -> Deviation:
        exact = _in_float64(job)
        reference, tested = registry.get("reference").trainer(exact), registry.get(engine).trainer(job)
        objectives = [(reference.run_epoch(epoch), tested.run_epoch(epoch)) for epoch in range(epochs)]
        parameters = _differences(reference.parameters(), tested.parameters(), exact.parameters)
        state = _differences(reference.optimizer_state(), tested.optimizer_state(), None)
        return Deviation(
            parameters=_worst(parameters),
            state=_worst(state),
            objective=abs(objectives[-1][1] / objectives[-1][0] - 1),
            whole_parameters=_worst(_together(parameters, lambda name: "parameters")),
            # "PARAMETER/SLOT", and the step by itself.
            whole_state=_worst(_together(state, lambda name: name.rpartition("/")[2])),
        )

    return measure


def _in_float64(job: TrainingJob) -> TrainingJob:
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
    assert exact.keys() == found.keys()
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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every parity test on every engine that is not the reference itself."""
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", [name for name in registry.names() if name != registry.REFERENCE])
