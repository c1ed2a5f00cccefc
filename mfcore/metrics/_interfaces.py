"""What an evaluation needs of a model, and what it makes use of."""

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from mfcore.data import SeenItems, Vocabulary
    from mfcore.engines import PositiveRanks
    from mfcore.metrics._ranks import IntArray


class ScoringModel(Protocol):
    """A trained model, or anything that answers like one: a thin wrapper admits other libraries' models.

    Rows are int64 positions in its vocabularies; row -1 stands for an id that it does not know and asks
    for its cold-start answer. Scores and predictions are floating-point arrays without NaN.

    Examples
    --------
    A model of popularity, which scores an item by its number of interactions:

    >>> import mfcore
    >>> import numpy as np
    >>> class Popularity:
    ...     def __init__(self, data):
    ...         self.user_ids, self.item_ids, self.seen = data.user_ids, data.item_ids, data.seen
    ...         self.counts = np.append(data.item_counts, 0).astype(float)
    ...
    ...     def score_pairs(self, user_rows, item_rows):
    ...         return self.counts[item_rows]
    ...
    ...     predict_pairs = score_pairs
    ...
    ...     def score_catalogue(self, user_rows):
    ...         return np.tile(self.counts[:-1], (len(user_rows), 1))
    >>> data = mfcore.data.synthetic(2_000, n_users=100, n_items=200).interactions
    >>> train, test = mfcore.splits.ratio(data)
    >>> 0 < mfcore.evaluate(Popularity(train), test, [mfcore.NDCG(10)])["NDCG@10"] < 1
    True
    """

    @property
    def user_ids(self) -> "Vocabulary":
        """The users of the training data."""
        ...

    @property
    def item_ids(self) -> "Vocabulary":
        """The items of the training data: the catalogue."""
        ...

    @property
    def seen(self) -> "SeenItems":
        """The items that each user has seen in training."""
        ...

    def score_pairs(self, user_rows: "IntArray", item_rows: "IntArray", /) -> Any:
        """Return the scores of n pairs.

        Parameters
        ----------
        user_rows, item_rows : int64 arrays [n]
            -1 for an unknown id.

        Returns
        -------
        float array [n]
        """
        ...

    def predict_pairs(self, user_rows: "IntArray", item_rows: "IntArray", /) -> Any:
        """Return the predictions (scores after the output function) of n pairs.

        Parameters
        ----------
        user_rows, item_rows : int64 arrays [n]
            -1 for an unknown id.

        Returns
        -------
        float array [n]
        """
        ...

    def score_catalogue(self, user_rows: "IntArray", /) -> Any:
        """Return the scores of the whole catalogue for each of n users.

        Parameters
        ----------
        user_rows : int64 array [n]
            -1 for an unknown id.

        Returns
        -------
        float array [n, n_items]
        """
        ...


@runtime_checkable
class RankingModel(Protocol):
    """A model that may rank positives itself, so that it need not return the score of every item."""

    def positive_ranks(
        self, user_rows: "IntArray", rows: "IntArray", items: "IntArray", exclude_seen: bool, /
    ) -> "PositiveRanks | None":
        """Return what `mfcore.engines.EvaluationScorer.positive_ranks` does; None to be asked for scores."""
        ...
