"""What a job needs of a device's memory, and what to change where that is too little."""

from collections.abc import Mapping

from mfcore.errors import DeviceMemoryError


def shortage(where: str, needed: Mapping[str, int], remedy: str) -> DeviceMemoryError:
    """Return the error that says where memory is too small, what is needed and what to change.

    Parameters
    ----------
    where : str
        The device, perhaps with what it has left.
    needed : mapping of str to int
        Approximate bytes of each part.
    remedy : str
        What to change.
    """
    parts = ", ".join(f"{what} {size_of(n_bytes)}" for what, n_bytes in needed.items())
    total = size_of(sum(needed.values()))
    return DeviceMemoryError(f"out of memory on {where}: the job needs about {total} ({parts}); {remedy}")


def smaller_batches(batch_size: int, *, on_cpu: bool) -> str:
    """Return what to change where mini-batches of some size do not fit into memory.

    Parameters
    ----------
    batch_size : int
    on_cpu : bool
        Whether the job runs on the CPU, so that there is no other device to name.

    Returns
    -------
    str

    Examples
    --------
    >>> from mfcore.engines import smaller_batches
    >>> smaller_batches(4096, on_cpu=True)[:49]
    'lower batch_size (4,096) or the number of factors'
    """
    less = f"lower batch_size ({batch_size:,}) or the number of factors"
    fewer = "take an optimizer with fewer slots (SGD has none, Adam two)"
    return f"{less}, or {fewer}" if on_cpu else f"{less}, {fewer}, or pass device='cpu'"


def size_of(n_bytes: int) -> str:
    """Return a number of bytes as text, such as "1.5 GiB"."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if n_bytes >= 1 << power:
            return f"{n_bytes / (1 << power):.1f} {unit}"
    return f"{n_bytes} bytes"
