"""How good a model is on a held-out part: rating metrics once, ranking metrics by each protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mfcore.cli.console import Output, working
from mfcore.data import Interactions
from mfcore.metrics import (
    MAE,
    NDCG,
    RMSE,
    Coverage,
    FullRanking,
    GivenNegatives,
    HitRate,
    Metric,
    RankingProtocol,
    RatingMetric,
    SampledRanking,
    evaluate,
)
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

    def document(self) -> dict[str, Any]:
        """Return it for a JSON document."""
        return {
            "n_interactions": self.n_interactions,
            "n_users": self.n_users,
            "ratings": dict(self.ratings),
            "rankings": [
                {**_named(protocol), "ties": protocol.ties, "metrics": dict(found)}
                for protocol, found in self.rankings
            ],
        }


def default_metrics(is_implicit: bool) -> list[Metric]:
    """Return HR@10 and NDCG@10 for a model that ranks, RMSE and MAE for one that predicts ratings."""
    return [HitRate(10), NDCG(10)] if is_implicit else [RMSE(), MAE()]


def judge(
    model: Model, test: Interactions, metrics: Sequence[Metric], protocols: Sequence[RankingProtocol]
) -> Quality:
    """Measure a model on held-out interactions.

    Coverage is left out of protocols that do not rank the catalogue, as long as another one does.
    """
    raters = [metric for metric in metrics if isinstance(metric, RatingMetric)]
    rankers = [metric for metric in metrics if not isinstance(metric, RatingMetric)]
    with working("Evaluating"):
        ratings = evaluate(model, test, raters) if raters else {}
        rankings = []
        for protocol in protocols if rankers else ():
            of_all = isinstance(protocol, FullRanking) or len(protocols) == 1
            chosen = [metric for metric in rankers if of_all or not isinstance(metric, Coverage)]
            if chosen:
                rankings.append((protocol, evaluate(model, test, chosen, protocol)))
    return Quality(len(test), int((test.user_counts > 0).sum()), ratings, rankings)


def show_quality(out: Output, quality: Quality) -> None:
    """Print the metrics, one table for ratings and one for rankings with a column for each protocol."""
    out.heading(f"Quality on {quality.n_interactions:,} held-out interactions of {quality.n_users:,} users")
    if quality.ratings:
        out.table(["metric", "value"], [[name, value] for name, value in quality.ratings.items()])
    if quality.rankings:
        names = dict.fromkeys(name for _, found in quality.rankings for name in found)
        out.table(
            ["metric", *(in_words(protocol) for protocol, _ in quality.rankings)],
            [[name, *(found.get(name) for _, found in quality.rankings)] for name in names],
        )


def in_words(protocol: RankingProtocol) -> str:
    """Return what a positive is ranked among."""
    if isinstance(protocol, GivenNegatives):
        return f"1 + {protocol.negatives.shape[1]} given"
    if isinstance(protocol, SampledRanking):
        return f"1 + {protocol.n_negatives} drawn"
    return "full ranking"


def _named(protocol: RankingProtocol) -> dict[str, Any]:
    if isinstance(protocol, GivenNegatives):
        return {"protocol": "given", "n_negatives": protocol.negatives.shape[1]}
    if isinstance(protocol, SampledRanking):
        return {"protocol": "sampled", "n_negatives": protocol.n_negatives, "seed": protocol.seed}
    return {"protocol": "full"}
