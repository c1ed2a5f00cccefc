"""Figures of a comparison as text, in a terminal and in a report alike."""

from mfcore.comparison._results import NEGLIGIBLE, Agreement, Comparison, Spread
from mfcore.comparison._runs import EngineRun, Failure

UNKNOWN = "-"


def format_seconds(seconds: float | None) -> str:
    """Return a time to two or three digits.

    Parameters
    ----------
    seconds : float or None
        None for unknown.

    Returns
    -------
    str

    Examples
    --------
    >>> from mfcore.comparison import format_seconds
    >>> [format_seconds(seconds) for seconds in (0.0042, 0.31, 12.3, None)]
    ['4.2 ms', '0.31 s', '12 s', '-']
    """
    if seconds is None:
        return UNKNOWN
    if seconds < 0.0995:
        return f"{1e3 * seconds:.2g} ms" if seconds >= 1e-4 else "0 ms"
    return f"{seconds:.2f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def format_bytes(n_bytes: int) -> str:
    """Return a number of bytes in mega- or gigabytes.

    Parameters
    ----------
    n_bytes : int

    Returns
    -------
    str

    Examples
    --------
    >>> from mfcore.comparison import format_bytes
    >>> format_bytes(123_456_789), format_bytes(2_500_000_000)
    ('123 MB', '2.5 GB')
    """
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def format_spread(spread: Spread, *, n_seeds: int) -> str:
    """Return a metric and, where there are several seeds, their spread about it.

    Parameters
    ----------
    spread : Spread
        With mean and half_range.
    n_seeds : int

    Returns
    -------
    str

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from mfcore.comparison import format_spread
    >>> format_spread(SimpleNamespace(mean=0.91, half_range=0.002), n_seeds=3)
    '0.9100 ± 0.0020'
    """
    return f"{spread.mean:.4f}" if n_seeds == 1 else f"{spread.mean:.4f} ± {spread.half_range:.4f}"


def format_deviation(run: EngineRun) -> str:
    """Return how far an engine is from the reference engine after a short run, all parameters together.

    Parameters
    ----------
    run : EngineRun

    Returns
    -------
    str

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from mfcore.comparison import format_deviation
    >>> format_deviation(SimpleNamespace(short_run=None))
    '-'
    """
    return UNKNOWN if run.short_run is None else f"{run.short_run.found.whole_parameters:.1e}"


def format_failure(failure: Failure) -> str:
    """Return which engine has not trained a model, and why.

    Parameters
    ----------
    failure : Failure

    Returns
    -------
    str

    Examples
    --------
    >>> from mfcore.comparison import Failure, format_failure
    >>> format_failure(Failure("torch", "its process died of signal 9"))
    'torch failed: its process died of signal 9'
    """
    return f"{failure.engine} {'does not take part' if failure.refused else 'failed'}: {failure.reason}"


def format_speed(comparison: Comparison) -> str:
    """Return which engine is the fastest, and by how much.

    Parameters
    ----------
    comparison : Comparison
        With one run at least.

    Returns
    -------
    str

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from mfcore.comparison import format_speed
    >>> times = {"numba": 0.5, "torch": 1.5}
    >>> runs = [SimpleNamespace(engine=name, epoch_seconds=seconds) for name, seconds in times.items()]
    >>> format_speed(SimpleNamespace(runs=runs))
    'Fastest: numba, 3.0 times as fast as torch.'
    """
    first, *others = comparison.runs
    if not others:
        return f"Only {first.engine} has trained this model; there is nothing to compare its speed with."
    ratios = [
        f"{format_ratio(run.epoch_seconds / max(first.epoch_seconds, 1e-9))} as fast as {run.engine}"
        for run in others
    ]
    return f"Fastest: {first.engine}, {format_list(ratios)}."


def format_agreement(agreement: Agreement) -> str:
    """Return how far the qualities are apart, and what that is to be compared with.

    Parameters
    ----------
    agreement : Agreement
        Of `Comparison.agreement`.

    Returns
    -------
    str

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from mfcore.comparison import format_agreement
    >>> agreement = SimpleNamespace(metric="RMSE", gap=0.0003, range_of_seeds=0.002, holds=True)
    >>> format_agreement(agreement)
    'Quality: engines differ by 0.0003 in RMSE, seeds by 0.0020: they agree.'
    """
    text = f"Quality: engines differ by {format_difference(agreement.gap)} in {agreement.metric}"
    if agreement.range_of_seeds is None:
        return f"{text}; --seeds 3 shows whether that is chance."
    seeds = format_difference(agreement.range_of_seeds)
    return f"{text}, seeds by {seeds}: they {'agree' if agreement.holds else 'do not agree'}."


def format_difference(difference: float) -> str:
    """Return a difference of metrics to a ten-thousandth."""
    return f"{difference:.4f}" if difference >= NEGLIGIBLE else "less than 0.0001"


def format_ratio(ratio: float) -> str:
    """Return a ratio of speeds to two digits: 1.3 times, 24 times."""
    return f"{ratio:.1f} times" if ratio < 9.95 else f"{ratio:,.0f} times"


def format_list(words: list[str]) -> str:
    """Return words in a row.

    Parameters
    ----------
    words : list of str

    Returns
    -------
    str

    Examples
    --------
    >>> from mfcore.comparison import format_list
    >>> format_list(["numba", "torch", "keras"])
    'numba, torch and keras'
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""
