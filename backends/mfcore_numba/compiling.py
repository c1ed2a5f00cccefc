"""How this engine compiles, caches and runs its kernels."""

import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numba
import platformdirs
from numba import njit
from threadpoolctl import ThreadpoolController

import mfcore.engines
import mfcore.objectives
import mfcore.optimizers
import mfcore.sampling
import mfcore.specs

# What fast-math allows, except to assume that NaN and infinity do not occur: a diverged run must show.
FAST_MATH = frozenset({"reassoc", "contract", "arcp", "nsz", "afn"})

# Rooms of the core whose functions or constants are compiled into kernels.
COMPILED = (mfcore.engines, mfcore.objectives, mfcore.optimizers, mfcore.sampling, mfcore.specs)

# Numba's simplest threading layer aborts the process when two threads enter parallel kernels at once.
_kernels = threading.Lock()


def compiled(
    *, parallel: bool = False, borrowing: bool = False, inline: bool = False
) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function with this engine's settings and caches it on disk.

    Numba's own cache watches only the file of the compiled function, so a change in a function that it
    calls, in another file, would go unnoticed. The cache folder is therefore named after the content of all
    files that end up in kernels. Where it cannot be written to, kernels are compiled anew in each process.

    Parameters
    ----------
    parallel : bool
    borrowing : bool
        The function makes no arrays and keeps none, so that references to them need not be counted. Counting
        is an atomic operation for each array that is taken out of a tuple, which would cost small functions
        that are called for every row more than their work does.
    inline : bool
        The function becomes a part of those that call it before it is compiled. Otherwise all that is below
        a level of calls is optimised and translated once more there; without the levels that only readers
        need, kernels take two thirds of the time to compile.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        earlier = numba.config.CACHE_DIR
        folder = _cache_folder(earlier)
        numba.config.CACHE_DIR = folder
        try:
            return njit(
                function,
                parallel=parallel,
                fastmath=set(FAST_MATH),
                nogil=True,
                cache=bool(folder),
                _nrt=not borrowing,
                inline="always" if inline else "never",
            )
        finally:
            numba.config.CACHE_DIR = earlier

    return decorate


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Run kernels on at most n threads, one call of a kernel at a time."""
    with _kernels:
        earlier = numba.get_num_threads()
        numba.set_num_threads(max(1, min(n, numba.config.NUMBA_NUM_THREADS)))
        try:
            yield
        finally:
            numba.set_num_threads(earlier)


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Keep BLAS calls inside parallel kernels from starting threads of their own."""
    with _blas().limit(limits=1, user_api="blas"):
        yield


@cache
def _blas() -> ThreadpoolController:
    # Numba calls the BLAS of scipy, which must be loaded for the controller to find it.
    import scipy.linalg.cython_blas  # noqa: F401

    return ThreadpoolController()


@cache
def _cache_folder(wanted: str) -> str:
    """Return the folder of these sources' kernels, made and tried; empty where none can be written to."""
    digest = hashlib.sha256()
    for door in (__file__, *(str(room.__file__) for room in COMPILED)):
        for source in sorted(Path(door).parent.glob("*.py")):
            digest.update(source.read_bytes())
    base = Path(wanted) if wanted else Path(platformdirs.user_cache_dir("mfcore")) / "numba"
    folder = base / digest.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError:
        return ""
