"""What an epoch shows: a pure function of (seed, epoch, position), the same on every engine.

`philox` (random words) and `shuffle` (the keyed permutation) are doors of their own, with the constants that
engines need; other modules of this room are private.
"""

from mfcore.sampling._grid import Grid, choose_n_blocks
from mfcore.sampling._negatives import (
    PopularityTable,
    popular_negatives,
    require_unseen_items,
    require_unseen_weight,
    uniform_negatives,
    unseen_item,
)
from mfcore.sampling._stream import Instances, SamplingPlan, epoch, shuffled_instances, slices
from mfcore.sampling.philox import (
    KEY_INCREMENTS,
    MASK,
    MULTIPLIERS,
    Purpose,
    Words,
    bounded,
    philox4x32,
    split_seed,
    words,
)
from mfcore.sampling.shuffle import MULTIPLIER, KeyedShuffle

__all__ = [
    "KEY_INCREMENTS",
    "MASK",
    "MULTIPLIER",
    "MULTIPLIERS",
    "Grid",
    "Instances",
    "KeyedShuffle",
    "PopularityTable",
    "Purpose",
    "SamplingPlan",
    "Words",
    "bounded",
    "choose_n_blocks",
    "epoch",
    "philox4x32",
    "popular_negatives",
    "require_unseen_items",
    "require_unseen_weight",
    "shuffled_instances",
    "slices",
    "split_seed",
    "uniform_negatives",
    "unseen_item",
    "words",
]
