"""What an epoch shows: a pure function of (seed, epoch, position), the same on every engine."""

from mfcore.sampling.grid import Grid, choose_n_blocks
from mfcore.sampling.negatives import (
    PopularityTable,
    popular_negatives,
    require_unseen_items,
    require_unseen_weight,
    uniform_negatives,
    unseen_item,
)
from mfcore.sampling.philox import Purpose, bounded, philox4x32, words
from mfcore.sampling.shuffle import KeyedShuffle
from mfcore.sampling.stream import Instances, SamplingPlan, epoch, shuffled_instances

__all__ = [
    "Grid",
    "Instances",
    "KeyedShuffle",
    "PopularityTable",
    "Purpose",
    "SamplingPlan",
    "bounded",
    "choose_n_blocks",
    "epoch",
    "philox4x32",
    "popular_negatives",
    "require_unseen_items",
    "require_unseen_weight",
    "shuffled_instances",
    "uniform_negatives",
    "unseen_item",
    "words",
]
