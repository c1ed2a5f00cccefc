"""Columns as callers bring them, turned into the few array types that the package computes with.

A column is a numpy array, a list or tuple, a range, a pyarrow array, or a pandas or polars Series. Integers
in numpy go straight through; everything else passes through Arrow, which knows nulls and real types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mfcore.errors import InvalidDataError

if TYPE_CHECKING:
    import pyarrow as pa

    Column: TypeAlias = Any

MAX_ID = 2**63 - 1


def id_column(raw: Column, name: str) -> npt.NDArray[np.int64] | pa.Array:
    """Return ids as int64 [n], or as an Arrow array of large strings [n]; neither holds a null.

    Raises
    ------
    InvalidDataError
        Where the column holds anything but integers or strings, mixes them, has nulls, or integers above
        2**63 - 1.
    """
    raw = _range_as_array(raw)
    if isinstance(raw, list | tuple) and raw and all(type(entry) is int for entry in raw):
        raw = _int64_list(raw, name)
    if isinstance(raw, np.ndarray) and raw.dtype.kind in "iu" and not isinstance(raw, np.ma.MaskedArray):
        return _as_int64(_one_dimensional(raw, name), name)
    import pyarrow as pa

    array = _as_arrow(raw, name)
    if len(array) == 0 and pa.types.is_null(array.type):
        return np.empty(0, dtype=np.int64)
    kind = array.type
    if not (pa.types.is_integer(kind) or _is_string(kind) or pa.types.is_null(kind)):
        raise InvalidDataError(_wrong_id_type(kind, name))
    if array.null_count:
        position = array.is_null().index(True).as_py()
        raise InvalidDataError(
            f"{name} contains a missing id at position {position}; drop such rows, or give them an id"
        )
    if _is_string(kind):
        return array.cast(pa.large_string())
    return _as_int64(to_numpy(array), name)


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view of the array that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def to_numpy(array: pa.Array) -> npt.NDArray[Any]:
    """Return integers or floats [n] without nulls as numpy, read-only and without a copy.

    Through DLPack: pyarrow's own conversion imports pandas, for half a second, wherever it is installed.
    """
    return np.from_dlpack(array)


def number_column(raw: Column, name: str) -> npt.NDArray[Any]:
    """Return numbers [n] as they are stored (integer, floating or bool dtype); a null becomes NaN.

    Raises
    ------
    InvalidDataError
        Where the column holds no numbers.
    """
    raw = _range_as_array(raw)
    if isinstance(raw, np.ndarray) and raw.dtype.kind in "iufb" and not isinstance(raw, np.ma.MaskedArray):
        return _one_dimensional(raw, name)
    import pyarrow as pa

    array = _as_arrow(raw, name)
    kind = array.type
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        raise InvalidDataError(f"{name} has type {kind}; it must hold numbers: convert it to float32 first")
    if array.null_count or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        array = array.cast(pa.float64(), safe=False).fill_null(float("nan"))
    return to_numpy(array)


def timestamp_column(raw: Column, name: str) -> npt.NDArray[np.int64]:
    """Return timestamps [n] as int64: integers as they are, dates and datetimes as Unix seconds (UTC).

    Raises
    ------
    InvalidDataError
        Where the column is neither integer nor datetime, or has missing entries.
    """
    raw = _range_as_array(raw)
    if isinstance(raw, np.ndarray) and not isinstance(raw, np.ma.MaskedArray):
        if raw.dtype.kind in "iu":
            return _as_int64(_one_dimensional(raw, name), name)
        if raw.dtype.kind == "M":
            _refuse_missing_time(np.isnat(_one_dimensional(raw, name)), name)
            return raw.astype("datetime64[s]").astype(np.int64)
    import pyarrow as pa

    array = _as_arrow(raw, name)
    kind = array.type
    if pa.types.is_date(kind):
        array = array.cast(pa.timestamp("s"))
    elif pa.types.is_timestamp(kind):
        array = array.cast(pa.timestamp("s", tz=kind.tz), safe=False)
    elif not pa.types.is_integer(kind):
        raise InvalidDataError(
            f"{name} has type {kind}; it must hold integers (Unix seconds) or datetimes: convert it first"
        )
    if array.null_count:
        _refuse_missing_time(to_numpy(array.is_null().cast(pa.uint8())) > 0, name)
    if not pa.types.is_integer(kind):
        array = array.cast(pa.int64())
    return _as_int64(to_numpy(array), name)


def _range_as_array(raw: Column) -> Column:
    return np.arange(raw.start, raw.stop, raw.step, dtype=np.int64) if isinstance(raw, range) else raw


def _refuse_missing_time(missing: npt.NDArray[np.bool_], name: str) -> None:
    if missing.any():
        raise InvalidDataError(
            f"{name} contains a missing time at position {int(np.argmax(missing))}; drop such rows, "
            "or leave the timestamps out"
        )


def _int64_list(integers: list[int] | tuple[int, ...], name: str) -> npt.NDArray[np.int64]:
    try:
        return np.array(integers, dtype=np.int64)
    except OverflowError as error:
        position = next(i for i, integer in enumerate(integers) if not -MAX_ID <= integer <= MAX_ID)
        raise InvalidDataError(
            f"{name} contains {integers[position]} at position {position}, which does not fit 64 bits; "
            "convert the column to strings"
        ) from error


def _as_int64(integers: npt.NDArray[Any], name: str) -> npt.NDArray[np.int64]:
    if integers.dtype == np.uint64 and integers.size and int(integers.max()) > MAX_ID:
        position = int(np.argmax(integers > MAX_ID))
        raise InvalidDataError(
            f"{name} contains {integers[position]} at position {position}, above 2**63 - 1; "
            "convert the column to strings"
        )
    return integers.astype(np.int64, copy=False)


def _one_dimensional(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    if array.ndim != 1:
        raise InvalidDataError(f"{name} has shape {array.shape}; a column has one dimension: ravel it first")
    return array


def _is_string(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _wrong_id_type(kind: pa.DataType, name: str) -> str:
    import pyarrow as pa

    message = f"{name} has type {kind}; ids are integers or strings"
    if pa.types.is_floating(kind):
        return (
            f"{message}. Cast to int64 if they are whole numbers (float32 loses ids above 2**24), and drop "
            "the rows without an id first: missing entries turn integer columns into floats"
        )
    return f"{message}: convert the column"


def _as_arrow(raw: Column, name: str) -> pa.Array:
    """Return any column as one Arrow array, dictionaries decoded."""
    import pyarrow as pa

    if isinstance(raw, np.ndarray):
        _one_dimensional(raw, name)
    try:
        array = _arrow_of(raw)
    except pa.ArrowNotImplementedError as error:
        raise InvalidDataError(
            f"{name} has type {getattr(raw, 'dtype', type(raw).__name__)}; a column holds numbers, strings "
            "or times"
        ) from error
    except (pa.ArrowException, OverflowError) as error:
        raise InvalidDataError(
            f"{name} holds more than one type of value, or one that does not fit 64 bits ({error}); "
            "make all of them integers, or all of them strings"
        ) from error
    except TypeError as error:
        raise InvalidDataError(
            f"{name} is a {type(raw).__name__}; a column is a numpy array, a list, or a pandas, polars or "
            "pyarrow column"
        ) from error
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if isinstance(array, pa.ChunkedArray):
        if _is_string(array.type):
            # Chunks of plain strings cannot be joined beyond 2 GiB of text.
            array = array.cast(pa.large_string())
        array = array.combine_chunks()
    return array


def _arrow_of(raw: Column) -> pa.Array | pa.ChunkedArray:
    import pyarrow as pa

    if isinstance(raw, pa.Array | pa.ChunkedArray):
        return raw
    if isinstance(raw, np.ma.MaskedArray):
        return pa.array(raw.data, mask=np.ma.getmaskarray(raw))
    if isinstance(raw, np.ndarray):
        return pa.array(raw, from_pandas=raw.dtype.kind == "O")
    if isinstance(raw, list | tuple):
        return pa.array(raw)
    import narwhals as nw

    return nw.from_native(raw, series_only=True).to_arrow()
