"""Ranked lists of items, as people read them and as tables take them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfcore.specs import Floats


@dataclass(frozen=True, eq=False)
class Ranking:
    """One list of items, best first.

    Attributes
    ----------
    query : int or str
        The user or the item that it was asked for.
    items : array [m]
        Item ids as they came in; m may be below the k asked for.
    scores : array [m]
    names : array [m] of str, or None
        Titles, where the data had them.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.model import Ranking
    >>> Ranking("ann", np.array([7, 5]), np.array([0.9, 0.5]), np.array(["Alien", "Brazil"]))
    Ranking for 'ann':
      1    0.9000  Alien
      2    0.5000  Brazil
    """

    query: Any
    items: NDArray[Any]
    scores: Floats
    names: NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        shown = self.items if self.names is None else self.names
        lines = [
            f"{rank:>3}  {score:8.4f}  {item}"
            for rank, (item, score) in enumerate(zip(shown, self.scores, strict=True), start=1)
        ]
        return "\n".join([f"Ranking for {self.query!r}:", *(lines or ["  nothing left to recommend"])])


@dataclass(frozen=True, eq=False)
class Recommendations:
    """The lists of several users (or items), in the order of the request.

    Attributes
    ----------
    rankings : tuple of Ranking

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [5, 6, 5])
    >>> model = mfcore.fit(mfcore.MF(2), data, epochs=1, backend="reference")
    >>> model.recommend(["ann", "bob"], k=1).columns()["rank"]
    array([1])
    """

    rankings: tuple[Ranking, ...]

    def __len__(self) -> int:
        return len(self.rankings)

    def __iter__(self) -> Iterator[Ranking]:
        return iter(self.rankings)

    def __getitem__(self, position: int) -> Ranking:
        return self.rankings[position]

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.rankings[:5])) + ("\n\n..." if len(self) > 5 else "")

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return one row an entry; any table takes it: ``polars.DataFrame(found.columns())``.

        Returns
        -------
        dict of name to array
            "query", "rank" (from 1), "item", "score" and, where known, "name".
        """
        lengths = [len(ranking) for ranking in self.rankings]
        table: dict[str, NDArray[Any]] = {
            "query": np.repeat(np.array([ranking.query for ranking in self.rankings]), lengths),
            "rank": np.concatenate([np.arange(1, n + 1) for n in lengths] or [np.zeros(0, dtype=np.int64)]),
            "item": _joined([ranking.items for ranking in self.rankings]),
            "score": _joined([ranking.scores for ranking in self.rankings]),
        }
        if self.rankings and self.rankings[0].names is not None:
            table["name"] = _joined([ranking.names for ranking in self.rankings if ranking.names is not None])
        return table


def _joined(pieces: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(pieces) if pieces else np.zeros(0)
