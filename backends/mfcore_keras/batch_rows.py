"""Which rows a batch uses: so that the gradients of a row are added up before it is moved."""

from typing import NamedTuple

import tensorflow as tf


class BatchRows(NamedTuple):
    """The rows of one side that a batch of n pairs uses.

    Attributes
    ----------
    rows : int tensor [n]
        Of each pair.
    owners : int tensor [n], or None
        The position of the pair that owns the row of each pair, one of those that use it; None where all
        rows of the side are moved.
    """

    rows: tf.Tensor
    owners: tf.Tensor | None

    def add_up(self, gradients: tf.Tensor, n_rows: int) -> tf.Tensor:
        """Return the sum over the pairs of each row of gradients [n, width].

        They stand at the owner's position, [n, width], and 0 elsewhere; or at the row's number,
        [n_rows, width], where all rows are moved.
        """
        if self.owners is None:
            return tf.math.unsorted_segment_sum(gradients, self.rows, n_rows)
        return tf.math.unsorted_segment_sum(gradients, self.owners, tf.size(self.owners))

    def mask(self, n_rows: int) -> tf.Tensor:
        """Return whether each row is used, bool [n_rows]."""
        return tf.scatter_nd(self.rows[:, None], tf.fill(tf.shape(self.rows), value=True), [n_rows])

    def written(self, padding_row: int) -> tf.Tensor:
        """Return where each pair writes, [n]: its row, or the padding row where it does not own that one."""
        return tf.where(self.owners == _positions(self.rows), self.rows, padding_row)


def find_owners(marks: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, BatchRows]:
    """Return the marks, and the rows with their owners: any one of the pairs that use a row.

    Parameters
    ----------
    marks : int tensor [n_rows]
        Anything: each pair marks its row with its own position, and the last mark is read back.
    rows : int tensor [n]
    """
    marks = tf.tensor_scatter_nd_update(marks, rows[:, None], _positions(rows))
    return marks, BatchRows(rows, tf.gather(marks, rows))


def _positions(rows: tf.Tensor) -> tf.Tensor:
    return tf.range(tf.size(rows, rows.dtype), dtype=rows.dtype)
