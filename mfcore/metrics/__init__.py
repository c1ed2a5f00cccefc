"""Rating and ranking metrics, the protocols they are computed under, and `evaluate`."""

from mfcore.metrics.evaluation import Evaluation, Metric, evaluate
from mfcore.metrics.interfaces import ScoringModel
from mfcore.metrics.protocols import FullRanking, GivenNegatives, RankingProtocol, SampledRanking
from mfcore.metrics.ranking import (
    AUC,
    MAP,
    MRR,
    NDCG,
    Coverage,
    HitRate,
    Precision,
    RankingMetric,
    Recall,
    TopKAccuracy,
)
from mfcore.metrics.ranks import TieGroups, Ties
from mfcore.metrics.rating import MAE, RMSE, RatingMetric, RoundedMAE

__all__ = [
    "AUC",
    "MAE",
    "MAP",
    "MRR",
    "NDCG",
    "RMSE",
    "Coverage",
    "Evaluation",
    "FullRanking",
    "GivenNegatives",
    "HitRate",
    "Metric",
    "Precision",
    "RankingMetric",
    "RankingProtocol",
    "RatingMetric",
    "Recall",
    "RoundedMAE",
    "SampledRanking",
    "ScoringModel",
    "TieGroups",
    "Ties",
    "TopKAccuracy",
    "evaluate",
]
