"""Data: interactions and their ids, readers, published and synthetic data sets, splits."""

from mfcore.data import datasets, splits
from mfcore.data._ids import Vocabulary
from mfcore.data._interactions import Interactions, SeenItems
from mfcore.data._movielens import read_movielens
from mfcore.data._ncf import NcfSplit, find_prefix, read_ncf
from mfcore.data._readers import read
from mfcore.data._synthetic import SyntheticData, synthetic
from mfcore.data.datasets import DatasetInfo

__all__ = [
    "DatasetInfo",
    "Interactions",
    "NcfSplit",
    "SeenItems",
    "SyntheticData",
    "Vocabulary",
    "datasets",
    "find_prefix",
    "read",
    "read_movielens",
    "read_ncf",
    "splits",
    "synthetic",
]
