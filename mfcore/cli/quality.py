"""What models are judged by, for each of the things that they are for, and how that is shown."""

from typing import Literal

from mfcore.cli.console import Output
from mfcore.cli.sources import Negatives
from mfcore.metrics import (
    MAE,
    NDCG,
    RMSE,
    FullRanking,
    GivenNegatives,
    HitRate,
    Metric,
    Quality,
    RankingProtocol,
    Ties,
    TopKAccuracy,
    format_protocol,
)
from mfcore.specs import ModelSpec, TwoTower

RETRIEVED = (1, 5, 10, 50, 100)

# What a model is for, which decides how it is judged unless that is asked for otherwise.
Task = Literal["ratings", "ranking", "retrieval"]


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


def show_quality(out: Output, quality: Quality) -> None:
    """Print the metrics, one table for ratings and one for rankings with a column for each protocol."""
    out.heading(f"Quality on {quality.n_interactions:,} held-out interactions of {quality.n_users:,} users")
    if quality.ratings:
        out.table(["metric", "value"], [[name, value] for name, value in quality.ratings.items()])
    if quality.rankings:
        names = dict.fromkeys(name for _, found in quality.rankings for name in found)
        out.table(
            ["metric", *(format_protocol(protocol) for protocol, _ in quality.rankings)],
            [[name, *(found.get(name) for _, found in quality.rankings)] for name in names],
        )
