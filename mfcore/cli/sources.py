"""DATA on the command line: named data sets, files, folders and zips, and how a part of them is held out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt

from mfcore.cli.console import working
from mfcore.cli.options import flag, opt
from mfcore.data import Interactions, datasets, find_prefix, read_ncf, splits
from mfcore.errors import InvalidArgumentError

SPLITS = ("ratio", "leave-one-out", "temporal")
DEFAULT_SHARE = 0.2
VALIDATION_SHARE = 0.1

Negatives = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Reading:
    """How a file of one's own is to be read; None and False leave it to the file."""

    panel: ClassVar[str] = "Reading a file"

    columns: Annotated[
        str | None,
        opt(
            "Columns of user, item, rating and time, by name or by position from 0: user,film,stars", "NAMES"
        ),
    ] = None
    string_ids: Annotated[bool, opt("Ids are text even where all are digits.")] = False
    duplicates: Annotated[
        str | None,
        opt(
            "For pairs that occur repeatedly: last, first, mean, sum, max or keep. Default: refuse them.",
            "RULE",
        ),
    ] = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What was asked for, as arguments of `Interactions.read`."""
        names = [name.strip() for name in (self.columns or "").split(",")]
        columns = (
            [int(name) if name.isdigit() else name for name in names] if self.columns is not None else None
        )
        given = {"columns": columns, "string_ids": self.string_ids or None, "duplicates": self.duplicates}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, eq=False)
class LoadedData:
    """What DATA names: all of it, or of an NCF data set the training part, the test part and negatives."""

    name: str
    data: Interactions
    test: Interactions | None = None
    negatives: Negatives | None = None  # [n_test, n_negatives], the item rows to rank each positive among

    @property
    def is_implicit(self) -> bool:
        """Whether the data say who met what, and not how they liked it."""
        values = self.data.values
        return self.test is not None or bool(values.min() == values.max())


@dataclass(frozen=True, eq=False)
class Parts:
    """Data cut up for training and evaluation."""

    train: Interactions
    test: Interactions | None  # None where everything is trained on
    negatives: Negatives | None
    kind: str  # a name in `SPLITS`, "given" for the data's own test part, or "none"
    how: str  # the same for people


def read_source(name: str, reading: Reading) -> LoadedData:
    """Return what DATA names."""
    arguments = reading.arguments
    path = datasets.fetch(name) if name in datasets.DATASETS else Path(name).expanduser()
    if arguments and not path.is_file():
        raise InvalidArgumentError(
            f"{', '.join(map(flag, arguments))} tells how to read a file, and {name} is none; leave it out"
        )
    with working(f"Reading {name}"):
        if arguments:
            return LoadedData(name, Interactions.read(path, **arguments))
        if find_prefix(path) is not None:
            split = read_ncf(path)
            return LoadedData(name, split.train, split.test, split.negatives)
        return LoadedData(name, datasets.load(name))


def hold_out(source: LoadedData, kind: str | None, share: float | None, seed: int) -> Parts:
    """Return the training and the test part.

    By default the last interaction of each user of implicit data with timestamps is held out, and a random
    share of other data. A share of 0 holds nothing out.
    """
    data = source.data
    if source.test is not None:
        if kind is not None or share is not None:
            option = "--test" if kind is None else "--split"
            raise InvalidArgumentError(
                f"{option} does not apply: {source.name} brings its own test part; leave it out"
            )
        return Parts(data, source.test, source.negatives, "given", "the data's own test part")
    if share == 0:
        if kind is not None:
            raise InvalidArgumentError("--test 0 holds nothing out, so --split does not apply; leave one out")
        return Parts(data, None, None, "none", "nothing")
    if kind is None:
        by_time = share is None and source.is_implicit and data.timestamps is not None
        kind = "leave-one-out" if by_time else "ratio"
    if kind == "leave-one-out":
        if share is not None:
            raise InvalidArgumentError(
                "--test does not apply to --split leave-one-out, which holds out one a user"
            )
        return Parts(*splits.leave_one_out(data), None, kind, "the last interaction of each user")
    share = DEFAULT_SHARE if share is None else share
    if kind == "temporal":
        return Parts(*splits.temporal(data, share), None, kind, f"the latest {share:.0%}")
    return Parts(*splits.ratio(data, share, seed), None, kind, f"{share:.0%} at random, seed {seed}")


def hold_out_validation(parts: Parts, seed: int) -> tuple[Interactions, Interactions]:
    """Cut the training part once more, in the way of the test part: what remains, and what to choose by."""
    if parts.kind in ("leave-one-out", "given") and parts.train.timestamps is not None:
        return splits.leave_one_out(parts.train)
    if parts.kind == "temporal":
        return splits.temporal(parts.train, VALIDATION_SHARE)
    return splits.ratio(parts.train, VALIDATION_SHARE, seed)


def describe_data(source: LoadedData, parts: Parts) -> tuple[dict[str, Any], list[tuple[str, str | int]]]:
    """Return what data there are and what is held out: facts for a JSON document, and the same as fields."""
    data, n_test = source.data, 0 if parts.test is None else len(parts.test)
    n = len(parts.train) + n_test
    density = n / (data.n_users * data.n_items)
    low, high = float(data.values.min()), float(data.values.max())
    counts = {
        "users": data.n_users,
        "items": data.n_items,
        "interactions" if source.is_implicit else "ratings": n,
    }
    facts = {"source": source.name, **counts, "density": density, "values": [low, high]}
    return {**facts, "split": parts.kind, "held_out": n_test}, [
        ("source", source.name),
        *counts.items(),
        ("density", f"{density:.2%}"),
        ("values", f"{low:g} to {high:g}" if low < high else f"all {low:g}"),
        ("held out", "nothing" if parts.test is None else f"{n_test:,}: {parts.how}"),
    ]
