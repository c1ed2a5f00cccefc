"""Scores on tensors, after `mfcore.specs`: from the rows of users and items and the dense parameters.

Rows and dense parameters come by the spec's names: a factor's rows are [n, width], a bias's [n].
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from mfcore.engines import TrainingJob
from mfcore.specs import (
    BIAS,
    GMF,
    KERNEL,
    MF,
    MLP,
    NCF,
    Arm,
    Layer,
    ModelSpec,
    NeuMF,
    Product,
    Stack,
    Tower,
    TwoTower,
)

SPECS = (MF, GMF, MLP, NeuMF, TwoTower)

Tensors: TypeAlias = Mapping[str, Tensor]
Multiply: TypeAlias = Callable[[Tensor, Tensor], Tensor]
# Of users and of items: ends, whose inner products are scores, and what is added to these for each row.
Ends: TypeAlias = tuple[Tensor, Tensor, Tensor | None, Tensor | None]


def unsupported(job: TrainingJob) -> str | None:
    """Return why the model is not known here, or None."""
    if type(job.spec) not in SPECS:
        return f"it has no form of {type(job.spec).__name__} on tensors; use backend='reference'"
    return None


def multiply_in_bfloat16(left: Tensor, right: Tensor) -> Tensor:
    """Return left @ right in the dtype of `left`, of factors rounded to bfloat16."""
    return (left.bfloat16() @ right.bfloat16()).to(left.dtype)


def score_rows(
    spec: ModelSpec, users: Tensors, items: Tensors, dense: Tensors, multiply: Multiply = torch.matmul
) -> Tensor:
    """Return the score of each pair of rows, [n].

    Parameters
    ----------
    spec : ModelSpec
        One of `SPECS`.
    users, items : mapping of name to Tensor [n, ...]
        The rows of each pair. A bias that is left out counts as 0.
    dense : mapping of name to Tensor
        The parameters without a side.
    multiply : callable
        The matrix product of dense layers.
    """
    if isinstance(spec, NCF) and not isinstance(spec, GMF):
        return _score_arms(spec, users, items, dense, multiply)
    of_users, of_items, user_offsets, item_offsets = ends(spec, users, items, dense, multiply)
    score = (of_users * of_items).sum(dim=1)
    for offsets in (user_offsets, item_offsets):
        score = score if offsets is None else score + offsets
    return score


def ends(
    spec: ModelSpec, users: Tensors, items: Tensors, dense: Tensors, multiply: Multiply = torch.matmul
) -> Ends:
    """Return what the scores of an inner-product model are made of: p . q + user offset + item offset.

    Returns
    -------
    of_users, of_items : Tensors [n, d], [m, d]
    user_offsets, item_offsets : Tensors [n], [m], or None for none
        Constants are with the users'.
    """
    if isinstance(spec, TwoTower):
        of_users = stack(spec.user_stack, users["user_factors"], dense, multiply)
        of_items = stack(spec.item_stack, items["item_factors"], dense, multiply)
        return of_users, of_items, None, None
    of_users, user_offsets = users["user_factors"], users.get("user_bias")
    constants = [dense[name] for name in ("global_bias", BIAS) if name in dense]
    if isinstance(spec, GMF):
        of_users = of_users * dense[KERNEL][:, 0]
    for constant in constants:
        user_offsets = constant.expand(len(of_users)) if user_offsets is None else user_offsets + constant
    return of_users, items["item_factors"], user_offsets, items.get("item_bias")


def stack(layers: Stack, inputs: Tensor, dense: Tensors, multiply: Multiply, first: int = 0) -> Tensor:
    """Return the outputs of the last layer, given the inputs of layer `first`."""
    for layer in layers.layers[first:]:
        # Compiled, a sum would become one operation with the product, at twice the time where that is small;
        # a difference becomes one with the activation.
        inputs = activate(layer, multiply(inputs, dense[layer.kernel]) - (-dense[layer.bias]))
    return inputs


def activate(layer: Layer, sums: Tensor) -> Tensor:
    """Return the layer's activation of its sums."""
    functions = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}
    return functions[layer.activation](sums) if layer.activation in functions else sums


def _score_arms(spec: NCF, users: Tensors, items: Tensors, dense: Tensors, multiply: Multiply) -> Tensor:
    features = [_features(arm, users, items, dense, multiply) for arm in spec.arms]
    together = features[0] if len(features) == 1 else torch.cat(features, dim=1)
    return (together @ dense[KERNEL])[:, 0] + dense[BIAS]


def _features(arm: Arm, users: Tensors, items: Tensors, dense: Tensors, multiply: Multiply) -> Tensor:
    p, q = users[arm.user_factors], items[arm.item_factors]
    if isinstance(arm, Product):
        return p * q
    assert isinstance(arm, Tower)
    return stack(arm.stack, torch.cat([p, q], dim=1), dense, multiply)
