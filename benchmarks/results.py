"""What a benchmark found, and the table that people read."""

from collections.abc import Callable, Iterable, Mapping
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


def ratio_to_best_peer(result: Result, results: Iterable[Result]) -> float | None:
    """Return how many times as fast a result is as the fastest peer; None where no peer competed."""
    peers = [other.seconds for other in results if other.is_peer and other.competes_with(result)]
    return min(peers) / result.seconds if peers else None


def markdown(results: Iterable[Result]) -> str:
    """Return one Markdown table, in the order of the results' tasks and settings."""
    results = list(results)
    results = sorted(results, key=_place(results))
    lines: list[tuple[str, ...]] = [COLUMNS, (LEFT, LEFT, LEFT, RIGHT, LEFT, RIGHT, RIGHT, RIGHT, LEFT)]
    lines += [_row(result, results) for result in results]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _place(results: list[Result]) -> Any:
    """Return a sort key that keeps competitors together, in the order in which each was first met."""
    order = {key: place for place, key in reversed(list(enumerate((r.task, r.setting) for r in results)))}
    return lambda result: (order[result.task, result.setting], result.is_peer)


def _row(result: Result, results: list[Result]) -> tuple[str, ...]:
    ratio = ratio_to_best_peer(result, results)
    return (
        result.task,
        result.setting,
        result.engine,
        f"{result.seconds:.3g}",
        result.per,
        "" if result.rate is None else f"{_with_prefix(result.rate)} {result.unit}/s",
        "" if ratio is None else f"{ratio:.2f}",
        "" if result.first is None else f"{result.first:.1f} s",
        ", ".join(f"{name} {value:.5g}" for name, value in result.quality.items()),
    )


def _with_prefix(rate: float) -> str:
    for scale, prefix in ((1e6, "M"), (1e3, "k")):
        if rate >= scale:
            return f"{rate / scale:.3g} {prefix}"
    return f"{rate:.3g}"
