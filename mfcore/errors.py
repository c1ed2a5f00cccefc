"""The errors that mfcore raises on purpose: each names the value, the place and the remedy.

All derive from `MfcoreError`, and from the built-in that a caller would expect to catch.
"""

from typing import Any


class MfcoreError(Exception):
    """Base of every error that mfcore raises on purpose.

    Examples
    --------
    >>> import mfcore
    >>> try:
    ...     mfcore.Interactions.from_columns([1, 1], [2, 2])
    ... except mfcore.MfcoreError as error:
    ...     print(error)
    user 1 and item 2 occur together at positions 0 and 1 (1 repeated rows in all); pass duplicates= ...
    """


class InvalidDataError(MfcoreError, ValueError):
    """Interactions, ids or files hold something that no model can be trained on."""


class InvalidArgumentError(MfcoreError, ValueError):
    """An argument is outside its domain, or does not fit the other arguments."""


class UnknownIdError(MfcoreError, KeyError):
    """A user or item id that the model has never seen, where no cold-start answer is asked for."""

    def __str__(self) -> str:
        """Return the message itself: KeyError would show it quoted."""
        return str(self.args[0]) if self.args else ""


class UnsupportedError(MfcoreError, ValueError):
    """An engine does not do this job; the message says which ones do."""


class DeviceMemoryError(MfcoreError, MemoryError):
    """A job does not fit into a device's memory; the message says what it needs and what to change."""


class DatasetUnavailableError(MfcoreError, RuntimeError):
    """A named data set is neither on disk nor can it be fetched."""


class ModelFileError(MfcoreError, ValueError):
    """A model file is truncated, foreign, or written by a newer format."""


class NonFiniteObjectiveError(MfcoreError, ArithmeticError):
    """Training diverged: the objective of an epoch, or a parameter after it, is NaN or infinite.

    Attributes
    ----------
    model : Model or None
        The last good model that was kept: the best epoch so far, the last checkpoint, or None.
    """

    model: Any = None
