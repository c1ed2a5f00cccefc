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
    """What was measured.

    Attributes
    ----------
    n_interactions, n_users : int
        Of the held-out part.
    ratings : mapping of metric name to value
    rankings : list of (protocol, mapping of metric name to value)
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
        """Return it for a JSON document."""
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
    """Measure a model on held-out interactions.

    Coverage is left out of protocols that do not rank the catalogue, as long as another one does.
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
    """Return what a positive is ranked among."""
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
