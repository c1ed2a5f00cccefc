"""What is read off a block of scores on its device: the best columns of each row, and the ranks of some."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Columns of which only the largest is looked at first.
CHUNK = 64
# From this many ranks in a row on, sorting it once is cheaper than counting through it for each.
WORTH_A_SORT = 24


def best_columns(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k best columns of each row; ties are broken by ascending column.

    Parameters
    ----------
    scores : Tensor [n, m], without NaN
        A score of -inf excludes its column.
    k : int from 1 to m

    Returns
    -------
    columns : int64 Tensor [n, k], -1 where a row has fewer than k columns to offer
    scores : Tensor [n, k], -inf there
    """
    found, columns = _largest(scores, min(k + 1, scores.shape[1]))
    if k < scores.shape[1]:
        # Which of equal scores topk finds is not defined; it matters where they lie on both sides of the cut.
        edge, next_best = found[:, k - 1], found[:, k]
        cut = torch.nonzero((edge == next_best) & (edge > -torch.inf))[:, 0]
        found, columns = found[:, :k], columns[:, :k]
        if len(cut):
            columns[cut] = _first_at_edge(scores[cut], edge[cut], k)
    columns = columns.sort(dim=1).values
    found, order = scores.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return columns.gather(1, order).masked_fill_(found == -torch.inf, -1), found


def _largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest scores of each row and columns of theirs.

    The k largest lie in the k chunks of columns of largest maximum, or in the columns beyond the last chunk.
    """
    n_rows, n_columns = scores.shape
    n_chunks = n_columns // CHUNK
    if n_chunks < 4 * k:
        found, columns = scores.topk(k, dim=1)
        return found, columns
    in_chunks = n_chunks * CHUNK
    maxima = scores[:, :in_chunks].reshape(n_rows, n_chunks, CHUNK).amax(dim=2)
    chunks = maxima.topk(k, dim=1, sorted=False).indices
    within = torch.arange(CHUNK, device=scores.device)
    beyond = torch.arange(in_chunks, n_columns, device=scores.device)
    columns = torch.cat([(chunks[:, :, None] * CHUNK + within).flatten(1), beyond.expand(n_rows, -1)], dim=1)
    found, positions = scores.gather(1, columns).topk(k, dim=1)
    return found, columns.gather(1, positions)


def _first_at_edge(scores: Tensor, edge: Tensor, k: int) -> Tensor:
    """Return the columns above each row's edge, and the first of those at it, [n, k] in all."""
    n_columns = scores.shape[1]
    level = (scores > edge[:, None]).int() + (scores >= edge[:, None]).int()
    order = level * n_columns - torch.arange(n_columns, dtype=torch.int32, device=scores.device)
    return order.topk(k, dim=1).indices


def positive_ranks(
    scores: Tensor,
    lengths: NDArray[np.int64],
    columns: NDArray[np.int64],
    excluded: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return where some columns rank in their rows, as `mfcore.engines.PositiveRanks` says.

    Parameters
    ----------
    scores : Tensor [n, m], without NaN
        Is overwritten.
    lengths : int64 array [n]
        How many columns are asked for in each row, falling.
    columns : int64 array [p]
        These columns, row after row, each once in a row.
    excluded : pair of int64 Tensors, or None
        Rows and columns of scores that are no candidates, unless they are asked for.

    Returns
    -------
    n_higher, n_tied : int64 Tensors [p]
        How many candidates of its row score higher than each, and how many the same.
    n_candidates : int64 Tensor [n]
    """
    within = np.arange(len(columns)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    asked = np.stack([np.repeat(np.arange(len(lengths)), lengths), columns, within])
    rows, asked_columns, slots = torch.from_numpy(asked).to(scores.device)
    values = scores[rows, asked_columns]
    n_candidates = torch.full((len(scores),), scores.shape[1], device=scores.device)
    if excluded is not None:
        scores[rows, asked_columns] = torch.nan
        n_candidates.index_add_(0, excluded[0], scores[excluded].isnan().long() - 1)
        scores[excluded] = -torch.inf
        scores[rows, asked_columns] = values
    table = scores.new_full((len(scores), int(lengths.max(initial=0))), torch.nan)
    table[rows, slots] = values
    n_higher, at_least = (counts[rows, slots] for counts in _counts(scores, lengths, table))
    # What is excluded stands at -inf too.
    at_least = torch.where(values == -torch.inf, n_candidates[rows], at_least)
    return n_higher, at_least - n_higher, n_candidates


def _counts(scores: Tensor, lengths: NDArray[np.int64], values: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many scores of its row are above each value [n, longest], and how many are not below it."""
    above, at_least = (torch.zeros(values.shape, dtype=torch.int64, device=scores.device) for _ in "><")
    n_sorted = int(np.count_nonzero(lengths >= WORTH_A_SORT))
    if n_sorted:
        ascending, sought = _sorted(scores[:n_sorted]), values[:n_sorted]
        above[:n_sorted] = scores.shape[1] - torch.searchsorted(ascending, sought, side="right")
        at_least[:n_sorted] = scores.shape[1] - torch.searchsorted(ascending, sought, side="left")
    # Sums of ones are exact up to 2^24 in float32, which compares and adds up faster than truth values.
    ones = torch.float32 if scores.shape[1] < 1 << 24 else torch.float64
    outcomes = torch.empty_like(scores[n_sorted:], dtype=ones)
    for slot in range(int(lengths[n_sorted:].max(initial=0))):
        some = slice(n_sorted, int(np.count_nonzero(lengths > slot)))
        outcome, level = outcomes[: some.stop - some.start], values[some, slot, None]
        above[some, slot] = torch.gt(scores[some], level, out=outcome).sum(dim=1).long()
        at_least[some, slot] = torch.ge(scores[some], level, out=outcome).sum(dim=1).long()
    return above, at_least


def _sorted(scores: Tensor) -> Tensor:
    """Return each row in ascending order."""
    if scores.device.type == "cpu":
        # Some ten times as fast as torch's, which gives the columns as well.
        return torch.from_numpy(np.sort(scores.numpy(), axis=1))
    return scores.sort(dim=1).values
