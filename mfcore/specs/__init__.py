"""What a model is: specs, their output functions and their initial values."""

from mfcore.specs.base import ModelSpec, Parameter
from mfcore.specs.initializers import Constant, Initializer, Normal, Uniform
from mfcore.specs.mf import MF
from mfcore.specs.outputs import Linear, Output, RatingRange, ReLU, Sigmoid

MODELS: dict[str, type[ModelSpec]] = {spec.short_name: spec for spec in (MF,)}

__all__ = [
    "MF",
    "MODELS",
    "Constant",
    "Initializer",
    "Linear",
    "ModelSpec",
    "Normal",
    "Output",
    "Parameter",
    "RatingRange",
    "ReLU",
    "Sigmoid",
    "Uniform",
]
