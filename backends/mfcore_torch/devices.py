"""Which device a job runs on, with which settings of PyTorch, and what to say when memory is too small."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal, TypeAlias

import numpy as np
import torch

from mfcore.engines import memory
from mfcore.errors import InvalidArgumentError

MatmulPrecision: TypeAlias = Literal["highest", "tf32", "bfloat16"]
MATMUL_PRECISIONS = ("highest", "tf32", "bfloat16")
DTYPES: dict[np.dtype[np.floating], torch.dtype] = {
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float64): torch.float64,
}

_TOO_LITTLE_MEMORY = "can't allocate memory"


def device_of(name: str, local_number: int | None = None) -> torch.device:
    """Return the device of a name: "auto" is CUDA where there is any, else the CPU.

    Where several processes train together on this machine, `local_number` says which of its CUDA devices is
    this process's.

    Raises
    ------
    InvalidArgumentError
        A device that this machine does not have.
    """
    reason = unavailable(name)
    if reason:
        raise InvalidArgumentError(reason)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and local_number is not None:
        name = f"cuda:{local_number % torch.cuda.device_count()}"
    return torch.device(name)


def unavailable(name: str) -> str | None:
    """Return why there is no device of that name here, with the remedy, or None."""
    if name in ("auto", "cpu"):
        return None
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type != "cuda":
        return f"device is {name!r}; it must be 'auto', 'cpu', 'cuda' or one of several, e.g. 'cuda:1'"
    return _no_cuda(name, device)


def _no_cuda(name: str, device: torch.device) -> str | None:
    if not torch.backends.cuda.is_built():
        return (
            f"device is {name!r}, but PyTorch {torch.__version__} is a build without CUDA; install one with"
            " CUDA (see pytorch.org), or pass device='cpu'"
        )
    if not torch.cuda.is_available():
        return (
            f"device is {name!r}, but PyTorch {torch.__version__} finds no CUDA device: check the driver"
            " (nvidia-smi) and CUDA_VISIBLE_DEVICES, or pass device='cpu'"
        )
    if device.index is not None and device.index >= torch.cuda.device_count():
        found = ", ".join(f"cuda:{index}" for index in range(torch.cuda.device_count()))
        return f"device is {name!r}, and this machine has {found}; pass one of these"
    return None


@contextmanager
def settings(threads: int, matmul: MatmulPrecision = "highest") -> Iterator[None]:
    """Run a block with so many threads and the precision of matrix products; both are put back after it.

    Modes that the caller may be in, of automatic differentiation and of mixed precision, do not reach it.
    """
    precision_before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if matmul == "tf32" else "highest")
    try:
        with on_threads(threads), apart():
            yield
    finally:
        torch.set_float32_matmul_precision(precision_before)


@contextmanager
def on_threads(n: int) -> Iterator[None]:
    """Run a block with so many threads; their number is put back after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def apart() -> Iterator[None]:
    """Run a block without derivatives, and outside the caller's inference mode and mixed precision."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.no_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def memory_errors_explained(device: torch.device, needed: dict[str, int], remedy: str) -> Iterator[None]:
    """Turn a lack of memory in a block into an error that says what is needed and what to change.

    Parameters
    ----------
    device : torch.device
    needed : dict of str to int
        What takes how many bytes.
    remedy : str
        What to change.

    Raises
    ------
    DeviceMemoryError
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and _TOO_LITTLE_MEMORY not in str(error):
            raise
        free = ""
        if device.type == "cuda":
            left, of_all = torch.cuda.mem_get_info(device)
            free = f", of whose {memory.size_of(of_all)} {memory.size_of(left)} are free"
        raise memory.shortage(f"{device}{free}", needed, remedy) from error
