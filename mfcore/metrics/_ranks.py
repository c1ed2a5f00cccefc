"""From scores to tie groups: all that a ranking metric needs to know of a ranking.

A *ranking* orders the candidates of one user, or of one test interaction, by falling score. Candidates of
equal score form a *tie group*, whose inner order no model has chosen. Only the groups that hold a positive
matter to a metric, and of each only its position and its composition, so that a ranking of a whole catalogue
shrinks to a few integers per positive and every metric becomes a vectorised function of them.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from mfcore.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mfcore.engines import PositiveRanks

Ties: TypeAlias = Literal["pessimistic", "average", "optimistic"]
"""Where a positive stands among candidates of its score: last, at every position equally often, or first."""

BoolArray: TypeAlias = npt.NDArray[np.bool_]
IntArray: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]
ScoreArray: TypeAlias = npt.NDArray[np.floating[Any]]

# From this many groups on, sorting a row once is cheaper than counting through it for every group.
_GROUPS_WORTH_A_SORT = 8


@dataclass(frozen=True, eq=False)
class TieGroups:
    """The tie groups that hold a positive, of many rankings.

    Groups are ordered by ranking and, within a ranking, by falling score. A positive that is no candidate at
    all (an item outside the catalogue) belongs to no group but counts in `n_relevant`: it is a miss.

    Parameters
    ----------
    ranking : int64 array [n_groups]
        The ranking that a group belongs to, ascending.
    above : int64 array [n_groups]
        How many candidates of the ranking score strictly higher than the group.
    size : int64 array [n_groups]
        How many candidates share the group's score, positives included.
    relevant : int64 array [n_groups]
        How many of those are positives, at least 1.
    n_candidates : int64 array [n_rankings]
        Length of each ranking, positives included.
    n_relevant : int64 array [n_rankings]
        Positives of each ranking, at least 1, misses included.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.metrics import TieGroups
    >>> groups = TieGroups(
    ...     ranking=np.array([0]),
    ...     above=np.array([1]),
    ...     size=np.array([3]),
    ...     relevant=np.array([2]),
    ...     n_candidates=np.array([6]),
    ...     n_relevant=np.array([2]),
    ... )  # two positives and a negative share positions 2 to 4 of six
    >>> from mfcore.metrics import Precision
    >>> Precision(2).values(groups).round(4).tolist()  # a positive is at position 2 in two of three orders
    [0.3333]
    """

    ranking: IntArray
    above: IntArray
    size: IntArray
    relevant: IntArray
    n_candidates: IntArray
    n_relevant: IntArray

    @property
    def n_rankings(self) -> int:
        """Number of rankings, those without any group included."""
        return len(self.n_relevant)

    @cached_property
    def first(self) -> IntArray:
        """int64: indices of the groups that are the highest of their ranking."""
        leads = np.ones(len(self.ranking), dtype=np.bool_)
        leads[1:] = self.ranking[1:] != self.ranking[:-1]
        return np.flatnonzero(leads)

    @cached_property
    def relevant_above(self) -> IntArray:
        """int64 [n_groups]: positives of the same ranking that score strictly higher than the group."""
        before = np.cumsum(self.relevant) - self.relevant
        groups_per_ranking = np.diff(self.first, append=len(self.ranking))
        return before - np.repeat(before[self.first], groups_per_ranking)

    def within(self, k: int | None) -> IntArray:
        """Return how many of each group's positions are among the first k.

        Parameters
        ----------
        k : int or None
            None for no cutoff.

        Returns
        -------
        int64 array [n_groups]

        Examples
        --------
        >>> import numpy as np
        >>> from mfcore.metrics import TieGroups
        >>> groups = TieGroups(
        ...     ranking=np.array([0]),
        ...     above=np.array([1]),
        ...     size=np.array([3]),
        ...     relevant=np.array([2]),
        ...     n_candidates=np.array([6]),
        ...     n_relevant=np.array([2]),
        ... )  # two positives and a negative share positions 2 to 4 of six
        >>> groups.within(3).tolist(), groups.within(None).tolist()
        ([2], [3])
        """
        return self.size if k is None else np.clip(k - self.above, 0, self.size)

    def total(self, of_groups: FloatArray) -> FloatArray:
        """Return the sum over each ranking's groups.

        Parameters
        ----------
        of_groups : float64 array [n_groups]

        Returns
        -------
        float64 array [n_rankings]

        Examples
        --------
        >>> import numpy as np
        >>> from mfcore.metrics import TieGroups
        >>> groups = TieGroups(
        ...     ranking=np.array([0]),
        ...     above=np.array([1]),
        ...     size=np.array([3]),
        ...     relevant=np.array([2]),
        ...     n_candidates=np.array([6]),
        ...     n_relevant=np.array([2]),
        ... )  # two positives and a negative share positions 2 to 4 of six
        >>> groups.total(np.array([0.5])).tolist()
        [0.5]
        """
        return np.bincount(self.ranking, of_groups, self.n_rankings).astype(np.float64, copy=False)

    def resolved(self, ties: Ties) -> Self:
        """Return the groups after the tie rule.

        Parameters
        ----------
        ties : {"pessimistic", "average", "optimistic"}
            "average" leaves the groups as they are: the metrics compute expectations over the orders of a
            group. The other rules settle the order, after which every positive is a group of its own.

        Returns
        -------
        TieGroups

        Examples
        --------
        >>> import numpy as np
        >>> from mfcore.metrics import TieGroups
        >>> groups = TieGroups(
        ...     ranking=np.array([0]),
        ...     above=np.array([1]),
        ...     size=np.array([3]),
        ...     relevant=np.array([2]),
        ...     n_candidates=np.array([6]),
        ...     n_relevant=np.array([2]),
        ... )  # two positives and a negative share positions 2 to 4 of six
        >>> groups.resolved("optimistic").above.tolist(), groups.resolved("pessimistic").above.tolist()
        ([1, 2], [2, 3])
        """
        if ties == "average":
            return self
        at_group_start = self.above if ties == "optimistic" else self.above + self.size - self.relevant
        position_in_group = np.arange(self.relevant.sum()) - np.repeat(
            np.cumsum(self.relevant) - self.relevant, self.relevant
        )
        single = np.ones(len(position_in_group), dtype=np.int64)
        return type(self)(
            ranking=np.repeat(self.ranking, self.relevant),
            above=np.repeat(at_group_start, self.relevant) + position_in_group,
            size=single,
            relevant=single,
            n_candidates=self.n_candidates,
            n_relevant=self.n_relevant,
        )


def tie_groups(scores: ScoreArray, rows: IntArray, columns: IntArray, n_relevant: IntArray) -> TieGroups:
    """Reduce rankings over a catalogue, with any number of positives each, to their tie groups.

    Parameters
    ----------
    scores : float array [n_rankings, n_items]
        NaN marks an item that is no candidate. Infinities are ordinary scores.
    rows, columns : int64 arrays [n_positives]
        Where the positives stand in `scores`, each once; `rows` ascending.
    n_relevant : int64 array [n_rankings]
        Positives of each ranking, those outside the catalogue included.
    """
    values = scores[rows, columns]
    order = np.lexsort((-values, rows))
    rows, values = rows[order], values[order]
    starts = _starts(rows, values)
    ranking, group_values = rows[starts], values[starts]
    above, size = _count_higher_and_tied(scores, ranking, group_values)
    return TieGroups(
        ranking=ranking,
        above=above,
        size=size,
        relevant=np.diff(starts, append=len(rows)),
        n_candidates=_count_candidates(scores),
        n_relevant=n_relevant,
    )


def tie_groups_of_ranks(ranks: "PositiveRanks", rows: IntArray, n_relevant: IntArray) -> TieGroups:
    """Reduce rankings over a catalogue, given the ranks of the positives, to their tie groups.

    Parameters
    ----------
    ranks : PositiveRanks
        Of n_positives positives in n_rankings rankings.
    rows : int64 array [n_positives]
        The ranking that each positive belongs to, ascending.
    n_relevant : int64 array [n_rankings]
        Positives of each ranking, those outside the catalogue included.
    """
    order = np.lexsort((ranks.n_higher, rows))
    # Positives of one ranking share a score if, and only if, as many candidates are above them.
    starts = _starts(rows[order], ranks.n_higher[order])
    groups = order[starts]
    return TieGroups(
        ranking=rows[groups],
        above=ranks.n_higher[groups],
        size=ranks.n_tied[groups],
        relevant=np.diff(starts, append=len(rows)),
        n_candidates=ranks.n_candidates,
        n_relevant=n_relevant,
    )


def tie_groups_of_first(scores: ScoreArray) -> TieGroups:
    """Reduce rankings whose single positive is the first column to their tie groups.

    Parameters
    ----------
    scores : float array [n_rankings, 1 + n_negatives]
        NaN marks a negative that is no candidate.
    """
    positive = scores[:, :1]
    n_rankings = len(scores)
    return TieGroups(
        ranking=np.arange(n_rankings),
        above=np.sum(scores > positive, axis=1, dtype=np.int64),
        size=np.sum(scores == positive, axis=1, dtype=np.int64),
        relevant=np.ones(n_rankings, dtype=np.int64),
        n_candidates=_count_candidates(scores),
        n_relevant=np.ones(n_rankings, dtype=np.int64),
    )


def _starts(rows: IntArray, keys: npt.NDArray[Any]) -> IntArray:
    """Return where each run of equal rows and keys starts."""
    leads = np.ones(len(rows), dtype=np.bool_)
    leads[1:] = (rows[1:] != rows[:-1]) | (keys[1:] != keys[:-1])
    return np.flatnonzero(leads)


def _count_candidates(scores: ScoreArray) -> IntArray:
    counts: IntArray = np.sum(~np.isnan(scores), axis=1, dtype=np.int64)
    return counts


def _count_higher_and_tied(
    scores: ScoreArray, ranking: IntArray, values: ScoreArray
) -> tuple[IntArray, IntArray]:
    """Count, for each value of a ranking, the candidates above it and those equal to it."""
    above = np.empty(len(values), dtype=np.int64)
    size = np.empty(len(values), dtype=np.int64)
    bounds = np.searchsorted(ranking, np.arange(len(scores) + 1))
    for row, (start, stop) in zip(scores, pairwise(bounds.tolist()), strict=True):
        if stop - start < _GROUPS_WORTH_A_SORT:
            # NaN is neither above nor equal to anything, so that non-candidates drop out by themselves.
            for group in range(start, stop):
                above[group] = np.count_nonzero(row > values[group])
                size[group] = np.count_nonzero(row == values[group])
        else:
            # NaN sorts to the end, behind every candidate.
            ascending = np.sort(row)
            n_candidates = ascending.searchsorted(np.nan)
            up_to = ascending.searchsorted(values[start:stop], side="right")
            above[start:stop] = n_candidates - up_to
            size[start:stop] = up_to - ascending.searchsorted(values[start:stop], side="left")
    return above, size


def check_ties(ties: Any) -> None:
    """Raise InvalidArgumentError unless `ties` names a tie rule."""
    if ties not in get_args(Ties):
        rules = ", ".join(repr(rule) for rule in get_args(Ties))
        raise InvalidArgumentError(f"ties is {ties!r}; it must be one of {rules}")
