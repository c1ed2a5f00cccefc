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
    """

    test: Interactions
    metrics: Sequence[Metric]
    protocols: Sequence[RankingProtocol]


@dataclass(frozen=True, eq=False)
class ExampleUsers:
    """Whom the model recommends something to.

    Attributes
    ----------
    users : sequence of user ids
    k : int
        Length of the lists.
    min_count : int
        How many training users a recommended item has at least.
    """

    users: Sequence[int | str]
    k: int
    min_count: int


@dataclass(frozen=True, eq=False)
class Task:
    """A job, and what is asked of the model that comes of it; it travels to other processes.

    Attributes
    ----------
    spec : ModelSpec
    train : Interactions
    arguments : mapping of name to value
        Further arguments of `fit` that say what the job is: objective, optimizer, epochs, device and so on.
    monitor : Monitor
    evaluation : EvaluationPlan
    example_users : ExampleUsers
    """

    spec: ModelSpec
    train: Interactions
    arguments: Mapping[str, Any]
    monitor: Monitor
    evaluation: EvaluationPlan
    example_users: ExampleUsers

    def job(self, data: Interactions, **changes: Any) -> TrainingJob:
        """Return the job on some data, with other values of some arguments.

        Raises
        ------
        InvalidArgumentError, InvalidDataError
        """
        given = {**self.arguments, **changes}
        del given["epochs"]
        return make_job(self.spec, data, **given)
