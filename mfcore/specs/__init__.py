"""What a model is: specs, their output functions and their initial values."""

from mfcore.specs.base import ModelSpec, Parameter
from mfcore.specs.gmf import GMF
from mfcore.specs.initializers import Constant, GlorotUniform, Initializer, Normal, Uniform
from mfcore.specs.mf import MF
from mfcore.specs.mlp import MLP
from mfcore.specs.ncf import NCF
from mfcore.specs.neumf import NeuMF
from mfcore.specs.outputs import Linear, Output, RatingRange, ReLU, Sigmoid
from mfcore.specs.two_tower import TwoTower

MODELS: dict[str, type[ModelSpec]] = {spec.short_name: spec for spec in (MF, GMF, MLP, NeuMF, TwoTower)}

__all__ = [
    "GMF",
    "MF",
    "MLP",
    "MODELS",
    "NCF",
    "Constant",
    "GlorotUniform",
    "Initializer",
    "Linear",
    "ModelSpec",
    "NeuMF",
    "Normal",
    "Output",
    "Parameter",
    "RatingRange",
    "ReLU",
    "Sigmoid",
    "TwoTower",
    "Uniform",
]
