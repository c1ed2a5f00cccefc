"""From the options of `train` to what `fit` is told: a recipe."""

from dataclasses import dataclass, replace
from typing import Any

from mfcore import settings
from mfcore.cli.choices import choose, flag
from mfcore.cli.defaults import BATCHED_SGD, Settings, defaults_for
from mfcore.data import Interactions
from mfcore.errors import InvalidArgumentError
from mfcore.model import Model
from mfcore.objectives import OBJECTIVES, Objective
from mfcore.optimizers import OPTIMIZERS, SOLVERS, WALS, Optimizer
from mfcore.specs import MF, MODELS, Linear, ModelSpec, Normal, Output, RatingRange, ReLU, Sigmoid

OUTPUTS = ("linear", "relu", "sigmoid", "range", "range-sigmoid")
OBJECTIVE_NAMES = tuple(name.replace("_", "-") for name in OBJECTIVES)
DTYPES = ("float32", "float64")

WALS_ONLY = ("unobserved_weight", "nu", "solver")
GRADIENT_ONLY = ("learning_rate", "momentum", "batch_size", "n_negatives")
CHANGEABLE_ON_RESUME = ("epochs", "learning_rate", "l2")


@dataclass(frozen=True, eq=False)
class Recipe:
    """All that `fit` is told about the model and its training.

    Attributes
    ----------
    spec : ModelSpec
    objective : Objective
    optimizer : Optimizer
    arguments : dict
        Further arguments of `fit`: epochs, batch_size, n_negatives, seed, dtype.
    is_implicit : bool
        Whether the model is to rank items, and is judged by that; otherwise it predicts ratings.
    options : dict
        The same as options of the command: name to value.
    given : frozenset of str
        Names of those options that were given; the others are defaults, or come from a file.
    """

    spec: ModelSpec
    objective: Objective
    optimizer: Optimizer
    arguments: dict[str, Any]
    is_implicit: bool
    options: dict[str, Any]
    given: frozenset[str]


def checked_names(given: Settings) -> Settings:
    """Return the settings with their names spelt as they should be.

    Raises
    ------
    InvalidArgumentError
        For a name that is none; lists the valid ones and the closest match.
    """
    valid = {
        "model": MODELS,
        "output": OUTPUTS,
        "objective": OBJECTIVE_NAMES,
        "optimizer": OPTIMIZERS,
        "solver": SOLVERS,
        "dtype": DTYPES,
    }
    names: dict[str, Any] = {
        name: choose(flag(name), value, valid[name]) for name, value in given.given().items() if name in valid
    }
    return replace(given, **names)


def make_recipe(given: Settings, data: Interactions, *, data_is_implicit: bool) -> Recipe:
    """Return the recipe for training data.

    Raises
    ------
    InvalidArgumentError
        For an option that does not apply, and a value outside its domain.
    """
    is_implicit = data_is_implicit or bool(
        given.n_negatives or given.unobserved_weight or given.objective not in (None, "squared")
    )
    optimizer = given.optimizer or _default_optimizer(given, is_implicit)
    _require_applicable(given, optimizer)
    chosen = _completed(given, is_implicit, optimizer)
    return Recipe(
        spec=_spec(chosen, data),
        objective=OBJECTIVES[str(chosen.objective).replace("-", "_")](),
        optimizer=_optimizer(chosen),
        arguments=_arguments(chosen),
        is_implicit=is_implicit,
        options=chosen.given(),
        given=frozenset(given.given()),
    )


def resumed_recipe(given: Settings, model: Model) -> Recipe:
    """Return the recipe that a model was trained by, for more epochs, perhaps at another learning rate or l2.

    Raises
    ------
    InvalidArgumentError
        Where an option would change what cannot change half-way, or the number of epochs is missing.
    """
    for name in given.given():
        if name not in CHANGEABLE_ON_RESUME:
            raise InvalidArgumentError(
                f"{flag(name)} cannot change in a run that is resumed; leave it out"
                f" ({', '.join(map(flag, CHANGEABLE_ON_RESUME))} can)"
            )
    if given.epochs is None:
        raise InvalidArgumentError(
            f"--resume needs --epochs, the number of epochs in all; {model.epochs_trained} are done"
        )
    optimizer = settings.from_dict(model.training["optimizer"])
    changes = {name: value for name, value in given.given().items() if name in ("learning_rate", "l2")}
    if isinstance(optimizer, WALS) and "learning_rate" in changes:
        raise InvalidArgumentError(
            "--learning-rate does not apply: the model was trained by wals; leave it out"
        )
    optimizer = replace(optimizer, **changes)
    objective = settings.from_dict(model.training["objective"])
    plan = settings.from_dict(model.training["sampling"])
    arguments = {
        "epochs": given.epochs,
        "n_negatives": plan.n_negatives,
        "order": plan.order,
        **{name: model.training[name] for name in ("batch_size", "seed", "dtype")},
    }
    return Recipe(
        spec=model.spec,
        objective=objective,
        optimizer=optimizer,
        arguments=arguments,
        is_implicit=_ranks(objective, optimizer, plan.n_negatives),
        options={
            "model": str(model.spec),
            "objective": str(objective),
            "optimizer": str(optimizer),
            **arguments,
        },
        given=frozenset(given.given()),
    )


def ranks(model: Model) -> bool:
    """Return whether a model was trained to rank items, rather than to predict ratings."""
    try:
        objective, optimizer, plan = (
            settings.from_dict(model.training[name]) for name in ("objective", "optimizer", "sampling")
        )
    except KeyError:
        return False
    return _ranks(objective, optimizer, plan.n_negatives)


def _ranks(objective: Objective, optimizer: Optimizer, n_negatives: int) -> bool:
    weighs_unobserved = isinstance(optimizer, WALS) and optimizer.unobserved_weight > 0
    return bool(n_negatives) or weighs_unobserved or objective.short_name != "squared"


def _completed(given: Settings, is_implicit: bool, optimizer: str) -> Settings:
    """Return the settings with a default wherever one applies."""
    momentum = given.momentum or 0.0
    in_batches = optimizer == "sgd" and (momentum > 0 or (given.batch_size or 1) > 1)
    defaults = defaults_for(is_implicit, BATCHED_SGD if in_batches else optimizer)
    if in_batches and defaults.learning_rate is not None:
        defaults = replace(defaults, learning_rate=defaults.learning_rate * (1 - momentum))
    chosen = given.over(replace(defaults, optimizer=optimizer))
    # Scores start at the same size whatever the number of factors.
    open_settings = Settings(
        output="sigmoid" if chosen.objective == "logistic" else "linear",
        init_std=0.1 / max(1, chosen.n_factors or 1) ** 0.5,
    )
    return chosen.over(open_settings)


def _default_optimizer(given: Settings, is_implicit: bool) -> str:
    # An option that only one family of optimizers has says which one is meant.
    options = given.given()
    if any(name in options for name in WALS_ONLY):
        return "wals"
    if any(name in options for name in GRADIENT_ONLY) or given.objective == "logistic":
        return "sgd"
    return "wals" if is_implicit else "sgd"


def _require_applicable(given: Settings, optimizer: str) -> None:
    by_wals = optimizer == "wals"
    for name in given.given():
        option = flag(name)
        if name == "momentum" and optimizer != "sgd":
            raise InvalidArgumentError(
                f"{option} applies to --optimizer sgd, not to {optimizer}; leave it out"
            )
        if by_wals and name in GRADIENT_ONLY:
            raise InvalidArgumentError(
                f"{option} does not apply to --optimizer wals; leave it out, or choose another optimizer"
            )
        if not by_wals and name in WALS_ONLY:
            raise InvalidArgumentError(
                f"{option} applies to --optimizer wals, not to {optimizer}; leave it out"
            )


def _spec(chosen: Settings, data: Interactions) -> ModelSpec:
    values: dict[str, Any] = chosen.given()
    return MF(
        n_factors=values["n_factors"],
        biases=values["biases"],
        output=_output(values["output"], data),
        init=Normal(std=values["init_std"]),
    )


def _output(name: str, data: Interactions) -> Output:
    if name.startswith("range"):
        low, high = float(data.values.min()), float(data.values.max())
        if low == high:
            raise InvalidArgumentError(
                f"--output {name} needs ratings that differ, and every value is {low:g}; use --output linear"
            )
        return RatingRange(low, high, "sigmoid" if name == "range-sigmoid" else "clip")
    outputs: dict[str, type[Output]] = {"linear": Linear, "relu": ReLU, "sigmoid": Sigmoid}
    return outputs[name]()


def _optimizer(chosen: Settings) -> Optimizer:
    names = ["l2", *(WALS_ONLY if chosen.optimizer == "wals" else ("learning_rate", "momentum"))]
    values = chosen.given()
    return OPTIMIZERS[values["optimizer"]](**{name: values[name] for name in names if name in values})


def _arguments(chosen: Settings) -> dict[str, Any]:
    names = ("epochs", "batch_size", "n_negatives", "seed", "dtype")
    return {name: value for name, value in chosen.given().items() if name in names}
