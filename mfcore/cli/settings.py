"""The options that make a model and its training: the fields of all models, objectives and optimizers.

They are read off the registered classes, a person's own included: the name, type and default of a field, and
what the docstring says of it under "Attributes". What several classes of a family have is one option. What
stands here is what a field cannot say, and the arguments of `fit`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import partial
from inspect import Parameter, cleandoc
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mfcore.cli.console import format_setting
from mfcore.cli.defaults import default_of
from mfcore.cli.options import FAMILIES, Check, Names, at_least, flag, kinds_of, opt
from mfcore.errors import InvalidArgumentError
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import ACTIVATIONS, LINEAR

Kinds = Mapping[str, type[Any]]

METAVARS = {int: "N", float: "X", bool: None, str: "NAME", tuple: "64,32,16,8"}
OUTPUTS = ("linear", "relu", "sigmoid", "range", "range-sigmoid")
DTYPES = ("float32", "float64")

# Where the docstrings of the fields say nothing, or nothing to one who types.
HELP = {
    "model": "One of: {names}. Default: mf",
    "n_factors": f"Length of the factors. {default_of('n_factors')}",
    "layers": "Widths of the layers: of mlp and neumf first that of a user's and an item's factors together,"
    " by default 8, 4, 2 and 1 times --n-factors; of two-tower those after the factors, by default none.",
    "activation": "Of the layers: {names}. Default: relu",
    "fusion": "One of: concat, projected (the layers' end is brought to --n-factors). Default: concat",
    "biases": "Biases of users and items. Default: yes for ratings.",
    "output": "From score to prediction: {names}. Default: range for ratings.",
    "init_std": "Standard deviation of the initial factors.",
    "objective": "One of: {names}. Default: that of the recipes above.",
    "temperature": "What scores are divided by. Default: 1",
    "logq": "Correct for popular items' being in batches more often. Default: yes; the TFRS tutorial: no",
    "remove_accidental_hits": "Whether an item is no negative of its own in a batch that shows it twice."
    " Default: remove; the TFRS tutorial: keep",
    "optimizer": "One of: {names}. Default: sgd for ratings, wals for implicit data, adam for neural models,"
    " adagrad for the in-batch softmax.",
    "learning_rate": "Size of a step.",
    "l2": f"Weight of the regularisation. {default_of('l2')}",
    "l2_dense": "The same for the kernels of dense layers. Default: 0",
    "momentum": "How much of the velocity stays, in [0, 1). Default: 0",
    "nesterov": "Look ahead by the momentum. Default: no",
    "initial_accumulator": "Where the sum of squares starts. Default: 0.1; of the in-batch softmax that by"
    " the square of the batch size, which is 0.1 for a sum over the batch.",
    "epsilon": "What is added to the root that a step is divided by.",
    "rho": "How much of the mean square stays, in [0, 1). Default: 0.9",
    "beta_1": "How much of the first moment stays, in [0, 1). Default: 0.9",
    "beta_2": "How much of the second moment stays, in [0, 1). Default: 0.999",
    "weight_decay": "Decoupled decay. Default: 0.01",
    "unobserved_weight": "Weight of pairs without an interaction; makes data implicit. Default: 0.3 for"
    " implicit data, 0 for ratings.",
    "nu": "l2 grows with the interactions of a row to this power. Default: 1",
    "solver": "Of the system of each row: {names}. Default: cholesky",
    "zero_pairs": "The pairs that the unobserved weight is for: {names}. Default: all",
    "epochs": f"Epochs in all. {default_of('epochs')}",
    "batch_size": "Instances of a step. Not for wals.",
    "n_negatives": "So many negatives for each interaction; makes data implicit. Not for wals.",
    "popularity_exponent": "Draw a negative with a chance proportional to its interactions to this power."
    " Default: 0, all alike.",
    "seed": "Of the split, the initial values and the samples. Default: 0",
    "dtype": "float32 (default) or float64.",
}
SWITCHES = {"remove_accidental_hits": "--remove-accidental-hits/--keep-accidental-hits"}
NAMES = {"activation": tuple(name for name in ACTIVATIONS if name != LINEAR)}
REASONS = {("n_factors", "mlp"): ", whose factors are half as wide as the first of --layers"}
# A refusal names the classes that an option applies to, up to so many.
MOST_NAMED = 5
# Options of the commands. A field of such a name, or of one that another family has, is set by an option that
# begins with the name of its class.
COMMANDS_OWN = (
    *("alpha", "as_json", "backend", "backends", "batch_size", "choose_on_test", "columns", "data", "device"),
    *(
        "dtype",
        "duplicates",
        "epochs",
        "help",
        "init_std",
        "k",
        "metric",
        "min_count",
        "model",
        "n_negatives",
    ),
    *("objective", "optimizer", "out", "output", "patience", "plugin", "popularity_exponent", "resume"),
    *("pretrained_gmf", "pretrained_mlp", "recommend_for", "seed", "seeds", "split", "string_ids", "test"),
    *("threads", "validation"),
)


@dataclass(frozen=True)
class Setting:
    """An option of a model or its training: of its owners, classes of a family by name, or of all."""

    name: str  # with underscores
    panel: str  # the heading under which it stands
    type: Any  # int, float, bool, str, or tuple of int
    help: str
    names: Names | None = None
    check: Check | None = None
    family: str = ""
    owners: Kinds | None = None
    field: str = ""  # its name in the owners

    def parameter(self) -> Parameter:
        """Return the option as a parameter of a command."""
        flags = flag(self.name)
        if self.type is bool:
            flags = SWITCHES.get(self.name, f"{flags}/--no-{flags[2:]}")
        check = _widths if self.type is tuple else self.check
        info = opt(self.help, METAVARS[self.type], flags, names=self.names, check=check)
        hint = (str if self.type is tuple else self.type) | None
        return Parameter(self.name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[hint, info])

    def require_owner(self, chosen: str) -> None:
        """Raise InvalidArgumentError unless the option goes with the class of a name."""
        option, owners, family = flag(self.name), self.owners, self.family
        if owners is None or chosen in owners:
            return
        if len(owners) > MOST_NAMED:
            raise InvalidArgumentError(
                f"{option} does not apply to --{family} {chosen}; leave it out, or choose another {family}"
            )
        why = REASONS.get((self.name, chosen), "")
        raise InvalidArgumentError(
            f"{option} applies to --{family} {' or '.join(owners)}, not to {chosen}{why}; leave it out"
        )


def is_foreign(kind: type[Any]) -> bool:
    """Return whether a class is a person's own."""
    return kind.__module__.partition(".")[0] != "mfcore"


def all_settings() -> dict[str, Setting]:
    """Return every setting by name, in the order in which settings are shown."""
    of_fields = _field_settings()
    names: dict[str, Names] = {family: partial(kinds_of, family) for family in FAMILIES}
    names |= {"output": lambda: OUTPUTS, "dtype": lambda: DTYPES}
    with_output, with_init = _owners("model", _has("output")), _owners("model", _has("init"))
    by_gradient = _owners("optimizer", lambda kind: issubclass(kind, GradientOptimizer))

    def one(name: str, panel: str, kind: type[Any], **more: Any) -> Setting:
        return Setting(name, panel, kind, HELP[name], names.get(name), **more)

    found = [
        one("model", "model", str),
        *of_fields["model"],
        one("output", "model", str, **with_output),
        one("init_std", "model", float, **with_init),
        one("objective", "objective", str),
        *of_fields["objective"],
        one("optimizer", "optimizer", str),
        *of_fields["optimizer"],
        one("epochs", "training", int, check=at_least(1)),
        one("batch_size", "training", int, **by_gradient),
        one("n_negatives", "training", int, **by_gradient),
        one("popularity_exponent", "training", float, **by_gradient),
        one("seed", "training", int, check=at_least(0)),
        one("dtype", "training", str),
    ]
    return {setting.name: setting for setting in found}


def _owners(family: str, able: Callable[[type[Any]], bool]) -> dict[str, Any]:
    return {"family": family, "owners": {name: kind for name, kind in kinds_of(family).items() if able(kind)}}


def _has(field: str) -> Callable[[type[Any]], bool]:
    return lambda kind: any(one.name == field for one in fields(kind))


def _field_settings() -> dict[str, list[Setting]]:
    """Return the settings that are fields, by family."""
    kinds = [(family, name, kind) for family in FAMILIES for name, kind in kinds_of(family).items()]
    claims: dict[str, Any] = dict.fromkeys(COMMANDS_OWN)
    owners: dict[str, dict[str, type[Any]]] = {}
    # The built-in classes have the first claim to a name.
    for family, short_name, kind in sorted(kinds, key=lambda entry: is_foreign(entry[2])):
        for field, typing in _typings(kind).items():
            claim = (family, field, *typing)
            prefixed = f"{short_name.replace('-', '_')}_{field}"
            option = field if claims.setdefault(field, claim) == claim else prefixed
            claims[option] = claim
            owners.setdefault(option, {})[short_name] = kind
    found: dict[str, list[Setting]] = {family: [] for family in FAMILIES}
    for option, able in owners.items():
        family, field, kind, names = claims[option]
        names = NAMES.get(option, names)
        text = HELP.get(option) or _documented(field, able)
        if len(able) < len(FAMILIES[family]):
            text += f"{'' if text.endswith('.') else '.'} For {', '.join(able)}."
        choices = None if names is None else partial(tuple, names)
        found[family].append(Setting(option, family, kind, text, choices, None, family, able, field))
    return found


def _documented(field: str, owners: Kinds) -> str:
    """Return what the docstrings of its classes say of a field, or else its type there; and its default."""
    text = ""
    for base in reversed(next(iter(owners.values())).__mro__):
        doc = cleandoc(base.__dict__.get("__doc__") or "")
        section = doc.partition("Attributes\n----------\n")[2].partition("\n\n")[0]
        for names, typed, said in re.findall(r"^(\w.*?) : (.*)((?:\n +.*)*)", section, re.MULTILINE):
            if field in names.split(", "):
                text = " ".join(re.sub(r":\w+:`([^`]*)`|`", r"\1", said or typed).split()).rstrip(".")
    values = [one.default for kind in owners.values() for one in fields(kind) if one.name == field]
    defaults = {"" if value is MISSING else f" Default: {format_setting(value)}" for value in values}
    text = text or field.replace("_", " ")
    return f"{text[:1].upper()}{text[1:]}.{defaults.pop() if len(defaults) == 1 else ''}"


def _typings(kind: type[Any]) -> dict[str, tuple[Any, tuple[str, ...] | None]]:
    """Return the types of those fields of a class that can be typed, with the names that may be."""
    hints = get_type_hints(kind)
    found = {field.name: _typing(hints[field.name]) for field in fields(kind) if field.init}
    return {name: typing for name, typing in found.items() if typing is not None}


def _typing(hint: Any) -> tuple[Any, tuple[str, ...] | None] | None:
    for one in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        arguments = get_args(one)
        if one in (int, float, bool, str):
            return one, None
        if get_origin(one) is Literal and all(isinstance(name, str) for name in arguments):
            return str, arguments
        if get_origin(one) is tuple and arguments == (int, ...):
            return tuple, None
    return None


def _widths(option: str, text: str) -> tuple[int, ...]:
    """Return positive integers such as "64,32,16,8"."""
    widths = [width.strip() for width in text.split(",")]
    if not all(width.isascii() and width.isdigit() and int(width) >= 1 for width in widths):
        raise InvalidArgumentError(
            f"{option} is {text!r}; it must be widths from 1, divided by commas, such as 64,32,16,8"
        )
    return tuple(map(int, widths))
