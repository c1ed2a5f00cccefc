"""Evaluation protocols: which candidates a positive has to outrank.

Full ranking orders the whole catalogue. The sampled protocols rank each positive among a few negatives, which
is cheaper and common in the literature (1 + 99 in the NCF paper), and answers another question: sampled
metrics are *inconsistent* with the full ones, may order models differently, and all but AUC depend on the
number of negatives (Krichene & Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020). Report full
ranking beside them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mfcore.data import SeenItems
from mfcore.errors import InvalidArgumentError, InvalidDataError
from mfcore.metrics._held_out import PAIRS_PER_BLOCK, HeldOut
from mfcore.metrics._negatives import draw_negatives
from mfcore.metrics._ranks import (
    BoolArray,
    IntArray,
    ScoreArray,
    TieGroups,
    Ties,
    check_ties,
    tie_groups,
    tie_groups_of_first,
    tie_groups_of_ranks,
)
from mfcore.validation import require_integer

_CATALOGUE_SCORES_PER_BLOCK = 1 << 23


@dataclass(frozen=True, eq=False)
class RankedBlock:
    """The rankings of a run of users.

    Parameters
    ----------
    owners : int64 array [n_rankings]
        The evaluated user, 0 to n_users - 1, of each ranking.
    groups : TieGroups
        The rankings' tie groups.
    catalogue_scores : callable or None
        Returns float [n_rankings, n_items] with NaN at items that are no candidates, where the protocol
        ranks the catalogue; None elsewhere, and then there is no `Coverage`.
    """

    owners: IntArray
    groups: TieGroups
    catalogue_scores: Callable[[], ScoreArray] | None = None


class RankingProtocol(ABC):
    """Which candidates a positive has to outrank, and where it stands among those of its own score.

    Attributes
    ----------
    ties : {"pessimistic", "average", "optimistic"}

    Examples
    --------
    >>> from mfcore import FullRanking, SampledRanking
    >>> from mfcore.metrics import RankingProtocol
    >>> all(isinstance(one, RankingProtocol) for one in (FullRanking(), SampledRanking(99)))
    True
    """

    ties: Ties

    @abstractmethod
    def blocks(self, held_out: HeldOut, batch_users: int | None) -> Iterator[RankedBlock]:
        """Rank the positives of all users, a bounded number of users at a time.

        Parameters
        ----------
        held_out : HeldOut
            The test interactions in the rows of the model.
        batch_users : int or None
            Users at a time; None for as many as memory allows.

        Yields
        ------
        RankedBlock
            The rankings of a run of users.
        """


@dataclass(frozen=True)
class FullRanking(RankingProtocol):
    """Rank the whole catalogue for each user; one ranking per user, all its test items its positives.

    Candidates are all items of the model's catalogue but those that the user has seen in training. A test
    item always stays a candidate, even where training has seen it too (a repeated interaction). One that the
    catalogue lacks is a miss: never among the first k, but counted among the positives. A test item listed
    twice for a user is one positive. Unknown users are ranked by the model's cold-start answer.

    Parameters
    ----------
    exclude_seen : bool
        Whether items seen in training are left out of the candidates.
    ties : {"pessimistic", "average", "optimistic"}
        "pessimistic": a positive stands behind all other candidates of its score; "optimistic": before them;
        "average": metrics are exact expectations over all orders of candidates of the same score.

    Raises
    ------
    InvalidArgumentError
        For an unknown rule of ties.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.data.synthetic(2_000, n_users=100, n_items=200).interactions
    >>> train, test = mfcore.splits.ratio(data)
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), train, optimizer=wals, epochs=2, backend="reference")
    >>> among_all = mfcore.FullRanking(exclude_seen=False)
    >>> hidden = mfcore.evaluate(model, test, [mfcore.NDCG(10)])
    >>> shown = mfcore.evaluate(model, test, [mfcore.NDCG(10)], among_all)
    >>> hidden["NDCG@10"] != shown["NDCG@10"]
    True
    """

    exclude_seen: bool = True
    ties: Ties = "pessimistic"

    def __post_init__(self) -> None:
        check_ties(self.ties)

    def blocks(self, held_out: HeldOut, batch_users: int | None) -> Iterator[RankedBlock]:
        """Rank the catalogue for all users, a bounded number of users at a time."""
        if np.all(held_out.items < 0):
            raise InvalidDataError(
                "no test item is in the model's catalogue; are model and test from the same data, "
                "with ids of the same kind?"
            )
        costs = np.full(held_out.n_users, held_out.n_items)
        for users in held_out.user_blocks(costs, _CATALOGUE_SCORES_PER_BLOCK, batch_users):
            yield self._ranked(held_out, users)

    def _ranked(self, held_out: HeldOut, users: slice) -> RankedBlock:
        """Rank for a run of users; a model that ranks positives itself computes scores for Coverage alone."""
        owners = np.arange(users.start, users.stop)
        rows, items, n_relevant = _positives(held_out, users)
        candidate_scores = partial(self._candidate_scores, held_out, users, rows, items)
        ranks = held_out.positive_ranks(users, rows, items, self.exclude_seen)
        if ranks is not None:
            return RankedBlock(owners, tie_groups_of_ranks(ranks, rows, n_relevant), candidate_scores)
        scores = candidate_scores()
        return RankedBlock(owners, tie_groups(scores, rows, items, n_relevant), lambda: scores)

    def _candidate_scores(
        self, held_out: HeldOut, users: slice, rows: IntArray, items: IntArray
    ) -> ScoreArray:
        """Score the catalogue for a run of users; NaN marks items seen in training that are no positives."""
        scores = held_out.score_catalogue(users)
        if self.exclude_seen:
            of_positives = scores[rows, items]
            scores[held_out.seen_by(users)] = np.nan
            scores[rows, items] = of_positives
        return scores


@dataclass(frozen=True)
class SampledRanking(RankingProtocol):
    """Rank each positive among negatives of its own, drawn at random; one ranking per test interaction.

    The negatives of a positive are distinct items of the catalogue, drawn uniformly from those that the user
    has neither seen in training nor among its test items. They are a function of the seed, of the
    interaction's user and item (their rows in the test data) and of the user's own items alone: the same in
    every run, for every model of the same catalogue and every batch size. A positive or a user that the model
    does not know is scored by the cold-start answer. Metrics are means over test interactions, not users.

    Sampled metrics are inconsistent with full ranking and depend on `n_negatives` (Krichene & Rendle, "On
    Sampled Metrics for Item Recommendation", KDD 2020): report `FullRanking` beside them.

    Parameters
    ----------
    n_negatives : int
        Negatives of each positive, at least 1. A user with fewer items to draw from is an error.
    seed : int in [0, 2^64)
        Names the draw.
    ties : {"pessimistic", "average", "optimistic"}
        As for `FullRanking`.
    exclude_seen : bool
        Whether items seen in training are barred from being negatives.

    Raises
    ------
    InvalidArgumentError
        Here, if a setting is outside its domain; from `evaluate`, if a user has fewer items to draw from.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.data.synthetic(2_000, n_users=100, n_items=200).interactions
    >>> train, test = mfcore.splits.ratio(data)
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), train, optimizer=wals, epochs=2, backend="reference")
    >>> protocol = mfcore.SampledRanking(n_negatives=5, seed=0)
    >>> found = mfcore.evaluate(model, test, [mfcore.HitRate(6)], protocol)
    >>> found["HR@6"]  # all six candidates are among the first six
    1.0
    """

    n_negatives: int = 99
    seed: int = 0
    ties: Ties = "pessimistic"
    exclude_seen: bool = True

    def __post_init__(self) -> None:
        check_ties(self.ties)
        object.__setattr__(self, "n_negatives", require_integer("n_negatives", self.n_negatives, 1))
        object.__setattr__(self, "seed", require_integer("seed", self.seed, 0, 2**64 - 1))

    def blocks(self, held_out: HeldOut, batch_users: int | None) -> Iterator[RankedBlock]:
        """Rank all test interactions among drawn negatives, a bounded number of users at a time."""
        costs = held_out.counts * (1 + self.n_negatives)
        for users in held_out.user_blocks(costs, PAIRS_PER_BLOCK, batch_users):
            interactions = held_out.interactions_of(users)
            owners = held_out.owners[interactions]
            negatives = draw_negatives(
                seed=self.seed,
                n_negatives=self.n_negatives,
                n_items=held_out.n_items,
                user_rows=held_out.test_users[owners],
                item_rows=held_out.test_items[interactions],
                closed=self._closed(held_out, users),
                owners=owners - users.start,
            )
            items = np.column_stack([held_out.items[interactions], negatives])
            yield _rank_candidates(held_out, interactions, items, np.ones(items.shape, dtype=np.bool_))

    def _closed(self, held_out: HeldOut, users: slice) -> SeenItems:
        """List the items that may not be drawn for a run of users; refuse users left with too few others."""
        rows, items, _ = _positives(held_out, users)
        if self.exclude_seen:
            owners, seen = held_out.seen_by(users)
            rows, items = np.concatenate([rows, owners]), np.concatenate([items, seen])
        keys = np.sort(rows * held_out.n_items + items)
        keys = keys[np.diff(keys, prepend=-1) > 0]
        counts = np.bincount(keys // held_out.n_items, minlength=users.stop - users.start)
        n_open = held_out.n_items - counts
        if np.any(n_open < self.n_negatives):
            row = int(np.argmax(n_open < self.n_negatives))
            user = held_out.name_user(users.start + row)
            raise InvalidArgumentError(
                f"n_negatives is {self.n_negatives}, but user {user} has only {n_open[row]} items to draw "
                "from; lower n_negatives, use FullRanking, or leave such users out"
            )
        return SeenItems(
            indptr=np.concatenate(([0], np.cumsum(counts))),
            indices=(keys % held_out.n_items).astype(np.int32),
        )


@dataclass(frozen=True, eq=False)
class GivenNegatives(RankingProtocol):
    """Rank each positive among negatives listed beforehand, as in the NCF files; one ranking per interaction.

    Each item is one candidate: a negative listed twice counts once, and one that is the positive itself is no
    negative (the held-out item of 156 users of ml-1m.test.negative is among its own negatives). A user or an
    item that the model does not know is scored by the cold-start answer. Metrics are means over test
    interactions.

    Sampled metrics are inconsistent with full ranking and depend on the number of negatives (Krichene &
    Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020): report `FullRanking` beside them.

    Parameters
    ----------
    negatives : integer array [n_test, n_negatives]
        Row i holds the negatives of test interaction i, as rows of the test data's item vocabulary. Not
        copied.
    ties : {"pessimistic", "average", "optimistic"}
        As for `FullRanking`.

    Raises
    ------
    InvalidArgumentError
        Here, if `negatives` is no such array or the rule of ties is unknown; from `evaluate`, if `negatives`
        does not fit the test interactions.

    Examples
    --------
    >>> import numpy as np
    >>> import mfcore
    >>> data = mfcore.data.synthetic(2_000, n_users=100, n_items=200).interactions
    >>> train, test = mfcore.splits.ratio(data)
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), train, optimizer=wals, epochs=2, backend="reference")
    >>> negatives = np.tile(np.arange(5), (len(test), 1))  # each positive among items 0 to 4
    >>> found = mfcore.evaluate(model, test, [mfcore.MRR()], mfcore.GivenNegatives(negatives))
    >>> 1 / 6 <= found["MRR"] <= 1
    True
    """

    negatives: npt.NDArray[np.integer[Any]] = field(repr=False)
    ties: Ties = "pessimistic"

    def __post_init__(self) -> None:
        check_ties(self.ties)
        negatives = np.asarray(self.negatives)
        if negatives.ndim != 2 or negatives.shape[1] == 0 or not np.issubdtype(negatives.dtype, np.integer):
            raise InvalidArgumentError(
                f"negatives has shape {negatives.shape} and dtype {negatives.dtype}; it must be an integer "
                "array [n_test, n_negatives] of item rows, with at least one negative"
            )
        negatives = negatives.view()
        negatives.flags.writeable = False
        object.__setattr__(self, "negatives", negatives)

    def blocks(self, held_out: HeldOut, batch_users: int | None) -> Iterator[RankedBlock]:
        """Rank all test interactions among their negatives, a bounded number of users at a time."""
        self._require_fit(held_out)
        costs = held_out.counts * (1 + self.negatives.shape[1])
        for users in held_out.user_blocks(costs, PAIRS_PER_BLOCK, batch_users):
            interactions = held_out.interactions_of(users)
            listed = self.negatives[held_out.order[interactions]].astype(np.int64)
            candidates = np.column_stack([held_out.test_items[interactions], listed])
            yield _rank_candidates(
                held_out, interactions, held_out.item_rows[candidates], _first_of_each(candidates)
            )

    def _require_fit(self, held_out: HeldOut) -> None:
        """Raise unless each interaction has a row of negatives, and each negative is a row of the test."""
        n_test, n_items = len(held_out.test), len(held_out.item_rows)
        if len(self.negatives) != n_test:
            raise InvalidArgumentError(
                f"negatives has {len(self.negatives)} rows and test {n_test} interactions; row i must belong "
                "to interaction i"
            )
        outside = (self.negatives < 0) | (self.negatives >= n_items)
        if outside.any():
            row, column = (int(axis[0]) for axis in np.nonzero(outside))
            raise InvalidArgumentError(
                f"negatives[{row}, {column}] is {self.negatives[row, column]}; item rows of test are 0 to "
                f"{n_items - 1}"
            )


def _positives(held_out: HeldOut, users: slice) -> tuple[IntArray, IntArray, IntArray]:
    """List the positives of a run of users, each once.

    Returns
    -------
    rows, items : int64 arrays [n_positives]
        The user's position within the run, ascending, and the model's item row,
        of the positives in the catalogue.
    n_relevant : int64 array [n_users]
        Positives of each user, those outside the catalogue included.
    """
    interactions = held_out.interactions_of(users)
    rows = held_out.owners[interactions] - users.start
    test_items = held_out.test_items[interactions]
    once = np.ones(len(rows), dtype=np.bool_)
    once[1:] = (rows[1:] != rows[:-1]) | (test_items[1:] != test_items[:-1])
    items = held_out.items[interactions]
    known = once & (items >= 0)
    return rows[known], items[known], np.bincount(rows[once], minlength=users.stop - users.start)


def _rank_candidates(
    held_out: HeldOut, interactions: slice, items: IntArray, candidate: BoolArray
) -> RankedBlock:
    """Rank the items of each row, the positive first in its row, among those marked as candidates."""
    owners = held_out.owners[interactions]
    scores = held_out.score_pairs(np.repeat(owners, items.shape[1]), items.ravel()).reshape(items.shape)
    scores[~candidate] = np.nan
    return RankedBlock(owners=owners, groups=tie_groups_of_first(scores))


def _first_of_each(candidates: IntArray) -> BoolArray:
    """Mark in each row the first occurrence of each item."""
    order = np.argsort(candidates, axis=1, kind="stable")
    ascending = np.take_along_axis(candidates, order, axis=1)
    first = np.ones(candidates.shape, dtype=np.bool_)
    np.put_along_axis(first, order[:, 1:], ascending[:, 1:] != ascending[:, :-1], axis=1)
    return first
