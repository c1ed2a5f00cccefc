"""From the settings that were given to what `fit` is told: a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mfcore.cli.defaults import BATCHED_SGD, IN_BATCH_SOFTMAX, defaults_for
from mfcore.cli.options import FAMILIES, flag, kinds_of
from mfcore.cli.pretraining import SETTLED, Pretrained
from mfcore.cli.settings import Setting, all_settings, is_foreign
from mfcore.data import Interactions
from mfcore.errors import InvalidArgumentError
from mfcore.model import Model
from mfcore.objectives import Logistic, Objective, WeightedSquared
from mfcore.optimizers import WALS, Optimizer
from mfcore.settings import from_dict
from mfcore.specs import NCF, Linear, ModelSpec, NeuMF, Normal, RatingRange, ReLU, Sigmoid
from mfcore.training import make_job

Given = Mapping[str, Any]

FIT_ARGUMENTS = ("epochs", "batch_size", "n_negatives", "popularity_exponent", "seed", "dtype")
CHANGEABLE_ON_RESUME = ("epochs", "learning_rate", "l2", "l2_dense")
OUTPUTS: dict[Any, Any] = {"linear": Linear, "relu": ReLU, "sigmoid": Sigmoid}
# Keras's Adagrad starts from this sum of squares, and adds this to its root.
ACCUMULATOR, EPSILON = 0.1, 1e-7


@dataclass(frozen=True, eq=False)
class Recipe:
    """All that `fit` is told about the model and its training, and how that came about."""

    spec: ModelSpec
    objective: Objective
    optimizer: Optimizer
    arguments: dict[str, Any]  # further ones of `fit`
    is_implicit: bool  # whether the model is to rank items, rather than to predict ratings
    options: dict[str, Any]  # the same as options of the command
    given: frozenset[str]  # those options that were given; the others are defaults, or come from a file
    initial: Model | None = None  # whose parameters training starts from

    @property
    def is_neural(self) -> bool:
        """Whether the model is one of neural collaborative filtering."""
        return isinstance(self.spec, NCF)

    def require_job(self, data: Interactions, earlier: Model | None = None) -> None:
        """Raise what `fit` would raise, before anything is printed."""
        told = {**self.arguments, "objective": self.objective, "optimizer": self.optimizer}
        del told["epochs"]
        make_job(self.spec, data, **told, initial=self.initial, resume=earlier)


def make_recipe(
    given: Given,
    data: Interactions,
    data_is_implicit: bool,
    *,
    pretrained: Pretrained | None = None,
    earlier: Model | None = None,
) -> Recipe:
    """Return the recipe for training data, or for more epochs of a model."""
    if earlier is not None:
        return _resumed(given, earlier)
    settings = all_settings()
    asked = _implied(given, settings, pretrained)
    is_implicit = data_is_implicit or bool(
        any(asked.get(name) for name in ("n_negatives", "popularity_exponent", "unobserved_weight"))
        or ("objective" in asked and _for_ranking(kinds_of("objective")[asked["objective"]]))
    )
    asked["optimizer"] = asked.get("optimizer") or _optimizer(asked, settings, is_implicit, pretrained)
    chosen = _completed(asked, is_implicit, len(data), is_pretrained=pretrained is not None)
    for name in given:
        settings[name].require_owner(chosen.get(settings[name].family, ""))
    chosen = {
        name: chosen[name]
        for name, setting in settings.items()
        if name in chosen and (setting.owners is None or chosen[setting.family] in setting.owners)
    }
    settled: dict[str, Any] = {}
    if pretrained is not None:
        settled = pretrained.options
        chosen = {name: value for name, value in chosen.items() if name not in SETTLED}
    spec = _spec(chosen, settings, data) if pretrained is None else pretrained.model.spec
    objective = _made("objective", chosen, settings)
    _require_effect(given, spec, objective)
    return Recipe(
        spec=spec,
        objective=objective,
        optimizer=_made("optimizer", chosen, settings),
        arguments={name: value for name, value in chosen.items() if name in FIT_ARGUMENTS},
        is_implicit=is_implicit,
        options={**chosen, **settled},
        given=frozenset((*given, *settled)),
        initial=None if pretrained is None else pretrained.model,
    )


def _resumed(given: Given, model: Model) -> Recipe:
    """Return the recipe that a model was trained by, for more epochs, perhaps at another rate or l2."""
    optimizer, objective, plan = (
        from_dict(model.training[name]) for name in ("optimizer", "objective", "sampling")
    )
    for name in given:
        if name not in CHANGEABLE_ON_RESUME:
            raise InvalidArgumentError(
                f"{flag(name)} cannot change in a run that is resumed; leave it out"
                f" ({', '.join(map(flag, CHANGEABLE_ON_RESUME))} can)"
            )
        if isinstance(optimizer, WALS) and name in ("learning_rate", "l2_dense"):
            raise InvalidArgumentError(
                f"{flag(name)} does not apply: the model was trained by wals; leave it out"
            )
    if "epochs" not in given:
        raise InvalidArgumentError(
            f"--resume needs --epochs, the number of epochs in all; {model.epochs_trained} are done"
        )
    optimizer = replace(optimizer, **{name: value for name, value in given.items() if name != "epochs"})
    sampling = {name: getattr(plan, name) for name in ("n_negatives", "popularity_exponent", "order")}
    kept = {name: model.training[name] for name in ("batch_size", "seed", "dtype")}
    arguments = {"epochs": given["epochs"], **sampling, **kept}
    described = {"model": str(model.spec), "objective": str(objective), "optimizer": str(optimizer)}
    return Recipe(
        spec=model.spec,
        objective=objective,
        optimizer=optimizer,
        arguments=arguments,
        is_implicit=_ranks(objective, optimizer, plan.n_negatives),
        options={**described, **arguments},
        given=frozenset(given),
    )


def ranks(model: Model) -> bool:
    """Return whether a model was trained to rank items, rather than to predict ratings."""
    try:
        objective, optimizer, plan = (
            from_dict(model.training[name]) for name in ("objective", "optimizer", "sampling")
        )
    except KeyError:
        # Nobody trained it yet, as what `NeuMF.from_pretrained` returns.
        return isinstance(model.spec, NCF) and isinstance(model.spec.output, Sigmoid)
    return _ranks(objective, optimizer, plan.n_negatives)


def _ranks(objective: Objective, optimizer: Optimizer, n_negatives: int) -> bool:
    weighs_unobserved = isinstance(optimizer, WALS) and optimizer.unobserved_weight > 0
    return bool(n_negatives) or weighs_unobserved or _for_ranking(type(objective))


def _for_ranking(objective: type[Objective]) -> bool:
    return objective.pairing != "pointwise" or issubclass(objective, Logistic | WeightedSquared)


def _implied(given: Given, settings: Mapping[str, Setting], pretrained: Pretrained | None) -> dict[str, Any]:
    """Return the settings with the model and, where other options stand for one, the objective."""
    asked = {"model": "mf" if pretrained is None else NeuMF.short_name, **given}
    objective = given.get("objective") or _sole_owner("objective", given, settings)
    # Two towers stand for the in-batch softmax, unless negatives are to be sampled for them.
    samples = any(given.get(name) for name in ("n_negatives", "popularity_exponent"))
    follows_gradient = given.get("optimizer") != "wals"
    if objective is None and asked["model"] == "two-tower" and follows_gradient and not samples:
        objective = IN_BATCH_SOFTMAX
    if objective is None and pretrained is not None:
        objective = pretrained.objective
    return asked if objective is None else {**asked, "objective": objective}


def _sole_owner(family: str, given: Given, settings: Mapping[str, Setting]) -> str | None:
    """Return the class that one of the given options belongs to alone, a person's own classes aside."""
    for setting in map(settings.__getitem__, given):
        owners = setting.owners or {}
        able = [name for name, kind in owners.items() if not is_foreign(kind)] or list(owners)
        if setting.family == family and len(able) == 1:
            return able[0]
    return None


def _optimizer(
    asked: Given, settings: Mapping[str, Setting], is_implicit: bool, pretrained: Pretrained | None
) -> str:
    """Return the optimizer that other options stand for, or else the default."""
    objective = asked.get("objective")
    if (implied := _sole_owner("optimizer", asked, settings)) is not None:
        return implied
    if pretrained is not None:
        return "sgd"
    if _is_in_batch(objective):
        return "adagrad"
    if asked["model"] != "mf" or objective not in (None, "squared", "weighted-squared", "logistic"):
        return "adam"
    by_gradient = any(
        one.family == "optimizer" and "wals" not in (one.owners or {})
        for one in map(settings.__getitem__, asked)
    )
    return "wals" if is_implicit and objective != "logistic" and not by_gradient else "sgd"


def _is_in_batch(objective: str | None) -> bool:
    return objective is not None and kinds_of("objective")[objective].pairing == "in-batch"


def _completed(
    asked: Given, is_implicit: bool, n_interactions: int, *, is_pretrained: bool
) -> dict[str, Any]:
    """Return the settings with a default wherever one may apply."""
    model, optimizer, momentum = asked["model"], asked["optimizer"], asked.get("momentum") or 0.0
    in_batch = _is_in_batch(asked.get("objective"))
    takes_batches = model != "mf" or in_batch or momentum > 0 or (asked.get("batch_size") or 1) > 1
    words = {
        model: True,
        "neural": model != "mf",
        "implicit" if is_implicit else "ratings": True,
        BATCHED_SGD if optimizer == "sgd" and takes_batches else optimizer: True,
        "in-batch": in_batch,
        "pre-trained": is_pretrained,
        **{
            f"own-{family}": is_foreign(kinds_of(family)[asked[family]])
            for family in FAMILIES
            if family in asked
        },
    }
    defaults = defaults_for(*(word for word, applies in words.items() if applies))
    if BATCHED_SGD in words and momentum < 1:
        defaults["learning_rate"] *= 1 - momentum
    chosen = {**defaults, **asked}
    return {**_following(chosen, n_interactions), **chosen}


def _following(chosen: Given, n_interactions: int) -> dict[str, Any]:
    """Return defaults that follow from other settings."""
    n_factors = max(1, chosen.get("n_factors") or 1)
    kind = kinds_of("model")[chosen["model"]]
    following: dict[str, Any] = {}
    if not is_foreign(kind):
        following["output"] = "sigmoid" if chosen["objective"] == "logistic" else "linear"
    if chosen["model"] == "mf":
        # Scores start at the same size whatever the number of factors.
        following["init_std"] = 0.1 / n_factors**0.5
    if issubclass(kind, NCF) and not is_foreign(kind):
        # The paper's tower: its end is as wide as the product, and each layer half as wide as the one before.
        following["layers"] = tuple(n_factors * 2**power for power in (3, 2, 1, 0))
    if chosen["model"] == "two-tower" and "layers" in chosen:
        following |= {"activation": "relu", "l2_dense": 0.0}
    if chosen["objective"] == IN_BATCH_SOFTMAX and chosen["optimizer"] == "adagrad":
        # As if the sum over a batch were minimised, and not the mean.
        n = max(1, min(chosen["batch_size"], n_interactions))
        following |= {"initial_accumulator": ACCUMULATOR / n**2, "epsilon": EPSILON / n}
    return following


def _made(family: str, chosen: Given, settings: Mapping[str, Setting], **further: Any) -> Any:
    """Return the chosen model, objective or optimizer."""
    values = {
        setting.field: chosen[name]
        for name, setting in settings.items()
        if setting.family == family and setting.field and name in chosen
    }
    return kinds_of(family)[chosen[family]](**values, **further)


def _spec(chosen: Given, settings: Mapping[str, Setting], data: Interactions) -> Any:
    further: dict[str, Any] = {}
    if "init_std" in chosen:
        further["init"] = Normal(std=chosen["init_std"])
    if (name := chosen.get("output")) in OUTPUTS:
        further["output"] = OUTPUTS[name]()
    elif name is not None:
        low, high = float(data.values.min()), float(data.values.max())
        if low == high:
            raise InvalidArgumentError(
                f"--output {name} needs ratings that differ, and every value is {low:g}; use --output linear"
            )
        further["output"] = RatingRange(low, high, "sigmoid" if name == "range-sigmoid" else "clip")
    return _made("model", chosen, settings, **further)


def _require_effect(given: Given, spec: ModelSpec, objective: Objective) -> None:
    """Refuse options about dense layers or sampled negatives where there are none."""
    for name in ("n_negatives", "popularity_exponent"):
        if given.get(name) and objective.pairing == "in-batch":
            raise InvalidArgumentError(
                f"{flag(name)} does not apply to an in-batch objective, whose negatives are the other items"
                " of a batch; leave it out"
            )
    if "activation" in given and getattr(spec, "layers", None) == ():
        raise InvalidArgumentError(
            "--activation is that of the towers' layers, and there are none; add --layers, or leave it out"
        )
    arrays = spec.parameters(1, 1).values()
    if "l2_dense" in given and not any(one.side is None and one.trained and one.decayed for one in arrays):
        raise InvalidArgumentError(
            f"--l2-dense weighs the kernels of dense layers, and --model {spec.short_name} has none; leave it"
            " out"
        )
