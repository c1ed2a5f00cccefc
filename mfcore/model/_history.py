"""What happened in training, epoch by epoch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a run.

    Attributes
    ----------
    epoch : int
        Counted from 0.
    objective : float
        Mean objective of the epoch; see `Trainer.run_epoch`.
    seconds : float
        Of training alone, without validation.
    instances_per_second : float
        Training instances shown, sampled negatives included, by seconds.
    metrics : dict of name to float
        On the validation data, where there was any.

    Examples
    --------
    >>> from mfcore.model import EpochRecord
    >>> EpochRecord(0, objective=0.5, seconds=2.0, instances_per_second=1000.0, metrics={"RMSE": 0.9}).metrics
    {'RMSE': 0.9}
    """

    epoch: int
    objective: float
    seconds: float
    instances_per_second: float
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class History(Sequence[EpochRecord]):
    """The epochs of a run, in order.

    Attributes
    ----------
    records : tuple of EpochRecord

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> model = mfcore.fit(mfcore.MF(2), data, epochs=2, backend="reference")
    >>> len(model.history), model.history[-1].epoch
    (2, 1)
    >>> model.history.columns()["epoch"]
    [0, 1]
    """

    records: tuple[EpochRecord, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: Any) -> Any:
        return self.records[index]

    def __iter__(self) -> Iterator[EpochRecord]:
        return iter(self.records)

    def columns(self) -> dict[str, list[float]]:
        """Return one list per quantity, metrics under their names; any table or plot takes it.

        Returns
        -------
        dict of name to list [n_epochs]
            NaN where an epoch has no such metric.
        """
        table: dict[str, list[float]] = {
            "epoch": [record.epoch for record in self.records],
            "objective": [record.objective for record in self.records],
            "seconds": [record.seconds for record in self.records],
            "instances_per_second": [record.instances_per_second for record in self.records],
        }
        names = dict.fromkeys(name for record in self.records for name in record.metrics)
        for name in names:
            table[name] = [record.metrics.get(name, float("nan")) for record in self.records]
        return table

    def __repr__(self) -> str:
        if not self.records:
            return "History: no epochs"
        last = self.records[-1]
        metrics = "".join(f", {name} {value:.4f}" for name, value in last.metrics.items())
        return f"History: {len(self)} epochs, last objective {last.objective:.5f}{metrics}"
