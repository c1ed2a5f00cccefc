"""A trained model: answers by id, its file, new users, top-k and rankings."""

from mfcore.model._history import EpochRecord, History
from mfcore.model._model import Model, load_model, recommended
from mfcore.model._rankings import Ranking
from mfcore.model._state import data_fields
from mfcore.model._top_k import seen_pairs, top_k, top_k_of

__all__ = [
    "EpochRecord",
    "History",
    "Model",
    "Ranking",
    "data_fields",
    "load_model",
    "recommended",
    "seen_pairs",
    "top_k",
    "top_k_of",
]
