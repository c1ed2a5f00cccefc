"""Figures of a comparison as people read them, in a terminal and in a report alike."""

from mfcore.comparison._results import NEGLIGIBLE, Agreement, Comparison, Spread
from mfcore.comparison._runs import EngineRun, Failure

UNKNOWN = "-"


def format_seconds(seconds: float | None) -> str:
    """Return a time to two or three digits: 4.2 ms, 0.31 s, 12 s."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.0995:
        return f"{1e3 * seconds:.2g} ms" if seconds >= 1e-4 else "0 ms"
    return f"{seconds:.2f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def format_bytes(n_bytes: int) -> str:
    """Return a number of bytes in mega- or gigabytes."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def format_spread(spread: Spread, *, n_seeds: int) -> str:
    """Return a metric, and how far the seeds are about it where there are several."""
    return f"{spread.mean:.4f}" if n_seeds == 1 else f"{spread.mean:.4f} ± {spread.half_range:.4f}"


def format_deviation(run: EngineRun) -> str:
    """Return how far an engine is from the reference engine after a short run, all parameters together."""
    return UNKNOWN if run.short_run is None else f"{run.short_run.found.whole_parameters:.1e}"


def format_failure(failure: Failure) -> str:
    """Return who has not trained a model, and why."""
    return f"{failure.engine} {'does not take part' if failure.refused else 'failed'}: {failure.reason}"


def format_speed(comparison: Comparison) -> str:
    """Return which engine is the fastest, and by how much."""
    first, *others = comparison.runs
    if not others:
        return f"Only {first.engine} has trained this model; there is nothing to compare its speed with."
    ratios = [
        f"{format_ratio(run.epoch_seconds / max(first.epoch_seconds, 1e-9))} as fast as {run.engine}"
        for run in others
    ]
    return f"Fastest: {first.engine}, {format_list(ratios)}."


def format_agreement(agreement: Agreement) -> str:
    """Return how far the qualities are apart, and what that is to be held against."""
    said = f"Quality: engines differ by {format_difference(agreement.gap)} in {agreement.metric}"
    if agreement.range_of_seeds is None:
        return f"{said}; --seeds 3 tells it from chance."
    seeds = format_difference(agreement.range_of_seeds)
    return f"{said}, seeds by {seeds}: they {'agree' if agreement.holds else 'do not agree'}."


def format_difference(difference: float) -> str:
    """Return a difference of metrics to a ten-thousandth."""
    return f"{difference:.4f}" if difference >= NEGLIGIBLE else "less than 0.0001"


def format_ratio(ratio: float) -> str:
    """Return a ratio of speeds to two digits: 1.3 times, 24 times."""
    return f"{ratio:.1f} times" if ratio < 9.95 else f"{ratio:,.0f} times"


def format_list(words: list[str]) -> str:
    """Return words in a row: a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""
