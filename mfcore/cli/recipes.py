"""From the options of `train` to what `fit` is told: a recipe."""

from dataclasses import dataclass, replace
from typing import Any

from mfcore import settings
from mfcore.cli.applicable import GRADIENT_ONLY, WALS_ONLY, alien, implied_objective, own, require_applicable
from mfcore.cli.choices import choose, flag
from mfcore.cli.defaults import BATCHED_SGD, IN_BATCH_SOFTMAX, PRE_TRAINED, Settings, defaults_for, is_neural
from mfcore.cli.pretraining import SETTLED, Pretrained
from mfcore.data import Interactions
from mfcore.errors import InvalidArgumentError
from mfcore.model import Model
from mfcore.objectives import OBJECTIVES, Objective
from mfcore.optimizers import OPTIMIZERS, SOLVERS, WALS, Optimizer
from mfcore.specs import (
    ACTIVATIONS,
    LINEAR,
    MODELS,
    Linear,
    ModelSpec,
    NeuMF,
    Normal,
    Output,
    RatingRange,
    ReLU,
    Sigmoid,
)

OUTPUTS = ("linear", "relu", "sigmoid", "range", "range-sigmoid")
ACTIVATION_NAMES = tuple(name for name in ACTIVATIONS if name != LINEAR)
FUSIONS = ("concat", "projected")
OBJECTIVE_NAMES = tuple(name.replace("_", "-") for name in OBJECTIVES)
DTYPES = ("float32", "float64")

FIT_ARGUMENTS = ("epochs", "batch_size", "n_negatives", "popularity_exponent", "seed", "dtype")
CHANGEABLE_ON_RESUME = ("epochs", "learning_rate", "l2", "l2_dense")

# Keras's Adagrad starts from this sum of squares, and adds this to its root.
ACCUMULATOR, EPSILON = 0.1, 1e-7


@dataclass(frozen=True, eq=False)
class Recipe:
    """All that `fit` is told about the model and its training.

    Attributes
    ----------
    spec : ModelSpec
    objective : Objective
    optimizer : Optimizer
    arguments : dict
        Further arguments of `fit`: epochs, batch_size, n_negatives, seed, dtype and so on.
    is_implicit : bool
        Whether the model is to rank items, and is judged by that; otherwise it predicts ratings.
    options : dict
        The same as options of the command: name to value.
    given : frozenset of str
        Names of those options that were given; the others are defaults, or come from a file.
    chooses_epoch : bool
        Whether it is part of the recipe to keep the best epoch rather than the last.
    initial : Model or None
        Whose parameters training starts from.
    """

    spec: ModelSpec
    objective: Objective
    optimizer: Optimizer
    arguments: dict[str, Any]
    is_implicit: bool
    options: dict[str, Any]
    given: frozenset[str]
    chooses_epoch: bool = False
    initial: Model | None = None


def checked_names(given: Settings) -> Settings:
    """Return the settings with their names spelt as they should be.

    Raises
    ------
    InvalidArgumentError
        For a name that is none; lists the valid ones and the closest match.
    """
    valid = {
        "model": MODELS,
        "activation": ACTIVATION_NAMES,
        "fusion": FUSIONS,
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


def make_recipe(
    given: Settings, data: Interactions, *, data_is_implicit: bool, pretrained: Pretrained | None = None
) -> Recipe:
    """Return the recipe for training data.

    Raises
    ------
    InvalidArgumentError
        For an option that does not apply, and a value outside its domain.
    """
    asked = _implied(given, pretrained)
    is_implicit = data_is_implicit or bool(
        asked.n_negatives
        or asked.popularity_exponent
        or asked.unobserved_weight
        or asked.objective not in (None, "squared")
    )
    optimizer = asked.optimizer or _default_optimizer(asked, is_implicit, pretrained)
    require_applicable(asked, optimizer)
    chosen = _completed(
        asked, is_implicit, optimizer, n_interactions=len(data), is_pretrained=pretrained is not None
    )
    settled: dict[str, Any] = {}
    if pretrained is not None:
        settled = pretrained.options
        chosen = chosen.without(*SETTLED)
    return Recipe(
        spec=_spec(chosen, data) if pretrained is None else pretrained.model.spec,
        objective=_objective(chosen),
        optimizer=_optimizer(chosen),
        arguments=_arguments(chosen),
        is_implicit=is_implicit,
        options={**chosen.given(), **settled},
        given=frozenset((*given.given(), *settled)),
        chooses_epoch=is_implicit and is_neural(str(chosen.model)),
        initial=None if pretrained is None else pretrained.model,
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
    changes = {name: value for name, value in given.given().items() if name != "epochs"}
    for name in ("learning_rate", "l2_dense"):
        if isinstance(optimizer, WALS) and name in changes:
            raise InvalidArgumentError(
                f"{flag(name)} does not apply: the model was trained by wals; leave it out"
            )
    optimizer = replace(optimizer, **changes)
    objective = settings.from_dict(model.training["objective"])
    plan = settings.from_dict(model.training["sampling"])
    arguments = {
        "epochs": given.epochs,
        "n_negatives": plan.n_negatives,
        "popularity_exponent": plan.popularity_exponent,
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
        # Nobody trained it yet, as what `NeuMF.from_pretrained` returns.
        return is_neural(model.spec.short_name) and isinstance(model.spec.output, Sigmoid)
    return _ranks(objective, optimizer, plan.n_negatives)


def _ranks(objective: Objective, optimizer: Optimizer, n_negatives: int) -> bool:
    weighs_unobserved = isinstance(optimizer, WALS) and optimizer.unobserved_weight > 0
    return bool(n_negatives) or weighs_unobserved or objective.short_name != "squared"


def _implied(given: Settings, pretrained: Pretrained | None) -> Settings:
    """Return the settings with the model and, where other options stand for one, the objective."""
    model = given.model or ("mf" if pretrained is None else NeuMF.short_name)
    asked = replace(given, model=model)
    objective = implied_objective(asked)
    if objective is None and pretrained is not None:
        objective = pretrained.objective
    return replace(asked, objective=objective)


def _completed(
    given: Settings, is_implicit: bool, optimizer: str, *, n_interactions: int, is_pretrained: bool
) -> Settings:
    """Return the settings with a default wherever one applies."""
    model, momentum = str(given.model), given.momentum or 0.0
    takes_batches = model != "mf" or given.objective == IN_BATCH_SOFTMAX
    in_batches = optimizer == "sgd" and (takes_batches or momentum > 0 or (given.batch_size or 1) > 1)
    defaults = defaults_for(
        is_implicit, BATCHED_SGD if in_batches else optimizer, model=model, objective=given.objective
    )
    if is_pretrained and optimizer == "sgd":
        defaults = PRE_TRAINED.over(defaults)
    if in_batches and defaults.learning_rate is not None:
        defaults = replace(defaults, learning_rate=defaults.learning_rate * (1 - momentum))
    chosen = given.over(replace(defaults, optimizer=optimizer))
    return chosen.over(_following(chosen, n_interactions)).without(*alien(model))


def _following(chosen: Settings, n_interactions: int) -> Settings:
    """Return defaults that follow from other settings."""
    n_factors = max(1, chosen.n_factors or 1)
    following = Settings(output="sigmoid" if chosen.objective == "logistic" else "linear")
    if chosen.model == "mf":
        # Scores start at the same size whatever the number of factors.
        following = replace(following, init_std=0.1 / n_factors**0.5)
    if is_neural(str(chosen.model)):
        # The paper's tower: its end is as wide as the product, and each layer half as wide as the one before.
        following = replace(following, layers=tuple(n_factors * 2**power for power in (3, 2, 1, 0)))
    if chosen.model == "two-tower" and chosen.layers is not None:
        following = replace(following, activation="relu", l2_dense=0.0)
    if chosen.objective == IN_BATCH_SOFTMAX and chosen.optimizer == "adagrad":
        # As if the sum over a batch were minimised, and not the mean.
        n = min(chosen.batch_size or 1, n_interactions)
        following = replace(following, initial_accumulator=ACCUMULATOR / n**2, epsilon=EPSILON / n)
    return following


def _default_optimizer(given: Settings, is_implicit: bool, pretrained: Pretrained | None) -> str:
    # An option that only one optimizer or one family of them has says which one is meant.
    options = given.given()
    if any(name in options for name in WALS_ONLY):
        return "wals"
    if "momentum" in options or pretrained is not None:
        return "sgd"
    if "initial_accumulator" in options or given.objective == IN_BATCH_SOFTMAX:
        return "adagrad"
    if given.model != "mf" or given.objective == "bpr":
        return "adam"
    follows_gradient = any(name in options for name in GRADIENT_ONLY) or given.objective == "logistic"
    return "wals" if is_implicit and not follows_gradient else "sgd"


def _spec(chosen: Settings, data: Interactions) -> ModelSpec:
    kind = MODELS[str(chosen.model)]
    arguments = {**own(kind, chosen), "output": _output(str(chosen.output), data)}
    if chosen.init_std is not None:
        arguments["init"] = Normal(std=chosen.init_std)
    return kind(**arguments)


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


def _objective(chosen: Settings) -> Objective:
    kind = OBJECTIVES[str(chosen.objective).replace("-", "_")]
    return kind(**own(kind, chosen))


def _optimizer(chosen: Settings) -> Optimizer:
    kind = OPTIMIZERS[str(chosen.optimizer)]
    return kind(**own(kind, chosen))


def _arguments(chosen: Settings) -> dict[str, Any]:
    return {name: value for name, value in chosen.given().items() if name in FIT_ARGUMENTS}
