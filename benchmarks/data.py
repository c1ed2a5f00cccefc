"""What the benchmarks train on: synthetic ratings of the size of MovieLens 20M, and MovieLens itself."""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from mfcore import Interactions, datasets, splits
from mfcore.data import NcfSplit, synthetic

N_RATINGS, N_USERS, N_ITEMS = 20_000_000, 138_493, 26_744
# Below, the ratings would come near the number of pairs.
FEWEST = 500_000
RATINGS_VARIABLE = "MFCORE_BENCHMARK_RATINGS"


def look_beside() -> None:
    """Take the data from ../shared/data, where the environment names no folder and there is one."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not os.environ.get(datasets.DATA_VARIABLE) and beside.is_dir():
        os.environ[datasets.DATA_VARIABLE] = str(beside)


def n_ratings() -> int:
    """Return the number of synthetic ratings, by environment or the full 20 million.

    Raises
    ------
    ValueError
        The variable is no number, or too small to be split.
    """
    wanted = os.environ.get(RATINGS_VARIABLE, str(N_RATINGS)).replace("_", "")
    if not wanted.isdecimal() or int(wanted) < FEWEST:
        raise ValueError(
            f"{RATINGS_VARIABLE} is {wanted!r}; it must be a number from {FEWEST}, such as 2000000"
        )
    return int(wanted)


def scaled(n: int) -> int:
    """Return a number of ratings, smaller where the synthetic data is to be smaller, as far as that goes."""
    return max(min(n, FEWEST), round(n * n_ratings() / N_RATINGS))


@cache
def synthetic_split() -> tuple[Interactions, Interactions]:
    """Return the synthetic ratings from 1 to 5, all but a random 1 % of them for training."""
    return split_of(n_ratings())


def split_of(n: int) -> tuple[Interactions, Interactions]:
    """Return so many synthetic ratings, all but a random 1 % of them for training.

    Fewer ratings than 20 million come with as many fewer users and items, so that each keeps its share of
    ratings and an epoch teaches as much.
    """
    ratings = synthetic(n, round(N_USERS * n / N_RATINGS), round(N_ITEMS * n / N_RATINGS)).interactions
    return splits.ratio(ratings, test=0.01)


def part_of_ml_1m(share: float) -> NcfSplit:
    """Return the NCF split of MovieLens 1M with a random part of the training interactions."""
    require("ml-1m-ncf")
    split = datasets.ncf("ml-1m")
    rows = np.random.default_rng(0).permutation(len(split.train))[: round(share * len(split.train))]
    return replace(split, train=split.train.select(np.sort(rows)))


def in_words(data: Interactions) -> str:
    """Return the size of a data set for a table, such as "20.0 M ratings"."""
    return f"{len(data) / 1e6:.3g} M ratings"


def require(name: str) -> None:
    """Skip the benchmark where a named data set is not on disk; benchmarks fetch nothing."""
    if datasets.find(name) is None:
        pytest.skip(f"{name} is not on disk: set {datasets.DATA_VARIABLE} to a folder that holds it")
