"""Whole runs, by `fit`: engines reach the same quality, and their own top-k the same scores."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from mfcore.data import Interactions, splits
from mfcore.engines import Backend, EvaluationScorer, TrainingJob
from mfcore.metrics import NDCG, RMSE, Metric, evaluate
from mfcore.model import Model
from mfcore.optimizers import WALS, Adagrad, Adam, Optimizer, RMSprop
from mfcore.specs import ModelSpec
from mfcore.testing._cells import BATCH, MODELS, OBJECTIVES
from mfcore.training import fit, make_job

N_USERS, N_ITEMS, PER_USER, EPOCHS = 60, 50, 20, 10
# By metric, how far the quality of two runs may be apart: far less than runs of two seeds are, and far more
# than what rounding in float32 makes of it.
BOUNDS = {"RMSE": 1e-3, "NDCG@10": 2e-3}


@dataclass(frozen=True)
class Run:
    """A model trained to the end and evaluated.

    Attributes
    ----------
    model, objective : str
        As in `cells`.
    optimizer : str
        As in `cells`.
    settings : Optimizer
        What the name stands for here.
    dtype : "float32" or "float64"

    Examples
    --------
    >>> from mfcore.engines.reference import backend
    >>> from mfcore.testing import RUNS
    >>> run = RUNS[0]
    >>> print(run)
    mf with biases, squared, adam, float32, 10 epochs
    >>> run.job().n_instances, run.quality(run.train(backend)) < 2
    (960, True)
    """

    model: str
    objective: str
    optimizer: str
    settings: Optimizer
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.model}, {self.objective}, {self.optimizer}, {self.dtype}, {EPOCHS} epochs"

    @property
    def exact(self) -> "Run":
        """The same in float64."""
        return replace(self, dtype="float64")

    @property
    def kind(self) -> str:
        """The model's name on the command line."""
        return self.spec.short_name

    @property
    def spec(self) -> ModelSpec:
        """The spec."""
        return MODELS[self.model]

    @property
    def metric(self) -> Metric:
        """How the model is evaluated."""
        return RMSE() if self.objective == "squared" else NDCG(10)

    @property
    def bound(self) -> float:
        """How far the quality of two runs may be apart."""
        return BOUNDS[self.metric.name]

    def job(self, device: str = "cpu") -> TrainingJob:
        """Return the job that `train` does.

        Parameters
        ----------
        device : str

        Returns
        -------
        TrainingJob
        """
        return make_job(self.spec, self._parts[0], **self._arguments, device=device)

    def train(self, backend: Backend, seed: int = 0, device: str = "cpu") -> Model:
        """Return the model, as an engine trains it.

        Parameters
        ----------
        backend : Backend
        seed : int
        device : str

        Returns
        -------
        Model
        """
        return fit(
            self.spec,
            self._parts[0],
            **self._arguments,
            device=device,
            seed=seed,
            epochs=EPOCHS,
            backend=backend,
            progress=False,
        )

    def quality(self, model: Model) -> float:
        """Return the metric of a model on what was held out.

        Parameters
        ----------
        model : Model

        Returns
        -------
        float
        """
        return float(evaluate(model, self._parts[1], [self.metric])[self.metric.name])

    @property
    def _parts(self) -> tuple[Interactions, Interactions]:
        return planted(ratings=self.objective == "squared")

    @property
    def _arguments(self) -> dict[str, Any]:
        case = OBJECTIVES[self.objective]
        return {
            "objective": case.objective,
            "optimizer": self.settings,
            "n_negatives": case.n_negatives,
            "batch_size": BATCH * (1 + case.n_negatives),
            "threads": 2,
            "dtype": self.dtype,
        }


ADAM = Adam(0.01)
RUNS = (
    Run("mf with biases", "squared", "adam", ADAM),
    Run("mf", "implicit", "wals by cholesky", WALS(0.3, l2=0.05)),
    Run("gmf", "logistic", "adam", ADAM),
    Run("mlp of tanh", "logistic", "rmsprop", RMSprop(0.01)),
    Run("neumf", "bpr", "adam", ADAM),
    Run("two towers", "softmax", "adagrad", Adagrad(0.1)),
)


@cache
def planted(ratings: bool) -> tuple[Interactions, Interactions]:
    """Return 1,200 interactions by a planted taste that can be learnt, a fifth of them held out.

    Ratings are 1 to 5 and of any items; otherwise every value is 1, and the items are those that suit the
    user best.
    """
    generator = np.random.default_rng(7)
    taste, kind = generator.normal(size=(N_USERS, 2)), generator.normal(size=(N_ITEMS, 2))
    noise = generator.gumbel(size=(N_USERS, N_ITEMS))
    scores = taste @ kind.T
    order = np.argsort(noise if ratings else -scores - 0.5 * noise, axis=1)
    users, items = np.repeat(np.arange(N_USERS), PER_USER), order[:, :PER_USER].ravel()
    values = np.clip(3 + scores[users, items] + 0.3 * generator.normal(size=len(users)), 1, 5)
    return splits.ratio(Interactions.from_columns(users, items, values if ratings else None), seed=0)


def scorer_deviation(model: Model) -> float | None:
    """Return how far an engine's own top-k is off, relative to the largest score; None for the core's."""
    scorer = model.scorer
    if scorer is None:
        return None
    users = np.arange(model.n_users)
    wide = {name: array.astype(np.float64) for name, array in model.parameters.items()}
    exact = model.spec.score_catalogue(wide, users)
    items, scores = scorer.top_k(users, model.n_items, exclude_seen=False)
    apart = np.abs(np.take_along_axis(exact, items, axis=1) - scores).max()
    if isinstance(scorer, EvaluationScorer):
        apart = max(apart, np.abs(exact - scorer.score_catalogue(users)).max())
    return float(apart / np.abs(exact).max())
