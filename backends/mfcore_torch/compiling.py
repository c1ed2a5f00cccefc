"""Whether and how functions on tensors are compiled."""

import os
import shutil
import warnings
from collections.abc import Callable
from functools import cache, wraps
from importlib import import_module
from types import FunctionType, MethodType
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor

from mfcore.engines import TrainingJob
from mfcore.errors import InvalidArgumentError

Function = TypeVar("Function", bound=Callable[..., Any])

# Compiling takes some 20 seconds, and saves up to a millisecond a step, or half of the time of large batches.
WORTH_COMPILING_STEPS, WORTH_COMPILING_INSTANCES = 1_000, 2_000_000


def worth_compiling(job: TrainingJob, n_together: int) -> bool:
    """Return whether an epoch is long enough for compiled steps to pay within a few epochs."""
    n_steps = -(-job.n_instances // n_together)
    return n_steps >= WORTH_COMPILING_STEPS or job.n_instances >= WORTH_COMPILING_INSTANCES


def has_compiler() -> bool:
    """Return whether there is a C++ compiler."""
    return any(shutil.which(name) for name in (os.environ.get("CXX"), "g++", "clang++", "cl") if name)


def compiles(job: TrainingJob, wanted: Literal["auto"] | bool, n_together: int) -> bool:
    """Return whether the steps of a job, of so many instances each, are compiled.

    Raises
    ------
    InvalidArgumentError
        They are to be, and there is no C++ compiler, which PyTorch needs for that.
    """
    if wanted is False or (wanted == "auto" and not worth_compiling(job, n_together)):
        return False
    found = has_compiler()
    if wanted is True and not found:
        raise InvalidArgumentError(
            "TorchBackend: compile is True, but no C++ compiler was found (g++, clang++, or what the variable"
            " CXX names), which torch.compile needs: install one, or leave compile at 'auto'"
        )
    return found


def compiled_step(method: Function, device: torch.device) -> Function:
    """Return a method compiled for its object and arguments of the shapes that it is first called with."""
    _load_compiler()
    options: dict[str, Any] = {"guard_filter_fn": _no_guards}
    if device.type == "cpu":
        # The code around the kernels, too, is C++.
        options["cpp_wrapper"] = True
    bound: Any = method
    own = MethodType(_apart(bound.__func__), bound.__self__)
    compiled: Any = torch.compile(own, fullgraph=True, dynamic=False, options=options)
    return cast("Function", compiled)


def compiled_for_any_length(function: Function) -> Function:
    """Return a function compiled for tensors of any length and for any integers.

    Integers in a named tuple, and other settings, are constants of the compiled code.
    """
    _load_compiler()

    @wraps(function)
    def call(*arguments: Any) -> Any:
        constants = tuple(_constants(argument) for argument in arguments)
        return _compiled_once(function, torch.get_num_threads(), constants)(*arguments)

    return cast("Function", call)


def left_alone(function: Function) -> Function:
    """Return the function itself."""
    return function


@cache
def _load_compiler() -> None:
    """Import what compiling would import, whose own deprecated calls must not end as somebody's errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import_module("torch._inductor.compile_fx")


def _constants(argument: Any) -> Any:
    if isinstance(argument, tuple):
        return tuple(part for part in argument if isinstance(part, int))
    return None if isinstance(argument, int | Tensor) else argument


@cache
def _compiled_once(function: Any, threads: int, constants: tuple[Any, ...]) -> Callable[..., Any]:
    # PyTorch compiles anew for each of these, but only so many times for one code object.
    compiled: Callable[..., Any] = torch.compile(_apart(function), fullgraph=True, dynamic=True)
    return compiled


def _apart(function: Any) -> Any:
    """Return the same function with a code object of its own.

    PyTorch keeps what it has compiled beside the code: without guards, another job would be given it.
    """
    code = function.__code__.replace()
    return FunctionType(code, function.__globals__, function.__name__, closure=function.__closure__)


def _no_guards(guards: Any) -> list[bool]:
    # A step is compiled for one job, whose arguments have the same shapes in every step.
    return [False] * len(guards)
