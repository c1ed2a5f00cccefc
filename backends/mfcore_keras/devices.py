"""Which device a job runs on, on how many threads, and what to say when memory is too small."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import tensorflow as tf

from mfcore.engines import memory
from mfcore.errors import InvalidArgumentError


def device_of(name: str) -> str:
    """Return TensorFlow's name of a device: "auto" is the first GPU where there is any, else the CPU.

    Raises
    ------
    InvalidArgumentError
        A device that this machine does not have.
    """
    reason = unavailable(name)
    if reason:
        raise InvalidArgumentError(reason)
    if name == "cpu" or (name == "auto" and not gpus()):
        return "CPU:0"
    return f"GPU:{name.partition(':')[2] or 0}"


def gpus() -> list[str]:
    """Return the names of the GPUs that TensorFlow finds, as jobs name them."""
    return [f"cuda:{index}" for index in range(len(tf.config.list_physical_devices("GPU")))]


def unavailable(name: str) -> str | None:
    """Return why there is no device of that name here, with the remedy, or None."""
    if name in ("auto", "cpu"):
        return None
    kind, _, index = name.partition(":")
    if kind != "cuda" or not (index.isdecimal() or name == "cuda"):
        return f"device is {name!r}; it must be 'auto', 'cpu', 'cuda' or one of several, e.g. 'cuda:1'"
    if not tf.test.is_built_with_cuda():
        return (
            f"device is {name!r}, but TensorFlow {tf.__version__} is a build without CUDA; install one with"
            " CUDA (pip install 'tensorflow[and-cuda]', on Linux), or pass device='cpu'"
        )
    found = gpus()
    if not found:
        return (
            f"device is {name!r}, but TensorFlow {tf.__version__} finds no CUDA device: check the driver"
            " (nvidia-smi), CUDA_VISIBLE_DEVICES, and that CUDA's libraries are installed (pip install"
            " 'tensorflow[and-cuda]'), or pass device='cpu'"
        )
    if index and f"cuda:{int(index)}" not in found:
        return f"device is {name!r}, and this machine has {', '.join(found)}; pass one of these"
    return None


def offer_threads(threads: int) -> None:
    """Let TensorFlow compute on so many threads, if it has not begun to compute, and nobody has said."""
    for get, choose in (
        (
            tf.config.threading.get_intra_op_parallelism_threads,
            tf.config.threading.set_intra_op_parallelism_threads,
        ),
        (
            tf.config.threading.get_inter_op_parallelism_threads,
            tf.config.threading.set_inter_op_parallelism_threads,
        ),
    ):
        if not get():
            with suppress(RuntimeError):
                choose(threads)


@contextmanager
def computing_on(device: str) -> Iterator[None]:
    """Compute on a device, by TensorFlow's name, products of float32 in float32.

    On recent GPUs TensorFlow takes TensorFloat-32 for them unless it is told otherwise, with 10 bits of 23.
    """
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        with tf.device(device):
            yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


@contextmanager
def memory_errors_explained(device: str, needed: dict[str, int], remedy: str) -> Iterator[None]:
    """Turn a lack of memory in a block into an error that says what is needed and what to change.

    Parameters
    ----------
    device : str
        TensorFlow's name.
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
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise memory.shortage(device, needed, remedy) from error
