"""Which rows a batch touches: so that the gradients of a row are added up before it is moved."""

from typing import NamedTuple

import tensorflow as tf


class Touched(NamedTuple):
    """The rows of one side that a batch of n pairs touches.

    Attributes
    ----------
    rows : int tensor [n]
        Of each pair.
    owners : int tensor [n], or None
        The place of the pair that owns the row of each pair, one of those that touch it; None where all rows
        of the side are moved.
    """

    rows: tf.Tensor
    owners: tf.Tensor | None

    def add_up(self, gradients: tf.Tensor, n_rows: int) -> tf.Tensor:
        """Return the sum over the pairs of each row of gradients [n, width].

        They stand at the owner's place, [n, width], and 0 elsewhere; or at the row's number,
        [n_rows, width], where all rows are moved.
        """
        if self.owners is None:
            return tf.math.unsorted_segment_sum(gradients, self.rows, n_rows)
        return tf.math.unsorted_segment_sum(gradients, self.owners, tf.size(self.owners))

    def mask(self, n_rows: int) -> tf.Tensor:
        """Return whether each row is touched, bool [n_rows]."""
        return tf.scatter_nd(self.rows[:, None], tf.fill(tf.shape(self.rows), value=True), [n_rows])

    def kept(self, nobody: int) -> tf.Tensor:
        """Return the rows, [n], with that of nobody where a pair does not own its row."""
        return tf.where(self.owners == _places(self.rows), self.rows, nobody)


def touch(marks: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, Touched]:
    """Return the marks, and the rows with their owners: any one of the pairs that touch a row.

    Parameters
    ----------
    marks : int tensor [n_rows]
        Anything: each pair marks its row with its own place, and the last mark is read back.
    rows : int tensor [n]
    """
    marks = tf.tensor_scatter_nd_update(marks, rows[:, None], _places(rows))
    return marks, Touched(rows, tf.gather(marks, rows))


def _places(rows: tf.Tensor) -> tf.Tensor:
    return tf.range(tf.size(rows, rows.dtype), dtype=rows.dtype)
