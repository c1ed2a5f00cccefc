"""DATA on the command line: named data sets, files, folders and zips, and how a part of them is held out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mfcore.cli.choices import choose, flag
from mfcore.cli.console import working
from mfcore.data import Interactions, datasets, find_prefix, read_ncf, splits
from mfcore.errors import InvalidArgumentError

SPLITS = ("ratio", "leave-one-out", "temporal")
DEFAULT_SHARE = 0.2
VALIDATION_SHARE = 0.1

Negatives = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Reading:
    """How a file of one's own is to be read; None and False leave it to the file.

    Attributes
    ----------
    columns : str or None
        Names or positions of the user, item, value and timestamp columns, divided by commas.
    string_ids : bool
    duplicates : str or None
    """

    columns: str | None = None
    string_ids: bool = False
    duplicates: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What was asked for, as arguments of `Interactions.read`."""
        given: dict[str, Any] = {}
        if self.columns is not None:
            names = [name.strip() for name in self.columns.split(",")]
            given["columns"] = [int(name) if name.isdigit() else name for name in names]
        if self.string_ids:
            given["string_ids"] = True
        if self.duplicates is not None:
            given["duplicates"] = self.duplicates
        return given


@dataclass(frozen=True, eq=False)
class Source:
    """What DATA names.

    Attributes
    ----------
    name : str
        As it was typed.
    data : Interactions
        All of it; of an NCF data set the training part.
    test : Interactions or None
        The test part that the data bring along.
    negatives : int32 [n_test, n_negatives] or None
        Item rows to rank each test interaction among.
    """

    name: str
    data: Interactions
    test: Interactions | None = None
    negatives: Negatives | None = None

    @property
    def is_implicit(self) -> bool:
        """Whether the data say who met what, and not how they liked it."""
        values = self.data.values
        return self.test is not None or bool(values.min() == values.max())


@dataclass(frozen=True, eq=False)
class Parts:
    """Data cut up for training and judging.

    Attributes
    ----------
    train : Interactions
    test : Interactions or None
        Held out; None where everything is trained on.
    negatives : int32 [n_test, n_negatives] or None
        Item rows to rank each test interaction among, where the data bring them along.
    kind : str
        A name in `SPLITS`, "given" for the data's own test part, or "none".
    how : str
        The same in words.
    """

    train: Interactions
    test: Interactions | None
    negatives: Negatives | None
    kind: str
    how: str


def read_source(name: str, reading: Reading) -> Source:
    """Return what DATA names.

    Raises
    ------
    DatasetUnavailableError, InvalidDataError
        As `mfcore.datasets.load` does.
    InvalidArgumentError
        Options for reading files beside the name of a data set.
    """
    arguments = reading.arguments
    path = datasets.fetch(name) if name in datasets.DATASETS else Path(name).expanduser()
    if arguments and not path.is_file():
        raise InvalidArgumentError(
            f"{', '.join(map(flag, arguments))} tells how to read a file, and {name} is none; leave it out"
        )
    with working(f"Reading {name}"):
        if arguments:
            return Source(name, Interactions.read(path, **arguments))
        if find_prefix(path) is not None:
            split = read_ncf(path)
            return Source(name, split.train, split.test, split.negatives)
        return Source(name, datasets.load(name))


def hold_out(source: Source, how: str | None, share: float | None, seed: int) -> Parts:
    """Return the training and the test part.

    Parameters
    ----------
    source : Source
    how : str or None
        A name in `SPLITS`. By default the last interaction of each user of implicit data with timestamps, and
        a random share of other data.
    share : float or None
        0 holds nothing out.
    seed : int
        Of the random share.

    Raises
    ------
    InvalidArgumentError, InvalidDataError
        Options that contradict each other or the data.
    """
    if source.test is not None:
        if how is not None or share is not None:
            option = "--split" if how is not None else "--test"
            raise InvalidArgumentError(
                f"{option} does not apply: {source.name} brings its own test part; leave it out"
            )
        return Parts(source.data, source.test, source.negatives, "given", "the data's own test part")
    if share == 0:
        if how is not None:
            raise InvalidArgumentError(
                "--test 0 holds nothing out, so --split does not apply; leave one of them out"
            )
        return Parts(source.data, None, None, "none", "nothing")
    kind = _default_split(source, share) if how is None else choose("--split", how, SPLITS)
    if kind == "leave-one-out":
        if share is not None:
            raise InvalidArgumentError(
                "--test does not apply to --split leave-one-out, which holds out one a user"
            )
        return Parts(*splits.leave_one_out(source.data), None, kind, "the last interaction of each user")
    share = DEFAULT_SHARE if share is None else share
    if kind == "temporal":
        return Parts(*splits.temporal(source.data, share), None, kind, f"the latest {share:.0%}")
    return Parts(*splits.ratio(source.data, share, seed), None, kind, f"{share:.0%} at random, seed {seed}")


def describe_data(source: Source, parts: Parts) -> tuple[dict[str, Any], list[tuple[str, str | int]]]:
    """Return what data there are and what is held out: facts for a JSON document, and the same as fields."""
    data, test = source.data, parts.test
    n = len(parts.train) + (0 if test is None else len(test))
    counts = {
        "users": data.n_users,
        "items": data.n_items,
        "interactions" if source.is_implicit else "ratings": n,
    }
    density = n / (data.n_users * data.n_items)
    low, high = float(data.values.min()), float(data.values.max())
    facts = {
        "source": source.name,
        **counts,
        "density": density,
        "values": [low, high],
        "split": parts.kind,
        "held_out": 0 if test is None else len(test),
    }
    return facts, [
        ("source", source.name),
        *counts.items(),
        ("density", f"{density:.2%}"),
        ("values", f"{low:g} to {high:g}" if low < high else f"all {low:g}"),
        ("held out", "nothing" if test is None else f"{len(test):,}: {parts.how}"),
    ]


def hold_out_validation(parts: Parts, seed: int) -> tuple[Interactions, Interactions]:
    """Cut the training part once more, in the way of the test part: what remains, and what to choose by."""
    if parts.kind in ("leave-one-out", "given") and parts.train.timestamps is not None:
        return splits.leave_one_out(parts.train)
    if parts.kind == "temporal":
        return splits.temporal(parts.train, VALIDATION_SHARE)
    return splits.ratio(parts.train, VALIDATION_SHARE, seed)


def _default_split(source: Source, share: float | None) -> str:
    by_time = share is None and source.is_implicit and source.data.timestamps is not None
    return "leave-one-out" if by_time else "ratio"
