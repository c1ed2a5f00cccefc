"""From `fit`'s arguments to a validated job, and the loop over its epochs."""

from mfcore.training._fit import fit
from mfcore.training._jobs import available_threads, make_job
from mfcore.training._progress import epoch_bar

__all__ = [
    "available_threads",
    "epoch_bar",
    "fit",
    "make_job",
]
