"""The progress bar of training."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from mfcore.model import EpochRecord


class Watcher(Protocol):
    """What the training loop calls while it runs."""

    def __call__(self, record: EpochRecord) -> None:
        """Show an epoch that has ended."""


@contextmanager
def epoch_bar(epochs: int, first: int, show: bool | None) -> Iterator[Watcher]:
    """Give a watcher that shows epochs, objective, rate and metrics on standard error.

    Parameters
    ----------
    epochs : int
        In all.
    first : int
        Epochs that were done before.
    show : bool or None
        None shows it on a terminal only.

    Yields
    ------
    callable
        To be called with the `EpochRecord` of each epoch that has ended.

    Examples
    --------
    >>> from mfcore.model import EpochRecord
    >>> from mfcore.training import epoch_bar
    >>> with epoch_bar(epochs=2, first=0, show=False) as watch:
    ...     watch(EpochRecord(0, objective=0.5, seconds=1.0, instances_per_second=1000.0))
    """
    if show is None:
        show = sys.stderr.isatty()
    if not show:
        yield lambda record: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(bar_width=24),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=epochs, completed=first)

        def watch(record: EpochRecord) -> None:
            progress.update(task, completed=record.epoch + 1, description=describe(record))

        yield watch


def describe(record: EpochRecord) -> str:
    """Return an epoch as a short text."""
    metrics = "".join(f"  {name} {value:.4f}" for name, value in record.metrics.items())
    rate = record.instances_per_second
    unit, scale = ("M", 1e6) if rate >= 1e6 else ("k", 1e3)
    return f"objective {record.objective:.5f}{metrics}  {rate / scale:.1f} {unit}/s"
