"""Scores on tensors, after `mfcore.specs`: from the rows of users and items and the dense parameters.

Rows and dense parameters come by the spec's names: a factor's rows are [n, width], a bias's [n].
"""

from collections.abc import Mapping
from typing import TypeAlias

import tensorflow as tf

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

Tensors: TypeAlias = Mapping[str, tf.Tensor]
# Of users and of items: ends, whose inner products are scores, and what is added to these for each row.
Ends: TypeAlias = tuple[tf.Tensor, tf.Tensor, tf.Tensor | None, tf.Tensor | None]


def unsupported(job: TrainingJob) -> str | None:
    """Return why the model is not known here, or None."""
    if type(job.spec) not in SPECS:
        return f"it has no form of {type(job.spec).__name__} on tensors; use backend='reference'"
    return None


def score_rows(spec: ModelSpec, users: Tensors, items: Tensors, dense: Tensors) -> tf.Tensor:
    """Return the score of each pair of rows, [n].

    Parameters
    ----------
    spec : ModelSpec
        One of `SPECS`.
    users, items : mapping of name to tensor [n, ...]
        The rows of each pair. A bias that is left out counts as 0.
    dense : mapping of name to tensor
        The parameters without a side.
    """
    if isinstance(spec, NCF) and not isinstance(spec, GMF):
        return _score_arms(spec, users, items, dense)
    of_users, of_items, user_offsets, item_offsets = ends(spec, users, items, dense)
    score = tf.reduce_sum(of_users * of_items, axis=1)
    for offsets in (user_offsets, item_offsets):
        score = score if offsets is None else score + offsets
    return score


def ends(spec: ModelSpec, users: Tensors, items: Tensors, dense: Tensors) -> Ends:
    """Return what the scores of an inner-product model are made of: p . q + user offset + item offset.

    Returns
    -------
    of_users, of_items : tensors [n, d], [m, d]
    user_offsets, item_offsets : tensors [n] or [1], [m], or None for none
        Constants are with the users'.
    """
    if isinstance(spec, TwoTower):
        of_users = stack(spec.user_stack, users["user_factors"], dense)
        of_items = stack(spec.item_stack, items["item_factors"], dense)
        return of_users, of_items, None, None
    of_users, user_offsets = users["user_factors"], users.get("user_bias")
    if isinstance(spec, GMF):
        of_users = of_users * dense[KERNEL][:, 0]
    for name in ("global_bias", BIAS):
        if name in dense:
            user_offsets = dense[name] if user_offsets is None else user_offsets + dense[name]
    return of_users, items["item_factors"], user_offsets, items.get("item_bias")


def stack(layers: Stack, inputs: tf.Tensor, dense: Tensors) -> tf.Tensor:
    """Return the outputs of the last layer."""
    for layer in layers.layers:
        inputs = _activate(layer, inputs @ dense[layer.kernel] + dense[layer.bias])
    return inputs


def _activate(layer: Layer, sums: tf.Tensor) -> tf.Tensor:
    functions = {"relu": tf.nn.relu, "tanh": tf.tanh, "sigmoid": tf.sigmoid}
    return functions[layer.activation](sums) if layer.activation in functions else sums


def _score_arms(spec: NCF, users: Tensors, items: Tensors, dense: Tensors) -> tf.Tensor:
    features = [_features(arm, users, items, dense) for arm in spec.arms]
    together = features[0] if len(features) == 1 else tf.concat(features, axis=1)
    return (together @ dense[KERNEL])[:, 0] + dense[BIAS]


def _features(arm: Arm, users: Tensors, items: Tensors, dense: Tensors) -> tf.Tensor:
    p, q = users[arm.user_factors], items[arm.item_factors]
    if isinstance(arm, Product):
        return p * q
    assert isinstance(arm, Tower)
    return stack(arm.stack, tf.concat([p, q], axis=1), dense)
