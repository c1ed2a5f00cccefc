"""The ids of one side, users or items, and the rows of the parameter tables that belong to them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mfcore.data._columns import id_column, read_only, to_numpy
from mfcore.errors import InvalidArgumentError, InvalidDataError

if TYPE_CHECKING:
    import pyarrow as pa

    from mfcore.data._columns import Column

MAX_ROWS = 2**31 - 1
_STRING = np.dtypes.StringDType()


class Vocabulary:
    """Sorted, unique ids of one side: row r of every parameter table belongs to ``ids[r]``.

    Parameters
    ----------
    ids : column [n]
        Unique ids in ascending order: integers (not negative) or strings (not empty, ordered by code point).

    Raises
    ------
    InvalidDataError
        Where the ids are not sorted and unique, are floats, bools or missing, are negative or empty, or are
        more than 2**31 - 1.

    Examples
    --------
    >>> from mfcore.data import Vocabulary
    >>> films = Vocabulary(["Alien", "Brazil", "Casablanca"])
    >>> films
    Vocabulary(3 strings: 'Alien' … 'Casablanca')
    >>> "Brazil" in films, films[1]
    (True, 'Brazil')
    """

    __slots__ = ("_consecutive", "_ids")

    def __init__(self, ids: Column) -> None:
        column = id_column(ids, "ids")
        array = column if isinstance(column, np.ndarray) else _string_array(column)
        _check_domain(array, "ids")
        steps = array[1:] > array[:-1]
        if not steps.all():
            position = int(np.argmin(steps)) + 1
            raise InvalidDataError(
                f"ids must be sorted and unique, but {array[position]!r} at position {position} follows "
                f"{array[position - 1]!r}; use Vocabulary.build for ids in any order"
            )
        self._ids = read_only(array)
        # Most published data sets number their users 1..n: a row is then one subtraction away.
        self._consecutive = not self.is_string and len(array) > 0 and int(array[-1] - array[0]) < len(array)

    @classmethod
    def range(cls, n: int) -> Vocabulary:
        """Return the ids 0, 1, ..., n - 1, for data that is already numbered.

        Parameters
        ----------
        n : int
            In [0, 2**31 - 1].

        Returns
        -------
        Vocabulary

        Raises
        ------
        InvalidArgumentError
            For a number outside that range.

        Examples
        --------
        >>> from mfcore.data import Vocabulary
        >>> list(Vocabulary.range(3))
        [0, 1, 2]
        """
        if not 0 <= n <= MAX_ROWS:
            raise InvalidArgumentError(f"n must be between 0 and {MAX_ROWS}, not {n}")
        return cls(np.arange(n, dtype=np.int64))

    @classmethod
    def build(cls, raw: Column, name: str = "ids") -> tuple[Vocabulary, npt.NDArray[np.int32]]:
        """Collect the ids of a column.

        Parameters
        ----------
        raw : column [n]
            Ids in any order, with repetitions: integers or strings from numpy, pandas, polars, pyarrow or a
            list.
        name : str
            What error messages call the column.

        Returns
        -------
        vocabulary : Vocabulary
            The distinct ids in ascending order.
        rows : int32 array [n]
            Row of each entry, so that ``vocabulary.ids[rows]`` gives the column back.

        Raises
        ------
        InvalidDataError
            For ids that are neither integers nor strings, missing, negative or empty.

        Examples
        --------
        >>> from mfcore.data import Vocabulary
        >>> vocabulary, rows = Vocabulary.build([30, 10, 30, 20])
        >>> vocabulary.ids.tolist(), rows.tolist()
        ([10, 20, 30], [2, 0, 2, 1])
        """
        column = id_column(raw, name)
        if isinstance(column, np.ndarray):
            _check_domain(column, name)
            ids, rows = _factorize_integers(column)
        else:
            ids, rows = _factorize_strings(column)
            _check_domain(ids, name, column)
        if len(ids) > MAX_ROWS:
            raise InvalidDataError(f"{name} holds {len(ids)} distinct ids; at most 2**31 - 1 fit a table")
        return cls(ids), rows

    @property
    def ids(self) -> npt.NDArray[Any]:
        """The ids in ascending order [n]: int64, or numpy's StringDType. Read-only; look up with `rows`."""
        return self._ids

    @property
    def is_string(self) -> bool:
        """Whether the ids are strings; otherwise they are int64."""
        return self._ids.dtype.kind == "T"

    def rows(self, ids: Column) -> npt.NDArray[np.int64]:
        """Look ids up.

        Parameters
        ----------
        ids : int, str or column [n]
            One id or several, of the vocabulary's own kind: 7 and "7" are different ids.

        Returns
        -------
        int64 array [n], or [] for one id
            Rows, -1 where the id is unknown.

        Raises
        ------
        InvalidDataError
            For strings asked of an integer vocabulary, integers asked of a string vocabulary, and what can be
            no id at all (floats, bools, missing entries).

        Examples
        --------
        >>> from mfcore.data import Vocabulary
        >>> films = Vocabulary(["Alien", "Brazil", "Casablanca"])
        >>> films.rows(["Casablanca", "Dune"]).tolist(), int(films.rows("Alien"))
        ([2, -1], 0)
        """
        if isinstance(ids, np.ndarray | np.generic) and ids.ndim == 0:
            ids = ids.item()
        if isinstance(ids, str) and self.is_string:
            return np.array(self._row_of_string(ids), dtype=np.int64)
        scalar = isinstance(ids, str | bytes) or not hasattr(ids, "__len__")
        column = id_column([ids] if scalar else ids, "ids")
        if len(column) == 0:
            return np.empty(0, dtype=np.int64)
        if isinstance(column, np.ndarray) == self.is_string:
            own, given = ("strings", "integers") if self.is_string else ("integers", "strings")
            raise InvalidDataError(
                f"the ids of this data are {own}, but {given} were asked for (first: {_first(column)!r}); "
                f"convert them to {own}"
            )
        if isinstance(column, np.ndarray):
            rows = self._rows_of_integers(column)
        else:
            rows = self._rows_of_strings(column)
        return rows.reshape(()) if scalar else rows

    def _rows_of_integers(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if len(self) == 0:
            return np.full(len(ids), -1, dtype=np.int64)
        if self._consecutive:
            first, last = self._ids[0], self._ids[-1]
            return np.where((ids >= first) & (ids <= last), ids - first, np.int64(-1))
        rows = np.minimum(np.searchsorted(self._ids, ids), len(self) - 1)
        return np.where(self._ids[rows] == ids, rows, np.int64(-1))

    def _rows_of_strings(self, strings: pa.Array) -> npt.NDArray[np.int64]:
        # Not by np.searchsorted: on two StringDType arrays it misreads strings above 15 bytes (numpy 2.4).
        import pyarrow as pa
        import pyarrow.compute as pc

        known = pa.array(self._ids.tolist(), type=pa.large_string())
        return to_numpy(pc.index_in(strings, value_set=known).fill_null(-1)).astype(np.int64)

    def _row_of_string(self, string: str) -> int:
        # The one id of an interactive question does not have to wait for Arrow.
        row = bisect_left(self._ids, string)
        return row if row < len(self) and self._ids[row] == string else -1

    def __getitem__(self, rows: npt.ArrayLike | slice) -> Any:
        """Return the ids of rows, as they came in: one id for one row, an array [n] for rows [n]."""
        if isinstance(rows, slice):
            return self._ids[rows]
        index = np.asarray(rows)
        if index.size == 0:
            return self._ids[:0]
        if index.dtype.kind not in "iu":
            raise InvalidArgumentError(f"rows are integers, not {index.dtype}")
        if index.min() < 0 or index.max() >= len(self):
            outside = index[(index < 0) | (index >= len(self))].flat[0]
            raise InvalidArgumentError(f"row {outside} is outside the {len(self)} rows of this vocabulary")
        chosen = self._ids[index]
        return chosen.item() if isinstance(chosen, np.generic) else chosen

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[int | str]:
        return iter(self._ids.tolist())

    def __contains__(self, one_id: object) -> bool:
        is_id = isinstance(one_id, str) if self.is_string else isinstance(one_id, int | np.integer)
        return is_id and not isinstance(one_id, bool) and int(self.rows(one_id)) >= 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self is other or (
            self.is_string == other.is_string
            and len(self) == len(other)
            and bool(np.array_equal(self._ids, other._ids))
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        kind = "strings" if self.is_string else "integers"
        if not len(self):
            return "Vocabulary(no ids)"
        first, last = self._ids[[0, -1]].tolist()
        return f"Vocabulary({len(self):,} {kind}: {first!r} … {last!r})"


def _string_array(strings: pa.Array) -> npt.NDArray[Any]:
    return np.array(strings.to_pylist(), dtype=_STRING)


def _first(column: npt.NDArray[Any] | pa.Array) -> int | str:
    value: int | str = column[0].item() if isinstance(column, np.ndarray) else column[0].as_py()
    return value


def _check_domain(ids: npt.NDArray[Any], name: str, column: pa.Array | None = None) -> None:
    """Refuse negative and empty ids; `column` holds the positions where `ids` are only its distinct ones."""
    bad = ids == "" if ids.dtype.kind == "T" else ids < 0
    if not bad.any():
        return
    if ids.dtype.kind == "T":
        position = int(np.argmax(bad)) if column is None else column.index("").as_py()
        raise InvalidDataError(
            f"{name} contains an empty string at position {position}; drop such rows, or give them an id"
        )
    position = int(np.argmax(bad))
    raise InvalidDataError(
        f"{name} contains {ids[position]} at position {position}; a negative id marks a missing entry in "
        "most exports: drop such rows, or convert the column to strings if they are ids indeed"
    )


def _factorize_integers(
    ids: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return the distinct ids ascending, and each entry's position among them."""
    if len(ids) == 0:
        return ids, np.empty(0, dtype=np.int32)
    low, span = int(ids.min()), int(ids.max()) - int(ids.min()) + 1
    if span <= max(4 * len(ids), 2**16):
        offsets = ids - low
        present = np.zeros(span, dtype=np.bool_)
        present[offsets] = True
        distinct = np.flatnonzero(present)
        rows = np.cumsum(present, dtype=np.int64) - 1
        return distinct + low, rows[offsets].astype(np.int32)
    # np.unique hashes since numpy 2.3, which is an order of magnitude slower than sorting here.
    ascending = np.sort(ids)
    distinct = ascending[np.concatenate(([True], ascending[1:] != ascending[:-1]))]
    return distinct, np.searchsorted(distinct, ids).astype(np.int32)


def _factorize_strings(strings: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    distinct, codes = _encode_strings(strings)
    order = np.argsort(distinct)
    rows = np.empty(len(order), dtype=np.int32)
    rows[order] = np.arange(len(order), dtype=np.int32)
    return distinct[order], rows[codes]


def _encode_strings(strings: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """Return the distinct strings in the order of their first appearance, and each entry's code."""
    encoded = strings.dictionary_encode()
    return _string_array(encoded.dictionary), to_numpy(encoded.indices)
