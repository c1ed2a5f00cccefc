"""Names and ids as they are typed, turned into what they stand for; errors list what is valid."""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from mfcore.errors import InvalidArgumentError
from mfcore.metrics import (
    AUC,
    MAE,
    MAP,
    MRR,
    NDCG,
    RMSE,
    Coverage,
    HitRate,
    Metric,
    Precision,
    Recall,
    RoundedMAE,
    TopKAccuracy,
)

if TYPE_CHECKING:
    from mfcore.data import Vocabulary

PLAIN_METRICS: dict[str, Callable[[], Metric]] = {
    "rmse": RMSE,
    "mae": MAE,
    "rounded-mae": RoundedMAE,
    "mrr": MRR,
    "auc": AUC,
}
METRICS_AT_K: dict[str, Callable[[int], Metric]] = {
    "hr": HitRate,
    "ndcg": NDCG,
    "precision": Precision,
    "recall": Recall,
    "top-k": TopKAccuracy,
    "map": MAP,
    "mrr": MRR,
    "coverage": Coverage,
}
METRIC_NAMES = (
    "rmse",
    "mae",
    "rounded-mae",
    "hr@10",
    "ndcg@10",
    "precision@10",
    "recall@10",
    "top-k@10",
    "map@10",
    "mrr",
    "auc",
    "coverage@10",
)


def flag(name: str) -> str:
    """Return the option that sets a parameter: "n_factors" is set by "--n-factors"."""
    return f"--{name.replace('_', '-')}"


def choose(option: str, value: str, names: Iterable[str]) -> str:
    """Return a name that is among the valid ones, in their spelling: case and "_" for "-" do not matter.

    Raises
    ------
    InvalidArgumentError
        It lists the valid names and the closest one.
    """
    valid = list(names)
    wanted = value.lower().replace("_", "-")
    if wanted in valid:
        return wanted
    raise InvalidArgumentError(
        f"{option} is {value!r}; it must be one of {', '.join(valid)}{_hint(wanted, valid)}"
    )


def choose_all(option: str, texts: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the names of lists such as "mf,gmf", each once, chosen as by `choose`."""
    valid = list(names)
    chosen = (choose(option, name.strip(), valid) for text in texts for name in text.split(","))
    return list(dict.fromkeys(chosen))


def widths_of(option: str, text: str) -> tuple[int, ...]:
    """Return the widths of layers: "64,32,16,8".

    Raises
    ------
    InvalidArgumentError
        For what is no list of positive integers.
    """
    widths = [width.strip() for width in text.split(",")]
    if not all(width.isascii() and width.isdigit() and int(width) >= 1 for width in widths):
        raise InvalidArgumentError(
            f"{option} is {text!r}; it must be widths from 1, divided by commas, such as 64,32,16,8"
        )
    return tuple(map(int, widths))


def metrics_of(names: Sequence[str]) -> list[Metric]:
    """Return the metrics of some names, such as "rmse" and "ndcg@10".

    Raises
    ------
    InvalidArgumentError
        For a name that is none, a cutoff that is no positive integer, and a missing one.
    """
    return [_metric(name) for name in names]


def id_of(text: str, ids: "Vocabulary", side: str) -> int | str:
    """Return a user or item id of the kind that the vocabulary holds, known to it or not."""
    if ids.is_string:
        return text
    if not text.isascii() or not text.isdigit():
        raise InvalidArgumentError(
            f"{side} is {text!r}, but the {side} ids of this model are integers, such as {ids[0]}"
        )
    return int(text)


def _metric(text: str) -> Metric:
    name, at, cutoff = text.lower().replace("_", "-").partition("@")
    if not at and name in PLAIN_METRICS:
        return PLAIN_METRICS[name]()
    if name in METRICS_AT_K:
        if cutoff.isascii() and cutoff.isdigit() and int(cutoff) >= 1:
            return METRICS_AT_K[name](int(cutoff))
        raise InvalidArgumentError(
            f"--metric is {text!r}; {name} takes a cutoff of at least 1, such as {name}@10"
        )
    if at and name in PLAIN_METRICS:
        raise InvalidArgumentError(f"--metric is {text!r}; {name} takes no cutoff: write {name}")
    raise InvalidArgumentError(
        f"--metric is {text!r}; it must be one of {', '.join(METRIC_NAMES)} (any number may follow the @)"
        f"{_hint(text.lower(), METRIC_NAMES)}"
    )


def _hint(wanted: str, names: Sequence[str]) -> str:
    close = get_close_matches(wanted, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
