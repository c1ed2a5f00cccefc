"""What `mfcore verify` runs: every engine against the reference, cell by cell."""

from mfcore.verification._formatting import Said, failure_in_words, verdict
from mfcore.verification._sections import sections_of
from mfcore.verification._verification import Finding, Verification
from mfcore.verification._workers import Watch

__all__ = [
    "Finding",
    "Said",
    "Verification",
    "Watch",
    "failure_in_words",
    "sections_of",
    "verdict",
]
