"""SavedModels that recommend by themselves: served by TensorFlow, without this package and without Keras."""

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from mfcore.errors import UnsupportedError
from mfcore.operators import NUMPY
from mfcore.specs import Embeddings, InnerProduct
from mfcore.validation import require_integer

if TYPE_CHECKING:
    from mfcore.model import Model


def export_top_k(
    model: "Model", path: str | os.PathLike[str], k: int = 10, *, exclude_seen: bool = True
) -> None:
    """Write a SavedModel that maps user ids to the k best items of each, as `Model.recommend` does.

    Its signature "serving_default" takes "user_ids" [n], strings or int64 as the model's ids are, and gives
    "item_ids" [n, k] of the items' kind and "scores" [n, k], best first; ties are broken by ascending item
    row. A list that is shorter than k ends in scores of -inf, with empty strings or -1 for items. Users that
    are not known get the cold-start answer of `Model`.

    Parameters
    ----------
    model : Model
        Its score is an inner product: MF, GMF, TwoTower or one of your own.
    path : path
        A folder, made or written over.
    k : int
        At most the size of the catalogue.
    exclude_seen : bool
        Whether items of the user's training data are left out.

    Raises
    ------
    UnsupportedError
        Another model.
    """
    require_integer("export_top_k: k", k, 1, model.n_items)
    spec = model.spec
    if not isinstance(spec, InnerProduct):
        raise UnsupportedError(
            "an index of items needs a score that is an inner product, which that of"
            f" {type(spec).__name__} is not; export an MF, GMF or TwoTower, or the Keras model itself:"
            " model.to_keras().export(path)"
        )
    with tf.device("CPU:0"):
        index = _Index(model, spec, k, exclude_seen)
        ids = tf.TensorSpec([None], index.user_ids.key_dtype, name="user_ids")
        tf.saved_model.save(
            index, os.fspath(path), signatures={"serving_default": index.top_k.get_concrete_function(ids)}
        )


class _Index(tf.Module):  # type: ignore[misc]  # TensorFlow tells no types
    """Embeddings of all users and items, and the ids that they belong to."""

    def __init__(self, model: "Model", spec: InnerProduct, k: int, exclude_seen: bool) -> None:
        super().__init__(name="top_k")
        self.k = k
        users, items = _embeddings(model, spec)
        self.users, self.items = _kept(users.vectors), _kept(items.vectors)
        self.user_offsets, self.item_offsets = _kept(_offsets(users)), _kept(_offsets(items))
        # Users that are not known stand after the others.
        self.user_ids = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(_ids(model.user_ids.ids), np.arange(model.n_users)),
            default_value=model.n_users,
        )
        self.item_ids = _kept(_ids(model.item_ids.ids))
        seen = model.seen if exclude_seen else None
        none = np.zeros(0, dtype=np.int32)
        self.seen = _kept(none if seen is None else seen.indices.astype(np.int32))
        starts = np.zeros(model.n_users + 1, dtype=np.int64) if seen is None else seen.indptr
        self.seen_starts = _kept(np.append(starts, starts[-1]))
        self.top_k = tf.function(self._top_k, autograph=False)

    def _top_k(self, user_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = self.user_ids.lookup(user_ids)
        found = tf.matmul(tf.gather(self.users, rows), self.items, transpose_b=True)
        found += tf.gather(self.user_offsets, rows)[:, None] + self.item_offsets
        found = tf.tensor_scatter_nd_min(found, self._seen_by(rows), self._minus_infinity(rows))
        best, items = tf.math.top_k(found, self.k)
        item_ids = tf.gather(self.item_ids, items)
        nothing = tf.constant("" if item_ids.dtype == tf.string else -1, item_ids.dtype)
        return {"item_ids": tf.where(tf.math.is_inf(best), nothing, item_ids), "scores": best}

    def _seen_by(self, rows: tf.Tensor) -> tf.Tensor:
        """Return the places [m, 2] of the seen items in the matrix of the scores."""
        starts, counts = self._ranges(rows)
        of = tf.repeat(tf.range(tf.size(rows)), counts)
        within = tf.range(tf.size(of)) - tf.repeat(tf.cumsum(counts, exclusive=True), counts)
        items = tf.gather(self.seen, tf.repeat(starts, counts) + tf.cast(within, starts.dtype))
        return tf.stack([of, items], axis=1)

    def _minus_infinity(self, rows: tf.Tensor) -> tf.Tensor:
        _, counts = self._ranges(rows)
        return tf.fill([tf.reduce_sum(counts)], tf.constant(-np.inf, self.users.dtype))

    def _ranges(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return where each user's seen items begin, and how many there are."""
        starts = tf.gather(self.seen_starts, rows)
        return starts, tf.cast(tf.gather(self.seen_starts, rows + 1) - starts, tf.int32)


def _embeddings(model: "Model", spec: InnerProduct) -> tuple[Embeddings, Embeddings]:
    """Return those of all users, the unknown one after them, and of all items, on numpy."""
    users, items, dense = (spec.gather_side(model.catalogue, side) for side in ("user", "item", None))
    return spec.user_embeddings(NUMPY, users, dense), spec.item_embeddings(NUMPY, items, dense)


def _offsets(embeddings: Embeddings) -> Any:
    """Return the offset of each row, [n]."""
    vectors, offsets = embeddings
    return np.zeros(len(vectors), vectors.dtype) + (0 if offsets is None else offsets)


def _kept(values: Any) -> tf.Variable:
    return tf.Variable(values, trainable=False)


def _ids(ids: Any) -> Any:
    # TensorFlow does not know numpy's strings of any length.
    return ids if ids.dtype.kind == "i" else tf.constant(ids.tolist(), tf.string)
