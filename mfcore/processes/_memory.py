"""The memory that a process has taken."""

import sys

import psutil


def peak_memory() -> int:
    """Return the most memory that this process has held at once so far, in bytes.

    It is resident memory, not what was merely reserved.

    Examples
    --------
    >>> from mfcore.processes import peak_memory
    >>> peak_memory() > 2**20
    True
    """
    if sys.platform == "win32":
        peak: int = psutil.Process().memory_info().peak_wset
        return peak
    if sys.platform == "linux":
        # What getrusage reports of a process on Linux includes what its parent held when it was started.
        with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    import resource

    # macOS counts bytes, the others kilobytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
