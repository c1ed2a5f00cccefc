"""What every engine is given to do, so that the results can be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mfcore.data import Interactions
from mfcore.engines import TrainingJob
from mfcore.metrics import Metric, RankingProtocol
from mfcore.specs import ModelSpec
from mfcore.training import make_job


@dataclass(frozen=True, eq=False)
class Monitor:
    """What is measured after every epoch, on the test part.

    It chooses no epoch, the last one counts: were the best one kept, engines whose curves differ by rounding
    alone could end epochs apart.

    Attributes
    ----------
    metric : Metric
    protocol : RankingProtocol or None

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.comparison import Monitor
    >>> Monitor(mfcore.NDCG(10), mfcore.FullRanking()).metric.name
    'NDCG@10'
    """

    metric: Metric
    protocol: RankingProtocol | None


@dataclass(frozen=True, eq=False)
class EvaluationPlan:
    """What the model is evaluated on in the end.

    Attributes
    ----------
    test : Interactions
        Held out.
    metrics : sequence of Metric
    protocols : sequence of RankingProtocol
        For ranking metrics; the usual one first.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.comparison import EvaluationPlan
    >>> test = mfcore.data.synthetic(100, n_users=20, n_items=30).interactions
    >>> len(EvaluationPlan(test, [mfcore.RMSE()], protocols=[]).test)
    100
    """

    test: Interactions
    metrics: Sequence[Metric]
    protocols: Sequence[RankingProtocol]


@dataclass(frozen=True, eq=False)
class ExampleUsers:
    """The users whose recommendations a report shows.

    Attributes
    ----------
    users : sequence of user ids
    k : int
        Length of the lists.
    min_count : int
        How many training users a recommended item has at least.

    Examples
    --------
    >>> from mfcore.comparison import ExampleUsers
    >>> ExampleUsers(["ann", "bob"], k=10, min_count=20).k
    10
    """

    users: Sequence[int | str]
    k: int
    min_count: int


@dataclass(frozen=True, eq=False)
class Task:
    """A job, and what is done with the model; it can be sent to other processes.

    Attributes
    ----------
    spec : ModelSpec
    train : Interactions
    arguments : mapping of name to value
        Further arguments of `fit` that say what the job is: objective, optimizer, epochs, device and so on.
    monitor : Monitor
    evaluation : EvaluationPlan
    example_users : ExampleUsers

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.comparison import EvaluationPlan, ExampleUsers, Monitor, Task
    >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> train, test = mfcore.splits.ratio(data, test=0.2, seed=0)
    >>> task = Task(
    ...     mfcore.MF(2), train, {"epochs": 1, "batch_size": 64}, Monitor(mfcore.RMSE(), None),
    ...     EvaluationPlan(test, [mfcore.RMSE()], []), ExampleUsers([3], k=2, min_count=1),
    ... )
    >>> task.job(train, batch_size=32).batch_size
    32
    """

    spec: ModelSpec
    train: Interactions
    arguments: Mapping[str, Any]
    monitor: Monitor
    evaluation: EvaluationPlan
    example_users: ExampleUsers

    def job(self, data: Interactions, **changes: Any) -> TrainingJob:
        """Return the job on some data.

        Parameters
        ----------
        data : Interactions
        **changes : object
            Other values of some arguments.

        Returns
        -------
        TrainingJob

        Raises
        ------
        InvalidArgumentError, InvalidDataError
            The job makes no sense on that data.
        """
        given = {**self.arguments, **changes}
        del given["epochs"]
        return make_job(self.spec, data, **given)
