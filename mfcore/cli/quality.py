"""What models are judged by, for each of the things that they are for, and how that is shown."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from mfcore import metrics
from mfcore.cli.console import Printer
from mfcore.cli.options import hint, opt
from mfcore.cli.sources import Negatives
from mfcore.errors import InvalidArgumentError
from mfcore.metrics import FullRanking, GivenNegatives, Metric, Quality, RankingProtocol, Ties, TopKAccuracy
from mfcore.specs import ModelSpec, TwoTower

PLAIN_METRICS: dict[str, Any] = {
    "rmse": metrics.RMSE,
    "mae": metrics.MAE,
    "rounded-mae": metrics.RoundedMAE,
    "mrr": metrics.MRR,
    "auc": metrics.AUC,
}
METRICS_AT_K: dict[str, Any] = {
    "hr": metrics.HitRate,
    "ndcg": metrics.NDCG,
    "precision": metrics.Precision,
    "recall": metrics.Recall,
    "top-k": TopKAccuracy,
    "map": metrics.MAP,
    "coverage": metrics.Coverage,
    "mrr": metrics.MRR,
}
METRIC_NAMES = (*PLAIN_METRICS, *(f"{name}@10" for name in METRICS_AT_K if name != "mrr"))
RETRIEVED = (1, 5, 10, 50, 100)

# What a model is for, which decides how it is judged unless that is asked for otherwise.
Task = Literal["ratings", "ranking", "retrieval"]


MetricOption = Annotated[
    list[str] | None,
    opt(
        f"Repeat for several: {', '.join(METRIC_NAMES)}, with any number after the @."
        " Default: rmse and mae for ratings, hr@10 and ndcg@10 for implicit data, top-k@1 to top-k@100 for"
        " two-tower.",
        "NAME",
    ),
]


def metrics_of(names: Sequence[str]) -> list[Metric]:
    """Return the metrics of some names, such as "rmse" and "ndcg@10"."""
    return [_metric(name) for name in names]


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
    return [metrics.HitRate(10), metrics.NDCG(10)] if task == "ranking" else [metrics.RMSE(), metrics.MAE()]


def default_protocols(
    task: Task, negatives: Negatives | None, ties: Ties = "pessimistic"
) -> list[RankingProtocol]:
    """Return full ranking, and before it what is usual.

    That is the negatives that the data bring, if any; for retrieval full ranking with the training items too.
    """
    usual: list[RankingProtocol] = []
    if negatives is not None:
        usual.append(GivenNegatives(negatives, ties=ties))
    elif task == "retrieval":
        usual.append(FullRanking(exclude_seen=False, ties=ties))
    return [*usual, FullRanking(ties=ties)]


def show_quality(printer: Printer, quality: Quality) -> None:
    """Print the metrics, one table for ratings and one for rankings with a column for each protocol."""
    printer.heading(
        f"Quality on {quality.n_interactions:,} held-out interactions of {quality.n_users:,} users"
    )
    if quality.ratings:
        printer.table(["metric", "value"], [[name, value] for name, value in quality.ratings.items()])
    if quality.rankings:
        names = dict.fromkeys(name for _, found in quality.rankings for name in found)
        printer.table(
            ["metric", *(metrics.format_protocol(protocol) for protocol, _ in quality.rankings)],
            [[name, *(found.get(name) for _, found in quality.rankings)] for name in names],
        )


def _metric(text: str) -> Metric:
    name, at, cutoff = text.lower().replace("_", "-").partition("@")
    found: Metric | None = None
    if not at and name in PLAIN_METRICS:
        found = PLAIN_METRICS[name]()
    elif name in METRICS_AT_K and cutoff.isascii() and cutoff.isdigit() and int(cutoff) >= 1:
        found = METRICS_AT_K[name](int(cutoff))
    if found is not None:
        return found
    if name in METRICS_AT_K:
        wrong = f"{name} takes a cutoff of at least 1, such as {name}@10"
    elif name in PLAIN_METRICS:
        wrong = f"{name} takes no cutoff: write {name}"
    else:
        names = f"{', '.join(METRIC_NAMES)} (any number may follow the @)"
        wrong = f"it must be one of {names}{hint(text.lower(), METRIC_NAMES)}"
    raise InvalidArgumentError(f"--metric is {text!r}; {wrong}")
