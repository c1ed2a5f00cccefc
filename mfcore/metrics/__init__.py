"""Rating and ranking metrics, the protocols they are computed under, and `evaluate`."""

from mfcore.metrics._evaluation import Evaluation, Metric, evaluate
from mfcore.metrics._interfaces import ScoringModel
from mfcore.metrics._protocols import FullRanking, GivenNegatives, RankingProtocol, SampledRanking
from mfcore.metrics._quality import Quality, evaluate_quality, format_protocol
from mfcore.metrics._ranking import (
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
from mfcore.metrics._ranks import TieGroups, Ties
from mfcore.metrics._rating import MAE, RMSE, RatingMetric, RoundedMAE

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
    "Quality",
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
    "evaluate_quality",
    "format_protocol",
]
