"""Exact top-k, scores and the ranks of positives, worked out on a device in blocks of users.

The answers are those of the core: `mfcore.model`, `Model` and `mfcore.metrics`. The scores of the whole
catalogue leave the device only where they are asked for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfcore.engines import PositiveRanks
from mfcore.model import Model
from mfcore.specs import Floats
from mfcore.training import available_threads
from mfcore_torch import devices, ranking
from mfcore_torch.catalogue import PAIRS_AT_ONCE, Catalogue, Seen

# The scores of a block of users: on a CPU what its caches hold. Work on them takes up to six times as much.
BLOCK_BYTES = {"cpu": 1 << 24, "cuda": 1 << 27}
BLOCKS_AT_WORK = 6


class TopK:
    """A scorer of every model, for evaluation too.

    Parameters
    ----------
    model : Model
        Its parameters are brought to the device when they are first needed, and stay there.
    device : str, optional
        "auto", "cpu", "cuda" or one of several; by default the one that the model was trained on, or the CPU
        where that is gone.

    Raises
    ------
    InvalidArgumentError
        A device that this machine does not have.
    """

    def __init__(self, model: Model, device: str | None = None) -> None:
        if device is None:
            trained_on = str(model.training.get("device", "auto"))
            device = "cpu" if devices.unavailable(trained_on) else trained_on
        self.model = model
        self.device = devices.device_of(device)
        self.n_threads = available_threads()

    def top_k(self, users: NDArray[np.int64], k: int, exclude_seen: bool) -> tuple[NDArray[np.int64], Floats]:
        """Return items [n, k] and scores [n, k], best first; -1 and -inf where a list is shorter."""
        kept = min(k, self.model.n_items)
        items = np.full((len(users), k), -1, dtype=np.int64)
        scores = np.full((len(users), k), -np.inf, dtype=self._dtype)
        with self._at_work():
            for part, found in self._blocks(users):
                if exclude_seen:
                    found[self._seen.pairs(users[part])] = -torch.inf
                best, best_scores = ranking.best_columns(found, kept)
                items[part, :kept] = best.cpu().numpy()
                scores[part, :kept] = best_scores.cpu().numpy()
        return items, scores

    def score_pairs(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> Floats:
        """Return the score of each pair of rows, [n]; row -1 is a cold start."""
        with self._at_work():
            rows = self._rows(users, self.model.n_users), self._rows(items, self.model.n_items)
            scores: Floats = self._catalogue.score_pairs(*rows).cpu().numpy()
            return scores

    def score_catalogue(self, users: NDArray[np.integer]) -> Floats:
        """Return the score of every item, [n, n_items], for each user row; row -1 is a cold start."""
        scores: Floats = np.empty((len(users), self.model.n_items), dtype=self._dtype)
        with self._at_work():
            for part, found in self._blocks(users):
                torch.from_numpy(scores[part]).copy_(found)
        return scores

    def positive_ranks(
        self,
        users: NDArray[np.integer],
        rows: NDArray[np.int64],
        items: NDArray[np.int64],
        exclude_seen: bool,
    ) -> PositiveRanks | None:
        """Return where positives rank, as `EvaluationScorer` says, or None where a score is NaN."""
        lengths = np.bincount(rows, minlength=len(users))
        # Users of about as many positives are ranked together, those with the most first.
        order = np.argsort(-lengths, kind="stable")
        by_user = np.argsort(np.argsort(order)[rows], kind="stable")
        ends = np.concatenate(([0], np.cumsum(lengths[order])))
        n_higher, n_tied = np.empty((2, len(rows)), dtype=np.int64)
        n_candidates = np.empty(len(users), dtype=np.int64)
        with self._at_work():
            for part, scores in self._blocks(users[order]):
                if scores.amax().isnan():
                    return None
                ranked = order[part]
                positives = by_user[ends[part.start] : ends[part.stop]]
                excluded = self._seen.pairs(users[ranked]) if exclude_seen else None
                found = ranking.positive_ranks(scores, lengths[ranked], items[positives], excluded)
                n_higher[positives], n_tied[positives], n_candidates[ranked] = (
                    part.cpu().numpy() for part in found
                )
        return PositiveRanks(n_higher, n_tied, n_candidates)

    @property
    def _dtype(self) -> np.dtype[np.floating]:
        return next(iter(self.model.parameters.values())).dtype

    @cached_property
    def _catalogue(self) -> Catalogue:
        return Catalogue(self.model, self.device)

    @cached_property
    def _seen(self) -> Seen:
        return Seen(self.model.seen, self.device)

    def _blocks(self, users: NDArray[np.integer]) -> Iterator[tuple[slice, Tensor]]:
        """Score the catalogue for all users, a bounded number of them at a time, in the same memory."""
        kind, n_bytes = self.device.type, self.model.n_items * self._dtype.itemsize
        n_at_once = min(max(1, BLOCK_BYTES[kind] // n_bytes), PAIRS_AT_ONCE[kind], len(users))
        dtype = devices.DTYPES[self._dtype]
        block = torch.empty((n_at_once, self.model.n_items), dtype=dtype, device=self.device)
        rows = self._rows(users, self.model.n_users)
        for start in range(0, len(users), max(1, n_at_once)):
            part = slice(start, min(start + n_at_once, len(users)))
            scores = block[: part.stop - part.start]
            self._catalogue.score(rows[part], scores)
            yield part, scores

    def _rows(self, rows: NDArray[np.integer], cold: int) -> Tensor:
        return torch.from_numpy(np.where(rows < 0, cold, rows).astype(np.int64)).to(self.device)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Score exactly, on the threads that there are, and say what to do where memory is too small."""
        parameters = sum(array.nbytes for array in self.model.parameters.values())
        needed = {
            "parameters": parameters,
            "scores of a block of users": BLOCKS_AT_WORK * BLOCK_BYTES[self.device.type],
        }
        remedy = "let the core score, with dataclasses.replace(model, scorer=None)"
        with (
            devices.settings(self.n_threads),
            devices.memory_errors_explained(self.device, needed, remedy),
        ):
            yield
