"""Data: interactions and their ids, readers, published and synthetic data sets, splits."""

from mfcore.data import datasets, splits
from mfcore.data.datasets import DatasetInfo
from mfcore.data.ids import Vocabulary
from mfcore.data.interactions import Interactions, SeenItems
from mfcore.data.movielens import read_movielens
from mfcore.data.ncf import NcfSplit, read_ncf
from mfcore.data.readers import read
from mfcore.data.synthetic import SyntheticData, synthetic

__all__ = [
    "DatasetInfo",
    "Interactions",
    "NcfSplit",
    "SeenItems",
    "SyntheticData",
    "Vocabulary",
    "datasets",
    "read",
    "read_movielens",
    "read_ncf",
    "splits",
    "synthetic",
]
