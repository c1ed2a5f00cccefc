"""A trained model's parameters on a device, and the scores there of pairs and of the whole catalogue."""

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfcore.data import SeenItems
from mfcore.model import Model
from mfcore.specs import BIAS, KERNEL, NCF, Embeddings, InnerProduct, ModelSpec, Product, Tower
from mfcore_torch.operators import OPERATORS

# Pairs whose layers are worked out together: what a CPU's caches hold, or what a CUDA device does at a time.
PAIRS_AT_ONCE = {"cpu": 1 << 14, "cuda": 1 << 18}


class Catalogue:
    """Users and items with their average ones as one more row at the end, the dense parameters, the scores.

    Parameters
    ----------
    model : Model
        Of any spec.
    device : torch.device

    Attributes
    ----------
    users, items : dict of str to Tensor [n_users + 1, ...], [n_items + 1, ...]
    dense : dict of str to Tensor
        The parameters without a side.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        self.spec = model.spec
        self.n_items = model.n_items
        self.device = device
        layout = model.spec.parameters(model.n_users, model.n_items)
        self.users, self.items, self.dense = (
            {
                name: tensor_of(array, device)
                for name, array in model.cold_filled.items()
                if layout[name].side == side
            }
            for side in ("user", "item", None)
        )

    def score_pairs(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the score of each pair, [n]; rows are int64 [n], the last one the average user or item."""
        n_at_once = PAIRS_AT_ONCE[self.device.type]
        scores = [
            self._score(_rows(self.users, some_users), _rows(self.items, some_items))
            for some_users, some_items in zip(
                torch.split(users, n_at_once), torch.split(items, n_at_once), strict=True
            )
        ]
        return torch.cat(scores)

    def score(self, users: Tensor, scores: Tensor) -> None:
        """Write the score of every item for each user to `scores`, [n, n_items]; rows are int64 [n]."""
        chosen = _rows(self.users, users)
        if isinstance(self.spec, InnerProduct):
            self._score_embeddings(self.spec, chosen, scores)
        elif _has_known_branches(self.spec):
            assert isinstance(self.spec, NCF)
            self._score_branches(self.spec, chosen, scores)
        else:
            self._score_every_pair(users, scores)

    def _score(self, users: dict[str, Tensor], items: dict[str, Tensor]) -> Tensor:
        scores: Tensor = self.spec.score(OPERATORS, users, items, self.dense)
        return scores

    def _score_every_pair(self, users: Tensor, scores: Tensor) -> None:
        """Write the scores of a model of which no more is known than the score of a pair."""
        n_at_once = max(1, PAIRS_AT_ONCE[self.device.type] // max(1, len(users)))
        for some in torch.arange(self.n_items, device=self.device).split(n_at_once):
            pairs = users.repeat_interleave(len(some)), some.repeat(len(users))
            found = self._score(_rows(self.users, pairs[0]), _rows(self.items, pairs[1]))
            scores[:, some[0] : some[-1] + 1] = found.view(len(users), -1)

    def _score_embeddings(self, spec: InnerProduct, users: dict[str, Tensor], scores: Tensor) -> None:
        of_users, of_items = spec.user_embeddings(OPERATORS, users, self.dense), self._item_embeddings
        if of_items.offsets is None:
            torch.mm(of_users.vectors, of_items.vectors.T, out=scores)
        else:
            torch.addmm(of_items.offsets, of_users.vectors, of_items.vectors.T, out=scores)
        if of_users.offsets is not None:
            scores += of_users.offsets[:, None]

    @cached_property
    def _item_embeddings(self) -> Embeddings:
        assert isinstance(self.spec, InnerProduct)
        every_item = {name: rows[:-1] for name, rows in self.items.items()}
        return self.spec.item_embeddings(OPERATORS, every_item, self.dense)

    def _score_branches(self, spec: NCF, users: dict[str, Tensor], scores: Tensor) -> None:
        sizes = [branch.n_features for branch in spec.branches]
        scores[:] = self.dense[BIAS]
        for branch, kernel in zip(spec.branches, self.dense[KERNEL][:, 0].split(sizes), strict=True):
            p = users[branch.user_factors]
            if isinstance(branch, Tower):
                self._add_tower(scores, branch, p, kernel)
            else:
                scores.addmm_(p * kernel, self.items[branch.item_factors][:-1].T)

    def _add_tower(self, scores: Tensor, tower: Tower, p: Tensor, kernel: Tensor) -> None:
        """Add the weighed outputs; the first layer takes its products once a user and once an item."""
        first = tower.stack.layers[0]
        of_users = p @ self.dense[first.kernel][: tower.n_factors]
        of_items = self._item_products[tower.prefix]
        n_at_once = max(1, PAIRS_AT_ONCE[self.device.type] // max(1, len(p)))
        for start in range(0, self.n_items, n_at_once):
            some = slice(start, start + n_at_once)
            sums = (of_users[:, None] + of_items[some]).flatten(0, 1)
            outputs = tower.stack.forward(OPERATORS, self.dense, first.activate(OPERATORS, sums), first=1)
            scores[:, some] += (outputs @ kernel).view(len(p), -1)

    @cached_property
    def _item_products(self) -> dict[str, Tensor]:
        """The items' share of the first layer of each tower, [n_items, n_out], by the tower's prefix."""
        assert isinstance(self.spec, NCF)
        products = {}
        for tower in self.spec.branches:
            if isinstance(tower, Tower):
                first, q = tower.stack.layers[0], self.items[tower.item_factors][:-1]
                weights = self.dense[first.kernel][tower.n_factors :]
                products[tower.prefix] = torch.addmm(self.dense[first.bias], q, weights)
        return products


class Seen:
    """The items that each user has seen, on a device."""

    def __init__(self, seen: SeenItems, device: torch.device) -> None:
        self.indptr = seen.indptr
        self.indices = tensor_of(seen.indices, device)

    def pairs(self, users: NDArray[np.integer]) -> tuple[Tensor, Tensor]:
        """Return (position in `users`, item) of all that these have seen, as `mfcore.model.seen_pairs`."""
        known = np.maximum(users, 0)
        counts = np.where(users >= 0, self.indptr[known + 1] - self.indptr[known], 0)
        # Where a user's items begin among `indices`, less where they begin among the pairs.
        shifts = self.indptr[known] - (np.cumsum(counts) - counts)
        n_pairs = int(counts.sum())
        device = self.indices.device
        of_users = torch.from_numpy(np.stack([np.arange(len(users)), shifts, counts])).to(device)
        rows, offsets = of_users[:2].repeat_interleave(of_users[2], dim=1, output_size=n_pairs)
        entries = torch.arange(n_pairs, device=device) + offsets
        return rows, self.indices[entries].long()


def _has_known_branches(spec: ModelSpec) -> bool:
    """Whether the score is that of branches which can be taken apart, and nobody's own."""
    return (
        isinstance(spec, NCF)
        and type(spec).score is NCF.score
        and all(type(branch) in (Product, Tower) for branch in spec.branches)
    )


def tensor_of(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """Return the array on the device; on a CPU in its own memory, unless that is read-only."""
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


def _rows(table: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    return {name: array[rows] for name, array in table.items()}
