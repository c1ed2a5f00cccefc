"""Interactions: which user, which item, what value, when. The form of data that everything else reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mfcore.data import _duplicates as pairs
from mfcore.data._columns import id_column, number_column, read_only, timestamp_column
from mfcore.data._frames import frame_columns
from mfcore.data._ids import Vocabulary
from mfcore.data._matrices import matrix_entries
from mfcore.data._readers import read_raw
from mfcore.data._seen import SeenItems
from mfcore.errors import InvalidArgumentError, InvalidDataError

if TYPE_CHECKING:
    from scipy import sparse

    from mfcore.data._columns import Column
    from mfcore.data._duplicates import Policy
    from mfcore.data._raw import RawInteractions

    Genres = tuple[tuple[str, ...], ...]

FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Interactions:
    """Validated interactions of users with items, n of them.

    Made by `from_columns`, `from_frame`, `from_scipy` or `read`, which check everything once; the constructor
    itself trusts its arguments. All arrays are read-only.

    Attributes
    ----------
    users, items : int32 arrays [n]
        Rows of the two vocabularies: ``user_ids.ids[users]`` are the ids as they came in.
    values : float32 array [n]
        Ratings, counts or weights; 1 where there were none. All finite.
    timestamps : int64 array [n] or None
        Unix seconds, or any other integers that grow with time.
    user_ids, item_ids : Vocabulary
        May hold ids without an interaction, such as those of a test set.
    item_names : StringDType array [n_items] or None
        Title of each item, its id where it has none.
    item_genres : tuple of n_items tuples of str, or None

    Examples
    --------
    >>> import mfcore
    >>> ratings = mfcore.Interactions.from_columns(["ann", "bob", "ann"], ["a", "a", "b"], [5, 3, 4])
    >>> ratings
    Interactions(3 interactions, 2 users × 2 items, density 75.000%, values 3 to 5)
    >>> ratings.users.tolist(), ratings.item_counts.tolist()
    ([0, 1, 0], [2, 1])
    """

    users: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    timestamps: npt.NDArray[np.int64] | None
    user_ids: Vocabulary
    item_ids: Vocabulary
    item_names: npt.NDArray[Any] | None = None
    item_genres: Genres | None = None

    def __post_init__(self) -> None:
        for name in ("users", "items", "values", "timestamps", "item_names"):
            array = getattr(self, name)
            if array is not None:
                object.__setattr__(self, name, read_only(array))

    @classmethod
    def from_columns(
        cls,
        users: Column,
        items: Column,
        values: Column | None = None,
        timestamps: Column | None = None,
        *,
        item_names: Mapping[Any, str] | None = None,
        item_genres: Mapping[Any, Sequence[str]] | None = None,
        user_ids: Vocabulary | None = None,
        item_ids: Vocabulary | None = None,
        duplicates: Policy = "error",
    ) -> Interactions:
        """Check and number columns of equal length n.

        Parameters
        ----------
        users, items : column [n]
            Ids, integers or strings: numpy arrays, lists, or pandas, polars or pyarrow columns.
        values : column [n], optional
            Numbers, stored as float32; None means 1 for each.
        timestamps : column [n], optional
            Integers, or dates and datetimes, which become Unix seconds.
        item_names : mapping from id to str, optional
            Titles. Ids that do not occur are ignored; an item without a title is named by its id.
        item_genres : mapping from id to sequence of str, optional
            Ids that do not occur are ignored.
        user_ids, item_ids : Vocabulary, optional
            Vocabularies to use, such as those of the training data; None collects the ids that occur.
        duplicates : {"error", "last", "first", "mean", "sum", "max", "keep"}
            What to do with a (user, item) pair that occurs more than once: "error" refuses it; "last" and
            "first" (by timestamp, then position) keep one row; "mean", "sum" and "max" merge the values into
            the last row; "keep" leaves all rows.

        Returns
        -------
        Interactions
            In the order of the columns.

        Raises
        ------
        InvalidDataError
            For columns that are empty or of unequal length, ids that are floats, negative, missing or outside
            a vocabulary that was passed, values that are not finite in float32, and repeated pairs under
            "error".
        InvalidArgumentError
            For an unknown policy of duplicates.

        Examples
        --------
        >>> import mfcore
        >>> plays = mfcore.Interactions.from_columns(
        ...     users=["ann", "bob", "ann"],
        ...     items=[7, 7, 7],
        ...     values=[1, 2, 3],
        ...     item_names={7: "Seven"},
        ...     duplicates="sum",
        ... )
        >>> plays.values.tolist(), plays.item_names.tolist()
        ([2.0, 4.0], ['Seven'])
        """
        pairs.check_policy(duplicates)
        user_vocabulary, user_rows = _rows(users, user_ids, "users")
        item_vocabulary, item_rows = _rows(items, item_ids, "items")
        numbers = None if values is None else number_column(values, "values")
        times = None if timestamps is None else timestamp_column(timestamps, "timestamps")
        _check_lengths({"users": user_rows, "items": item_rows, "values": numbers, "timestamps": times})
        data = cls(
            users=user_rows,
            items=item_rows,
            values=np.ones(len(user_rows), dtype=np.float32),
            timestamps=times,
            user_ids=user_vocabulary,
            item_ids=item_vocabulary,
            item_names=_names(item_names, item_vocabulary),
            item_genres=_genres(item_genres, item_vocabulary),
        )
        if numbers is not None:
            _check_finite(numbers, data)
            data = replace(data, values=numbers.astype(np.float32))
        return _resolve_duplicates(data, duplicates)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        user: str = "user",
        item: str = "item",
        value: str | None = None,
        timestamp: str | None = None,
        *,
        duplicates: Policy = "error",
        user_ids: Vocabulary | None = None,
        item_ids: Vocabulary | None = None,
    ) -> Interactions:
        """Read columns of a pandas or polars frame or a pyarrow table.

        Parameters
        ----------
        frame : frame
            Anything that narwhals understands; a lazy frame is collected.
        user, item : str
            Names of the id columns.
        value, timestamp : str, optional
            Names of these columns. None takes the column "value" or "timestamp" where the frame has one of
            that name, and does without otherwise.
        duplicates, user_ids, item_ids : optional
            As in `from_columns`.

        Returns
        -------
        Interactions
            In the order of the frame.

        Raises
        ------
        InvalidDataError
            For a column that the frame does not have, and all that `from_columns` refuses.

        Examples
        --------
        >>> import mfcore
        >>> import pyarrow
        >>> table = pyarrow.table({"customer": ["ann", "bob"], "product": [1, 2], "stars": [5, 3]})
        >>> data = mfcore.Interactions.from_frame(table, user="customer", item="product", value="stars")
        >>> data.values.tolist()
        [5.0, 3.0]
        """
        raw = frame_columns(frame, user=user, item=item, value=value, timestamp=timestamp)
        return from_raw(replace(raw, user_ids=user_ids, item_ids=item_ids), duplicates)

    @classmethod
    def from_scipy(
        cls,
        matrix: Any,
        user_ids: Vocabulary | Column | None = None,
        item_ids: Vocabulary | Column | None = None,
        *,
        duplicates: Policy = "error",
    ) -> Interactions:
        """Read the explicit entries of a sparse matrix [n_users, n_items], explicit zeros among them.

        Parameters
        ----------
        matrix : scipy.sparse matrix or array
            The duplicates policy is applied to its entries as they are stored, where scipy itself would add
            repeated ones up.
        user_ids, item_ids : Vocabulary or column, optional
            Id of each matrix row and column, unique, in any order; None numbers them from 0.
        duplicates : str
            As in `from_columns`.

        Returns
        -------
        Interactions
            In the order in which the matrix stores its entries.

        Raises
        ------
        InvalidDataError
            For a dense matrix, ids that do not fit its shape, and all that `from_columns` refuses.

        Examples
        --------
        >>> import mfcore
        >>> from scipy import sparse
        >>> matrix = sparse.coo_array(([5.0, 3.0], ([0, 1], [2, 0])), shape=(2, 3))
        >>> data = mfcore.Interactions.from_scipy(matrix, item_ids=["a", "b", "c"])
        >>> data.item_ids[data.items].tolist(), data.n_items
        (['c', 'a'], 3)
        """
        return from_raw(matrix_entries(matrix, user_ids, item_ids), duplicates)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        format: str | None = None,
        columns: Sequence[str | int] | None = None,
        string_ids: bool = False,
        duplicates: Policy = "error",
    ) -> Interactions:
        r"""Read interactions from a file or folder.

        Parameters
        ----------
        path : str or Path
            A delimited text file (comma, tab, semicolon, "::", "|" or blank; with or without a header), a
            Parquet file, a MovieLens folder or zip, or the folder or prefix of NCF files, of which the
            training part is read (`mfcore.data.read_ncf` gives all of it).
        format : str, optional
            "csv" (any delimiter), "parquet", "movielens" or "ncf"; None tells them apart by looking.
        columns : sequence of str or int, optional
            Names, or positions from 0, of user, item, value and timestamp, in this order; the last one or
            two may be left out. None takes the well-known names (user, user_id, userId, item, movieId,
            rating, timestamp ...), or the first four columns of a text file without a header.
        string_ids : bool
            Read the ids of a text file as strings even where all of a column are digits, which keeps
            leading zeros. A column with other text in it is read as strings in any case.
        duplicates : str
            As in `from_columns`.

        Returns
        -------
        Interactions
            In the order of the file.

        Raises
        ------
        InvalidDataError
            For a path that does not exist, a file that cannot be parsed (with the line), columns that are
            not there, and all that `from_columns` refuses.
        InvalidArgumentError
            For an unknown format, and columns or string_ids where the format fixes them.

        Examples
        --------
        >>> import mfcore
        >>> from pathlib import Path
        >>> path = Path("ratings.csv")
        >>> _ = path.write_text("userId,movieId,rating\n1,31,2.5\n2,31,4\n", encoding="utf-8")
        >>> mfcore.Interactions.read(path).values.tolist()
        [2.5, 4.0]
        """
        path = Path(path).expanduser()
        raw = read_raw(path, format=format, columns=columns, string_ids=string_ids)
        return from_raw(raw, duplicates)

    @property
    def n_users(self) -> int:
        """Number of users in the vocabulary, with or without interactions."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items in the vocabulary, with or without interactions."""
        return len(self.item_ids)

    @property
    def density(self) -> float:
        """Interactions as a share of all n_users x n_items pairs."""
        return len(self) / (self.n_users * self.n_items)

    @cached_property
    def user_counts(self) -> npt.NDArray[np.int64]:
        """Number of interactions of each user, int64 [n_users]."""
        return read_only(np.bincount(self.users, minlength=self.n_users).astype(np.int64, copy=False))

    @cached_property
    def item_counts(self) -> npt.NDArray[np.int64]:
        """Number of interactions of each item, int64 [n_items]."""
        return read_only(np.bincount(self.items, minlength=self.n_items).astype(np.int64, copy=False))

    @cached_property
    def seen(self) -> SeenItems:
        """The distinct items of each user, whatever their values."""
        matrix = self._sparse(np.ones(len(self), dtype=np.int8))
        return SeenItems(
            indptr=matrix.indptr.astype(np.int64), indices=matrix.indices.astype(np.int32, copy=False)
        )

    def to_csr(self) -> sparse.csr_array:
        """Return the values as a sparse matrix.

        Returns
        -------
        scipy.sparse.csr_array of float32 [n_users, n_items]
            With sorted indices.

        Raises
        ------
        InvalidDataError
            Where pairs repeat (``duplicates="keep"``): a matrix has one entry for each.

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.Interactions.from_columns(["ann", "bob", "ann"], ["a", "a", "b"], [5, 3, 4])
        >>> data.to_csr().toarray().tolist()
        [[5.0, 4.0], [3.0, 0.0]]
        """
        matrix = self._sparse(self.values)
        if matrix.nnz != len(self):
            raise InvalidDataError(
                f"{len(self) - matrix.nnz} interactions repeat a (user, item) pair, and a matrix has one "
                'entry for each: merge them first with duplicates="sum", "mean", "max", "last" or "first"'
            )
        return matrix

    def select(self, chosen: npt.ArrayLike) -> Interactions:
        """Return some of the interactions, with the same vocabularies and item names.

        Parameters
        ----------
        chosen : bool array [n] or integer array [m]
            A mask, or positions in any order (repeated ones are repeated).

        Returns
        -------
        Interactions

        Raises
        ------
        InvalidArgumentError
            For a mask of another length, positions outside [0, n), and a selection of nothing.

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.Interactions.from_columns(["ann", "bob", "ann"], ["a", "a", "b"], [5, 3, 4])
        >>> liked = data.select(data.values >= 4)
        >>> len(liked), liked.n_users
        (2, 2)
        """
        index = _positions(np.asarray(chosen), len(self))
        return replace(
            self,
            users=self.users[index],
            items=self.items[index],
            values=self.values[index],
            timestamps=None if self.timestamps is None else self.timestamps[index],
        )

    def _sparse(self, entries: npt.NDArray[Any]) -> sparse.csr_array:
        from scipy import sparse

        return sparse.csr_array(
            sparse.coo_array((entries, (self.users, self.items)), shape=(self.n_users, self.n_items))
        )

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        parts = [
            f"{len(self):,} interactions",
            f"{self.n_users:,} users × {self.n_items:,} items",
            f"density {self.density:.3%}",
            f"values {self.values.min():g} to {self.values.max():g}",
        ]
        if self.timestamps is not None:
            parts.append("timestamps")
        if self.item_names is not None:
            parts.append("item names")
        return f"Interactions({', '.join(parts)})"


def from_raw(raw: RawInteractions, duplicates: Policy = "error") -> Interactions:
    """Check what a reader found; errors begin with the file that it read."""
    columns = {field.name: getattr(raw, field.name) for field in fields(raw) if field.name != "source"}
    try:
        return Interactions.from_columns(**columns, duplicates=duplicates)
    except InvalidDataError as error:
        if raw.source is None:
            raise
        raise InvalidDataError(f"{raw.source}: {error}") from error


def _rows(
    column: Column, vocabulary: Vocabulary | None, name: str
) -> tuple[Vocabulary, npt.NDArray[np.int32]]:
    if vocabulary is None:
        return Vocabulary.build(column, name)
    rows = vocabulary.rows(column)
    unknown = rows < 0
    if unknown.any():
        position = int(np.argmax(unknown))
        raise InvalidDataError(
            f"{name} contains {_entry(column, position, name)!r} at position {position}, which is not among "
            f"the {len(vocabulary):,} given ids ({int(unknown.sum()):,} such rows); drop them, or build the "
            "vocabulary from all the data"
        )
    return vocabulary, rows.astype(np.int32)


def _entry(column: Column, position: int, name: str) -> Any:
    entry = id_column(column, name)[position]
    return entry.item() if isinstance(entry, np.generic) else entry.as_py()


def _check_lengths(columns: Mapping[str, npt.NDArray[Any] | None]) -> None:
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    for name, length in lengths.items():
        if length != lengths["users"]:
            raise InvalidDataError(
                f"{name} has {length:,} rows, but users has {lengths['users']:,}; all columns need one row "
                "for each interaction"
            )
    if lengths["users"] == 0:
        raise InvalidDataError("there are no interactions: users and items are empty")


def _check_finite(numbers: npt.NDArray[Any], data: Interactions) -> None:
    if numbers.dtype.kind != "f":
        return
    # The extremes are NaN where any entry is, and need no temporary array.
    if float(numbers.min()) >= -FLOAT32_MAX and float(numbers.max()) <= FLOAT32_MAX:
        return
    bad = ~(np.abs(numbers.astype(np.float64)) <= FLOAT32_MAX)
    position = int(np.argmax(bad))
    number = float(numbers[position])
    pair = (
        f"user {data.user_ids[data.users[position]]!r}, item {data.item_ids[data.items[position]]!r}; "
        f"{int(bad.sum()):,} such rows"
    )
    if np.isnan(number):
        raise InvalidDataError(f"values contains NaN at position {position} ({pair}); drop or fill such rows")
    if np.isinf(number):
        raise InvalidDataError(f"values contains {number} at position {position} ({pair}); drop such rows")
    raise InvalidDataError(
        f"values contains {number:g} at position {position} ({pair}), too large for float32; rescale them"
    )


def _resolve_duplicates(data: Interactions, policy: Policy) -> Interactions:
    if policy == "keep":
        return data
    keys = pairs.pair_keys(data.users, data.items, data.n_items)
    if not pairs.has_duplicates(keys):
        return data
    if policy == "error":
        first, again, n_repeated = pairs.first_repetition(keys)
        raise InvalidDataError(
            f"user {data.user_ids[data.users[again]]!r} and item {data.item_ids[data.items[again]]!r} occur "
            f"together at positions {first} and {again} ({n_repeated:,} repeated rows in all); pass "
            f"duplicates= one of {', '.join(name for name in pairs.POLICIES if name != 'error')}"
        )
    kept, values = pairs.merge(keys, data.values, data.timestamps, policy)
    merged = data.select(kept)
    _check_finite(values, merged)
    return replace(merged, values=values.astype(np.float32))


def _names(names: Mapping[Any, str] | None, item_ids: Vocabulary) -> npt.NDArray[Any] | None:
    if names is None:
        return None
    titles = [str(names.get(one_id, one_id)) for one_id in item_ids]
    return np.array(titles, dtype=np.dtypes.StringDType())


def _genres(genres: Mapping[Any, Sequence[str]] | None, item_ids: Vocabulary) -> Genres | None:
    if genres is None:
        return None
    return tuple(tuple(genres.get(one_id, ())) for one_id in item_ids)


def _positions(chosen: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    if chosen.dtype.kind == "b":
        if chosen.shape != (n,):
            raise InvalidArgumentError(f"the mask has shape {chosen.shape}, but there are {n:,} interactions")
        chosen = np.flatnonzero(chosen)
    if chosen.size == 0:
        raise InvalidArgumentError("the selection holds no interaction")
    if chosen.dtype.kind not in "iu" or chosen.ndim != 1:
        raise InvalidArgumentError(
            f"select takes a mask or a column of positions, not {chosen.dtype} of shape {chosen.shape}"
        )
    if chosen.min() < 0 or chosen.max() >= n:
        outside = chosen[(chosen < 0) | (chosen >= n)][0]
        raise InvalidArgumentError(f"position {outside} is outside the {n:,} interactions")
    return chosen
