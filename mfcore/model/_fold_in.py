"""Folding in a new user: their row is fitted, everything else is held fixed.

With the items' parameters fixed, the score of matrix factorisation, and of every other model whose score is
linear in the user's row, is features @ row + offset for each item. The user's share of the objective is then
minimised by Newton steps from the average user: one step for the squared loss, a few for another convex one.
Where a squared loss is trained through an output function, the steps are Gauss-Newton's and end in the
minimum that the average user leads to.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfcore.errors import InvalidArgumentError, InvalidDataError, UnsupportedError
from mfcore.model._rankings import Ranking
from mfcore.model._state import ModelState
from mfcore.model._top_k import top_k_of
from mfcore.objectives import PointwiseObjective
from mfcore.operators import NUMPY
from mfcore.optimizers import WALS, GradientOptimizer, Optimizer
from mfcore.sampling import SamplingPlan
from mfcore.settings import from_dict
from mfcore.specs import Floats, Linear, Output
from mfcore.validation import require_integer

NEWTON_STEPS = 25
HALVINGS = 30
TOLERANCE = 1e-10
# Keeps the system regular where l2 is 0.
LEAST_RIDGE = 1e-6
# The step in scores over which a loss's derivative is differenced for its curvature.
DIFFERENCE = 1e-3
# How many items, and rows of what size, show whether a score is linear.
PROBED_ITEMS, PROBE = 64, 1e3


@dataclass(frozen=True, eq=False)
class FoldedUser:
    """A user who was not in the training data.

    Attributes
    ----------
    model : Model
        It stays as it is.
    parameters : dict of name to array
        The user's row of each parameter of the user side, e.g. "user_factors" [n_factors].
    items : int64 array [m]
        Item rows that they have interacted with; `recommend` leaves them out.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.Interactions.from_columns([1, 1, 2, 2, 3], [5, 6, 5, 6, 7])
    >>> wals = mfcore.WALS(unobserved_weight=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), data, optimizer=wals, epochs=5, backend="reference")
    >>> user = model.fold_in([5])
    >>> user.scores().shape, user.predict([5, 6]).shape
    ((3,), (2,))
    >>> user.recommend(k=1).items
    array([6])
    """

    model: ModelState
    parameters: dict[str, Floats]
    items: NDArray[np.int64]

    def scores(self) -> Floats:
        """Return the score of every item.

        Returns
        -------
        array [n_items]
        """
        rows = {name: row[None] for name, row in self.parameters.items()}
        table = {**self.model.catalogue, **rows}
        scores: Floats = self.model.spec.score_catalogue(table, np.zeros(1, dtype=np.int64))[0]
        return scores

    def predict(self, items: ArrayLike) -> Floats:
        """Return the prediction for each item; unknown ids get the average item's.

        Parameters
        ----------
        items : sequence of item ids [n]

        Returns
        -------
        array [n]
        """
        rows = np.atleast_1d(self.model.item_ids.rows(items))
        table = {**self.model.cold_filled, **{name: row[None] for name, row in self.parameters.items()}}
        rows = np.where(rows < 0, self.model.n_items, rows)
        scores = self.model.spec.score_pairs(table, np.zeros_like(rows), rows)
        predictions: Floats = self.model.spec.output.predict(scores)
        return predictions

    def recommend(self, k: int = 10, *, exclude_seen: bool = True) -> Ranking:
        """Return the k items of highest score, ties by ascending item row; fewer where nothing is left.

        Parameters
        ----------
        k : int
        exclude_seen : bool
            Leave out the items that the user was fitted to.

        Returns
        -------
        Ranking

        Raises
        ------
        InvalidArgumentError
            k is below 1.
        """
        require_integer("k", k, 1)
        scores = self.scores()
        if exclude_seen:
            scores[self.items] = -np.inf
        ranked, best = (pair[0] for pair in top_k_of(scores[None], min(k, len(scores))))
        kept = ranked[ranked >= 0]
        names = None if self.model.item_names is None else self.model.item_names[kept]
        return Ranking("new user", self.model.item_ids[kept], best[: len(kept)], names)


def fold_in(model: ModelState, items: NDArray[np.int64], values: ArrayLike | None) -> FoldedUser:
    """Return a user fitted to interactions with the given item rows; see `Model.fold_in`."""
    missing = [name for name in ("objective", "optimizer", "sampling") if name not in model.training]
    if missing:
        raise UnsupportedError(
            f"the model does not say what it was trained with ({', '.join(missing)} unknown), so a user"
            " cannot be fitted"
        )
    objective = from_dict(model.training["objective"])
    if not isinstance(objective, PointwiseObjective):
        raise UnsupportedError(
            "fold_in solves for objectives with a target for each pair, not for"
            f" {objective.short_name or type(objective).__name__!r}; train with the new user's interactions"
            " instead"
        )
    given = _checked_values(items, values)
    rows = _UserRows.of(model)
    row = _newton(_problem(model, objective, rows, items, given), rows.average)
    return FoldedUser(model, rows.split(row), items)


@dataclass(frozen=True, eq=False)
class _UserRows:
    """What a user's row is made of, and the scores of rows.

    Attributes
    ----------
    model : ModelState
    parts : dict of name to array
        The average user's row of each trained parameter of the user side.
    decayed : bool array [d]
        Where l2 applies, of a row with all parts one after another.
    """

    model: ModelState
    parts: dict[str, Floats]
    decayed: NDArray[np.bool_]

    @classmethod
    def of(cls, model: ModelState) -> "_UserRows":
        """Return the rows of a model's users.

        Raises
        ------
        UnsupportedError
            The score is not linear in them.
        """
        layout = model.spec.parameters(model.n_users, model.n_items)
        parts = {
            name: np.asarray(model.cold_filled[name][-1])
            for name, parameter in layout.items()
            if parameter.side == "user" and parameter.trained
        }
        decayed = [np.full(part.size, layout[name].decayed) for name, part in parts.items()]
        rows = cls(model, parts, np.concatenate([np.zeros(0, dtype=np.bool_), *decayed]))
        if not rows._are_scored_linearly():
            raise UnsupportedError(
                f"fold_in solves for models whose score is linear in the user's row, and that of"
                f" {type(model.spec).__name__} is not; train with the new user's interactions instead"
            )
        return rows

    @property
    def average(self) -> NDArray[np.float64]:
        """The average user's row, [d]."""
        return np.concatenate([np.zeros(0), *(part.ravel() for part in self.parts.values())])

    def split(self, rows: NDArray[np.float64], dtype: Any = None) -> dict[str, Floats]:
        """Return a row [d], or rows [n, d], as the parameters that they are made of."""
        stops = np.cumsum([part.size for part in self.parts.values()])
        return {
            name: piece.reshape((*rows.shape[:-1], *part.shape)).astype(dtype or part.dtype)
            for (name, part), piece in zip(self.parts.items(), np.split(rows, stops[:-1], -1), strict=True)
        }

    def linear(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return features [n_items, d] and offsets [n_items]: a row's scores are features @ row + offsets."""
        zero_and_units = np.eye(1 + len(self.decayed))[:, 1:]
        scores = self.model.spec.score_catalogue(self._table(zero_and_units), np.arange(len(zero_and_units)))
        return (scores[1:] - scores[0]).T, scores[0]

    def _table(self, rows: NDArray[np.float64]) -> dict[str, Floats]:
        table: dict[str, Floats] = {
            name: array.astype(np.float64) for name, array in self.model.catalogue.items()
        }
        return table | self.split(rows, np.float64)

    def _are_scored_linearly(self) -> bool:
        """Compare the scores of large rows, on both sides of zero, with those of unit rows."""
        if not self.parts:
            return False
        n = len(self.decayed)
        probe = PROBE * np.cos(np.arange(1, n + 1))
        rows = np.concatenate([np.eye(1 + n)[:, 1:], [probe, -probe]])
        items = np.unique(np.linspace(0, self.model.n_items - 1, PROBED_ITEMS).astype(np.int64))
        pairs = np.repeat(np.arange(len(rows)), len(items)), np.tile(items, len(rows))
        with np.errstate(all="ignore"):
            scores = self.model.spec.score_pairs(self._table(rows), *pairs).reshape(len(rows), len(items))
        change = scores - scores[0]
        expected = np.outer([1, -1], probe @ change[1 : 1 + n])
        bound = 1e-9 * np.abs(probe) @ np.abs(change[1 : 1 + n]) + 1e-9 * (1 + np.abs(scores[0]))
        return bool((np.abs(change[1 + n :] - expected) <= bound).all())


@dataclass(frozen=True, eq=False)
class _Problem:
    """Minimise sum weight * loss(features @ row + offset, target) + 1/2 sum ridge * row^2."""

    objective: PointwiseObjective
    output: Output
    features: NDArray[np.float64]
    offsets: NDArray[np.float64]
    targets: NDArray[np.float64]
    weights: NDArray[np.float64]
    ridge: NDArray[np.float64]

    def value(self, row: NDArray[np.float64]) -> float:
        losses, _ = self.objective.loss(self._scores(row), self.targets, self.output)
        return float(self.weights @ losses + 0.5 * self.ridge @ (row * row))

    def newton_step(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        scores = self._scores(row)
        gradient = self.features.T @ (self.weights * self._grad_scores(scores)) + self.ridge * row
        curvature = self.weights * self._curvature(scores)
        hessian = (self.features.T * curvature) @ self.features + np.diag(self.ridge)
        return np.linalg.solve(hessian, gradient).astype(np.float64)

    def _scores(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.features @ row + self.offsets

    def _grad_scores(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.objective.loss(scores, self.targets, self.output)[1].astype(np.float64)

    def _curvature(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a second derivative of the loss by the score, never negative; an output's is left out."""
        derivative: Any = 1.0
        if self.objective.through_output:
            scores, derivative = self.output.forward(NUMPY)(scores, self.output.constants())
        gradients = [
            self.objective.loss(scores + shift, self.targets)[1] for shift in (DIFFERENCE, -DIFFERENCE)
        ]
        curvature: NDArray[np.float64] = np.maximum((gradients[0] - gradients[1]) / (2 * DIFFERENCE), 0.0)
        curvature *= np.square(derivative)
        return curvature


def _problem(
    model: ModelState,
    objective: PointwiseObjective,
    rows: _UserRows,
    items: NDArray[np.int64],
    values: NDArray[np.float64],
) -> _Problem:
    """Write the user's share of the training objective as a weighted sum over items.

    Sampled negatives stand for their expectation: each unseen item with the weight of
    n_negatives * m / n_unseen.
    """
    optimizer: Optimizer = from_dict(model.training["optimizer"])
    plan: SamplingPlan = from_dict(model.training["sampling"])
    features, offsets = rows.linear()
    targets = np.zeros(model.n_items)
    weights = np.zeros(model.n_items)
    unseen = np.ones(model.n_items, dtype=bool)
    unseen[items] = False
    positive_targets = objective.targets(values, plan.n_negatives)
    positive_weights = objective.weights(values)
    positive_weights = np.ones_like(values) if positive_weights is None else positive_weights
    if isinstance(optimizer, WALS):
        a, b = optimizer.terms(positive_targets, positive_weights)
        weights[:] = optimizer.unobserved_weight
        weights[items] += a
        targets[items] = b / weights[items]
        # The loss has the factor 1/2 that the objective of WALS lacks; it cancels against ridge/2.
        ridge = float(optimizer.ridge([len(items)], model.n_items)[0])
    else:
        assert isinstance(optimizer, GradientOptimizer)
        weights[items], targets[items] = positive_weights, positive_targets
        if unseen.any():
            weights[unseen] = plan.n_negatives * len(items) / unseen.sum()
        ridge = max(optimizer.l2 * float(len(items) * (1 + plan.n_negatives)), LEAST_RIDGE)
    # WALS fits the score itself, whatever the output function makes of it afterwards.
    output = Linear() if isinstance(optimizer, WALS) else model.spec.output
    used = weights > 0
    return _Problem(
        objective,
        output,
        features[used],
        offsets[used],
        targets[used],
        weights[used],
        np.where(rows.decayed, ridge, LEAST_RIDGE),
    )


def _newton(problem: _Problem, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Follow Newton steps from the start, each halved until it does not raise the objective."""
    row, value = start, problem.value(start)
    for _ in range(NEWTON_STEPS):
        step = problem.newton_step(row)
        for _ in range(HALVINGS):
            new_value = problem.value(row - step)
            if new_value <= value:
                break
            step = step / 2
        else:
            break
        row, value = row - step, new_value
        if np.abs(step).max() <= TOLERANCE * max(1.0, float(np.abs(row).max())):
            break
    return row


def _checked_values(items: NDArray[np.int64], values: Any) -> NDArray[np.float64]:
    if len(items) == 0:
        raise InvalidDataError("items is empty: a new user needs at least one interaction")
    if len(np.unique(items)) != len(items):
        raise InvalidDataError("items holds an item twice; give each item once")
    if values is None:
        return np.ones(len(items))
    given = np.asarray(values, dtype=np.float64)
    if given.shape != items.shape:
        raise InvalidArgumentError(
            f"items has length {len(items)} and values {given.size}; they must be equal"
        )
    if not np.isfinite(given).all():
        raise InvalidDataError(f"values contains {given[~np.isfinite(given)][0]}; they must be finite")
    return given
