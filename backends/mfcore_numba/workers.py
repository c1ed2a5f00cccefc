"""Threads that run one kernel side by side and meet at barriers within it.

A parallel loop of Numba's costs some microseconds to begin and to end, which a mini-batch has too little work
to pay for several times. Here each thread calls the whole kernel, and a barrier costs a fraction of a
microsecond.
"""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from mfcore_numba.compiling import compiled

# Looks at the barrier before the processor is offered to other threads.
PATIENCE = 2_000
# Elements in a barrier's array, on cache lines of their own.
ARRIVED, ROUND, N_PLACES = 0, 16, 32

_YIELD = "SwitchToThread" if sys.platform == "win32" else "sched_yield"


class Worker(NamedTuple):
    """One of the threads that run a kernel: its number, how many there are, and what `wait` needs."""

    number: int
    n: int
    barrier: NDArray[np.int64]


class Workers:
    """n threads: the calling one and n - 1 that wait for work.

    Attributes
    ----------
    n : int
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._barrier: NDArray[np.int64] = np.zeros(N_PLACES, dtype=np.int64)
        self._pool = ThreadPoolExecutor(n - 1, thread_name_prefix="mfcore") if n > 1 else None

    def run(self, kernel: Callable[..., Any], *arguments: Any) -> Any:
        """Call kernel(worker, *arguments) on every thread; return what the first worker returned."""
        first, *rest = (Worker(number, self.n, self._barrier) for number in range(self.n))
        others = [self._pool.submit(kernel, worker, *arguments) for worker in rest if self._pool]
        result = kernel(first, *arguments)
        for other in others:
            other.result()
        return result


def _pointer(context: Any, builder: Any, kind: Any, array: Any, position: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [position])


@intrinsic
def add_atomically(typing_context: Any, array: Any, position: Any, value: Any) -> Any:
    """Add to an element of an int64 array that several threads use; return what it was before."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *args[:2])
        return builder.atomic_rmw("add", pointer, args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), generate


@intrinsic
def read_atomically(typing_context: Any, array: Any, position: Any) -> Any:
    """Return an element of an int64 array that other threads may be writing to."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(context, builder, signature.args[0], *args), "seq_cst", 8)

    return types.int64(array, types.intp), generate


@intrinsic
def let_others_run(typing_context: Any) -> Any:
    """Offer the processor to another thread."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, _YIELD), [])
        return context.get_dummy_value()

    return types.void(), generate


@compiled(borrowing=True)
def wait(worker):
    """Return when all workers have called this, with what each has written visible to all."""
    barrier, n_workers = worker.barrier, worker.n
    if n_workers == 1:
        return
    round_before = read_atomically(barrier, ROUND)
    if add_atomically(barrier, ARRIVED, 1) == n_workers - 1:
        add_atomically(barrier, ARRIVED, -n_workers)
        add_atomically(barrier, ROUND, 1)
        return
    looks = 0
    while read_atomically(barrier, ROUND) == round_before:
        looks += 1
        if looks > PATIENCE:
            let_others_run()
