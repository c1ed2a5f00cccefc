"""The results of one task on several engines: which is the fastest, and whether qualities agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any, NamedTuple

from mfcore.comparison._runs import EngineRun, Failure
from mfcore.comparison._tasks import Task

# Differences of metrics that do not show in four digits.
NEGLIGIBLE = 5e-5


class Spread(NamedTuple):
    """A metric of several runs.

    Attributes
    ----------
    mean : float
    half_range : float
        Half of the difference between the largest and the smallest; 0 of one run.
    """

    mean: float
    half_range: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of some values."""
        return cls(sum(values) / len(values), (max(values) - min(values)) / 2)


@dataclass(frozen=True)
class Agreement:
    """How far the engines' qualities are apart.

    Attributes
    ----------
    metric : str
    gap : float
        Between the largest and the smallest of the engines' means over the seeds.
    range_of_seeds : float or None
        Between the largest and the smallest of the seeds on one engine; the median over the engines, so that
        no engine's scatter excuses its distance from the others. None where one seed is all there is.
    """

    metric: str
    gap: float
    range_of_seeds: float | None

    @property
    def holds(self) -> bool | None:
        """Whether engines differ by no more than seeds do, or negligibly; None where that is not known."""
        if self.range_of_seeds is None:
            return None
        return self.gap <= max(self.range_of_seeds, NEGLIGIBLE)


@dataclass(frozen=True, eq=False)
class Comparison:
    """One task on some engines.

    Attributes
    ----------
    name : str
        Of the model.
    task : Task
    options : mapping of str to object
        The same as options of `mfcore train`.
    seeds : sequence of int
    engines : sequence of str
        All that were asked.
    runs : sequence of EngineRun
        The fastest first.
    failures : sequence of Failure

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.comparison import (
    ...     Comparison, EvaluationPlan, ExampleUsers, Failure, Monitor, Task, attempt,
    ... )
    >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> train, test = mfcore.splits.ratio(data, test=0.2, seed=0)
    >>> task = Task(
    ...     mfcore.MF(2), train, {"epochs": 1}, Monitor(mfcore.RMSE(), None),
    ...     EvaluationPlan(test, [mfcore.RMSE()], []), ExampleUsers([3], k=2, min_count=1),
    ... )
    >>> run = attempt("reference", task, seeds=[0], on_epoch=lambda seed, record: None)
    >>> outcomes = [run, Failure("mine", "it is not installed", refused=True)]
    >>> comparison = Comparison.of("MF", task, {}, seeds=[0], outcomes=outcomes)
    >>> comparison.engines, comparison.metrics
    (['reference', 'mine'], ['RMSE'])
    >>> comparison.quality(run, "RMSE").half_range, comparison.in_common(0)
    (0.0, {})
    >>> comparison.document()["fastest"]
    'reference'
    """

    name: str
    task: Task
    options: Mapping[str, Any]
    seeds: Sequence[int]
    engines: Sequence[str]
    runs: Sequence[EngineRun]
    failures: Sequence[Failure]

    @classmethod
    def of(
        cls,
        name: str,
        task: Task,
        options: Mapping[str, Any],
        seeds: Sequence[int],
        outcomes: Sequence[EngineRun | Failure],
    ) -> "Comparison":
        """Return the comparison of the outcomes of engines.

        Parameters
        ----------
        name : str
            Of the model.
        task : Task
        options : mapping of str to object
            The same as options of `mfcore train`.
        seeds : sequence of int
        outcomes : sequence of EngineRun or Failure
            One for each engine.

        Returns
        -------
        Comparison
        """
        runs = [outcome for outcome in outcomes if isinstance(outcome, EngineRun)]
        return cls(
            name,
            task,
            options,
            seeds,
            engines=[outcome.engine for outcome in outcomes],
            runs=sorted(runs, key=lambda run: run.epoch_seconds),
            failures=[outcome for outcome in outcomes if isinstance(outcome, Failure)],
        )

    @property
    def metric(self) -> str:
        """The name of the metric that is monitored after every epoch."""
        return self.task.monitor.metric.name

    @cached_property
    def metrics(self) -> list[str]:
        """The names of all metrics by which models are evaluated, that one first."""
        found = dict.fromkeys(name for run in self.runs for name in run.qualities[0].by_metric)
        return sorted(found, key=lambda name: name != self.metric)

    def quality(self, run: EngineRun, metric: str) -> Spread:
        """Return a metric of an engine over the seeds.

        Parameters
        ----------
        run : EngineRun
        metric : str

        Returns
        -------
        Spread
            With mean and half_range.
        """
        return Spread.of([quality.by_metric[metric] for quality in run.qualities])

    @property
    def agreement(self) -> Agreement | None:
        """Whether the qualities agree; None of fewer than two engines."""
        if len(self.runs) < 2:
            return None
        qualities = [self.quality(run, self.metric) for run in self.runs]
        means = [quality.mean for quality in qualities]
        seeds = 2 * median(quality.half_range for quality in qualities) if len(self.seeds) > 1 else None
        return Agreement(self.metric, max(means) - min(means), seeds)

    def in_common(self, user: int) -> dict[str, int]:
        """Return how many items of the first engine's list for a user each other engine lists too.

        Parameters
        ----------
        user : int
            The position among the example users.

        Returns
        -------
        dict of str to int
            By engine.
        """
        first, *others = self.runs
        listed = set(first.rankings[user].items.tolist())
        return {run.engine: len(listed & set(run.rankings[user].items.tolist())) for run in others}

    def document(self) -> dict[str, Any]:
        """Return it for a JSON document.

        Returns
        -------
        dict
            Plain values.
        """
        agreement = self.agreement
        return {
            "model": self.name,
            "settings": dict(self.options),
            "seeds": list(self.seeds),
            "metric": self.metric,
            "engines": [_engine_document(run) for run in self.runs],
            "failures": [
                {"engine": failure.engine, "reason": failure.reason, "refused": failure.refused}
                for failure in self.failures
            ],
            "fastest": self.runs[0].engine if self.runs else None,
            "agreement": agreement
            and {
                "metric": agreement.metric,
                "gap": agreement.gap,
                "range_of_seeds": agreement.range_of_seeds,
                "holds": agreement.holds,
            },
        }


def _engine_document(run: EngineRun) -> dict[str, Any]:
    short = run.short_run
    return {
        "engine": run.engine,
        "description": run.description,
        "qualities": [quality.document() for quality in run.qualities],
        "import_seconds": run.import_seconds,
        "compile_seconds": run.compile_seconds,
        "epoch_seconds": run.epoch_seconds,
        "instances_per_second": run.instances_per_second,
        "memory_bytes": {"before_training": run.memory.before, "peak": run.memory.peak},
        "deviation": short and {"steps": short.steps, **vars(short.found)},
        "deviation_of_rounding": short and vars(short.rounding),
        "deviation_failure": run.short_run_failure or None,
        "history": [
            {
                "epoch": record.epoch + 1,
                "seconds": record.seconds,
                "objective": record.objective,
                "metrics": dict(record.metrics),
            }
            for record in run.records
        ],
        "recommendations": [
            {"user": ranking.query, "items": ranking.items.tolist()} for ranking in run.rankings
        ],
    }
