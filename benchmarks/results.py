"""What a benchmark found, and the table that people read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

COLUMNS = (
    "task",
    "setting",
    "engine",
    "seconds",
    "per",
    "rate",
    "against best peer",
    "first",
    "quality",
)
# The family of costs that is the sample stream alone.
SAMPLING = "sampling"
LEFT, RIGHT = "---", "---:"


@dataclass(frozen=True)
class Result:
    """One engine, or one peer, on one task.

    Attributes
    ----------
    task : str
    setting : str
        Results of one task and setting compete with one another.
    engine : str
        Starts with "mfcore" for ours; every other one is a peer.
    seconds : float
        For what `per` names; of epochs, the median of those after the first.
    per : str
        "epoch", "run", "import" and so on.
    rate : float or None
        Units of work a second.
    unit : str
        Of the rate.
    first : float or None
        Seconds of the first epoch or call with all that precedes it: compiling or loading the kernels,
        listing the instances.
    quality : dict of name to number
    along : tuple of name and number, or None
        What a series of results of the task goes along: ("batch size", 256). Results that have it are drawn
        as a line for each engine.
    costs : dict or None
        What `benchmarks.fit_costs` fits the costs of engines to: the engine's name, the work of an epoch
        (fields of `mfcore.engines.Work`), and the seconds of an epoch or of starting, as far as measured.
    """

    task: str
    setting: str
    engine: str
    seconds: float
    per: str
    rate: float | None = None
    unit: str = ""
    first: float | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    along: Sequence[Any] | None = None
    costs: Mapping[str, Any] | None = None

    @property
    def is_peer(self) -> bool:
        """Whether this is another library."""
        return not self.engine.startswith("mfcore")

    def competes_with(self, other: "Result") -> bool:
        """Return whether the two did the same work."""
        return (self.task, self.setting) == (other.task, other.setting)

    def document(self) -> dict[str, Any]:
        """Return it as plain values, from which `Result(**document)` makes it again."""
        return asdict(self)


# Of the fixture `measure`: runs what makes a result, and records it.
Measure = Callable[[Callable[[], Result]], Result]


def results_of(run: Mapping[str, Any]) -> list[Result]:
    """Return the results in a document of pytest-benchmark.

    Raises
    ------
    ValueError
        It holds none of these benchmarks.
    """
    found = [one["extra_info"]["result"] for one in run["benchmarks"] if "result" in one["extra_info"]]
    if not found:
        raise ValueError("no result of these benchmarks in it; write one by --benchmark-json=FILE")
    return [Result(**one) for one in found]


def peers_of(result: Result, results: Iterable[Result]) -> list[Result]:
    """Return the results of other libraries on the same work."""
    return [other for other in results if other.is_peer and other.competes_with(result)]


def ratio_to_best_peer(result: Result, results: Iterable[Result]) -> float | None:
    """Return how many times as fast a result is as the fastest peer; None where no peer competed."""
    peers = [peer.seconds for peer in peers_of(result, results)]
    return min(peers) / result.seconds if peers else None


def in_order(results: Iterable[Result]) -> list[Result]:
    """Return the results with competitors together, ours first, in the order in which each was first met."""
    results = list(results)
    place = {key: place for place, key in reversed(list(enumerate((r.task, r.setting) for r in results)))}
    return sorted(results, key=lambda result: (place[result.task, result.setting], result.is_peer))


def cells(result: Result, results: Iterable[Result]) -> tuple[str, ...]:
    """Return a result as a row under `COLUMNS`."""
    ratio = ratio_to_best_peer(result, results)
    return (
        result.task,
        result.setting,
        result.engine,
        f"{result.seconds:.3g}",
        result.per,
        "" if result.rate is None else f"{with_prefix(result.rate)} {result.unit}/s",
        "" if ratio is None else f"{ratio:.2f}",
        "" if result.first is None else f"{result.first:.1f} s",
        ", ".join(f"{name} {value:.5g}" for name, value in result.quality.items()),
    )


def markdown(results: Iterable[Result]) -> str:
    """Return one Markdown table, in the order of the results' tasks and settings."""
    results = in_order(results)
    lines: list[tuple[str, ...]] = [COLUMNS, (LEFT, LEFT, LEFT, RIGHT, LEFT, RIGHT, RIGHT, RIGHT, LEFT)]
    lines += [cells(result, results) for result in results]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def with_prefix(rate: float) -> str:
    """Return a number to three digits, in thousands or millions where it is large."""
    for scale, prefix in ((1e6, "M"), (1e3, "k")):
        if rate >= scale:
            return f"{rate / scale:.3g} {prefix}"
    return f"{rate:.3g}"
