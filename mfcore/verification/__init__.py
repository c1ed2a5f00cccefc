"""What `mfcore verify` runs: every engine against the reference, cell by cell."""

from mfcore.verification._formatting import (
    aspects_of,
    contract_rows,
    deviation_rows,
    failure_rows,
    gap_rows,
    largest_rows,
    verdict,
)
from mfcore.verification._results import Engine, Verification
from mfcore.verification._sections import sections_of
from mfcore.verification._verify import Monitor, verify

__all__ = [
    "Engine",
    "Monitor",
    "Verification",
    "aspects_of",
    "contract_rows",
    "deviation_rows",
    "failure_rows",
    "gap_rows",
    "largest_rows",
    "sections_of",
    "verdict",
    "verify",
]
