"""Exact top-k over the catalogue: scores by BLAS in blocks that stay in cache, then one pass per user.

The answers are those of `mfcore.model`: best first, equal scores by ascending item row.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from mfcore.model import Model, top_k
from mfcore.specs import Floats
from mfcore.training import available_threads
from mfcore_numba.compiling import compiled, single_threaded_blas, threads
from mfcore_numba.limits import Limits

# Users whose scores are worked out together, so that a block of item factors is read once for all of them.
USERS_AT_ONCE = 16
# Users answered between two returns to Python, where an interrupt is noticed.
CALL = 4096


class TopK:
    """A scorer of matrix factorisation.

    Parameters
    ----------
    model : Model
    limits : Limits, optional
    """

    def __init__(self, model: Model, limits: Limits | None = None) -> None:
        self.model = model
        self.longest = (limits or Limits()).longest_insertion
        self.n_threads = available_threads()

    def top_k(self, users: NDArray[np.int64], k: int, exclude_seen: bool) -> tuple[NDArray[np.int64], Floats]:
        """Return items [n, k] and scores [n, k], best first; -1 and -inf where a list is shorter."""
        if k > self.longest:
            seen_or_none = self.model.seen if exclude_seen else None
            return top_k(self.model.score_catalogue, users, k, self.model.n_items, seen_or_none)
        table = self.model.cold_filled
        rows = np.where(users < 0, self.model.n_users, users).astype(np.int64)
        item_factors = np.ascontiguousarray(table["item_factors"][: self.model.n_items])
        item_bias = table["item_bias"][: self.model.n_items] if "item_bias" in table else item_factors[:0, 0]
        items = np.empty((len(users), k), dtype=np.int64)
        scores = np.empty((len(users), k), dtype=item_factors.dtype)
        seen = self.model.seen
        indptr = seen.indptr if exclude_seen else np.zeros(0, dtype=np.int64)
        for start in range(0, len(users), CALL):
            part = slice(start, start + CALL)
            with threads(self.n_threads), single_threaded_blas():
                best_items(
                    np.ascontiguousarray(table["user_factors"][rows[part]]),
                    users[part],
                    item_factors,
                    np.ascontiguousarray(item_bias),
                    (indptr, seen.indices),
                    items[part],
                    scores[part],
                )
        if "user_bias" in table:
            scores += (table["global_bias"] + table["user_bias"][rows])[:, None]
        return items, scores


@compiled(parallel=True)
def best_items(user_factors, users, item_factors, item_bias, seen, items, scores):
    """Write the best items of each user and their scores, the user's own bias left out."""
    n_groups = (len(users) + USERS_AT_ONCE - 1) // USERS_AT_ONCE
    indptr, indices = seen
    for group in numba.prange(n_groups):
        best_of_group(user_factors, users, item_factors, item_bias, indptr, indices, items, scores, group)


@compiled()
def best_of_group(user_factors, users, item_factors, item_bias, indptr, indices, items, scores, group):
    """Do that for one group of users."""
    first = group * USERS_AT_ONCE
    stop = min(first + USERS_AT_ONCE, len(users))
    found = np.empty((stop - first, len(item_factors)), dtype=item_factors.dtype)
    np.dot(user_factors[first:stop], item_factors.T, found)
    excluded = item_factors.dtype.type(-np.inf)
    for position in range(first, stop):
        row = found[position - first]
        if len(item_bias):
            for item in range(len(row)):
                row[item] += item_bias[item]
        user = users[position]
        if user >= 0 and len(indptr):
            for entry in range(indptr[user], indptr[user + 1]):
                row[indices[entry]] = excluded
        select_best(row, items[position], scores[position])


@compiled()
def select_best(row, items, scores):
    """Write the best columns of a row: an insertion sort of what beats the last kept."""
    k, kept, threshold = len(items), 0, row.dtype.type(-np.inf)
    for column in range(len(row)):
        score = row[column]
        # A later column never displaces an equal score, which is the rule for ties.
        if score > threshold:
            position = min(kept, k - 1)
            while position > 0 and scores[position - 1] < score:
                scores[position], items[position] = scores[position - 1], items[position - 1]
                position -= 1
            scores[position], items[position] = score, column
            kept = min(kept + 1, k)
            if kept == k:
                threshold = scores[k - 1]
    for position in range(kept, k):
        scores[position], items[position] = -np.inf, -1
