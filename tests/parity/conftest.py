"""Fixtures of the parity tests: small data with repeated ids, and how far an engine is from the reference."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import mfcore
from mfcore import registry
from mfcore.contract import TrainingJob


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
    """

    parameters: float
    state: float
    objective: float


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
        state = reference.optimizer_state()
        assert tested.optimizer_state().keys() == state.keys()
        return Deviation(
            _relative(reference.parameters(), tested.parameters(), exact.parameters),
            _relative(state, tested.optimizer_state(), dict.fromkeys(state, 0.0)),
            abs(objectives[-1][1] / objectives[-1][0] - 1),
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


def _relative(exact: Any, found: Any, start: Any) -> float:
    worst = 0.0
    for name, array in exact.items():
        moved = float(np.linalg.norm(array - start[name]))
        apart = float(np.linalg.norm(array - found[name].astype(np.float64)))
        worst = max(worst, apart / moved if moved else apart)
    return worst


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every parity test on every engine that is not the reference itself."""
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", [name for name in registry.names() if name != registry.REFERENCE])
