"""Settings, the machine, and the ledger that the benchmarks of a session share."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest

from benchmarks import data, ours
from benchmarks.results import Measure, Result, markdown

LEDGER = pytest.StashKey[list[Result]]()
VERSIONS = (
    *("mfcore", "numpy", "scipy", "numba", "torch", "tensorflow", "keras"),
    *("implicit", "cmfrec", "irspack", "libmf", "scikit-surprise"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the benchmarks that take many minutes, too")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long(minutes): takes about so long; run with --long only")
    results: list[Result] = []
    config.stash[LEDGER] = results
    data.look_beside()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    for item in items:
        mark = item.get_closest_marker("long")
        if mark is not None:
            item.add_marker(pytest.mark.skip(f"takes about {mark.kwargs['minutes']:g} minutes: pass --long"))


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info["threads"] = ours.THREADS
    machine_info["versions"] = {name: found for name in VERSIONS if (found := _version(name))}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    results = config.stash[LEDGER]
    if results:
        terminalreporter.section("results")
        terminalreporter.write_line(markdown(results))


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> list[Result]:
    """Return the results of this session so far."""
    return request.config.stash[LEDGER]


@pytest.fixture
def measure(benchmark: Any, ledger: list[Result]) -> Measure:
    """Return a function that runs once what makes a result, and records both.

    The benchmark's own time is that of the whole run, set-up and judging included; the figures that count
    are the result's, kept in `extra_info`.
    """

    def run(work: Callable[[], Result]) -> Result:
        try:
            result: Result = benchmark.pedantic(work, rounds=1, iterations=1)
        except pytest.skip.Exception:
            # The plug-in knows errors only, and would look for the times of this.
            benchmark.has_error = True
            raise
        benchmark.group = f"{result.task}: {result.setting}"
        benchmark.extra_info["result"] = result.document()
        ledger.append(result)
        return result

    return run


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
