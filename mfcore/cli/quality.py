"""How good a model is on a held-out part: rating metrics once, ranking metrics by each protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mfcore.cli.console import Output, working
from mfcore.cli.sources import Negatives
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
    Ties,
    TopKAccuracy,
    evaluate,
)
from mfcore.model import Model
from mfcore.specs import ModelSpec, TwoTower

RETRIEVED = (1, 5, 10, 50, 100)

# What a model is for, which decides how it is judged unless that is asked for otherwise.
Task = Literal["ratings", "ranking", "retrieval"]


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


def task_of(spec: ModelSpec, *, ranks: bool, negatives: Negatives | None = None) -> Task:
    """Return what a model is for: one that ranks is for retrieval if it has two towers.

    On data that bring the negatives to rank among, it is judged by these, as other models that rank.
    """
    if not ranks:
        return "ratings"
    return "retrieval" if isinstance(spec, TwoTower) and negatives is None else "ranking"


def default_metrics(task: Task) -> list[Metric]:
    """Return RMSE and MAE for ratings, HR@10 and NDCG@10 for ranking, the top-k accuracies for retrieval."""
    if task == "retrieval":
        return [TopKAccuracy(k) for k in RETRIEVED]
    return [HitRate(10), NDCG(10)] if task == "ranking" else [RMSE(), MAE()]


def default_protocols(
    task: Task, negatives: Negatives | None, ties: Ties = "pessimistic"
) -> list[RankingProtocol]:
    """Return full ranking, and before it what is usual.

    That is the negatives that the data bring, if any; or for retrieval full ranking with the items of the
    training data among the candidates.
    """
    usual: list[RankingProtocol] = []
    if negatives is not None:
        usual.append(GivenNegatives(negatives, ties=ties))
    elif task == "retrieval":
        usual.append(FullRanking(exclude_seen=False, ties=ties))
    return [*usual, FullRanking(ties=ties)]


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
    keeps_seen = isinstance(protocol, FullRanking) and not protocol.exclude_seen
    return "full ranking, seen items too" if keeps_seen else "full ranking"


def _named(protocol: RankingProtocol) -> dict[str, Any]:
    if isinstance(protocol, GivenNegatives):
        return {"protocol": "given", "n_negatives": protocol.negatives.shape[1]}
    if isinstance(protocol, SampledRanking):
        return {"protocol": "sampled", "n_negatives": protocol.n_negatives, "seed": protocol.seed}
    return {"protocol": "full", "exclude_seen": getattr(protocol, "exclude_seen", True)}
