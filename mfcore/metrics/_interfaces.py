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
        """Return float[n], the scores of n pairs."""
        ...

    def predict_pairs(self, user_rows: "IntArray", item_rows: "IntArray", /) -> Any:
        """Return float[n], the predictions (scores after the output function) of n pairs."""
        ...

    def score_catalogue(self, user_rows: "IntArray", /) -> Any:
        """Return float[n, n_items], the scores of the whole catalogue for each of n users."""
        ...


@runtime_checkable
class RankingModel(Protocol):
    """A model that may rank positives itself, so that it need not return the score of every item."""

    def positive_ranks(
        self, user_rows: "IntArray", rows: "IntArray", items: "IntArray", exclude_seen: bool, /
    ) -> "PositiveRanks | None":
        """Return what `mfcore.engines.EvaluationScorer.positive_ranks` does; None to be asked for scores."""
        ...
