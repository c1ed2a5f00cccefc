"""How much training works out at a time, and from what size of an epoch on its steps are compiled."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Limits:
    """Sizes on which speed and memory depend, but for rounding not results; by default those for a CPU.

    Attributes
    ----------
    instances_at_once : int
        That are drawn, and whose rows are sorted, together.
    batch_rows_bytes : int
        That finding the rows of several batches together may take where every batch has all rows.
    scores_at_once : int
        Of an in-batch objective that are worked out together: on a CPU as many as its cache holds.
    shared_numbers : int
        Of a batch's rows from which several threads do a step faster than one does.
    compiled_steps, compiled_instances : int
        An epoch of so many of either is compiled for by itself: that takes some 20 seconds, and saves up to a
        millisecond a step, or half of the time of large batches.
    data_share, tables_share : float
        The parts of a CUDA device's free memory that the training data and the tables may take.
    """

    instances_at_once: int = 1 << 17
    batch_rows_bytes: int = 1 << 28
    scores_at_once: int = 1 << 18
    shared_numbers: int = 1 << 17
    compiled_steps: int = 1_000
    compiled_instances: int = 2_000_000
    data_share: float = 0.5
    tables_share: float = 0.7

    @classmethod
    def of(cls, device: torch.device) -> "Limits":
        """Return those that suit a device."""
        return (
            cls()
            if device.type == "cpu"
            else cls(instances_at_once=1 << 22, batch_rows_bytes=1 << 30, scores_at_once=1 << 25)
        )
