"""What a comparison was made on: the machine, and the versions of what took part."""

import os
import platform
from datetime import datetime
from importlib import metadata
from pathlib import Path

import psutil

import mfcore
from mfcore.comparison._formatting import format_bytes
from mfcore.engines import registry
from mfcore.training import available_threads


def machine() -> dict[str, str]:
    """Return what is known of this machine and its software, and the date.

    Returns
    -------
    dict of str to str
        Name to value, for people.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.comparison import machine
    >>> machine()["mfcore"] == mfcore.__version__
    True
    """
    return {
        "date": datetime.now().astimezone().isoformat(" ", "minutes"),
        "processor": _processor(),
        "processors used": f"{available_threads()} of {os.cpu_count() or 'an unknown number'}",
        "memory": format_bytes(psutil.virtual_memory().total),
        "system": f"{platform.system()} {platform.release()}".strip(),
        "mfcore": mfcore.__version__,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        **_versions(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo")
    if lines.exists():
        for line in lines.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def _versions() -> dict[str, str]:
    found = {}
    needed = dict.fromkeys(each for engine in registry.names() for each in registry.requirements(engine))
    for name in ("numpy", *needed):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
