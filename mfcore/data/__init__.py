"""Data: interactions and their ids, readers, published and synthetic data sets, splits.

`datasets` (named data sets) and `splits` are doors of their own; other modules of this room are private.
"""

from mfcore.data import datasets, splits
from mfcore.data._ids import Vocabulary
from mfcore.data._interactions import Interactions
from mfcore.data._ncf import find_prefix
from mfcore.data._published import NcfSplit, read_movielens, read_ncf
from mfcore.data._seen import SeenItems
from mfcore.data._synthetic import SyntheticData, synthetic
from mfcore.data.datasets import DatasetInfo

read = Interactions.read

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
