"""Readers of the layouts that MovieLens and the NCF paper are published in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mfcore.data._interactions import Interactions, from_raw
from mfcore.data._movielens import parse_movielens
from mfcore.data._ncf import parse_ncf


def read_movielens(path: str | Path) -> Interactions:
    """Read a MovieLens folder or zip of any size.

    Parameters
    ----------
    path : str or Path
        Folder that holds the files, or a zip that holds them at any depth, which is read in place.

    Returns
    -------
    Interactions
        All ratings in the order of the file, with timestamps, and titles and genres where the file of
        films is there. The item vocabulary holds the rated films only.

    Raises
    ------
    InvalidDataError
        Where there are no such files, or a line of them cannot be parsed.
    """
    return from_raw(parse_movielens(Path(path)))


@dataclass(frozen=True, eq=False)
class NcfSplit:
    """A training set, one held-out interaction for each user, and the negatives to rank it among.

    Attributes
    ----------
    train, test : Interactions
        With the same vocabularies, which hold every id of the three files: some test items never occur in
        training.
    negatives : int32 [n_test, n_negatives]
        Item rows; line r belongs to test interaction r. As published: for 156 users of ml-1m the held-out
        item stands among its own negatives, where an evaluator must count it as one candidate.
    """

    train: Interactions
    test: Interactions
    negatives: npt.NDArray[np.int32]

    def __repr__(self) -> str:
        return (
            f"NcfSplit({len(self.train):,} training and {len(self.test):,} test interactions, "
            f"{self.negatives.shape[1]} negatives each, {self.train.n_users:,} users × "
            f"{self.train.n_items:,} items)"
        )


def read_ncf(path: str | Path, *, titles: Mapping[int, str] | None = None) -> NcfSplit:
    """Read the three files of an NCF data set.

    Parameters
    ----------
    path : str or Path
        Folder that holds one such set, or the files' common prefix, such as ``Data/ml-1m``.
    titles : mapping from int to str, optional
        Title by item id. None looks for ``item_id_map.csv`` (columns ncf_item, movie_id) in the folder and
        for a MovieLens folder ``ml-1m`` beside it, and takes titles and genres from there if both exist.

    Returns
    -------
    NcfSplit

    Raises
    ------
    InvalidDataError
        For a missing file, a malformed line (by its number), and negatives that do not belong to the test
        interactions.
    """
    raw = parse_ncf(Path(path), titles)
    return NcfSplit(from_raw(raw.train), from_raw(raw.test), raw.negatives)
