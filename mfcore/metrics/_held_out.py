"""The test interactions as an evaluation reads them: grouped by user, in the rows of the model.

A model and its test data may number users and items differently. Everything is translated through the ids
once, here; an id that the model does not know gets row -1, for which a model gives its cold-start answer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from mfcore.errors import InvalidDataError
from mfcore.metrics._interfaces import RankingModel, ScoringModel
from mfcore.metrics._ranks import IntArray, ScoreArray
from mfcore.model import seen_pairs

if TYPE_CHECKING:
    from mfcore.data import Interactions, Vocabulary
    from mfcore.engines import PositiveRanks

PAIRS_PER_BLOCK = 1 << 17
"""How many (user, item) pairs a model is asked for at once: the factors it gathers stay some tens of MB."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Test interactions ordered by user and item, beside the model that is to be evaluated on them.

    A user of the test is addressed here by its position among the evaluated users, 0 to n_users - 1.

    Parameters
    ----------
    model : ScoringModel
        The model under evaluation.
    test : Interactions
        The test interactions in their own order and rows.
    order : int64 array [n]
        The position in `test` of each interaction here.
    test_users : int64 array [n_users]
        The test's own rows of the evaluated users, ascending.
    indptr : int64 array [n_users + 1]
        Where each user's interactions start.
    users : int64 array [n_users]
        The model's rows of the evaluated users, -1 where unknown.
    test_items : int64 array [n]
        The test's own rows of the items, ascending within a user.
    items : int64 array [n]
        The model's rows of the items, -1 where unknown.
    item_rows : int64 array [test.n_items]
        The model's row of every item row of the test, -1 where unknown.
    """

    model: ScoringModel
    test: "Interactions"
    order: IntArray
    test_users: IntArray
    indptr: IntArray
    users: IntArray
    test_items: IntArray
    items: IntArray
    item_rows: IntArray

    @classmethod
    def align(cls, model: ScoringModel, test: "Interactions") -> Self:
        """Order the test interactions by user and item and translate them into the model's rows.

        Raises
        ------
        InvalidDataError
            If there is no test interaction.
        """
        if len(test) == 0:
            raise InvalidDataError("test holds no interactions; there is nothing to evaluate on")
        order = np.argsort(test.users.astype(np.int64) * test.n_items + test.items, kind="stable")
        counts = np.bincount(test.users)
        test_users = np.flatnonzero(counts)
        test_items = test.items[order].astype(np.int64)
        item_rows = _rows_in(model.item_ids, test.item_ids)
        return cls(
            model=model,
            test=test,
            order=order,
            test_users=test_users,
            indptr=np.concatenate(([0], np.cumsum(counts[test_users]))),
            users=_rows_in(model.user_ids, test.user_ids)[test_users],
            test_items=test_items,
            items=item_rows[test_items],
            item_rows=item_rows,
        )

    @property
    def n_users(self) -> int:
        """Number of users with at least one test interaction."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Size of the model's catalogue."""
        return len(self.model.item_ids)

    @property
    def counts(self) -> IntArray:
        """int64 [n_users]: test interactions of each user."""
        return np.diff(self.indptr)

    @cached_property
    def owners(self) -> IntArray:
        """int64 [n]: the user, 0 to n_users - 1, of each interaction."""
        return np.repeat(np.arange(self.n_users), self.counts)

    def interactions_of(self, users: slice) -> slice:
        """Return the interactions of a run of users."""
        return slice(int(self.indptr[users.start]), int(self.indptr[users.stop]))

    def user_blocks(self, costs: IntArray, budget: int, batch_users: int | None) -> Iterator[slice]:
        """Cut the users into runs of `batch_users`, or else of summed cost within the budget, at least one.

        Parameters
        ----------
        costs : int64 array [n_users]
            What a user takes of the budget, such as the number of scores it needs.
        budget : int
            The most that a run of several users may cost.
        batch_users : int or None
            Users in a run; None to go by cost.
        """
        spent = np.cumsum(costs)
        start = 0
        while start < self.n_users:
            if batch_users is None:
                before = spent[start - 1] if start else 0
                stop = max(start + 1, int(np.searchsorted(spent, before + budget, side="right")))
            else:
                stop = min(start + batch_users, self.n_users)
            yield slice(start, stop)
            start = stop

    def seen_by(self, users: slice) -> tuple[IntArray, npt.NDArray[np.int32]]:
        """List what a run of users has seen in training.

        Returns
        -------
        owners : int64 array [nnz]
            The user's position within the run, ascending.
        items : int32 array [nnz]
            The model's item row.
        """
        return seen_pairs(self.model.seen, self.users[users])

    def score_pairs(self, owners: IntArray, items: IntArray) -> ScoreArray:
        """Return float [n], the model's scores for evaluated users and item rows; NaN is refused."""
        return self._ask_in_blocks(self.model.score_pairs, "score", owners, items)

    def predict_pairs(self, owners: IntArray, items: IntArray) -> ScoreArray:
        """Return float [n], the model's predictions for evaluated users and item rows; NaN is refused."""
        return self._ask_in_blocks(self.model.predict_pairs, "prediction", owners, items)

    def score_catalogue(self, users: slice) -> ScoreArray:
        """Return float [n_users, n_items], a run of users' scores of the catalogue; NaN is refused."""
        owners = np.arange(users.start, users.stop)[:, np.newaxis]
        items = np.arange(self.n_items)
        answer = self.model.score_catalogue(self.users[users])
        return self._checked(answer, "score", owners, items, (len(owners), self.n_items))

    def positive_ranks(
        self, users: slice, rows: IntArray, items: IntArray, exclude_seen: bool
    ) -> "PositiveRanks | None":
        """Return where positives of a run of users rank, or None where only the scores tell."""
        if isinstance(self.model, RankingModel):
            return self.model.positive_ranks(self.users[users], rows, items, exclude_seen)
        return None

    def name_user(self, user: int) -> str:
        """Return the id of an evaluated user, as an error message shows it."""
        return _show_id(self.test.user_ids, int(self.test_users[user]))

    def _ask_in_blocks(
        self, ask: Callable[[IntArray, IntArray], Any], what: str, owners: IntArray, items: IntArray
    ) -> ScoreArray:
        answers = []
        for start in range(0, len(items), PAIRS_PER_BLOCK):
            pairs = slice(start, start + PAIRS_PER_BLOCK)
            answer = ask(self.users[owners[pairs]], items[pairs])
            answers.append(self._checked(answer, what, owners[pairs], items[pairs], items[pairs].shape))
        return np.concatenate(answers)

    def _checked(
        self, answer: Any, what: str, owners: IntArray, items: IntArray, shape: tuple[int, ...]
    ) -> ScoreArray:
        """Return a model's answer as a floating-point array of its own, that the caller may overwrite."""
        scores = np.array(answer)
        if scores.shape != shape:
            raise InvalidDataError(
                f"the model returned an array of shape {scores.shape}; {shape} was expected"
            )
        if not np.issubdtype(scores.dtype, np.floating):
            return scores.astype(np.float64)
        invalid = np.isnan(scores)
        if invalid.any():
            position = np.unravel_index(int(np.argmax(invalid)), shape)
            user = self.name_user(int(np.broadcast_to(owners, shape)[position]))
            row = int(np.broadcast_to(items, shape)[position])
            item = f"item {_show_id(self.model.item_ids, row)}" if row >= 0 else "an item unknown to it"
            raise InvalidDataError(
                f"the model's {what} of user {user} for {item} is NaN: its training has diverged or its "
                "parameters are damaged; train it again, with a smaller learning_rate"
            )
        return scores


def _rows_in(vocabulary: "Vocabulary", ids: "Vocabulary") -> IntArray:
    """Return the row in one vocabulary of every row of another, -1 where it lacks the id."""
    every = np.arange(len(ids), dtype=np.int64)
    return every if vocabulary == ids else np.asarray(vocabulary.rows(ids[every]), dtype=np.int64)


def _show_id(vocabulary: "Vocabulary", row: int) -> str:
    return repr(vocabulary[np.array([row])].tolist()[0])
