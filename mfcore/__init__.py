"""Matrix factorisation and neural collaborative filtering: one spec, any engine, the same answer."""

import os as _os

from mfcore.data import Interactions, datasets, splits
from mfcore.errors import MfcoreError
from mfcore.metrics import (
    AUC,
    MAE,
    MAP,
    MRR,
    NDCG,
    RMSE,
    Coverage,
    Evaluation,
    FullRanking,
    GivenNegatives,
    HitRate,
    Precision,
    Recall,
    RoundedMAE,
    SampledRanking,
    evaluate,
)
from mfcore.model import Model
from mfcore.objectives import Logistic, Squared, WeightedSquared
from mfcore.optimizers import SGD, WALS, Adagrad, Adam, AdamW, LazyAdam, RMSprop, Schedule
from mfcore.registry import backends
from mfcore.specs import MF, Constant, Linear, Normal, RatingRange, ReLU, Sigmoid, Uniform
from mfcore.training import fit

__version__ = "0.1.0"


def load(path: "str | _os.PathLike[str]") -> Model:
    """Return the model that `Model.save` wrote.

    Raises
    ------
    ModelFileError
        The file is missing, truncated, foreign, or written by a newer mfcore.
    """
    from mfcore.model_file import load_model

    return load_model(path)


__all__ = [
    "AUC",
    "MAE",
    "MAP",
    "MF",
    "MRR",
    "NDCG",
    "RMSE",
    "SGD",
    "WALS",
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "Coverage",
    "Evaluation",
    "FullRanking",
    "GivenNegatives",
    "HitRate",
    "Interactions",
    "LazyAdam",
    "Linear",
    "Logistic",
    "MfcoreError",
    "Model",
    "Normal",
    "Precision",
    "RMSprop",
    "RatingRange",
    "ReLU",
    "Recall",
    "RoundedMAE",
    "SampledRanking",
    "Schedule",
    "Sigmoid",
    "Squared",
    "Uniform",
    "WeightedSquared",
    "backends",
    "datasets",
    "evaluate",
    "fit",
    "load",
    "splits",
]
