"""Folding in a new user: their row is fitted, everything else is held fixed.

With the items' parameters fixed, the score of every model whose user side is one embedding row and a bias
is linear in that row. For a squared loss of the score and for the logistic loss the objective is then
convex, and a few Newton steps from the average user solve it: one step for the squared loss. Where a
squared loss is trained through an output function, the steps are Gauss-Newton's and end in the minimum
that the average user leads to.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfcore.errors import InvalidArgumentError, InvalidDataError, UnsupportedError
from mfcore.model import serialization as settings
from mfcore.model._rankings import Ranking
from mfcore.model._top_k import top_k_of
from mfcore.objectives import PointwiseObjective
from mfcore.operators import NUMPY
from mfcore.optimizers import WALS, GradientOptimizer, Optimizer
from mfcore.sampling import SamplingPlan
from mfcore.specs import MF, Floats, Linear, Output
from mfcore.validation import require_integer

if TYPE_CHECKING:
    from mfcore.model._model import Model

NEWTON_STEPS = 25
HALVINGS = 30
TOLERANCE = 1e-10
# The distance of the scores between which slopes are differentiated.
STEP = 1e-4


@dataclass(frozen=True, eq=False)
class FoldedUser:
    """A user who was not in the training data.

    Attributes
    ----------
    model : Model
    parameters : dict of name to array
        The user's row of each parameter of the user side, e.g. "user_factors" [n_factors].
    items : int64 array [m]
        Item rows that they have interacted with; `recommend` leaves them out.
    """

    model: "Model"
    parameters: dict[str, Floats]
    items: NDArray[np.int64]

    def scores(self) -> Floats:
        """Return the score of every item, [n_items]."""
        rows = {name: row[None] for name, row in self.parameters.items()}
        table = {**self.model.catalogue, **rows}
        scores: Floats = self.model.spec.score_catalogue(table, np.zeros(1, dtype=np.int64))[0]
        return scores

    def predict(self, items: ArrayLike) -> Floats:
        """Return the prediction for each item id [n]; unknown ids get the average item's."""
        rows = np.atleast_1d(self.model.item_ids.rows(items))
        table = {**self.model.cold_filled, **{name: row[None] for name, row in self.parameters.items()}}
        rows = np.where(rows < 0, self.model.n_items, rows)
        return self.model.spec.output.predict(self.model.spec.score_pairs(table, np.zeros_like(rows), rows))

    def recommend(self, k: int = 10, *, exclude_seen: bool = True) -> Ranking:
        """Return the k items of highest score, ties by ascending item row; fewer where nothing is left."""
        require_integer("k", k, 1)
        scores = self.scores()
        if exclude_seen:
            scores[self.items] = -np.inf
        found, best = (pair[0] for pair in top_k_of(scores[None], min(k, len(scores))))
        kept = found[found >= 0]
        names = None if self.model.item_names is None else self.model.item_names[kept]
        return Ranking("new user", self.model.item_ids[kept], best[: len(kept)], names)


def fold_in(model: "Model", items: NDArray[np.int64], values: ArrayLike | None) -> FoldedUser:
    """Return a user fitted to interactions with the given item rows; see `Model.fold_in`."""
    if not isinstance(model.spec, MF):
        raise UnsupportedError(
            f"fold_in solves for matrix factorisation, not for {type(model.spec).__name__}; train with the"
            " new user's interactions instead"
        )
    if "objective" not in model.training:
        raise UnsupportedError("the model does not say what it was trained with, so a user cannot be fitted")
    given = _checked_values(items, values)
    row = _newton(_problem(model, items, given), _average_user(model))
    dtype = model.parameters["user_factors"].dtype
    parameters = {"user_factors": row[: model.spec.n_factors].astype(dtype)}
    if model.spec.biases:
        parameters["user_bias"] = row[-1].astype(dtype)
    return FoldedUser(model, parameters, items)


@dataclass(frozen=True, eq=False)
class _Problem:
    """Minimise sum weight * loss(features @ row + offset, target) + ridge/2 |row|^2."""

    objective: PointwiseObjective
    output: Output
    features: NDArray[np.float64]
    offsets: NDArray[np.float64]
    targets: NDArray[np.float64]
    weights: NDArray[np.float64]
    ridge: float

    def value(self, row: NDArray[np.float64]) -> float:
        losses, _ = self.objective.loss(self._scores(row), self.targets, self.output)
        return float(self.weights @ losses + 0.5 * self.ridge * row @ row)

    def newton_step(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        scores = self._scores(row)
        _, slope = self.objective.loss(scores, self.targets, self.output)
        gradient = self.features.T @ (self.weights * slope) + self.ridge * row
        curvature = self.weights * self._curvature(scores)
        hessian = (self.features.T * curvature) @ self.features + self.ridge * np.eye(len(row))
        return np.linalg.solve(hessian, gradient).astype(np.float64)

    def _scores(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.features @ row + self.offsets

    def _curvature(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a second derivative of the loss by the score, never negative; an output's is left out."""
        derivative: Any = 1.0
        if self.objective.through_output:
            scores, derivative = self.output.forward(NUMPY)(scores, self.output.constants())
        slopes = [self.objective.loss(scores + shift, self.targets)[1] for shift in (STEP, -STEP)]
        return np.maximum((slopes[0] - slopes[1]) / (2 * STEP), 0.0) * np.square(derivative)


def _problem(model: "Model", items: NDArray[np.int64], values: NDArray[np.float64]) -> _Problem:
    """Write the user's share of the training objective as a weighted sum over items.

    Sampled negatives stand for their expectation: each unseen item with the weight of
    n_negatives * m / n_unseen.
    """
    objective = settings.from_dict(model.training["objective"])
    if not isinstance(objective, PointwiseObjective):
        raise UnsupportedError(
            f"fold_in solves for objectives with a target for each pair, not for {objective.short_name!r};"
            " train with the new user's interactions instead"
        )
    optimizer: Optimizer = settings.from_dict(model.training["optimizer"])
    plan: SamplingPlan = settings.from_dict(model.training["sampling"])
    features = model.catalogue["item_factors"].astype(np.float64)
    offsets = np.zeros(model.n_items)
    if "global_bias" in model.parameters:
        offsets = (model.parameters["global_bias"] + model.catalogue["item_bias"]).astype(np.float64)
        features = np.concatenate([features, np.ones((model.n_items, 1))], axis=1)
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
        ridge = max(optimizer.l2 * float(len(items) * (1 + plan.n_negatives)), 1e-6)
    # WALS fits the score itself, whatever the output function makes of it afterwards.
    output = Linear() if isinstance(optimizer, WALS) else model.spec.output
    used = weights > 0
    return _Problem(objective, output, features[used], offsets[used], targets[used], weights[used], ridge)


def _average_user(model: "Model") -> NDArray[np.float64]:
    names = ("user_factors", "user_bias") if "user_bias" in model.parameters else ("user_factors",)
    return np.concatenate([np.atleast_1d(model.cold_filled[name][-1]) for name in names], dtype=np.float64)


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
