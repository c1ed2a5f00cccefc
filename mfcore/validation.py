"""Checks of single arguments: each error names the argument, its value and its domain."""

from math import isfinite
from numbers import Real
from typing import Any

import numpy as np

from mfcore.errors import InvalidArgumentError


def require_integer(name: str, value: Any, low: int, high: int | None = None, *, or_none: str = "") -> int:
    """Return the value as an int.

    Parameters
    ----------
    name : str
        The argument, with the class it belongs to: "MF: n_factors".
    value : object
        An int or a numpy integer; no bool.
    low, high : int
        Bounds, both allowed; None for no upper one.
    or_none : str
        What None would mean, where the caller allows it: the error then says so.

    Returns
    -------
    int

    Raises
    ------
    InvalidArgumentError
        The value is no integer within the bounds.

    Examples
    --------
    >>> from mfcore.validation import require_integer
    >>> require_integer("MF: n_factors", 0, 1)
    Traceback (most recent call last):
        ...
    mfcore.errors.InvalidArgumentError: MF: n_factors is 0; it must be an integer of at least 1
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        domain = f"of at least {low}" if high is None else f"in [{low}, {high}]"
        alternative = f", or None for {or_none}" if or_none else ""
        raise InvalidArgumentError(f"{name} is {value!r}; it must be an integer {domain}{alternative}")
    return int(value)


def require_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> None:
    """Raise unless the value is a finite number within the bounds.

    Parameters
    ----------
    name : str
        The argument, with the class it belongs to: "SGD: learning_rate".
    value : object
        An int or float, of Python or numpy; no bool.
    above, at_least, below, at_most : float, optional
        Bounds; above and below are not allowed themselves.

    Raises
    ------
    InvalidArgumentError
        The value is no such number.

    Examples
    --------
    >>> from mfcore.validation import require_number
    >>> require_number("SGD: learning_rate", 0.1, above=0)
    >>> require_number("SGD: learning_rate", float("nan"), above=0)
    Traceback (most recent call last):
        ...
    mfcore.errors.InvalidArgumentError: SGD: learning_rate is nan; it must be a finite number above 0
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    inside = (
        is_number
        and isfinite(value)
        and (above is None or value > above)
        and (at_least is None or value >= at_least)
        and (below is None or value < below)
        and (at_most is None or value <= at_most)
    )
    if not inside:
        limits = {"above": above, "of at least": at_least, "below": below, "of at most": at_most}
        bounds = " and ".join(f"{words} {limit:g}" for words, limit in limits.items() if limit is not None)
        raise InvalidArgumentError(f"{name} is {value!r}; it must be a finite number {bounds}".rstrip())


def require_instance(name: str, value: Any, kind: Any, example: str) -> None:
    """Raise unless the value is an instance of the kind: a class of it is not.

    Parameters
    ----------
    name : str
    value : object
    kind : type or tuple of types
    example : str
        What to pass instead, for the message.

    Raises
    ------
    InvalidArgumentError
        The value is no instance.

    Examples
    --------
    >>> from mfcore import MF
    >>> from mfcore.validation import require_instance
    >>> require_instance("spec", MF, MF, "MF(8)")
    Traceback (most recent call last):
        ...
    mfcore.errors.InvalidArgumentError: spec is <class 'mfcore.specs._mf.MF'>; pass an instance such as MF(8)
    """
    if not isinstance(value, kind):
        raise InvalidArgumentError(f"{name} is {value!r}; pass an instance such as {example}")
