"""Entries of sparse matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mfcore.data._ids import Vocabulary
from mfcore.data._raw import RawInteractions
from mfcore.errors import InvalidDataError

if TYPE_CHECKING:
    from mfcore.data._columns import Column


def matrix_entries(
    matrix: Any, user_ids: Vocabulary | Column | None, item_ids: Vocabulary | Column | None
) -> RawInteractions:
    """Return the explicit entries of a matrix; the arguments are those of `Interactions.from_scipy`."""
    from scipy import sparse

    is_sparse: bool = sparse.issparse(matrix)
    if not is_sparse or matrix.ndim != 2:
        raise InvalidDataError(
            f"matrix is a {type(matrix).__name__}; from_scipy takes two-dimensional scipy.sparse: wrap a "
            "dense array in scipy.sparse.coo_array to take its non-zero entries"
        )
    entries = matrix.tocoo()
    users, user_vocabulary = _matrix_axis(entries.row, user_ids, matrix.shape[0], "user_ids", "rows")
    items, item_vocabulary = _matrix_axis(entries.col, item_ids, matrix.shape[1], "item_ids", "columns")
    return RawInteractions(
        None, users, items, entries.data, user_ids=user_vocabulary, item_ids=item_vocabulary
    )


def _matrix_axis(
    index: npt.NDArray[Any], ids: Vocabulary | Column | None, length: int, name: str, axis: str
) -> tuple[npt.NDArray[Any], Vocabulary]:
    """Return the ids of matrix entries along one axis, and the vocabulary of the whole axis."""
    if ids is None:
        vocabulary = Vocabulary.range(length)
        return index, vocabulary
    if isinstance(ids, Vocabulary):
        vocabulary, rows = ids, np.arange(len(ids), dtype=np.int32)
    else:
        vocabulary, rows = Vocabulary.build(ids, name)
    if len(rows) != length:
        raise InvalidDataError(f"{name} has {len(rows):,} ids, but the matrix has {length:,} {axis}")
    if len(vocabulary) != length:
        repeated = vocabulary[int(np.argmax(np.bincount(rows) > 1))]
        raise InvalidDataError(
            f"{name} contains {repeated!r} more than once; each of the {axis} needs its own id"
        )
    return vocabulary.ids[rows[index]], vocabulary
