"""Metrics of rankings: how near the top the positives of a ranking stand.

Notation: position 1 is the top of a ranking; P is the number of its positives (items outside the model's
catalogue included: they are misses); the gain of a positive is 1, whatever its rating. A metric with a
cutoff k looks at positions 1 to k. Each metric is computed per ranking and averaged over the rankings, which
count alike unless the metric says how they weigh.

A metric reads tie groups (`mfcore.metrics.ranks`) and returns its exact expectation when all orders of the
candidates within a group are equally likely. Groups of one candidate have one order, so the same formulas
serve once another tie rule has settled the order. In the comments and formulas below a group stands behind
`a` candidates (`above`), has `n` positions (`size`), `m` positives (`relevant`), and `t` of its positions
are within the cutoff.

Expectations under ties follow McSherry & Najork, "Computing Information Retrieval Performance Measures
Efficiently in the Presence of Tied Scores" (ECIR 2008).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mfcore.metrics._ranks import BoolArray, FloatArray, IntArray, ScoreArray, TieGroups
from mfcore.model import top_k_of
from mfcore.validation import require_integer


class RankingMetric(ABC):
    """A metric with one value per ranking, computed from tie groups.

    Subclasses are frozen dataclasses; one written elsewhere is accepted by `evaluate` as any other.

    Attributes
    ----------
    higher_is_better : bool

    Examples
    --------
    The share of rankings that begin with a positive:

    >>> from dataclasses import dataclass
    >>> import mfcore
    >>> from mfcore.metrics import RankingMetric
    >>> @dataclass(frozen=True)
    ... class FirstHit(RankingMetric):
    ...     @property
    ...     def name(self):
    ...         return "first hit"
    ...
    ...     def values(self, groups):
    ...         return groups.total(groups.within(1) * groups.relevant / groups.size)
    >>> data = mfcore.data.synthetic(2_000, n_users=100, n_items=200).interactions
    >>> train, test = mfcore.splits.ratio(data)
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), train, optimizer=wals, epochs=2, backend="reference")
    >>> found = mfcore.evaluate(model, test, [FirstHit(), mfcore.HitRate(1)])
    >>> found["first hit"] == found["HR@1"]
    True
    """

    higher_is_better: ClassVar[bool] = True

    @property
    @abstractmethod
    def name(self) -> str:
        """What the metric is called in an `Evaluation`."""

    @abstractmethod
    def values(self, groups: TieGroups) -> FloatArray:
        """Return each ranking's expectation over the orders of its tied candidates.

        Parameters
        ----------
        groups : TieGroups
            Of n_rankings rankings.

        Returns
        -------
        float64 array [n_rankings]
            NaN stands for a ranking in which the metric is undefined; such rankings are left out of the mean.
        """

    def weights(self, groups: TieGroups) -> FloatArray:
        """Return how much each ranking counts in the mean: alike, unless a metric says otherwise.

        Parameters
        ----------
        groups : TieGroups
            Of n_rankings rankings.

        Returns
        -------
        float64 array [n_rankings]
            Each above 0.

        Examples
        --------
        >>> import numpy as np
        >>> from mfcore.metrics import NDCG, TieGroups
        >>> groups = TieGroups(
        ...     ranking=np.array([0, 0]),
        ...     above=np.array([0, 2]),
        ...     size=np.array([1, 1]),
        ...     relevant=np.array([1, 1]),
        ...     n_candidates=np.array([5]),
        ...     n_relevant=np.array([2]),
        ... )  # five candidates, the positives at positions 1 and 3
        >>> NDCG(10).weights(groups).tolist()
        [1.0]
        """
        return np.ones(groups.n_rankings)


class WithCutoff:
    """The cutoff of a metric: an integer k >= 1, or None for no cutoff where the metric allows that."""

    k: int | None
    _label: ClassVar[str]
    _requires_k: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.k is None and not self._requires_k:
            return
        or_none = "" if self._requires_k else "no cutoff"
        k = require_integer(f"k of {type(self).__name__}", self.k, 1, or_none=or_none)
        object.__setattr__(self, "k", k)

    @property
    def name(self) -> str:
        """The metric's short name, with "@k" where it has a cutoff."""
        return self._label if self.k is None else f"{self._label}@{self.k}"


@dataclass(frozen=True)
class HitRate(WithCutoff, RankingMetric):
    """Share of rankings with at least one positive among the first k: "HR@k".

    Parameters
    ----------
    k : int
        Cutoff, at least 1.

    Notes
    -----
    Only the highest group can decide, as all others stand behind it. The chance that none of its m positives
    falls on its first t positions is hypergeometric: C(n - t, m) / C(n, m).

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.metrics import HitRate, TieGroups
    >>> groups = TieGroups(
    ...     ranking=np.array([0, 0]),
    ...     above=np.array([0, 2]),
    ...     size=np.array([1, 1]),
    ...     relevant=np.array([1, 1]),
    ...     n_candidates=np.array([5]),
    ...     n_relevant=np.array([2]),
    ... )  # five candidates, the positives at positions 1 and 3
    >>> HitRate(2).values(groups).tolist()
    [1.0]
    """

    k: int
    _label: ClassVar[str] = "HR"
    _requires_k: ClassVar[bool] = True

    def values(self, groups: TieGroups) -> FloatArray:
        """Return the chance of a hit in each ranking, float64 [n_rankings]."""
        first = groups.first
        missed = np.ones(groups.n_rankings)
        missed[groups.ranking[first]] = _chance_of_none(
            groups.size[first], groups.relevant[first], groups.within(self.k)[first]
        )
        return 1.0 - missed


@dataclass(frozen=True)
class Precision(WithCutoff, RankingMetric):
    """Positives among the first k, over k: "Precision@k".

    The divisor is k even where a ranking has fewer candidates.

    Parameters
    ----------
    k : int
        Cutoff, at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.metrics import Precision, TieGroups
    >>> groups = TieGroups(
    ...     ranking=np.array([0, 0]),
    ...     above=np.array([0, 2]),
    ...     size=np.array([1, 1]),
    ...     relevant=np.array([1, 1]),
    ...     n_candidates=np.array([5]),
    ...     n_relevant=np.array([2]),
    ... )  # five candidates, the positives at positions 1 and 3
    >>> Precision(2).values(groups).tolist()
    [0.5]
    """

    k: int
    _label: ClassVar[str] = "Precision"
    _requires_k: ClassVar[bool] = True

    def values(self, groups: TieGroups) -> FloatArray:
        """Return the precision of each ranking, float64 [n_rankings]."""
        return _expected_hits(groups, self.k) / self.k


@dataclass(frozen=True)
class Recall(WithCutoff, RankingMetric):
    """Positives among the first k, over all positives P: "Recall@k".

    Parameters
    ----------
    k : int
        Cutoff, at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.metrics import Recall, TieGroups
    >>> groups = TieGroups(
    ...     ranking=np.array([0, 0]),
    ...     above=np.array([0, 2]),
    ...     size=np.array([1, 1]),
    ...     relevant=np.array([1, 1]),
    ...     n_candidates=np.array([5]),
    ...     n_relevant=np.array([2]),
    ... )  # five candidates, the positives at positions 1 and 3
    >>> Recall(2).values(groups).tolist()
    [0.5]
    """

    k: int
    _label: ClassVar[str] = "Recall"
    _requires_k: ClassVar[bool] = True

    def values(self, groups: TieGroups) -> FloatArray:
        """Return the recall of each ranking, float64 [n_rankings]."""
        return _expected_hits(groups, self.k) / groups.n_relevant


@dataclass(frozen=True)
class TopKAccuracy(WithCutoff, RankingMetric):
    """Share of all positives, pooled over the rankings, that are among the first k: "TopK@k".

    Sum over the rankings of the positives among the first k, over the sum of their P. Every positive counts
    alike, where `Recall` counts every ranking alike. With one positive a ranking, as in the sampled
    protocols, the two are equal, and `HitRate` with them.

    Source: `FactorizedTopK` of TensorFlow Recommenders. It leaves items seen in training among the candidates
    and settles ties in the positive's favour: ``FullRanking(exclude_seen=False, ties="optimistic")``.

    Parameters
    ----------
    k : int
        Cutoff, at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.metrics import TopKAccuracy, TieGroups
    >>> groups = TieGroups(
    ...     ranking=np.array([0, 0]),
    ...     above=np.array([0, 2]),
    ...     size=np.array([1, 1]),
    ...     relevant=np.array([1, 1]),
    ...     n_candidates=np.array([5]),
    ...     n_relevant=np.array([2]),
    ... )  # five candidates, the positives at positions 1 and 3
    >>> TopKAccuracy(2).values(groups).tolist(), TopKAccuracy(2).weights(groups).tolist()
    ([0.5], [2.0])
    """

    k: int
    _label: ClassVar[str] = "TopK"
    _requires_k: ClassVar[bool] = True

    def values(self, groups: TieGroups) -> FloatArray:
        """Return the share of each ranking's positives that are among the first k, float64 [n_rankings]."""
        return _expected_hits(groups, self.k) / groups.n_relevant

    def weights(self, groups: TieGroups) -> FloatArray:
        """Return the number of positives of each ranking, float64 [n_rankings]."""
        return groups.n_relevant.astype(np.float64)


@dataclass(frozen=True)
class NDCG(WithCutoff, RankingMetric):
    """Normalised discounted cumulative gain with binary gain: "NDCG@k", or "NDCG" without a cutoff.

    DCG = sum over the positives within the cutoff of 1 / log2(1 + position); NDCG = DCG over that of the best
    ranking, whose positives hold positions 1 to min(k, P). Järvelin & Kekäläinen, "Cumulated gain-based
    evaluation of IR techniques" (TOIS 2002).

    Parameters
    ----------
    k : int, optional
        Cutoff, at least 1; None for the whole ranking.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.metrics import NDCG, TieGroups
    >>> groups = TieGroups(
    ...     ranking=np.array([0, 0]),
    ...     above=np.array([0, 2]),
    ...     size=np.array([1, 1]),
    ...     relevant=np.array([1, 1]),
    ...     n_candidates=np.array([5]),
    ...     n_relevant=np.array([2]),
    ... )  # five candidates, the positives at positions 1 and 3
    >>> NDCG(3).values(groups).round(4).tolist()  # (1 + 1/2) / (1 + 1/log2(3))
    [0.9197]
    """

    k: int | None = None
    _label: ClassVar[str] = "NDCG"

    def values(self, groups: TieGroups) -> FloatArray:
        """Return the NDCG of each ranking, float64 [n_rankings]."""
        positions = np.arange(1, _longest(groups) + 1)
        discounts = _cumulative(1.0 / np.log2(1.0 + positions))
        gained = discounts[groups.above + groups.within(self.k)] - discounts[groups.above]
        best = groups.n_relevant if self.k is None else np.minimum(groups.n_relevant, self.k)
        return groups.total(groups.relevant / groups.size * gained) / discounts[best]


@dataclass(frozen=True)
class MAP(WithCutoff, RankingMetric):
    """Mean average precision: "MAP@k", or "MAP" without a cutoff.

    Average precision = sum over the positives within the cutoff of (positives up to that position /
    position), over min(k, P), the number of positives that the best ranking shows. (Some tools divide by P
    whatever k is, or by the number of positives within the cutoff: their figures differ.)

    Parameters
    ----------
    k : int, optional
        Cutoff, at least 1; None for the whole ranking.

    Notes
    -----
    With R positives in higher groups, position l of a group holds a positive with chance m/n, and with chance
    m(m - 1) / (n(n - 1)) another given position does too; so position l adds
    ((R + 1) m/n + (l - 1) m(m - 1) / (n(n - 1))) / (a + l). The sum over l = 1..t has a closed form in
    harmonic numbers: sum 1/(a + l) = H(a + t) - H(a) =: h and sum (l - 1)/(a + l) = t - (a + 1) h.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.metrics import MAP, TieGroups
    >>> groups = TieGroups(
    ...     ranking=np.array([0, 0]),
    ...     above=np.array([0, 2]),
    ...     size=np.array([1, 1]),
    ...     relevant=np.array([1, 1]),
    ...     n_candidates=np.array([5]),
    ...     n_relevant=np.array([2]),
    ... )  # five candidates, the positives at positions 1 and 3
    >>> MAP().values(groups).round(4).tolist()  # (1/1 + 2/3) / 2
    [0.8333]
    """

    k: int | None = None
    _label: ClassVar[str] = "MAP"

    def values(self, groups: TieGroups) -> FloatArray:
        """Return the average precision of each ranking, float64 [n_rankings]."""
        above, size, relevant = groups.above, groups.size, groups.relevant
        within = groups.within(self.k)
        reciprocals = _reciprocals_between(groups, above, above + within)
        one = relevant / size
        pair = one * (relevant - 1) / np.maximum(size - 1, 1)
        precisions = one * (groups.relevant_above + 1) * reciprocals
        precisions += pair * (within - (above + 1) * reciprocals)
        shown = groups.n_relevant if self.k is None else np.minimum(groups.n_relevant, self.k)
        return groups.total(precisions) / shown


@dataclass(frozen=True)
class MRR(WithCutoff, RankingMetric):
    """Mean reciprocal rank: 1 / position of the highest positive, 0 beyond the cutoff: "MRR@k" or "MRR".

    Parameters
    ----------
    k : int, optional
        Cutoff, at least 1; None for the whole ranking.

    Notes
    -----
    Only the highest group can decide. The chance that its first positive is at position i of the group is
    C(n - i, m - 1) / C(n, m).

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.metrics import MRR, TieGroups
    >>> groups = TieGroups(
    ...     ranking=np.array([0, 0]),
    ...     above=np.array([0, 2]),
    ...     size=np.array([1, 1]),
    ...     relevant=np.array([1, 1]),
    ...     n_candidates=np.array([5]),
    ...     n_relevant=np.array([2]),
    ... )  # five candidates, the positives at positions 1 and 3
    >>> MRR().values(groups).tolist()
    [1.0]
    """

    k: int | None = None
    _label: ClassVar[str] = "MRR"

    def values(self, groups: TieGroups) -> FloatArray:
        """Return the reciprocal rank of each ranking, float64 [n_rankings]."""
        first = groups.first
        above, size, relevant = groups.above[first], groups.size[first], groups.relevant[first]
        within = groups.within(self.k)[first]
        expected = _reciprocals_between(groups, above, above + within) / size
        several = np.flatnonzero((relevant > 1) & (within > 0))
        if several.size:
            kinds, kind = np.unique(
                np.stack([above, size, relevant, within])[:, several], axis=1, return_inverse=True
            )
            expected[several] = np.array([_first_reciprocal(*k) for k in kinds.T.tolist()])[kind]
        values = np.zeros(groups.n_rankings)
        values[groups.ranking[first]] = expected
        return values


@dataclass(frozen=True)
class AUC(RankingMetric):
    """Area under the ROC curve: the chance that a positive outranks a negative of the same ranking: "AUC".

    AUC = (pairs of a positive above a negative + half of the tied pairs) / (P x negatives); with pessimistic
    ties a tied pair counts 0, with optimistic 1. A positive outside the catalogue counts below every
    negative. A ranking without negatives has no AUC: NaN, left out of the mean.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.metrics import AUC, TieGroups
    >>> groups = TieGroups(
    ...     ranking=np.array([0, 0]),
    ...     above=np.array([0, 2]),
    ...     size=np.array([1, 1]),
    ...     relevant=np.array([1, 1]),
    ...     n_candidates=np.array([5]),
    ...     n_relevant=np.array([2]),
    ... )  # five candidates, the positives at positions 1 and 3
    >>> AUC().values(groups).round(4).tolist()  # 5 of the 6 pairs are in order
    [0.8333]
    """

    @property
    def name(self) -> str:
        """The name "AUC"."""
        return "AUC"

    def values(self, groups: TieGroups) -> FloatArray:
        """Return the area of each ranking, float64 [n_rankings]; NaN without negatives."""
        relevant = groups.relevant.astype(np.float64)
        negatives = groups.n_candidates - groups.total(relevant)
        outranked_by = groups.above - groups.relevant_above + (groups.size - relevant) / 2
        won = groups.total(relevant * (negatives[groups.ranking] - outranked_by))
        pairs = negatives * groups.n_relevant
        areas: FloatArray = np.divide(won, pairs, out=np.full(groups.n_rankings, np.nan), where=pairs > 0)
        return areas


@dataclass(frozen=True)
class Coverage(WithCutoff):
    """Catalogue coverage: share of the catalogue's items in at least one user's first k: "Coverage@k".

    It describes the lists that `Model.recommend` returns, not the positives: ties for the last positions go
    to the lowest item rows, whatever the protocol's tie rule, and a score of -inf is never in a list.
    Candidates are those of `FullRanking`; the users are those of the test interactions.

    Parameters
    ----------
    k : int
        Cutoff, at least 1.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.data.synthetic(2_000, n_users=100, n_items=200).interactions
    >>> train, test = mfcore.splits.ratio(data)
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), train, optimizer=wals, epochs=2, backend="reference")
    >>> coverage = mfcore.evaluate(model, test, [mfcore.Coverage(10)])["Coverage@10"]
    >>> 0 < coverage <= 1
    True
    """

    k: int
    higher_is_better: ClassVar[bool] = True
    _label: ClassVar[str] = "Coverage"
    _requires_k: ClassVar[bool] = True

    def covered(self, scores: ScoreArray) -> BoolArray:
        """Return which items are among the first k of any row.

        Parameters
        ----------
        scores : float array [n_users, n_items]
            NaN marks an item that is no candidate.

        Returns
        -------
        bool array [n_items]

        Examples
        --------
        >>> import numpy as np
        >>> from mfcore.metrics import Coverage
        >>> scores = np.array([[0.1, 0.9, 0.3], [np.nan, 0.8, 0.2]])
        >>> Coverage(1).covered(scores).tolist()
        [False, True, False]
        """
        items, _ = top_k_of(np.where(np.isnan(scores), -np.inf, scores), min(self.k, scores.shape[1]))
        shown = np.zeros(scores.shape[1], dtype=np.bool_)
        shown[items[items >= 0]] = True
        return shown


def _longest(groups: TieGroups) -> int:
    """Return the last position that a table over positions must hold."""
    return int(max(np.max(groups.above + groups.size, initial=1), np.max(groups.n_relevant, initial=1)))


def _cumulative(terms: FloatArray) -> FloatArray:
    """Return the sums of the first 0, 1, 2, ... terms."""
    return np.concatenate(([0.0], np.cumsum(terms)))


def _reciprocals_between(groups: TieGroups, start: IntArray, stop: IntArray) -> FloatArray:
    """Return H(stop) - H(start): the sum of 1/position over the positions start + 1 to stop."""
    harmonic = _cumulative(1.0 / np.arange(1, _longest(groups) + 1))
    return harmonic[stop] - harmonic[start]


def _expected_hits(groups: TieGroups, k: int) -> FloatArray:
    """Return the expected number of positives among the first k of each ranking."""
    return groups.total(groups.relevant * groups.within(k) / groups.size)


def _chance_of_none(size: IntArray, relevant: IntArray, within: IntArray) -> FloatArray:
    """Return C(n - t, m) / C(n, m), the chance that the first t of n positions hold none of m positives."""
    # The law is symmetric in m and t, so the product need only be as long as the smaller of the two. Where it
    # is impossible to miss, a factor is exactly 0.
    fewer, more = np.minimum(relevant, within), np.maximum(relevant, within)
    chance = np.ones(len(size))
    for j in range(int(np.max(fewer, initial=0))):
        factor = (size - more - j) / np.maximum(size - j, 1)
        chance *= np.where(j < fewer, factor, 1.0)
    return chance


def _first_reciprocal(above: int, size: int, relevant: int, within: int) -> float:
    """Return the expectation of 1/position of a group's first positive, 0 beyond position `within`."""
    positions = np.arange(1, min(within, size - relevant + 1) + 1)
    # C(n - i, m - 1) / C(n, m) is m/n at i = 1 and shrinks by (n - i - m + 1) / (n - i) from i to i + 1.
    steps = (size - positions[:-1] - relevant + 1) / (size - positions[:-1])
    chances = relevant / size * np.cumprod(np.concatenate(([1.0], steps)))
    return float(np.sum(chances / (above + positions)))
