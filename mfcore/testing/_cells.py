"""The cells on which engines are compared: models, objectives, optimizers and dtypes, on small data.

Every cell has repeated ids, an uneven last batch, a learning rate that falls from epoch to epoch, and
regularisation, and takes about a hundred steps; WALS takes three epochs instead.

An engine computes scores and losses in one place and moves parameters in another, so a fault shows with
any choice of the other. `cells` are chosen accordingly: in float64, where rounding hides nothing, each
model meets each objective and each optimizer, and each objective each optimizer; in float32 each kind of
model meets each objective, with all optimizers in turn, as outputs do in either dtype. WALS meets everything
in both. Of `cells("every")`, the whole product, `cells("quick")` has each model, objective and optimizer.

A ReLU has no slope at exactly 0, where mfcore takes 0; rounding leaves no score there but those of cells "at
zero", whose rows and biases begin at 0 and stay.

Rates are such that a hundred steps move the parameters well beyond the rounding of float32. Widths are few,
as some engines compile for each: what belongs to a row, its bias with it, is 7 numbers, or 14 in NeuMF.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations, cycle, product
from typing import Any, Literal, TypeAlias
from unittest.mock import patch

import numpy as np

from mfcore.data import Interactions
from mfcore.engines import TrainingJob
from mfcore.objectives import BPR, InBatchSoftmax, Logistic, Objective, Squared, WeightedSquared
from mfcore.optimizers import (
    SGD,
    WALS,
    Adagrad,
    Adam,
    AdamW,
    GradientOptimizer,
    LazyAdam,
    Optimizer,
    RMSprop,
    Schedule,
)
from mfcore.specs import (
    GMF,
    MF,
    MLP,
    Floats,
    Linear,
    ModelSpec,
    NeuMF,
    Normal,
    Output,
    RatingRange,
    ReLU,
    Sigmoid,
    TwoTower,
)
from mfcore.testing._deviations import in_float64
from mfcore.training import make_job

DTYPES = ("float64", "float32")
N_USERS, N_ITEMS, N_RATINGS = 60, 50, 1_200
# Interactions of a batch; those of a cell of single steps; instances from which these are cut into blocks.
BATCH, SINGLE_STEPS, CUT_FROM = 23, 120, 100
# How much larger the learning rate of a single step is; a power of two, see AdamW below.
STRIDE = 64


# How many cells are run; see above.
Selection: TypeAlias = Literal["quick", "standard", "every"]


@dataclass(frozen=True)
class ObjectiveCase:
    """An objective with the output that it is trained through, and what they ask of the data.

    Attributes
    ----------
    objective : Objective
    n_negatives : int
    output : Output
    labels : bool
        Whether values are in 0-1 instead of 1-5.
    rate : float
        What the learning rates of SGD and Adagrad are multiplied by: larger where gradients are smaller.
    wals : WALS, or None
        The optimizer but for its solver, where the objective is one of least squares over all pairs.
    """

    objective: Objective
    n_negatives: int = 0
    output: Output = field(default_factory=Linear)
    labels: bool = False
    rate: float = 1.0
    wals: WALS | None = None


def falling(initial: float) -> Schedule:
    """Return a learning rate that is halved from epoch to epoch."""
    return Schedule(initial, factor=0.5)


def faster(optimizer: GradientOptimizer, times: float) -> GradientOptimizer:
    """Return an optimizer with a larger learning rate."""
    rate = optimizer.learning_rate
    rate = replace(rate, initial=rate.initial * times) if isinstance(rate, Schedule) else rate * times
    return replace(optimizer, learning_rate=rate)


INIT = Normal(0.3)
LAYERS = (14, 9, 5)
FACTORISATIONS: dict[str, ModelSpec] = {
    "mf": MF(7, init=INIT),
    "mf with biases": MF(6, biases=True, init=INIT),
}
NEURAL: dict[str, ModelSpec] = {
    "gmf": GMF(7, init=INIT),
    "gmf with biases": GMF(6, biases=True, init=INIT),
    "two towers": TwoTower(7, init=INIT),
    "two towers with layers": TwoTower(7, LAYERS[1:], "tanh", init=INIT),
    "mlp of tanh": MLP(LAYERS, "tanh", init=INIT),
    "mlp of sigmoid": MLP(LAYERS, "sigmoid", init=Normal(0.6)),
    "mlp of relu": MLP(LAYERS, "relu", init=INIT),
    "neumf": NeuMF(7, LAYERS, "tanh", init=INIT),
    "neumf projected": NeuMF(7, LAYERS, "tanh", "projected", init=INIT),
}
MODELS = {**FACTORISATIONS, **NEURAL}
AT_ZERO = " at zero"
# One of each kind.
OF_EACH_KIND = (
    "mf with biases",
    "gmf",
    "two towers with layers",
    "mlp of relu",
    "neumf projected",
)

POINTWISE = {
    "squared": ObjectiveCase(Squared()),
    "weighted": ObjectiveCase(WeightedSquared(alpha=0.5), n_negatives=1, rate=2),
    "logistic": ObjectiveCase(Logistic(), n_negatives=1, rate=5),
}
# An output follows the score in any model.
OUTPUTS = {
    "squared of relu": ObjectiveCase(Squared(), output=ReLU()),
    # A sigmoid's slope is at most 1/4.
    "squared of sigmoid": ObjectiveCase(Squared(), n_negatives=1, output=Sigmoid(), labels=True, rate=10),
    "squared of clipped": ObjectiveCase(Squared(), output=RatingRange(1, 5)),
    "squared of squashed": ObjectiveCase(Squared(), output=RatingRange(0.5, 5.5, "sigmoid")),
}
PAIRWISE = {"bpr": ObjectiveCase(BPR(), n_negatives=2, rate=10)}
IN_BATCH = {
    "softmax": ObjectiveCase(InBatchSoftmax(temperature=0.7), rate=5),
    "softmax with hits": ObjectiveCase(
        InBatchSoftmax(temperature=1.5, logq=False, remove_accidental_hits=False), rate=10
    ),
}
LEAST_SQUARES = {
    "ratings": ObjectiveCase(Squared(), wals=WALS(l2=0.05)),
    "implicit": ObjectiveCase(WeightedSquared(), wals=WALS(0.3, l2=0.05)),
    "implicit weighted": ObjectiveCase(WeightedSquared(alpha=0.5), wals=WALS(0.3, l2=0.05)),
    "implicit apart": ObjectiveCase(
        WeightedSquared(alpha=0.5), wals=WALS(1.0, l2=2.0, nu=0.0, zero_pairs="unobserved")
    ),
}
OBJECTIVES = {**POINTWISE, **OUTPUTS, **PAIRWISE, **IN_BATCH, **LEAST_SQUARES}

L2: dict[str, Any] = {"l2": 0.02, "l2_dense": 0.01}
BATCHES: dict[str, GradientOptimizer] = {
    "sgd": SGD(falling(0.1), **L2),
    "momentum": SGD(falling(0.02), momentum=0.9, **L2),
    "nesterov": SGD(falling(0.02), momentum=0.9, nesterov=True, **L2),
    "adagrad": Adagrad(falling(0.1), **L2),
    # With the default epsilons, gradients that cancel but for rounding would make whole steps.
    "rmsprop": RMSprop(falling(0.01), epsilon=1e-4, **L2),
    "adam": Adam(falling(0.01), epsilon=1e-4, **L2),
    # 1 - rate * decay is a number of float32: rounded, it would pull every parameter the same way.
    "adamw": AdamW(falling(2**-7), weight_decay=2**-3, epsilon=1e-4, **L2),
    "lazy adam": LazyAdam(falling(0.01), epsilon=1e-4, **L2),
}
ONE_BY_ONE: dict[str, GradientOptimizer] = {"single steps": SGD(falling(0.05), l2=0.02)}
GRADIENT = {**BATCHES, **ONE_BY_ONE}
SOLVERS: dict[str, Literal["cholesky", "cg", "subspace"]] = {
    "wals by cholesky": "cholesky",
    "wals by cg": "cg",
    "wals by subspace": "subspace",
}


@dataclass(frozen=True)
class Cell:
    """One combination that engines are compared on, by the names of its parts.

    Attributes
    ----------
    model : str
        Of `MODELS`, or one of them with `AT_ZERO` behind it.
    objective : str
        Of `OBJECTIVES`.
    optimizer : str
        Of `BATCHES`, `ONE_BY_ONE` or `SOLVERS`.
    dtype : "float64" or "float32"

    Examples
    --------
    >>> from mfcore.testing import Cell
    >>> cell = Cell("mf", "squared", "adam", "float32")
    >>> print(cell)
    mf, squared, adam, float32
    >>> cell.job().optimizer.short_name, cell.first_step().n_instances
    ('adam', 23)
    """

    model: str
    objective: str
    optimizer: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.model}, {self.objective}, {self.optimizer}, {self.dtype}"

    @property
    def spec(self) -> ModelSpec:
        """The spec, with the output that the objective asks for."""
        spec = MODELS[self.model.removesuffix(AT_ZERO)]
        return replace(spec, output=OBJECTIVES[self.objective].output)  # type: ignore[type-var]

    @property
    def exact(self) -> "Cell":
        """The same in float64."""
        return replace(self, dtype="float64")

    @property
    def kind(self) -> str:
        """The model's name on the command line."""
        return self.spec.short_name

    @property
    def epochs(self) -> int:
        """How many epochs are about a hundred steps, or as far as WALS needs to go."""
        return 3 if self.optimizer in SOLVERS else 2

    def job(self, device: str = "cpu") -> TrainingJob:
        """Return the whole job; in either dtype it starts from the same values, those of float32.

        Parameters
        ----------
        device : str

        Returns
        -------
        TrainingJob
        """
        case, optimizer = OBJECTIVES[self.objective], self._optimizer()
        data = interactions(case.labels)
        job = make_job(
            self.spec,
            data.select(np.arange(SINGLE_STEPS)) if self.optimizer in ONE_BY_ONE else data,
            objective=case.objective,
            optimizer=optimizer,
            n_negatives=case.n_negatives,
            batch_size=self._batch_size(),
            device=device,
            threads=2,
            dtype="float32",
        )
        start = _at_zero if self.model.endswith(AT_ZERO) else _off_zero
        job = replace(job, parameters={name: start(name, array) for name, array in job.parameters.items()})
        return job if self.dtype == "float32" else in_float64(job)

    def first_step(self, device: str = "cpu") -> TrainingJob:
        """Return a job from the same start with the instances of one batch; for WALS, with all of them.

        Its learning rate is so much larger that one step, too, moves the parameters well beyond the rounding
        of float32.

        Parameters
        ----------
        device : str

        Returns
        -------
        TrainingJob
        """
        job, optimizer = self.job(device), self._optimizer(STRIDE)
        if self.optimizer in SOLVERS:
            return job
        n_interactions = 1 if self.optimizer in ONE_BY_ONE else BATCH
        return replace(job, data=job.data.select(np.arange(n_interactions)), optimizer=optimizer)

    def _batch_size(self) -> int:
        case = OBJECTIVES[self.objective]
        if self.optimizer in ONE_BY_ONE:
            return 1
        return BATCH * (case.n_negatives if case.objective.pairing == "pairwise" else 1 + case.n_negatives)

    def _optimizer(self, stride: float = 1.0) -> Optimizer:
        case = OBJECTIVES[self.objective]
        if self.optimizer in SOLVERS:
            assert case.wals is not None
            return replace(case.wals, solver=SOLVERS[self.optimizer], block_size=3)
        optimizer = GRADIENT[self.optimizer]
        return faster(optimizer, stride * (case.rate if isinstance(optimizer, SGD | Adagrad) else 1))


@cache
def interactions(labels: bool = False) -> Interactions:
    """Return 1,200 ratings of 60 users and 50 items, in no particular order, with values in 1-5 or 0-1.

    The values are no whole numbers: gradients that cancel to zero but for rounding have a random sign, which
    optimizers that divide by the gradient's size blow up to a whole step.
    """
    rng = np.random.default_rng(3)
    pairs = rng.choice(N_USERS * N_ITEMS, size=N_RATINGS, replace=False)
    values = rng.uniform(*((0.0, 1.0) if labels else (1.0, 5.0)), len(pairs))
    return Interactions.from_columns(users=pairs // N_ITEMS, items=pairs % N_ITEMS, values=values)


@contextmanager
def small_data_cut() -> Iterator[None]:
    """Cut the blocked order of small data into blocks, too, which otherwise have to be worth it."""
    with patch("mfcore.sampling._grid.WORTH_CUTTING", CUT_FROM):
        yield


def _off_zero(name: str, array: Floats) -> Floats:
    """Return biases moved: about 0 a sigmoid is a line, and BPR, a difference, does not depend on them."""
    return array + array.dtype.type(0.5) if name.endswith("bias") else array


def _at_zero(name: str, array: Floats) -> Floats:
    """Return rows and biases of 0, so that what a ReLU is given is 0, and kernels as they are."""
    return np.zeros_like(array) if name.endswith(("factors", "bias")) else array


@cache
def cells(selection: Selection = "standard") -> tuple[Cell, ...]:
    """Return the cells that are run, those of a dtype together.

    Parameters
    ----------
    selection : "quick", "standard" or "every"

    Returns
    -------
    tuple of Cell

    Examples
    --------
    >>> from mfcore.testing import cells
    >>> len(cells("quick")) < len(cells("standard")) < len(cells("every"))
    True
    """
    of_batches, of_outputs = _in_batches(), _in_batches(OUTPUTS)
    everything = [*of_batches, *of_outputs, *_one_by_one(), *_by_wals()]
    if selection == "every":
        exact = [*everything, *RELU_AT_ZERO]
        rounded = everything
    elif selection == "quick":
        exact = [*_covering(everything, 1), *RELU_AT_ZERO]
        rounded = [(model, "logistic", "adam") for model in OF_EACH_KIND]
    else:
        exact = [*_covering(of_batches, 2), *_in_turn(of_outputs), *_one_by_one(), *_by_wals(), *RELU_AT_ZERO]
        rounded = [
            *_in_turn(_of_each_kind([*of_batches, *of_outputs])),
            *_one_by_one(POINTWISE),
            *_by_wals(),
        ]
    return (*(Cell(*names, "float64") for names in exact), *(Cell(*names, "float32") for names in rounded))


Names: TypeAlias = tuple[str, str, str]
# By SGD, which keeps nothing, so that a slope that is not 0 moves what else stays exactly where it was.
RELU_AT_ZERO: list[Names] = [
    (f"mf with biases{AT_ZERO}", "squared of relu", "sgd"),
    (f"mf with biases{AT_ZERO}", "squared of relu", "single steps"),
    (f"mlp of relu{AT_ZERO}", "squared", "sgd"),
]


def _in_batches(outputs: Iterable[str] = ()) -> list[Names]:
    """Return all triples of models with an objective, or those of matrix factorisation with some outputs."""
    return [
        (model, objective, optimizer)
        for optimizer in BATCHES
        for model, spec in (FACTORISATIONS if outputs else MODELS).items()
        for objective in outputs or (*POINTWISE, *PAIRWISE, *(IN_BATCH if spec.is_inner_product else ()))
    ]


def _one_by_one(objectives: Iterable[str] = (*POINTWISE, *OUTPUTS)) -> list[Names]:
    return [("mf with biases", name, optimizer) for name in objectives for optimizer in ONE_BY_ONE]


def _by_wals() -> list[Names]:
    return list(product(FACTORISATIONS, LEAST_SQUARES, SOLVERS))


def _covering(product: list[Names], n: int) -> list[Names]:
    """Return few triples of a product in which any n names occur together that do in the product."""

    def groups(names: Names) -> set[tuple[tuple[int, str], ...]]:
        return set(combinations(enumerate(names), n))

    left: set[tuple[tuple[int, str], ...]] = set().union(*map(groups, product))
    chosen = []
    while left:
        chosen.append(max(product, key=lambda names: len(groups(names) & left)))
        left -= groups(chosen[-1])
    return chosen


def _of_each_kind(product: list[Names]) -> list[Names]:
    """Return the triples of one model of each kind."""
    return [
        (model, objective, optimizer)
        for model, objective, optimizer in product
        # In a batch, all inner products are alike, and the softmax takes longest to compile.
        if model in OF_EACH_KIND and not (objective in IN_BATCH and model in FACTORISATIONS)
    ]


def _in_turn(product: list[Names]) -> list[Names]:
    """Return one triple of a product for each model and objective, with the optimizers in turn."""
    met = dict.fromkeys((model, objective) for model, objective, _ in product)
    return [(*pair, optimizer) for pair, optimizer in zip(met, cycle(BATCHES), strict=False)]
