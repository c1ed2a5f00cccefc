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
    r"""Read a MovieLens folder or zip of any size.

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

    Examples
    --------
    >>> from pathlib import Path
    >>> from mfcore.data import read_movielens
    >>> folder = Path("ml-small")
    >>> folder.mkdir()
    >>> ratings = "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n"
    >>> _ = (folder / "ratings.csv").write_text(ratings, encoding="utf-8")
    >>> films = "movieId,title,genres\n31,Dangerous Minds (1995),Drama\n"
    >>> _ = (folder / "movies.csv").write_text(films, encoding="utf-8")
    >>> read_movielens(folder).item_names.tolist()
    ['Dangerous Minds (1995)']
    """
    return from_raw(parse_movielens(Path(path)))


@dataclass(frozen=True, eq=False)
class NcfSplit:
    r"""A training set, one held-out interaction for each user, and the negatives to rank it among.

    Attributes
    ----------
    train, test : Interactions
        With the same vocabularies, which hold every id of the three files: some test items never occur in
        training.
    negatives : int32 array [n_test, n_negatives]
        Item rows; line r belongs to test interaction r. As published: for 156 users of ml-1m the held-out
        item stands among its own negatives, where an evaluator must count it as one candidate.

    Examples
    --------
    >>> from mfcore.data import read_ncf
    >>> from pathlib import Path
    >>> folder = Path("toy-ncf")
    >>> folder.mkdir()
    >>> for name, text in {
    ...     "toy.train.rating": "0\t10\t5\t1\n1\t11\t3\t2\n",
    ...     "toy.test.rating": "0\t11\t4\t3\n1\t10\t2\t4\n",
    ...     "toy.test.negative": "(0,11)\t12\t13\n(1,10)\t12\t13\n",
    ... }.items():
    ...     _ = (folder / name).write_text(text, encoding="utf-8")
    >>> split = read_ncf(folder)
    >>> split.train.item_ids[split.negatives].tolist()
    [[12, 13], [12, 13]]
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
    r"""Read the three files of an NCF data set.

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

    Examples
    --------
    >>> from mfcore.data import read_ncf
    >>> from pathlib import Path
    >>> folder = Path("toy-ncf")
    >>> folder.mkdir()
    >>> for name, text in {
    ...     "toy.train.rating": "0\t10\t5\t1\n1\t11\t3\t2\n",
    ...     "toy.test.rating": "0\t11\t4\t3\n1\t10\t2\t4\n",
    ...     "toy.test.negative": "(0,11)\t12\t13\n(1,10)\t12\t13\n",
    ... }.items():
    ...     _ = (folder / name).write_text(text, encoding="utf-8")
    >>> read_ncf(folder)
    NcfSplit(2 training and 2 test interactions, 2 negatives each, 2 users × 4 items)
    """
    raw = parse_ncf(Path(path), titles)
    return NcfSplit(from_raw(raw.train), from_raw(raw.test), raw.negatives)
