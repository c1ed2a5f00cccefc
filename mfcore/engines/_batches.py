"""The batches of an epoch, with all that an engine needs of each for a step."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfcore.specs import Floats

# Instances that are drawn together, whatever the size of batches.
INSTANCES_AT_ONCE = 1 << 17


class Batch(NamedTuple):
    """One batch of n instances, on the host.

    Attributes
    ----------
    users, items : int64 arrays [n]
        Rows.
    negatives : int64 array [n], or None
        The item that each instance's item is compared with, of a pairwise objective.
    targets : array [n] in the job's dtype
    weights : array [n] in the job's dtype, or None for 1
    log_q : array [n] in the job's dtype, or None
        What an in-batch objective subtracts from the items' logits.
    number : int
        Of the step, counted from 1 over all epochs.
    coefficients : array [n_coefficients] in the job's dtype
        Of the optimizer's rule, at this step.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.training import make_job
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5], [3.0, 4.0, 5.0])
    >>> job = make_job(mfcore.MF(2), data, optimizer="adam", batch_size=2)
    >>> [(batch.number, len(batch.users)) for batch in job.batches(epoch=0)]
    [(1, 2), (2, 1)]
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    negatives: NDArray[np.int64] | None
    targets: Floats
    weights: Floats | None
    log_q: Floats | None
    number: int
    coefficients: Floats
