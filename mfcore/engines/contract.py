"""The contract between the core and an engine: all that the author of an engine reads.

An engine is an object with the attributes of `Backend`, registered in the entry-point group
`mfcore.backends`. The core validates everything, draws the initial values, runs the loop over epochs and
makes the model; the engine runs one epoch of one job.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mfcore.data import Interactions
from mfcore.engines._batches import INSTANCES_AT_ONCE, Batch
from mfcore.engines._layout import STEP, ParameterLayout
from mfcore.objectives import Objective, ScoreObjective
from mfcore.optimizers import GradientOptimizer, Optimizer
from mfcore.sampling import PopularityTable, SamplingPlan, slices
from mfcore.specs import Floats, ModelSpec

API_VERSION = 1


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """All that an engine needs, already validated by the core.

    Attributes
    ----------
    spec : ModelSpec
    data : Interactions
        The training data; rows of its vocabularies number the rows of the parameters.
    objective : Objective
    optimizer : Optimizer
        A `GradientOptimizer`, or `WALS`.
    sampling : SamplingPlan
        What an epoch shows; `mfcore.sampling.epoch` is the definition. WALS takes no samples.
    batch_size : int
    seed : int in [0, 2^63)
    dtype : float32 or float64
        Of parameters, optimizer state and arithmetic.
    device : str
        "cpu", "cuda", "cuda:1"; "auto" leaves the choice to the engine.
    threads : int
        At most this many, where the framework leaves that to a job. The result does not depend on it but for
        rounding; an engine may promise more, the same bits on any number.
    parameters : mapping of name to array
        Initial values, made by the core; not to be written to.
    optimizer_state : mapping of name to array
        "PARAMETER/SLOT" for each slot of the optimizer's rule, in the parameter's shape, and "step",
        int64 [1], the number of steps taken so far; initial, or what an earlier trainer exported.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.training import make_job
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5], [3.0, 4.0, 5.0])
    >>> job = make_job(mfcore.MF(2), data, optimizer="adam", batch_size=2)
    >>> job.trained, job.targets, job.n_instances
    (['user_factors', 'item_factors'], array([3., 4., 5.], dtype=float32), 3)
    >>> next(job.batches(epoch=0)).targets.shape
    (2,)
    """

    spec: ModelSpec
    data: Interactions
    objective: Objective
    optimizer: Optimizer
    sampling: SamplingPlan
    batch_size: int
    seed: int
    dtype: np.dtype[np.floating]
    device: str
    threads: int
    parameters: Mapping[str, Floats]
    optimizer_state: Mapping[str, NDArray[Any]]

    @cached_property
    def targets(self) -> Floats:
        """The target of each interaction, [n] in the job's dtype; a sampled negative's is 0."""
        return self.objective.targets(self.data.values, self.sampling.n_negatives).astype(self.dtype)

    @cached_property
    def weights(self) -> Floats | None:
        """The weight of each interaction, [n] in the job's dtype, or None for 1; a negative's is 1."""
        weights = self.objective.weights(self.data.values)
        return None if weights is None else weights.astype(self.dtype)

    @cached_property
    def log_q(self) -> Floats:
        """The logarithm of each item's share of the interactions, [n_items] in the job's dtype.

        It is 0 for all where the objective does not ask for it, and for items without interactions, which no
        batch shows.
        """
        counts = self.data.item_counts
        if not getattr(self.objective, "logq", False):
            return np.zeros(len(counts), dtype=self.dtype)
        shares = np.where(counts > 0, counts, len(self.data)) / len(self.data)
        return np.log(shares).astype(self.dtype)

    @cached_property
    def popularity(self) -> PopularityTable | None:
        """The table from which negatives are drawn by popularity; None where they are drawn uniformly."""
        return self.sampling.popularity_table(self.data)

    @property
    def n_instances(self) -> int:
        """The number of instances of an epoch."""
        return self.sampling.n_instances(len(self.data))

    @cached_property
    def layout(self) -> ParameterLayout:
        """How the trained parameters and the slots of a gradient optimizer are packed."""
        slots = self.optimizer.slot_names if isinstance(self.optimizer, GradientOptimizer) else ()
        return ParameterLayout.of(
            self.spec.parameters(self.data.n_users, self.data.n_items), self.trained, slots
        )

    @property
    def constants(self) -> dict[str, Floats]:
        """Those parameters without a side that training leaves alone, by name."""
        layout = self.spec.parameters(self.data.n_users, self.data.n_items)
        return {
            name: self.parameters[name]
            for name, parameter in layout.items()
            if parameter.side is None and name not in self.trained
        }

    def batches(self, epoch: int, steps_done: int | None = None) -> Iterator[Batch]:
        """Yield the batches of an epoch, in the order in which they are trained on.

        Parameters
        ----------
        epoch : int
            Counted from 0.
        steps_done : int, optional
            Steps taken before the epoch; where not given, those of `epoch` whole epochs.

        Yields
        ------
        Batch
            Of `batch_size` instances; the last one may have fewer.
        """
        optimizer = self.optimizer
        assert isinstance(optimizer, GradientOptimizer)
        number = epoch * -(-self.n_instances // self.batch_size) if steps_done is None else steps_done
        rate = optimizer.learning_rate_at(epoch)
        in_batch = self.objective.pairing == "in-batch"
        zero, one = self.dtype.type(0), self.dtype.type(1)
        at_once = max(1, INSTANCES_AT_ONCE // self.batch_size) * self.batch_size
        for drawn in slices(
            self.data, self.sampling, seed=self.seed, epoch=epoch, size=at_once, popularity=self.popularity
        ):
            for shown in drawn.batches(self.batch_size):
                number += 1
                weights = None if self.weights is None else self.weights[shown.interactions]
                yield Batch(
                    users=shown.users,
                    items=shown.items,
                    negatives=shown.negatives,
                    targets=np.where(shown.positive, self.targets[shown.interactions], zero),
                    weights=None if weights is None else np.where(shown.positive, weights, one),
                    log_q=self.log_q[shown.items] if in_batch else None,
                    number=number,
                    coefficients=np.array(optimizer.coefficients(number, rate), dtype=self.dtype),
                )

    @cached_property
    def trained(self) -> list[str]:
        """The names of the parameters that training moves; `score_gradients` may give others too."""
        return trained_parameters(self.spec, self.objective, self.data)


def trained_parameters(spec: ModelSpec, objective: Objective, data: Interactions) -> list[str]:
    """Return the names of the parameters that training by an objective moves.

    Parameters
    ----------
    spec : ModelSpec
    objective : Objective
    data : Interactions

    Returns
    -------
    list of str
        In the spec's order.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.engines import trained_parameters
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5])
    >>> trained_parameters(mfcore.MF(2, biases=True), mfcore.BPR(), data)
    ['user_factors', 'item_factors', 'item_bias']
    """
    return [
        name
        for name, parameter in spec.parameters(data.n_users, data.n_items).items()
        if parameter.trained and not (objective.ranks_items and parameter.shared_by_items)
    ]


def missing_slope(objective: Objective) -> str | None:
    """Return why an engine that does not differentiate losses cannot take an objective, or None if it can.

    Parameters
    ----------
    objective : Objective

    Returns
    -------
    str or None

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.engines import missing_slope
    >>> missing_slope(mfcore.Squared()) is None
    True
    """
    if isinstance(objective, ScoreObjective) and not objective.gives_slope:
        return (
            f"{type(objective).__name__}.terms gives no slope, which this engine asks for: return (linear,"
            " argument, slope), or use an engine that differentiates, 'torch' or 'keras'"
        )
    return None


def initial_optimizer_state(
    optimizer: Optimizer, parameters: Mapping[str, Floats], trained: list[str]
) -> dict[str, NDArray[Any]]:
    """Return the state before the first step: filled slots of every trained parameter, and step 0.

    Parameters
    ----------
    optimizer : Optimizer
    parameters : mapping of name to array
    trained : list of str

    Returns
    -------
    dict of name to array
        Under the names of `TrainingJob.optimizer_state`.

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> from mfcore.engines import initial_optimizer_state
    >>> initial_optimizer_state(mfcore.Adagrad(), {"item_bias": np.zeros(2)}, ["item_bias"])
    {'step': array([0]), 'item_bias/accumulator': array([0.1, 0.1])}
    """
    state: dict[str, NDArray[Any]] = {STEP: np.zeros(1, dtype=np.int64)}
    if isinstance(optimizer, GradientOptimizer):
        for slot in optimizer.slot_names:
            for name in trained:
                state[f"{name}/{slot}"] = np.full_like(parameters[name], optimizer.initial_slot(slot))
    return state


class Trainer(Protocol):
    """A job in progress on an engine.

    Where several processes train together, a trainer may have one more attribute, `is_main`: False in all of
    them but the one that shows progress and writes checkpoints.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.engines.reference import backend
    >>> from mfcore.training import make_job
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5])
    >>> trainer = backend.trainer(make_job(mfcore.MF(2), data))
    >>> objective = trainer.run_epoch(0)
    >>> round(objective, 2), sorted(trainer.parameters())
    (0.5, ['item_factors', 'user_factors'])
    """

    def run_epoch(self, epoch: int) -> float:
        """Train one epoch.

        Parameters
        ----------
        epoch : int
            Counted from 0.

        Returns
        -------
        float
            The mean objective. For a gradient optimizer that is the mean over the epoch's instances, each
            evaluated before its step; for WALS the whole objective at the end of the epoch, divided by the
            number of interactions.
        """

    def parameters(self) -> dict[str, Floats]:
        """Return host copies of all parameters; valid after any epoch."""

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return host copies of the optimizer's state, under the names of `TrainingJob.optimizer_state`."""


class Scorer(Protocol):
    """An engine's own top-k over the catalogue.

    `EvaluationScorer` says what it may offer besides.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.engines.reference import backend
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5])
    >>> model = mfcore.fit(mfcore.MF(2), data, epochs=1, backend="reference")
    >>> backend.scorer(model) is None
    True
    """

    def top_k(self, users: NDArray[np.int64], k: int, exclude_seen: bool) -> tuple[NDArray[np.int64], Floats]:
        """Return the k items of highest score of each user, best first.

        Ties are broken by ascending item row.

        Parameters
        ----------
        users : int64 array [n]
            Rows; -1 for a cold start.
        k : int
        exclude_seen : bool
            Whether items of the user's training data are left out.

        Returns
        -------
        items : int64 array [n, k]
            Rows; -1 where a list is shorter.
        scores : array [n, k]
            -inf there.
        """


class PositiveRanks(NamedTuple):
    """Where positives rank among the candidates of n users: all that a ranking metric needs to know.

    Attributes
    ----------
    n_higher : int64 array [n_positives]
        Candidates that score strictly higher than the positive.
    n_tied : int64 array [n_positives]
        Candidates of the positive's own score, itself included.
    n_candidates : int64 array [n]
        The length of each ranking.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.engines import PositiveRanks
    >>> ranks = PositiveRanks(np.array([0, 3]), np.array([1, 2]), np.array([40]))
    >>> (ranks.n_higher + ranks.n_tied).tolist()
    [1, 5]
    """

    n_higher: NDArray[np.int64]
    n_tied: NDArray[np.int64]
    n_candidates: NDArray[np.int64]


@runtime_checkable
class EvaluationScorer(Scorer, Protocol):
    """A scorer that evaluation runs on too; one without any of these methods is used for top-k alone.

    Users and items are rows, of any integer dtype; -1 stands for the cold-start answer.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.engines import EvaluationScorer
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5])
    >>> model = mfcore.fit(mfcore.MF(2), data, epochs=1, backend="reference")
    >>> isinstance(model.scorer, EvaluationScorer)
    False
    """

    def score_pairs(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> Floats:
        """Return the score of each pair of rows.

        Parameters
        ----------
        users, items : integer arrays [n]

        Returns
        -------
        array [n]
        """

    def score_catalogue(self, users: NDArray[np.integer]) -> Floats:
        """Return the score of every item for each user.

        Parameters
        ----------
        users : integer array [n]

        Returns
        -------
        array [n, n_items]
            The caller's own: it may be written to.
        """

    def positive_ranks(
        self,
        users: NDArray[np.integer],
        rows: NDArray[np.int64],
        items: NDArray[np.int64],
        exclude_seen: bool,
    ) -> PositiveRanks | None:
        """Return where positives rank.

        Parameters
        ----------
        users : integer array [n]
        rows, items : int64 arrays [n_positives]
            The positives, each once: the position in `users` of the user, ascending, and the item, from 0.
        exclude_seen : bool
            Whether items that the user has seen are no candidates; positives always are.

        Returns
        -------
        PositiveRanks or None
            None where a score of these users is NaN, which the core reports.
        """


@dataclass(frozen=True)
class Gap:
    """Jobs that an engine does not do, declared so that nothing is left out silently.

    The suite of `mfcore.testing` and `mfcore verify` fail where a gap and `Backend.unsupported` do not agree.

    Attributes
    ----------
    reason : str
        Why, for users of the engine.
    models, objectives, optimizers, dtypes : sequence of str
        Names of the cells in `mfcore.testing`, such as "mlp of relu", "softmax" and "wals by cg"; "*" stands
        for any text. The cells that match all four are meant.

    Examples
    --------
    >>> from mfcore.engines import Gap
    >>> Gap("it follows gradients, and WALS solves systems of equations", optimizers=["wals *"]).dtypes
    ('*',)
    """

    reason: str
    models: Sequence[str] = ("*",)
    objectives: Sequence[str] = ("*",)
    optimizers: Sequence[str] = ("*",)
    dtypes: Sequence[str] = ("*",)


@runtime_checkable
class Backend(Protocol):
    """An engine.

    It may have more: `description`, a line on what it does and on which version of its framework, for
    `mfcore backends`; `gaps`, a sequence of `Gap`: what it does not do (without, `mfcore verify` takes the
    reasons of `unsupported`, and the suite of `mfcore.testing` lets it refuse nothing); its stream
    (`StreamBackend`); and what a job costs it, for backend="auto" (`mfcore.engines.CostedBackend`).

    Examples
    --------
    >>> from mfcore.engines import Backend
    >>> from mfcore.engines.reference import backend
    >>> isinstance(backend, Backend), backend.name
    (True, 'reference')
    """

    name: str
    api_version: int

    def unsupported(self, job: TrainingJob) -> str | None:
        """Return why the engine does not do a job, or None if it does.

        Parameters
        ----------
        job : TrainingJob

        Returns
        -------
        str or None
            A reason that a person can act on.
        """

    def trainer(self, job: TrainingJob) -> Trainer:
        """Return a trainer for a job.

        Parameters
        ----------
        job : TrainingJob
            One that is not unsupported.

        Returns
        -------
        Trainer
        """

    def scorer(self, model: Any) -> Scorer | None:
        """Return a fast top-k for a model, or None for the core's.

        Parameters
        ----------
        model : Model

        Returns
        -------
        Scorer or None
            Perhaps an `EvaluationScorer`.
        """


class StreamSlice(NamedTuple):
    """The instances at n positions of an engine's stream; the fields of `mfcore.sampling.Instances`.

    Attributes
    ----------
    users, items : integer arrays [n]
        Rows.
    positive : bool array [n]
        False where the item is a sampled negative.
    negatives : integer array [n], or None
        The item that each instance's item is compared with, in a paired epoch.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.engines import StreamSlice
    >>> rows = np.arange(3)
    >>> StreamSlice(rows, rows, positive=np.ones(3, dtype=bool), negatives=None).users
    array([0, 1, 2])
    """

    users: NDArray[np.integer]
    items: NDArray[np.integer]
    positive: NDArray[np.bool_]
    negatives: NDArray[np.integer] | None


@runtime_checkable
class StreamBackend(Backend, Protocol):
    """An engine that returns its own stream, so that it can be compared with the core's bit for bit.

    Of an engine without this method only the results of training are compared.

    Examples
    --------
    >>> from mfcore.engines import StreamBackend
    >>> from mfcore.engines.reference import backend
    >>> isinstance(backend, StreamBackend)
    False
    """

    def instances(self, job: TrainingJob, epoch: int, start: int, stop: int) -> StreamSlice:
        """Return the instances that a trainer of the job would show at positions [start, stop) of an epoch.

        It is called to verify the engine, with stop - start in the thousands; the epoch may have 2^40
        positions.

        Parameters
        ----------
        job : TrainingJob
        epoch : int
            Counted from 0.
        start, stop : int

        Returns
        -------
        StreamSlice
        """
