"""What the contract asks of the arrays that a trainer exports."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mfcore.engines import Trainer, TrainingJob
from mfcore.errors import MfcoreError

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


class ConformanceError(MfcoreError, AssertionError):
    """An engine does what the contract forbids; the message says what, and what it asks for instead.

    Examples
    --------
    >>> from mfcore.testing import ConformanceError
    >>> issubclass(ConformanceError, AssertionError)
    True
    """


def require_arrays(trainer: Trainer, job: TrainingJob) -> None:
    """Raise ConformanceError unless the trainer exports copies of the arrays that the contract names."""
    _require_alike("parameters()", trainer.parameters(), job.parameters)
    _require_alike("optimizer_state()", trainer.optimizer_state(), job.optimizer_state)
    for name in ("parameters", "optimizer_state"):
        _require_copies(name, getattr(trainer, name))


def n_differences(found: Arrays, expected: Arrays) -> int:
    """Return how many numbers of arrays are not bit for bit the same as those of the same names."""
    return sum(int(np.sum(found[name] != array)) for name, array in expected.items())


def _require_alike(of: str, found: Arrays, expected: Arrays) -> None:
    if found.keys() != expected.keys():
        missing, surplus = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
        raise ConformanceError(
            f"{of} lacks {', '.join(missing) or 'nothing'} and has {', '.join(surplus) or 'nothing'} besides;"
            " the names are those of the job"
        )
    for name, array in expected.items():
        like = found[name]
        if not isinstance(like, np.ndarray) or (like.shape, like.dtype) != (array.shape, array.dtype):
            raise ConformanceError(
                f"{of}[{name!r}] is {_described(like)}; it must be {_described(array)}, as the job's is"
            )


def _require_copies(of: str, export: Any) -> None:
    """Overwrite what was exported: the next export must not show it."""
    exported = export()
    before = {name: array.copy() for name, array in exported.items()}
    for array in exported.values():
        if array.flags.writeable:
            np.add(array, 1, out=array)
    changed = [name for name, array in export().items() if n_differences({name: array}, {name: before[name]})]
    if changed:
        raise ConformanceError(
            f"{of}() gives views of what the trainer works on: writing to {changed[0]!r} changed it; return"
            " copies"
        )


def _described(array: Any) -> str:
    if not isinstance(array, np.ndarray):
        return f"a {type(array).__name__}"
    return f"{array.dtype} {list(array.shape)}"
