"""Evaluate a model on test interactions: metrics under a protocol, for all users and for each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mfcore.errors import InvalidArgumentError
from mfcore.metrics._held_out import PAIRS_PER_BLOCK, HeldOut
from mfcore.metrics._interfaces import ScoringModel
from mfcore.metrics._protocols import FullRanking, RankedBlock, RankingProtocol
from mfcore.metrics._ranking import Coverage, RankingMetric, WithCutoff
from mfcore.metrics._ranks import FloatArray, IntArray, ScoreArray
from mfcore.metrics._rating import RatingMetric
from mfcore.validation import require_integer

if TYPE_CHECKING:
    from mfcore.data import Interactions

Metric: TypeAlias = RatingMetric | RankingMetric | Coverage


class Evaluation(Mapping[str, float]):
    """The result of `evaluate`: a mapping from the name of a metric to its value.

    Parameters
    ----------
    values : mapping from str to float
        The value of each metric, by name.
    per_user : mapping from str to float64 array [n_users]
        For each metric that has a value per user.
    users : array [n_users]
        Ids of the evaluated users: those with at least one test interaction.
    protocol : RankingProtocol or None
        None where only ratings were evaluated.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.data.synthetic(2_000, n_users=100, n_items=200).interactions
    >>> train, test = mfcore.splits.ratio(data)
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), train, optimizer=wals, epochs=2, backend="reference")
    >>> found = mfcore.evaluate(model, test, [mfcore.RMSE(), mfcore.NDCG(10)])
    >>> sorted(found), found.n_users == len(found.users)
    (['NDCG@10', 'RMSE'], True)
    """

    def __init__(
        self,
        values: Mapping[str, float],
        per_user: Mapping[str, FloatArray],
        users: npt.NDArray[Any],
        protocol: RankingProtocol | None,
    ) -> None:
        self._values = dict(values)
        self._per_user = dict(per_user)
        self.users = users
        self.protocol = protocol

    def __getitem__(self, name: str) -> float:
        """Return the value of a metric; KeyError, with the names there are, if it was not evaluated."""
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(f"{name!r} was not evaluated; there are {', '.join(self._values)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def n_users(self) -> int:
        """Number of users evaluated."""
        return len(self.users)

    def per_user(self, name: str) -> FloatArray:
        """Return the metric for each user.

        Where a protocol makes several rankings of a user, it is their mean, weighted as the mean of all
        rankings is.

        Parameters
        ----------
        name : str
            Of the metric.

        Returns
        -------
        float64 array [n_users]
            In the order of `users`. NaN stands for a user for whom the metric is undefined (AUC without
            negatives).

        Raises
        ------
        KeyError
            If the metric was not evaluated, or has no value per user (coverage).

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.data.synthetic(2_000, n_users=100, n_items=200).interactions
        >>> train, test = mfcore.splits.ratio(data)
        >>> wals = mfcore.WALS(l2=0.1)
        >>> model = mfcore.fit(mfcore.MF(2), train, optimizer=wals, epochs=2, backend="reference")
        >>> found = mfcore.evaluate(model, test, [mfcore.HitRate(10)])
        >>> bool(abs(found.per_user("HR@10").mean() - found["HR@10"]) < 1e-12)
        True
        """
        if name in self._values and name not in self._per_user:
            raise KeyError(f"{name!r} is a property of all users together; it has no value per user")
        self[name]
        return self._per_user[name]

    def __repr__(self) -> str:
        width = max(map(len, self._values))
        by = "" if self.protocol is None else f", {self.protocol!r}"
        lines = [f"  {name:<{width}}  {value:.4f}" for name, value in self._values.items()]
        return "\n".join([f"Evaluation of {self.n_users:,} users{by}", *lines])


def evaluate(
    model: ScoringModel,
    test: "Interactions",
    metrics: Sequence[Metric],
    protocol: RankingProtocol | None = None,
    *,
    batch_users: int | None = None,
) -> Evaluation:
    """Evaluate a model on test interactions.

    Rating metrics are means over the test interactions. Ranking metrics are means over the rankings that
    the protocol makes: one per user in full ranking, one per test interaction in the sampled protocols. All
    count alike, except that `TopKAccuracy` weighs a ranking by its positives. Every test interaction is a
    positive, whatever its rating: select those that you count as positive first. Ids that the model does not
    know are answered by its cold-start rule. Interactions that the model was trained on belong in no test:
    they count like others, and flatter it.

    Parameters
    ----------
    model : ScoringModel
        A trained model.
    test : Interactions
        Interactions to evaluate on; its vocabularies may differ from the model's.
    metrics : sequence of metrics
        Metric instances with distinct names, such as ``[RMSE(), NDCG(10)]``.
    protocol : RankingProtocol, optional
        What ranking metrics rank: `FullRanking()` by default. An error where no metric ranks.
    batch_users : int, optional
        How many users to rank at a time; by default as many as some hundred MB of scores allow. It bounds
        memory and changes no result.

    Returns
    -------
    Evaluation
        A mapping from metric names to values, and the values per user.

    Raises
    ------
    InvalidArgumentError
        If metrics, protocol and `batch_users` do not fit each other or the data.
    InvalidDataError
        If there is nothing to evaluate on, or the model answers NaN.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.data.synthetic(2_000, n_users=100, n_items=200).interactions
    >>> train, test = mfcore.splits.ratio(data)
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), train, optimizer=wals, epochs=2, backend="reference")
    >>> found = mfcore.evaluate(model, test, [mfcore.RMSE(), mfcore.NDCG(10)])
    >>> 0 < found["RMSE"] < 5, 0 < found["NDCG@10"] < 1
    (True, True)
    """
    _check_metrics(metrics)
    raters = [metric for metric in metrics if isinstance(metric, RatingMetric)]
    rankers = [metric for metric in metrics if not isinstance(metric, RatingMetric)]
    if rankers and protocol is None:
        protocol = FullRanking()
    _check_protocol(protocol, is_used=bool(rankers))
    if batch_users is not None:
        batch_users = require_integer("batch_users", batch_users, 1, or_none="as many as memory allows")
    held_out = HeldOut.align(model, test)
    results = _rate(held_out, raters) if raters else {}
    if protocol is not None:
        results |= _rank(held_out, rankers, protocol, batch_users)
    return Evaluation(
        values={metric.name: results[metric.name].value for metric in metrics},
        per_user={name: result.per_user for name, result in results.items() if result.per_user is not None},
        users=np.asarray(test.user_ids[held_out.test_users]),
        protocol=protocol,
    )


class _Result(NamedTuple):
    """A metric over all users, and float64 [n_users] for each of them where it has such values."""

    value: float
    per_user: FloatArray | None


def _rate(held_out: HeldOut, metrics: Sequence[RatingMetric]) -> dict[str, _Result]:
    losses = np.zeros((len(metrics), held_out.n_users))
    for users in held_out.user_blocks(held_out.counts, PAIRS_PER_BLOCK, None):
        interactions = held_out.interactions_of(users)
        owners = held_out.owners[interactions]
        predictions = held_out.predict_pairs(owners, held_out.items[interactions]).astype(np.float64)
        targets = held_out.test.values[held_out.order[interactions]].astype(np.float64)
        for index, metric in enumerate(metrics):
            losses[index, users] = np.bincount(
                owners - users.start, weights=metric.losses(predictions, targets)
            )
    return {
        metric.name: _Result(
            value=metric.from_mean(np.array([np.sum(of_users) / len(held_out.test)])).item(),
            per_user=metric.from_mean(of_users / held_out.counts),
        )
        for metric, of_users in zip(metrics, losses, strict=True)
    }


def _rank(
    held_out: HeldOut,
    metrics: Sequence[RankingMetric | Coverage],
    protocol: RankingProtocol,
    batch_users: int | None,
) -> dict[str, _Result]:
    ranking = [metric for metric in metrics if isinstance(metric, RankingMetric)]
    coverages = [metric for metric in metrics if isinstance(metric, Coverage)]
    owners: list[IntArray] = []
    values: list[list[FloatArray]] = [[] for _ in ranking]
    weights: list[list[FloatArray]] = [[] for _ in ranking]
    covered = np.zeros((len(coverages), held_out.n_items), dtype=np.bool_)
    for block in protocol.blocks(held_out, batch_users):
        groups = block.groups.resolved(protocol.ties)
        owners.append(block.owners)
        for index, metric in enumerate(ranking):
            values[index].append(metric.values(groups))
            weights[index].append(metric.weights(groups))
        if coverages:
            scores = _catalogue_scores(block, coverages[0], protocol)
            for index, coverage in enumerate(coverages):
                covered[index] |= coverage.covered(scores)
    owner = np.concatenate(owners)
    results = {
        metric.name: _averaged(metric.name, values[index], weights[index], owner, held_out.n_users)
        for index, metric in enumerate(ranking)
    }
    for coverage, items in zip(coverages, covered, strict=True):
        results[coverage.name] = _Result(value=float(np.mean(items)), per_user=None)
    return results


def _catalogue_scores(block: RankedBlock, coverage: Coverage, protocol: RankingProtocol) -> ScoreArray:
    if block.catalogue_scores is None:
        raise InvalidArgumentError(
            f"{coverage.name} needs rankings of the whole catalogue, and {type(protocol).__name__} has none; "
            "evaluate it with FullRanking()"
        )
    return block.catalogue_scores()


def _averaged(
    name: str,
    values_of_blocks: list[FloatArray],
    weights_of_blocks: list[FloatArray],
    owners: IntArray,
    n_users: int,
) -> _Result:
    """Return the weighted mean of the values of rankings, over all and by user, where they are defined."""
    values, weights = np.concatenate(values_of_blocks), np.concatenate(weights_of_blocks)
    defined = ~np.isnan(values)
    if not defined.any():
        raise InvalidArgumentError(
            f"{name} is undefined: no ranking has both a positive and a negative; test on fewer positives or "
            "leave the metric out"
        )
    weights, owners = weights[defined], owners[defined]
    weighted = weights * values[defined]
    sums = np.bincount(owners, weights=weighted, minlength=n_users)
    totals = np.bincount(owners, weights=weights, minlength=n_users)
    per_user = np.divide(sums, totals, out=np.full(n_users, np.nan), where=totals > 0)
    return _Result(value=float(np.sum(weighted) / np.sum(weights)), per_user=per_user)


def _check_metrics(metrics: Any) -> None:
    """Raise InvalidArgumentError unless `metrics` is a non-empty sequence of metrics with distinct names."""
    if not isinstance(metrics, Sequence) or isinstance(metrics, str):
        raise InvalidArgumentError(
            f"metrics is {metrics!r}; it must be a sequence such as [RMSE(), NDCG(10)]"
        )
    if not metrics:
        raise InvalidArgumentError("metrics is empty; name at least one, such as [RMSE()]")
    names: set[str] = set()
    for metric in metrics:
        if isinstance(metric, type) and issubclass(metric, Metric):
            example = f"{metric.__name__}({'10' if issubclass(metric, WithCutoff) else ''})"
            raise InvalidArgumentError(
                f"metrics holds the class {metric.__name__}; write an instance of it, such as {example}"
            )
        if not isinstance(metric, Metric):
            raise InvalidArgumentError(
                f"metrics holds {metric!r}, which is no metric; write for instance NDCG(10)"
            )
        if metric.name in names:
            raise InvalidArgumentError(f"metrics holds {metric.name} twice; leave one out")
        names.add(metric.name)


def _check_protocol(protocol: Any, *, is_used: bool) -> None:
    """Raise InvalidArgumentError unless `protocol` is None, or a protocol that some metric uses."""
    if protocol is None:
        return
    if isinstance(protocol, type) and issubclass(protocol, RankingProtocol):
        raise InvalidArgumentError(f"protocol is the class {protocol.__name__}; write an instance of it")
    if not isinstance(protocol, RankingProtocol):
        raise InvalidArgumentError(f"protocol is {protocol!r}; it must be a protocol such as FullRanking()")
    if not is_used:
        raise InvalidArgumentError(
            f"protocol is {protocol!r}, but no metric ranks; leave it out, or add a ranking metric such as "
            "NDCG(10)"
        )
