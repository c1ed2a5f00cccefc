"""Several processes that train one model together, each on its share of every batch.

Every rank draws the same stream and holds the same parameters. It scores and differentiates its share of
each batch; the gradients of the rows that the batch touches are then added up over the ranks, and each of
them moves all rows alike. So any number of ranks gives the result of one, but for the rounding of that sum.
"""

import atexit
import os
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed

from mfcore.engines import TrainingJob
from mfcore.errors import MfcoreError
from mfcore_torch.devices import device_of


@dataclass(frozen=True)
class Ranks:
    """The processes that train together.

    Attributes
    ----------
    n : int
        How many there are.
    number : int
        Which one this is, from 0.
    """

    n: int = 1
    number: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that shows progress and writes files."""
        return self.number == 0

    def own_device(self, name: str) -> torch.device:
        """Return this process's device of a name: one each of the machine's, where several train together.

        Raises
        ------
        InvalidArgumentError
            A device that this machine does not have.
        """
        return device_of(name, _local_number() if self.n > 1 else None)

    def own_threads(self, threads: int) -> int:
        """Return how many of the machine's threads are this process's: fewer where others share it."""
        return max(1, threads // (_n_local() if self.n > 1 else 1))

    def share(self, n: int) -> slice:
        """Return this rank's part of n instances."""
        return slice(n * self.number // self.n, n * (self.number + 1) // self.n)

    def add_up(self, tensors: list[Tensor]) -> list[Tensor]:
        """Return the sums of tensors of one dtype over all ranks, the same bits on each."""
        if self.n == 1:
            return tensors
        together = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(together)
        parts = together.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def require_same(self, job: TrainingJob) -> None:
        """Raise where the ranks were given different jobs, which no sum of gradients would show.

        Raises
        ------
        MfcoreError
        """
        if self.n == 1:
            return
        mine = fingerprint(job)
        found: list[Any] = [None] * self.n
        distributed.all_gather_object(found, mine)
        for number, other in enumerate(found):
            for name, value in mine.items():
                if other[name] != value:
                    raise MfcoreError(
                        f"rank {self.number} trains with {name} {value} and rank {number} with {other[name]};"
                        " the processes of one run must all be given the same data and settings"
                    )


def find_ranks(device_name: str) -> Ranks:
    """Return the processes of a run under `torchrun`, or of the caller's own process group; else this one.

    A process group is set up where there is none: with NCCL for CUDA devices, with Gloo for the CPU.
    """
    if not distributed.is_available():
        return Ranks()
    if not distributed.is_initialized():
        if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
            return Ranks()
        device = device_of(device_name, _local_number())
        if device.type == "cuda":
            torch.cuda.set_device(device)
        # The default group is a default of its functions. If they came to be after the group, they would keep
        # it beyond `_leave`, and a thread of it that asks for Python after its end can abort the process.
        from torch.distributed.nn import functional  # noqa: F401

        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(_leave)
    return Ranks(distributed.get_world_size(), distributed.get_rank())


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _local_number() -> int:
    """Return which of this machine's processes this one is, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def _n_local() -> int:
    """Return how many processes of the run are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def fingerprint(job: TrainingJob) -> dict[str, Any]:
    """Return what must be the same on all ranks, in a few words each."""
    return {
        "spec": repr(job.spec),
        "objective": repr(job.objective),
        "optimizer": repr(job.optimizer),
        "sampling": repr(job.sampling),
        "batch_size": job.batch_size,
        "seed": job.seed,
        "dtype": job.dtype.name,
        "interactions with checksum": _checksum(job.data.users, job.data.items, job.data.values),
        "parameters with checksum": _checksum(*job.parameters.values()),
        "optimizer state with checksum": _checksum(*job.optimizer_state.values()),
    }


def _checksum(*arrays: Any) -> int:
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
    return checksum
