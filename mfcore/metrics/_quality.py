"""All that is measured of a model on a held-out part: ratings once, rankings by each of some protocols."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mfcore.data import Interactions
from mfcore.metrics._evaluation import Metric, evaluate
from mfcore.metrics._protocols import FullRanking, GivenNegatives, RankingProtocol, SampledRanking
from mfcore.metrics._ranking import Coverage
from mfcore.metrics._rating import RatingMetric

if TYPE_CHECKING:
    from mfcore.model import Model


@dataclass(frozen=True, eq=False)
class Quality:
    """Metrics of a model on held-out interactions: of ratings once, of rankings for each of some protocols.

    Attributes
    ----------
    n_interactions, n_users : int
        Of the held-out part.
    ratings : mapping from str to float
        By name of the metric.
    rankings : sequence of (RankingProtocol, mapping from str to float)

    Examples
    --------
    >>> from mfcore.metrics import FullRanking, Quality
    >>> quality = Quality(100, 20, {"RMSE": 0.9}, [(FullRanking(), {"NDCG@10": 0.3})])
    >>> quality.by_metric
    {'RMSE': 0.9, 'NDCG@10': 0.3}
    """

    n_interactions: int
    n_users: int
    ratings: Mapping[str, float]
    rankings: Sequence[tuple[RankingProtocol, Mapping[str, float]]]

    @property
    def by_metric(self) -> dict[str, float]:
        """Each metric once, by name: of rankings, by the first protocol."""
        first = dict(self.rankings[0][1]) if self.rankings else {}
        return {**self.ratings, **first}

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document.

        Returns
        -------
        dict
            Of numbers, strings, lists and dicts.

        Examples
        --------
        >>> from mfcore.metrics import FullRanking, Quality
        >>> quality = Quality(100, 20, {"RMSE": 0.9}, [(FullRanking(), {"NDCG@10": 0.3})])
        >>> quality.document()["rankings"]
        [{'protocol': 'full', 'exclude_seen': True, 'ties': 'pessimistic', 'metrics': {'NDCG@10': 0.3}}]
        """
        return {
            "n_interactions": self.n_interactions,
            "n_users": self.n_users,
            "ratings": dict(self.ratings),
            "rankings": [
                {**_protocol_document(protocol), "ties": protocol.ties, "metrics": dict(values)}
                for protocol, values in self.rankings
            ],
        }


def evaluate_quality(
    model: "Model", test: Interactions, metrics: Sequence[Metric], protocols: Sequence[RankingProtocol]
) -> Quality:
    """Evaluate a model on held-out interactions, by several protocols.

    Coverage is left out of protocols that do not rank the catalogue, as long as another one does.

    Parameters
    ----------
    model : Model
    test : Interactions
    metrics : sequence of metrics
    protocols : sequence of RankingProtocol
        At least one, if any metric ranks.

    Returns
    -------
    Quality

    Raises
    ------
    InvalidArgumentError, InvalidDataError
        As `evaluate` does.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.data.synthetic(2_000, n_users=100, n_items=200).interactions
    >>> train, test = mfcore.splits.ratio(data)
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), train, optimizer=wals, epochs=2, backend="reference")
    >>> from mfcore.metrics import FullRanking, SampledRanking, evaluate_quality
    >>> protocols = [FullRanking(), SampledRanking(5)]
    >>> quality = evaluate_quality(model, test, [mfcore.RMSE(), mfcore.NDCG(10)], protocols)
    >>> [list(values) for _, values in quality.rankings]
    [['NDCG@10'], ['NDCG@10']]
    """
    raters = [metric for metric in metrics if isinstance(metric, RatingMetric)]
    rankers = [metric for metric in metrics if not isinstance(metric, RatingMetric)]
    ratings = dict(evaluate(model, test, raters)) if raters else {}
    rankings: list[tuple[RankingProtocol, Mapping[str, float]]] = []
    for protocol in protocols if rankers else ():
        covers = isinstance(protocol, FullRanking) or len(protocols) == 1
        chosen = [metric for metric in rankers if covers or not isinstance(metric, Coverage)]
        if chosen:
            rankings.append((protocol, dict(evaluate(model, test, chosen, protocol))))
    return Quality(len(test), int((test.user_counts > 0).sum()), ratings, rankings)


def format_protocol(protocol: RankingProtocol) -> str:
    """Return what a positive is ranked among, as a table's heading says it.

    Parameters
    ----------
    protocol : RankingProtocol

    Returns
    -------
    str

    Examples
    --------
    >>> from mfcore.metrics import FullRanking, SampledRanking, format_protocol
    >>> format_protocol(FullRanking()), format_protocol(SampledRanking(99))
    ('full ranking', '1 + 99 drawn')
    """
    if isinstance(protocol, GivenNegatives):
        return f"1 + {protocol.negatives.shape[1]} given"
    if isinstance(protocol, SampledRanking):
        return f"1 + {protocol.n_negatives} drawn"
    keeps_seen = isinstance(protocol, FullRanking) and not protocol.exclude_seen
    return "full ranking, seen items too" if keeps_seen else "full ranking"


def _protocol_document(protocol: RankingProtocol) -> dict[str, Any]:
    if isinstance(protocol, GivenNegatives):
        return {"protocol": "given", "n_negatives": protocol.negatives.shape[1]}
    if isinstance(protocol, SampledRanking):
        return {"protocol": "sampled", "n_negatives": protocol.n_negatives, "seed": protocol.seed}
    return {"protocol": "full", "exclude_seen": getattr(protocol, "exclude_seen", True)}
