"""What was found, as people read it."""

from mfcore.testing._evaluation import Finding
from mfcore.testing._measures import INITIAL, STREAM, Measured

# What is the same bit for bit, or is not.
EXACT = (STREAM, INITIAL)


def format_measured(measured: Measured) -> str:
    """Return a deviation, or how many numbers differ that may not."""
    if measured.allowed == 0:
        return f"{measured.value:.0f} differ"
    return f"{measured.value:.1e}" if measured.value else "0"


def format_failure(finding: Finding) -> str:
    """Return what is wrong in a finding."""
    beyond = [
        f"{aspect}: {format_measured(found)}"
        + ("" if aspect in EXACT else f", where {found.allowed:g} is allowed")
        for aspect, found in finding.beyond.items()
    ]
    return "; ".join([*filter(None, [finding.failure]), *beyond])
