"""From the arguments of `fit` to a validated `TrainingJob`."""

import os
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from mfcore.data import Interactions
from mfcore.engines import TrainingJob, initial_optimizer_state, trained_parameters
from mfcore.errors import InvalidArgumentError, InvalidDataError
from mfcore.model import Model
from mfcore.objectives import OBJECTIVES, Objective, Squared, WeightedSquared
from mfcore.optimizers import OPTIMIZERS, SGD, WALS, Adam, Optimizer
from mfcore.sampling import SamplingPlan, require_unseen_items, require_unseen_weight
from mfcore.settings import KIND, Settings, from_dict, kind_of, to_dict
from mfcore.specs import MF, MODELS, ModelSpec
from mfcore.validation import require_integer

MAXIMUM_INSTANCES = 2**40
DEFAULT_BATCH_SIZE = 256


def make_job(
    spec: ModelSpec,
    data: Interactions,
    *,
    objective: str | Objective | None = None,
    optimizer: str | Optimizer | None = None,
    batch_size: int | None = None,
    n_negatives: int = 0,
    popularity_exponent: float = 0.0,
    order: Literal["auto", "shuffled", "blocked"] = "auto",
    device: str = "auto",
    threads: int | None = None,
    dtype: Any = "float32",
    seed: int = 0,
    initial: Model | None = None,
    resume: Model | None = None,
) -> TrainingJob:
    """Return a job whose every part was checked; `mfcore.fit` describes the arguments.

    Parameters
    ----------
    spec : ModelSpec
    data : Interactions
    objective : str or Objective, optional
    optimizer : str or Optimizer, optional
    batch_size : int, optional
    n_negatives : int
    popularity_exponent : float
    order : "auto", "shuffled" or "blocked"
    device : str
    threads : int, optional
    dtype : "float32" or "float64"
    seed : int
    initial, resume : Model, optional

    Returns
    -------
    TrainingJob
        With parameters and optimizer state as they are before the first step.

    Raises
    ------
    InvalidArgumentError, InvalidDataError
        An argument is outside its domain, or does not fit the others or the data.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.training import make_job
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5])
    >>> job = make_job(mfcore.MF(2), data, optimizer=mfcore.SGD(momentum=0.9), batch_size=2)
    >>> job.n_instances, job.objective, sorted(job.optimizer_state)
    (3, Squared(), ['item_factors/velocity', 'step', 'user_factors/velocity'])
    """
    _check_types(spec, data)
    optimizer = _resolve_optimizer(optimizer, spec)
    objective = _resolve_objective(objective, optimizer)
    if isinstance(optimizer, WALS):
        _check_wals(optimizer, spec, data)
    batch_size = _resolve_batch_size(batch_size, spec, objective, optimizer)
    n_negatives = require_integer("n_negatives", n_negatives, 0)
    targets = objective.targets(data.values, n_negatives)
    objective.check(targets, n_negatives, spec.output)
    plan = SamplingPlan(
        n_negatives=n_negatives,
        order=_default_order(spec, objective, optimizer, batch_size) if order == "auto" else order,
        popularity_exponent=popularity_exponent,
        paired=objective.pairing == "pairwise",
    )
    _check_sampling(plan, data, optimizer)
    batch_size = min(batch_size, plan.n_instances(len(data)))
    _check_pairing(objective, spec, plan, batch_size)
    seed = require_integer("seed", seed, 0, 2**63 - 1)
    real = _resolve_dtype(dtype)
    weights = _checked_weights(objective, data)
    state = None
    if resume is not None:
        parameters, state = _resumed(resume, spec, data, real)
        settled = {"sampling": to_dict(plan), "batch_size": batch_size, "seed": seed}
        _check_continues(resume, objective, optimizer, settled)
    elif initial is not None:
        parameters = _parameters_of("initial", initial, spec, data, real)
    else:
        zero_weight = _zero_weight(optimizer, plan, data)
        best_constant = objective.best_constant(targets, weights, zero_weight, spec.output)
        parameters = spec.initial_parameters(
            data.n_users, data.n_items, seed=seed, dtype=real, best_constant=best_constant
        )
    trained = trained_parameters(spec, objective, data)
    first_state = initial_optimizer_state(optimizer, parameters, trained)
    job = TrainingJob(
        spec=spec,
        data=data,
        objective=objective,
        optimizer=optimizer,
        sampling=plan,
        batch_size=batch_size,
        seed=seed,
        dtype=real,
        device=device,
        threads=available_threads() if threads is None else require_integer("threads", threads, 1),
        parameters=parameters,
        optimizer_state=first_state if state is None else _checked_state(state, first_state),
    )
    if job.popularity is not None:
        require_unseen_weight(job.popularity, data.user_ids)
    return job


def available_threads() -> int:
    """Return the number of processors that this process may use.

    Examples
    --------
    >>> from mfcore.training import available_threads
    >>> available_threads() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_types(spec: Any, data: Any) -> None:
    if not isinstance(spec, ModelSpec):
        hint = "; write an instance, e.g. MF(n_factors=50)" if isinstance(spec, type) else ""
        raise InvalidArgumentError(f"spec is {spec!r}, not a model spec{hint}")
    if not isinstance(data, Interactions):
        raise InvalidArgumentError(
            f"the training data is a {type(data).__name__}; make Interactions of it first, e.g. with"
            " Interactions.from_columns(users=..., items=..., values=...) or Interactions.from_frame(frame)"
        )
    if len(data) == 0:
        raise InvalidDataError("the training data is empty; nothing can be learnt from it")
    for name, parameter in spec.parameters(data.n_users, data.n_items).items():
        # Engines keep what they train of a row together, and read zeros for what cancels.
        if parameter.side is not None and not parameter.trained:
            raise InvalidArgumentError(
                f"{type(spec).__name__}: parameter {name!r} has a row for each {parameter.side} and is not"
                " trained, which engines cannot hold; train it, or leave out its side"
            )


def _resolve_optimizer(optimizer: str | Optimizer | None, spec: ModelSpec) -> Optimizer:
    if optimizer is None:
        return SGD(learning_rate=0.01, l2=0.05) if isinstance(spec, MF) else Adam()
    found: Optimizer = _resolve("optimizer", optimizer, OPTIMIZERS, Optimizer, "mfcore.Adam()")
    return found


def _resolve_objective(objective: str | Objective | None, optimizer: Optimizer) -> Objective:
    if objective is None:
        implicit = isinstance(optimizer, WALS) and optimizer.unobserved_weight > 0
        return WeightedSquared() if implicit else Squared()
    found: Objective = _resolve("objective", objective, OBJECTIVES, Objective, "mfcore.Squared()")
    if isinstance(optimizer, WALS) and not isinstance(found, Squared):
        raise InvalidArgumentError(
            f"WALS solves least squares; objective {found.short_name or type(found).__name__!r} is none: use"
            " 'squared' or 'weighted_squared', or an optimizer that follows gradients"
        )
    return found


def _resolve(argument: str, value: Any, named: Mapping[str, type[Settings]], base: type, example: str) -> Any:
    """Return the instance itself, or one of the class of that name with its defaults."""
    if not isinstance(value, str):
        if not isinstance(value, base):
            raise InvalidArgumentError(f"{argument} is {value!r}; pass an instance such as {example}")
        return value
    if value not in named:
        raise InvalidArgumentError(
            f"{argument} is {value!r}; it must be one of {', '.join(named)}, or an instance"
        )
    try:
        return named[value]()
    except TypeError as error:
        raise InvalidArgumentError(f"{argument} is {value!r}, which needs settings: {error}") from error


def _resolve_batch_size(
    batch_size: int | None, spec: ModelSpec, objective: Objective, optimizer: Optimizer
) -> int:
    if batch_size is None:
        return 1 if _takes_single_steps(spec, objective, optimizer) else DEFAULT_BATCH_SIZE
    return require_integer("batch_size", batch_size, 1)


def _takes_single_steps(spec: ModelSpec, objective: Objective, optimizer: Optimizer) -> bool:
    is_plain_sgd = isinstance(optimizer, SGD) and not optimizer.momentum
    return isinstance(spec, MF) and is_plain_sgd and objective.pairing == "pointwise"


def _default_order(
    spec: ModelSpec, objective: Objective, optimizer: Optimizer, batch_size: int
) -> Literal["shuffled", "blocked"]:
    single_steps = batch_size == 1 and _takes_single_steps(spec, objective, optimizer)
    return "blocked" if single_steps else "shuffled"


def _check_pairing(objective: Objective, spec: ModelSpec, plan: SamplingPlan, batch_size: int) -> None:
    if objective.pairing != "in-batch":
        return
    if not spec.is_inner_product:
        able = [name for name, kind in MODELS.items() if kind.is_inner_product]
        raise InvalidArgumentError(
            f"the in-batch softmax scores every user of a batch with every item of it, and a"
            f" {type(spec).__name__} would run its layers once for each such pair: use a model whose score is"
            f" an inner product ({', '.join(able)}), or another objective"
        )
    if batch_size < 2:
        raise InvalidArgumentError(
            "a batch has one instance (batch_size is 1, or the training data a single interaction), and the"
            " in-batch softmax has nothing to compare its item with; pass batch_size=1024, say, and more data"
        )
    if plan.order == "blocked":
        raise InvalidArgumentError(
            "the blocked order shows pairs that share no user or item, one by one; pass order='shuffled' for"
            " the in-batch softmax"
        )


def _check_wals(optimizer: WALS, spec: ModelSpec, data: Interactions) -> None:
    if not isinstance(spec, MF):
        raise InvalidArgumentError(
            f"WALS solves for matrix factorisation, not for {type(spec).__name__}; use an optimizer that"
            " follows gradients, e.g. mfcore.Adam()"
        )
    output = spec.output
    if not output.keeps_values:
        raise InvalidArgumentError(
            f"WALS fits the score itself to the target, so the output {output} would distort it: use"
            " Linear() or RatingRange(low, high)"
        )
    counted_out = optimizer.unobserved_weight > 0 and optimizer.zero_pairs == "unobserved"
    if counted_out and len(data) != len(data.seen.indices):
        raise InvalidDataError(
            f"{len(data) - len(data.seen.indices):,} interactions repeat a (user, item) pair, which"
            " zero_pairs='unobserved' would leave out several times: merge them first, e.g. with"
            " duplicates='sum', or use zero_pairs='all'"
        )


def _checked_weights(objective: Objective, data: Interactions) -> Any:
    with np.errstate(over="ignore"):
        weights = objective.weights(data.values)
    if weights is None:
        return None
    bad = np.flatnonzero(~((weights > 0) & np.isfinite(weights)))
    if bad.size:
        position = bad[0]
        user, item = data.user_ids[data.users[position]], data.item_ids[data.items[position]]
        raise InvalidDataError(
            f"{objective} gives the value {data.values[position]:g} at position {position} (user {user!r},"
            f" item {item!r}) the weight {weights[position]:g}; weights must be finite and"
            " above 0: drop or rescale such values, or lower alpha"
        )
    return weights


def _check_sampling(plan: SamplingPlan, data: Interactions, optimizer: Optimizer) -> None:
    if isinstance(optimizer, WALS) and plan.n_negatives:
        raise InvalidArgumentError(
            f"n_negatives is {plan.n_negatives}, but WALS samples no negatives: it weighs all of them by"
            " unobserved_weight; pass n_negatives=0"
        )
    if plan.n_instances(len(data)) > MAXIMUM_INSTANCES:
        raise InvalidArgumentError(
            f"{len(data):,} interactions with {plan.n_negatives} negatives each make more than 2^40 instances"
        )
    if plan.n_negatives:
        require_unseen_items(data.seen, data.n_items, data.user_ids)


def _zero_weight(optimizer: Optimizer, plan: SamplingPlan, data: Interactions) -> float:
    if isinstance(optimizer, WALS):
        n_pairs = data.n_users * data.n_items
        zero_pairs = n_pairs if optimizer.zero_pairs == "all" else n_pairs - len(data)
        return optimizer.unobserved_weight * zero_pairs
    return float(len(data) * plan.n_negatives)


def _resolve_dtype(dtype: Any) -> np.dtype[np.floating]:
    try:
        # numpy would take None for float64.
        real = np.dtype(object if dtype is None else dtype)
    except TypeError:
        real = np.dtype(object)
    if real not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InvalidArgumentError(f"dtype is {dtype!r}; it must be 'float32' or 'float64'")
    return real


def _parameters_of(
    argument: str, model: Model, spec: ModelSpec, data: Interactions, dtype: np.dtype[np.floating]
) -> dict[str, Any]:
    """Return a model's parameters, for a job of the same spec on the same users and items."""
    # As settings: a notebook that defines a class anew has two of them.
    if to_dict(model.spec) != to_dict(spec):
        raise InvalidArgumentError(f"{argument}: the model's spec is {model.spec}, not {spec}")
    if model.user_ids != data.user_ids or model.item_ids != data.item_ids:
        raise InvalidArgumentError(
            f"{argument}: the model was trained on other users or items; pass the training data that it was"
            " trained on, or fit a new model"
        )
    # In the spec's order, which a model from a file need not have: sums over parameters depend on it.
    layout = spec.parameters(data.n_users, data.n_items)
    return {name: model.parameters[name].astype(dtype) for name in layout}


def _resumed(resume: Model, spec: ModelSpec, data: Interactions, dtype: np.dtype[np.floating]) -> Any:
    parameters = _parameters_of("resume", resume, spec, data, dtype)
    same_pairs = np.array_equal(resume.seen.indptr, data.seen.indptr) and np.array_equal(
        resume.seen.indices, data.seen.indices
    )
    if not same_pairs:
        raise InvalidArgumentError(
            "resume: the model was trained on other interactions of these users and items (another split?);"
            " pass the training data that it was trained on, or fit a new model"
        )
    state = resume.optimizer_state
    if state is None:
        raise InvalidArgumentError(
            "resume: the model carries no optimizer state; resume from a checkpoint, or from a model as `fit`"
            " returned it"
        )
    return parameters, {
        name: array.astype(dtype) if array.dtype.kind == "f" else array for name, array in state.items()
    }


def _check_continues(
    resume: Model, objective: Objective, optimizer: Optimizer, others: dict[str, Any]
) -> None:
    """Require what a resumed run must share with the earlier one; rates and l2 may change."""
    new = {"objective": to_dict(objective), "optimizer": kind_of(type(optimizer)), **others}
    for name, wanted in new.items():
        earlier = resume.training.get(name, wanted)
        if name == "optimizer" and isinstance(earlier, Mapping):
            earlier = earlier.get(KIND)
        if isinstance(wanted, Mapping) and isinstance(earlier, Mapping) and earlier.get(KIND) == wanted[KIND]:
            # Settings of an older version lack what was added since.
            earlier = to_dict(from_dict(earlier))
        if earlier != wanted:
            raise InvalidArgumentError(
                f"resume: the model was trained with {name} {earlier}, not {wanted}; pass what it was trained"
                " with, or fit a new model"
            )


def _checked_state(state: dict[str, Any], initial: dict[str, Any]) -> dict[str, Any]:
    if {name: array.shape for name, array in state.items()} != {
        name: array.shape for name, array in initial.items()
    }:
        raise InvalidArgumentError(
            f"resume: the optimizer state holds {', '.join(sorted(state))}, but this optimizer keeps"
            f" {', '.join(sorted(initial))}; resume with the optimizer that the model was trained with"
        )
    return state
