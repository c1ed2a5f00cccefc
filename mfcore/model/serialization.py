"""Specs, objectives and optimizers as plain dictionaries, for model files and reports."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from mfcore import objectives, optimizers, specs
from mfcore.errors import ModelFileError
from mfcore.sampling import SamplingPlan

_CLASSES: tuple[type, ...] = (
    *specs.MODELS.values(),
    *(specs.Constant, specs.GlorotUniform, specs.Normal, specs.Uniform),
    *(specs.Linear, specs.ReLU, specs.Sigmoid, specs.RatingRange),
    *objectives.OBJECTIVES.values(),
    *optimizers.OPTIMIZERS.values(),
    optimizers.Schedule,
    SamplingPlan,
)
KINDS = {kind.__name__: kind for kind in _CLASSES}


def to_dict(settings: Any) -> dict[str, Any]:
    """Return a dataclass of settings as {"kind": its class, field: value, ...}, nested ones likewise."""
    return {
        "kind": type(settings).__name__,
        **{field.name: _plain(getattr(settings, field.name)) for field in fields(settings)},
    }


def from_dict(settings: Mapping[str, Any]) -> Any:
    """Return the dataclass that `to_dict` was given.

    Raises
    ------
    ModelFileError
        Unknown kind or field: written by a newer mfcore, or not by mfcore at all.
    """
    values = dict(settings)
    kind = values.pop("kind", None)
    if kind not in KINDS:
        raise ModelFileError(f"unknown kind of settings {kind!r}; a newer mfcore may have written it")
    try:
        return KINDS[kind](**{name: _rich(value) for name, value in values.items()})
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"settings of {kind} do not fit this mfcore: {error}") from error


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_dict(value)
    if isinstance(value, np.generic):
        return value.item()
    return list(value) if isinstance(value, tuple) else value


def _rich(value: Any) -> Any:
    if isinstance(value, Mapping):
        return from_dict(value)
    return tuple(value) if isinstance(value, list) else value
