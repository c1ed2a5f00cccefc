"""Findings as text."""

from mfcore.testing._evaluation import Finding
from mfcore.testing._measures import INITIAL, STREAM, Measured

# Aspects that are compared bit for bit.
EXACT = (STREAM, INITIAL)


def format_measured(measured: Measured) -> str:
    """Return a deviation, or how many numbers differ where none may.

    Parameters
    ----------
    measured : Measured

    Returns
    -------
    str

    Examples
    --------
    >>> from mfcore.testing import Measured, format_measured
    >>> format_measured(Measured(2.5e-7, allowed=1e-5)), format_measured(Measured(3, allowed=0))
    ('2.5e-07', '3 differ')
    """
    if measured.allowed == 0:
        return f"{measured.value:.0f} differ"
    return f"{measured.value:.1e}" if measured.value else "0"


def format_failure(finding: Finding) -> str:
    """Return what is wrong in a finding.

    Parameters
    ----------
    finding : Finding

    Returns
    -------
    str

    Examples
    --------
    >>> from mfcore.testing import Cell, Finding, Measured, format_failure
    >>> cell = Cell("mf", "squared", "adam", "float64")
    >>> format_failure(Finding("mine", cell, {"1 step": Measured(2e-9, allowed=1e-9)}))
    '1 step: 2.0e-09, where 1e-09 is allowed'
    """
    beyond = [
        f"{aspect}: {format_measured(found)}"
        + ("" if aspect in EXACT else f", where {found.allowed:g} is allowed")
        for aspect, found in finding.beyond.items()
    ]
    return "; ".join([*filter(None, [finding.failure]), *beyond])
