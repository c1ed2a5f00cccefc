"""Which epoch is kept: the best one on a part of the training data or on the test part, or the last.

An epoch chosen on the test part flatters the figures there, so that is done on request only.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from mfcore.cli.options import at_least, opt
from mfcore.cli.quality import Task, default_metrics, default_protocols
from mfcore.cli.sources import SPLITS, Parts, hold_out_validation
from mfcore.data import Interactions
from mfcore.errors import InvalidArgumentError
from mfcore.metrics import Coverage, FullRanking, Metric, RankingProtocol, RatingMetric, SampledRanking
from mfcore.model import Model

Basis = Literal["validation", "test", "last"]

CHOSEN_ON = "epoch_chosen_on"
N_DRAWN = 99


@dataclass(frozen=True)
class HoldingOut:
    """What is held out of the data, to judge a model or to choose the epoch by."""

    panel: ClassVar[str] = "Data held out"

    test: Annotated[float | None, opt("Share held out; 0 trains on everything. Default: 0.2", "SHARE")] = None
    split: Annotated[
        str | None,
        opt(
            f"How: {', '.join(SPLITS)}. Default: leave-one-out for implicit data with times, else ratio.",
            "NAME",
            names=lambda: SPLITS,
        ),
    ] = None
    patience: Annotated[
        int | None,
        opt(
            "Stop after so many epochs without a better one, and keep the best: judged on a further part of"
            " the training data, never on the held-out part unless --choose-on-test says so.",
            "N",
            check=at_least(1),
        ),
    ] = None
    validation: Annotated[
        bool | None,
        opt(
            "Keep the epoch that is best on a further part of the training data; else the last. Default: yes"
            " for neural models on implicit data, and with --patience."
        ),
    ] = None
    choose_on_test: Annotated[
        bool,
        opt(
            "Keep the epoch that is best on the held-out part itself, as the NCF paper did: its figures are"
            " then optimistic."
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.choose_on_test and self.validation is not None:
            option = "--validation" if self.validation else "--no-validation"
            raise InvalidArgumentError(f"--choose-on-test and {option} contradict each other; leave one out")
        if self.patience is not None and self.validation is False:
            raise InvalidArgumentError(
                "--patience needs something to judge epochs by, and --no-validation holds nothing out for"
                " it; leave one of them out, or add --choose-on-test in place of --no-validation"
            )

    def basis(self, parts: Parts, *, by_default: bool, earlier: Model | None) -> Basis:
        """Return what the epoch is chosen on: as asked for, as that of a resumed model was, or by default."""
        before = None if earlier is None else earlier.training.get(CHOSEN_ON)
        asked = self.validation is not None or self.patience is not None
        if self.choose_on_test or (before == "test" and not asked):
            if parts.test is None:
                raise InvalidArgumentError("--choose-on-test does not apply: --test 0 holds nothing out")
            return "test"
        if self.validation is not None:
            return "validation" if self.validation else "last"
        if self.patience is not None or before == "validation":
            return "validation"
        return "validation" if by_default and earlier is None and parts.test is not None else "last"


@dataclass(frozen=True, eq=False)
class Watched:
    """What `fit` is given to choose the epoch by: the training part less what is held out of it, and how."""

    basis: Basis
    train: Interactions
    held_out: Interactions | None
    metric: Metric
    protocol: RankingProtocol | None


def watch(parts: Parts, basis: Basis, metric: Metric, task: Task, *, seed: int, is_neural: bool) -> Watched:
    """Return the data to train on and to choose the epoch by, on a metric."""
    if basis == "last":
        return Watched(basis, parts.train, None, metric, None)
    if basis == "test":
        assert parts.test is not None
        protocol = when_ranking(metric, default_protocols(task, parts.negatives)[0])
        return Watched(basis, parts.train, parts.test, metric, protocol)
    train, held_out = hold_out_validation(parts, seed)
    protocol = when_ranking(metric, _among(parts, train, held_out, is_neural))
    return Watched(basis, train, held_out, metric, protocol)


def default_monitor(task: Task) -> Metric:
    """Return what the epoch is chosen by where no metric was asked for."""
    # At its small cutoffs the top-k accuracy is noise.
    return default_metrics(task)[-1 if task == "retrieval" else 0]


def when_ranking(metric: Metric, protocol: RankingProtocol) -> RankingProtocol | None:
    """Return the protocol by which a metric ranks; None for a metric of ratings."""
    if isinstance(metric, RatingMetric):
        return None
    return FullRanking() if isinstance(metric, Coverage) else protocol


def _among(parts: Parts, train: Interactions, held_out: Interactions, is_neural: bool) -> RankingProtocol:
    """Return among what positives are ranked after each epoch.

    As many drawn negatives as the data bring for the test part; else, for neural models, which take long to
    score the whole catalogue, 99 if every user has so many; else the whole catalogue.
    """
    if parts.negatives is not None:
        return SampledRanking(parts.negatives.shape[1])
    evaluated = held_out.user_counts > 0
    n_open = train.n_items - (train.user_counts + held_out.user_counts)[evaluated]
    return SampledRanking(N_DRAWN) if is_neural and n_open.min() >= N_DRAWN else FullRanking()
