"""Checks that several arguments of this package share."""

from operator import index
from typing import Any, get_args

from mfcore.errors import InvalidArgumentError
from mfcore.metrics.ranks import Ties


def checked_integer(
    name: str, value: Any, lowest: int, highest: int | None = None, *, or_none: str = ""
) -> int:
    """Return an argument as an int.

    Parameters
    ----------
    name
        What the argument is called in the error.
    value
        Any integer, numpy's among them, but no bool.
    lowest, highest
        Bounds, both allowed; no upper bound if None.
    or_none
        What None would mean, where the caller allows it: the error then says so.

    Raises
    ------
    InvalidArgumentError
        If the value is no integer within the bounds.
    """
    try:
        number = None if isinstance(value, bool) else index(value)
    except TypeError:
        number = None
    if number is None or number < lowest or (highest is not None and number > highest):
        domain = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        alternative = f", or None for {or_none}" if or_none else ""
        raise InvalidArgumentError(f"{name} is {value!r}; it must be an integer {domain}{alternative}")
    return number


def check_ties(ties: Any) -> None:
    """Raise InvalidArgumentError unless `ties` names a tie rule."""
    if ties not in get_args(Ties):
        rules = ", ".join(repr(rule) for rule in get_args(Ties))
        raise InvalidArgumentError(f"ties is {ties!r}; it must be one of {rules}")
