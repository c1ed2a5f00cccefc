"""What a model is: specs, their output functions and their initial values."""

# Models are listed in the order in which they are defined, matrix factorisation first.
from mfcore.specs._mf import MF

# isort: split
from mfcore.settings import registered
from mfcore.specs._base import Arrays, Floats, ModelSpec, Parameter, Parameters, Rows
from mfcore.specs._branches import Branch, Product, Tower
from mfcore.specs._dense import ACTIVATIONS, LINEAR, Activation, Layer, Stack
from mfcore.specs._gmf import GMF
from mfcore.specs._initializers import Constant, GlorotUniform, Initializer, Normal, Uniform
from mfcore.specs._inner_product import Embeddings, InnerProduct, score_embeddings
from mfcore.specs._mlp import MLP
from mfcore.specs._ncf import BIAS, KERNEL, NCF
from mfcore.specs._neumf import NeuMF
from mfcore.specs._outputs import Linear, Output, RatingRange, ReLU, Sigmoid
from mfcore.specs._two_tower import TwoTower

MODELS = registered(ModelSpec)  # type: ignore[type-abstract]

__all__ = [
    "ACTIVATIONS",
    "BIAS",
    "GMF",
    "KERNEL",
    "LINEAR",
    "MF",
    "MLP",
    "MODELS",
    "NCF",
    "Activation",
    "Arrays",
    "Branch",
    "Constant",
    "Embeddings",
    "Floats",
    "GlorotUniform",
    "Initializer",
    "InnerProduct",
    "Layer",
    "Linear",
    "ModelSpec",
    "NeuMF",
    "Normal",
    "Output",
    "Parameter",
    "Parameters",
    "Product",
    "RatingRange",
    "ReLU",
    "Rows",
    "Sigmoid",
    "Stack",
    "Tower",
    "TwoTower",
    "Uniform",
    "score_embeddings",
]
