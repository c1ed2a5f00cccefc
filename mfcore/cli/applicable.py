"""Which options of `train` go with which model, objective and optimizer."""

from dataclasses import fields
from typing import Any

from mfcore.cli.choices import flag
from mfcore.cli.defaults import IN_BATCH_SOFTMAX, Settings
from mfcore.errors import InvalidArgumentError
from mfcore.optimizers import OPTIMIZERS
from mfcore.specs import MODELS

MODEL_OPTIONS = ("n_factors", "layers", "activation", "fusion", "biases")
SOFTMAX_ONLY = ("temperature", "logq", "remove_accidental_hits")
WALS_ONLY = ("unobserved_weight", "nu", "solver")
NEGATIVES_ONLY = ("n_negatives", "popularity_exponent")
GRADIENT_ONLY = ("learning_rate", "momentum", "batch_size", *NEGATIVES_ONLY)


def own(kind: type[Any], chosen: Settings) -> dict[str, Any]:
    """Return those settings that are fields of a class, by name."""
    return {name: value for name, value in chosen.given().items() if name in _fields(kind)}


def alien(model: str) -> list[str]:
    """Return the names of the settings that say what other models are, and not this one."""
    return [name for name in MODEL_OPTIONS if name not in _fields(MODELS[model])]


def require_applicable(given: Settings, optimizer: str) -> None:
    """Refuse options that would change nothing, or that contradict each other.

    Parameters
    ----------
    given : Settings
        What was given, the model and, where it is known, the objective filled in.
    optimizer : str

    Raises
    ------
    InvalidArgumentError
        Names the option and what it goes with.
    """
    for name in given.given():
        _require_optimizer(name, optimizer)
    _require_model(given, optimizer)
    _require_objective(given)


def _require_optimizer(name: str, optimizer: str) -> None:
    option = flag(name)
    if name == "momentum" and optimizer != "sgd":
        raise InvalidArgumentError(f"{option} applies to --optimizer sgd, not to {optimizer}; leave it out")
    if optimizer == "wals" and name in GRADIENT_ONLY:
        raise InvalidArgumentError(
            f"{option} does not apply to --optimizer wals; leave it out, or choose another optimizer"
        )
    if optimizer != "wals" and name in WALS_ONLY:
        raise InvalidArgumentError(f"{option} applies to --optimizer wals, not to {optimizer}; leave it out")
    if name in ("initial_accumulator", "epsilon"):
        able = [other for other, kind in OPTIMIZERS.items() if name in _fields(kind)]
        if optimizer not in able:
            raise InvalidArgumentError(
                f"{option} applies to --optimizer {' or '.join(able)}, not to {optimizer}; leave it out"
            )


def _require_model(given: Settings, optimizer: str) -> None:
    model = str(given.model)
    if optimizer == "wals" and model != "mf":
        raise InvalidArgumentError(
            f"--optimizer wals solves for matrix factorisation, not for --model {model}; choose another"
            " optimizer, and leave the options of wals out"
        )
    for name in alien(model):
        if getattr(given, name) is not None:
            able = [other for other in MODELS if name not in alien(other)]
            why = ", whose factors are half as wide as the first of --layers" if name == "n_factors" else ""
            raise InvalidArgumentError(
                f"{flag(name)} applies to --model {' or '.join(able)}, not to {model}{why}; leave it out"
            )
    without_layers = model == "two-tower" and given.layers is None
    if without_layers and given.activation is not None:
        raise InvalidArgumentError(
            "--activation is that of the towers' layers, and there are none; add --layers, or leave it out"
        )
    if (without_layers or model == "mf") and given.l2_dense is not None:
        raise InvalidArgumentError(
            f"--l2-dense weighs the kernels of dense layers, and --model {model} has none; leave it out"
        )


def _require_objective(given: Settings) -> None:
    objective = given.objective
    if objective != IN_BATCH_SOFTMAX:
        for name in SOFTMAX_ONLY:
            if getattr(given, name) is not None:
                raise InvalidArgumentError(
                    f"{flag(name)} applies to --objective {IN_BATCH_SOFTMAX}, not to {objective}; leave it"
                    " out"
                )
    if objective == IN_BATCH_SOFTMAX:
        _require_in_batch(given)
    if given.n_negatives == 0 and objective == "bpr":
        raise InvalidArgumentError(
            "--objective bpr compares interactions with sampled negatives; --n-negatives must be at least 1"
        )
    if given.n_negatives == 0 and given.popularity_exponent:
        raise InvalidArgumentError(
            "--popularity-exponent applies to sampled negatives, and --n-negatives is 0; leave one of them"
            " out"
        )


def _require_in_batch(given: Settings) -> None:
    if not MODELS[str(given.model)].is_inner_product:
        able = [name for name, kind in MODELS.items() if kind.is_inner_product]
        raise InvalidArgumentError(
            f"--objective {IN_BATCH_SOFTMAX} needs a model whose score is an inner product, --model"
            f" {' or '.join(able)}; {given.model} is none"
        )
    for name in NEGATIVES_ONLY:
        if getattr(given, name):
            raise InvalidArgumentError(
                f"{flag(name)} does not apply to --objective {IN_BATCH_SOFTMAX}, whose negatives are the"
                " other items of a batch; leave it out"
            )


def implied_objective(given: Settings) -> str | None:
    """Return the objective that was given or that other options stand for; None leaves it to the defaults.

    A two-tower model stands for the in-batch softmax, unless negatives are to be sampled for it.
    """
    if given.objective is not None:
        return given.objective
    if any(getattr(given, name) is not None for name in SOFTMAX_ONLY):
        return IN_BATCH_SOFTMAX
    samples = any(getattr(given, name) for name in NEGATIVES_ONLY)
    return IN_BATCH_SOFTMAX if given.model == "two-tower" and not samples else None


def _fields(kind: type[Any]) -> set[str]:
    return {field.name for field in fields(kind)}
