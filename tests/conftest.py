"""Fixtures that every group of tests shares."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from mfcore import Interactions, settings
from mfcore.data import Vocabulary
from mfcore.engines import TrainingJob, registry
from mfcore.specs import Floats, ModelSpec
from mfcore.training import make_job

# Numba reads it when it is first imported: tests ask for up to four threads, whatever the machine has.
os.environ.setdefault("NUMBA_NUM_THREADS", "4")
# OpenMP likewise: where tests run side by side, threads that wait must not keep the processors from others.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder that holds ml-100k, ml-1m and ml-1m-ncf as published; skip where there is none."""
    candidates = [Path(__file__).resolve().parents[2] / "shared" / "data"]
    if os.environ.get("MFCORE_DATA"):
        candidates.insert(0, Path(os.environ["MFCORE_DATA"]))
    for folder in candidates:
        if (folder / "ml-100k" / "u.data").is_file():
            return folder
    pytest.skip("no MovieLens data: set MFCORE_DATA to a folder that holds ml-100k, ml-1m and ml-1m-ncf")


@pytest.fixture(scope="session")
def ratings() -> Interactions:
    """Return 400 planted ratings from 1 to 5: 40 users and 25 items, the last of each without ratings."""
    generator = np.random.default_rng(7)
    cells = generator.choice(39 * 24, size=400, replace=False)
    users, items = cells // 24, cells % 24
    taste, kind = generator.normal(size=(39, 2)), generator.normal(size=(24, 2))
    scores = 3 + np.einsum("nk,nk->n", taste[users], kind[items]) + 0.2 * generator.normal(size=400)
    return Interactions.from_columns(
        users,
        items,
        np.clip(np.round(scores), 1, 5),
        user_ids=Vocabulary.range(40),
        item_ids=Vocabulary.range(25),
    )


@pytest.fixture(scope="session")
def checkerboard() -> Interactions:
    """Return a board of 20 users and 20 items: u met i where u + i is even, except where u = i."""
    users, items = np.divmod(np.arange(400), 20)
    met = ((users + items) % 2 == 0) & (users != items)
    return Interactions.from_columns(users[met], items[met])


@pytest.fixture
def job_of() -> Callable[..., TrainingJob]:
    """Return a maker of float64 jobs for a thread of the CPU."""

    def make(spec: ModelSpec, data: Interactions, **settings: Any) -> TrainingJob:
        defaults: dict[str, Any] = {"device": "cpu", "threads": 1, "dtype": "float64"}
        return make_job(spec, data, **{**defaults, **settings})

    return make


@pytest.fixture(scope="session")
def numeric_gradient() -> Callable[..., Floats]:
    """Return a function that differentiates by central differences."""

    def gradient(function: Callable[[], float], array: Floats, step: float = 1e-5) -> Floats:
        """Return d function() / d array, where function reads the float64 array, which is left as it was."""
        slopes = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            before = array[place]
            array[place] = before + step
            above = function()
            array[place] = before - step
            below = function()
            array[place] = before
            slopes[place] = (above - below) / (2 * step)
        return slopes

    return gradient


@pytest.fixture
def registry_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget after the test which classes of settings it defined, and the modules imported to define them."""
    modules = set(sys.modules)
    monkeypatch.setattr(settings, "_classes", dict(settings._classes))
    monkeypatch.setattr(settings, "_named", dict(settings._named))
    yield
    for cls in settings._classes.values():
        if cls.__module__ not in modules:
            sys.modules.pop(cls.__module__, None)


class FakeDistribution(metadata.Distribution):
    """What is installed under a name, and what it requires."""

    def __init__(self, name: str, requires: Sequence[str]) -> None:
        self.lines = [f"Name: {name}", *(f"Requires-Dist: {line}" for line in requires)]

    def read_text(self, filename: str) -> str | None:
        return "\n".join(self.lines) if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        return path


def _brought_by(entry: metadata.EntryPoint) -> str | None:
    return None if entry.dist is None else entry.dist.name


@pytest.fixture
def install_entry(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that installs entry points of engines for one test, beside the built-in one."""
    entries: list[metadata.EntryPoint] = []

    def entry_points(*, group: str) -> list[metadata.EntryPoint]:
        return [entry for entry in entries if entry.group == group]

    def install(name: str, value: str, distribution: str | None = None, requires: Sequence[str] = ()) -> str:
        entry = metadata.EntryPoint(name=name, value=value, group=registry.GROUP)
        if distribution is not None:
            entry = entry._for(FakeDistribution(distribution, requires))  # type: ignore[attr-defined]
        # Installing a distribution again replaces it.
        entries[:] = [other for other in entries if (other.name, _brought_by(other)) != (name, distribution)]
        entries.append(entry)
        monkeypatch.setattr(registry, "entry_points", entry_points)
        return name

    return install


@pytest.fixture
def install_backend(install_entry: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that installs an object as an engine for one test, perhaps of some distribution."""

    def install(name: str, backend: Any, distribution: str | None = None) -> str:
        module = ModuleType(f"backend_of_test_{uuid4().hex}")
        module.backend = backend  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return install_entry(name, f"{module.__name__}:backend", distribution)

    return install


@pytest.fixture
def install_source(
    install_entry: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., str]:
    """Return a function that installs an engine whose module does on import what the source says."""

    def install(name: str, source: str, distribution: str | None = None, requires: Sequence[str] = ()) -> str:
        module = f"backend_of_test_{uuid4().hex}"
        folder = tmp_path / "engines"
        folder.mkdir(exist_ok=True)
        (folder / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(folder)
        return install_entry(name, f"{module}:backend", distribution, requires)

    return install


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let continuous integration insist on engines, so that no skip can hide one."""
    parser.addoption("--require-backends", default="", help="engines that must load, separated by commas")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Fail at once where a required engine is missing."""
    for name in filter(None, session.config.getoption("--require-backends").split(",")):
        registry.get(name)
