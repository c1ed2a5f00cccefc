"""What a trained model consists of: what its file holds, and the tables that scores are computed from."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfcore.data import Interactions, SeenItems, Vocabulary
from mfcore.engines import Scorer
from mfcore.model._history import History
from mfcore.specs import Floats, ModelSpec


@dataclass(frozen=True, eq=False)
class ModelState:
    """The fields of `Model`, which describes them, and what follows from them alone."""

    spec: ModelSpec
    parameters: dict[str, Floats]
    user_ids: Vocabulary
    item_ids: Vocabulary
    seen: SeenItems
    item_names: NDArray[Any] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=History)
    epochs_trained: int = 0
    optimizer_state: dict[str, NDArray[Any]] | None = None
    scorer: Scorer | None = None

    @property
    def n_users(self) -> int:
        """The number of users of the training data."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """The size of the catalogue."""
        return len(self.item_ids)

    @cached_property
    def item_counts(self) -> NDArray[np.int64]:
        """The number of training users of each item, int64 [n_items]."""
        return np.bincount(self.seen.indices, minlength=self.n_items)

    @cached_property
    def cold_filled(self) -> dict[str, Floats]:
        """Parameters with the average row instead of cold rows, and as one more row at the end."""
        trained = {"user": self.seen.counts > 0, "item": self.item_counts > 0}
        layout = self.spec.parameters(self.n_users, self.n_items)
        filled = {}
        for name, array in self.parameters.items():
            side = layout[name].side
            if side is None:
                filled[name] = array
                continue
            warm = trained[side]
            average = array[warm].mean(axis=0, dtype=np.float64).astype(array.dtype)
            filled[name] = np.concatenate([array, average[None]])
            filled[name][:-1][~warm] = average
        return filled

    @cached_property
    def catalogue(self) -> dict[str, Floats]:
        """The same, without the extra row of the items."""
        layout = self.spec.parameters(self.n_users, self.n_items)
        return {
            name: array[:-1] if layout[name].side == "item" else array
            for name, array in self.cold_filled.items()
        }


def data_fields(data: Interactions | ModelState) -> dict[str, Any]:
    """Return what a model keeps of its training data, or of another model's.

    Parameters
    ----------
    data : Interactions or ModelState

    Returns
    -------
    dict
        Arguments of `Model`: user_ids, item_ids, seen, item_names.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.model import data_fields
    >>> sorted(data_fields(mfcore.Interactions.from_columns([1, 2], [5, 6])))
    ['item_ids', 'item_names', 'seen', 'user_ids']
    """
    return {
        "user_ids": data.user_ids,
        "item_ids": data.item_ids,
        "seen": data.seen,
        "item_names": data.item_names,
    }
