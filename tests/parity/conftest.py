"""Fixtures of the parity tests: every engine that is installed, and how far it is from the reference."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import pytest

import mfcore
from mfcore.engines import Backend, TrainingJob, registry
from mfcore.sampling import _grid as grid
from mfcore.testing import Deviation, Outcome, in_float64
from mfcore.testing import _cells as cells


@pytest.fixture(scope="session")
def ratings() -> mfcore.Interactions:
    """Return the ratings of the cells."""
    return cells.interactions()


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """Return the name of an engine; skip, with the reason, where its framework is not installed."""
    name: str = request.param
    try:
        registry.get(name)
    except registry.BackendMissingError as error:
        pytest.skip(str(error))
    return name


@pytest.fixture(scope="session")
def deviation() -> Callable[[str | Backend, TrainingJob, int], Deviation]:
    """Return a measure of how far an engine is from the reference, which runs a job once for all of them."""
    exact: dict[str, Outcome] = {}

    def measure(engine: str | Backend, job: TrainingJob, epochs: int) -> Deviation:
        backend = registry.get(engine) if isinstance(engine, str) else engine
        wide = in_float64(job)
        key = _key(wide, epochs)
        if key not in exact:
            exact[key] = Outcome.of(registry.get(registry.REFERENCE), wide, epochs)
        return Deviation.between(exact[key], Outcome.of(backend, job, epochs), wide.parameters)

    return measure


def _key(job: TrainingJob, epochs: int) -> str:
    """Return what two jobs have in common that come to the same."""
    settings = (job.spec, job.objective, job.optimizer, job.sampling, job.batch_size, job.seed, epochs)
    data = {"users": job.data.users, "items": job.data.items, "values": job.data.values}
    arrays: list[Mapping[str, Any]] = [data, job.parameters, job.optimizer_state]
    digest = sha256(f"{settings} {grid.WORTH_CUTTING} {job.data.n_users} {job.data.n_items}".encode())
    for mapping in arrays:
        for name, array in mapping.items():
            digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every parity test on every engine that is not the reference itself."""
    if "engine" in metafunc.fixturenames and metafunc.cls is None:
        names = [name for name in registry.names() if name != registry.REFERENCE]
        metafunc.parametrize("engine", names, indirect=True)
