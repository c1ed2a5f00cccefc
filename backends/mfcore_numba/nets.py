"""From a spec to what kernels score: which rows are multiplied, and which go through which layers."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfcore.specs import (
    BIAS,
    GMF,
    KERNEL,
    LINEAR,
    MF,
    MLP,
    NCF,
    Layer,
    ModelSpec,
    NeuMF,
    Product,
    Tower,
    TwoTower,
)
from mfcore_numba import layers
from mfcore_numba.store import ABSENT, ParameterStore, like

# What a subclass of a built-in model may define without scoring in a way that kernels do not know.
SCORING = (
    *("parameters", "score", "branches", "user_embeddings", "item_embeddings"),
    *("user_stack", "item_stack", "_features", "_stack"),
)


class Net(NamedTuple):
    """What scores are made of.

    A kernel is compiled for what there is: what is None costs neither time nor code.

    Attributes
    ----------
    by_sides : True or None
        Whether each side goes through a tower of its own.
    product, tower : rows, or None
        Of no rows, as wide as the factors of the product and of the tower.
    tower_at : int
        Where the tower's factors begin in a row; the product's begin at 0.
    biases : (array [n_users], array [n_items], number), or None
        Of users, of items, and the constant.
    dense, transposed : arrays [n_dense]
        The parameters, and the transposed kernels of all layers; see `layers.transpose`.
    layers : int64 [n_layers, 4]
        Of the tower over a pair's rows, its last one the output unit; see `layers.describe`.
    user_layers, item_layers : the same
        Of the towers over each side's rows.
    kernel : int
        Where the weights of the product's features begin in `dense`; ABSENT where they are all 1.
    shift : int
        Where the constant stands that is added to the score of a model without a tower, or ABSENT.
    """

    by_sides: Any
    product: Any
    tower: Any
    tower_at: int
    biases: Any
    dense: Any
    transposed: Any
    layers: NDArray[np.int64]
    user_layers: NDArray[np.int64]
    item_layers: NDArray[np.int64]
    kernel: int
    shift: int


def scores_as(spec: ModelSpec, model: type[ModelSpec]) -> bool:
    """Return whether a spec is of a built-in model, or of a subclass that has left its score as it is."""
    kind = type(spec)
    if not isinstance(spec, model):
        return False
    derived = kind.__mro__[: kind.__mro__.index(model)]
    return not any(name in vars(one) for one in derived for name in SCORING)


def unsupported_model(spec: ModelSpec) -> str | None:
    """Return why there are no kernels for a spec, or None."""
    if not any(scores_as(spec, model) for model in (MF, GMF, MLP, NeuMF, TwoTower)):
        return (
            "it compiles kernels of its own for the built-in models, and has none for the score of"
            f" {type(spec).__name__}; use backend='torch', 'keras' or 'reference'"
        )
    for layer in _layers_of(spec):
        if layer.activation not in layers.ACTIVATIONS:
            return (
                f"its layers know the activations {', '.join(layers.ACTIVATIONS)}, and not"
                f" {layer.activation!r}; use backend='torch', 'keras' or 'reference'"
            )
    return None


def make_net(store: ParameterStore, *, by_sides: bool) -> Net:
    """Return the description of what a job's scores are made of.

    Parameters
    ----------
    store : ParameterStore
    by_sides : bool
        Whether each side goes through a tower of its own.
    """
    job, layout = store.job, store.layout
    spec, dtype, begins = job.spec, job.dtype, layout.dense.offsets
    product, tower = _factors(spec, by_sides=by_sides)
    widths = dict(zip(layout.users.names, layout.users.sizes, strict=True))
    biases = None
    if "user_bias" in job.parameters:
        constant = dtype.type(job.parameters["global_bias"][0])
        # Sliced, whether packed or not: kernels see them as of one kind.
        biases = (store.column("user_bias")[::1], store.column("item_bias")[::1], constant)
    none = layers.describe((), begins)
    whole, user_layers, item_layers, kernel, shift = none, none, none, ABSENT, ABSENT
    if isinstance(spec, TwoTower):
        user_layers, item_layers = (
            layers.describe(stack.layers, begins) for stack in (spec.user_stack, spec.item_stack)
        )
    elif isinstance(spec, NCF):
        kernel = begins[KERNEL] if any(isinstance(branch, Product) for branch in spec.branches) else ABSENT
        towers = [branch for branch in spec.branches if isinstance(branch, Tower)]
        whole = _with_output(towers[0], begins) if towers else none
        shift = ABSENT if towers else begins[BIAS]
    n_dense = layout.dense.width
    return Net(
        by_sides=by_sides or None,
        product=like(widths[product], dtype) if product else None,
        tower=like(widths[tower], dtype) if tower else None,
        tower_at=layout.users.offsets[tower] if tower else 0,
        biases=biases,
        dense=store.dense[:n_dense],
        transposed=np.zeros(n_dense, dtype=dtype),
        layers=whole,
        user_layers=user_layers,
        item_layers=item_layers,
        kernel=kernel,
        shift=shift,
    )


def _factors(spec: ModelSpec, *, by_sides: bool) -> tuple[str | None, str | None]:
    """Return the names of the users' factors that are multiplied, and of those that go through a tower."""
    if by_sides:
        return None, "user_factors"
    if isinstance(spec, NCF):
        found = {type(branch): branch.user_factors for branch in spec.branches}
        return found.get(Product), found.get(Tower)
    return "user_factors", None


def _layers_of(spec: ModelSpec) -> Iterator[Layer]:
    if isinstance(spec, TwoTower):
        yield from (*spec.user_stack.layers, *spec.item_stack.layers)
    elif isinstance(spec, NCF):
        for branch in spec.branches:
            if isinstance(branch, Tower):
                yield from branch.stack.layers


def _with_output(tower: Tower, begins: dict[str, int]) -> NDArray[np.int64]:
    """Return a tower's layers, with the output unit as their last."""
    output = Layer("output", tower.n_features, 1, LINEAR)
    # The tower's part of the output kernel stands behind the product's, and the bias behind both.
    return layers.describe((*tower.stack.layers, output), {**begins, KERNEL: begins[BIAS] - tower.n_features})
