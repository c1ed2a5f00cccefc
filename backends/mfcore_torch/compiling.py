"""Whether and how functions on tensors are compiled."""

import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, wraps
from importlib import import_module
from types import FunctionType, MethodType
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor

from mfcore.engines import TrainingJob
from mfcore.errors import InvalidArgumentError
from mfcore_torch.limits import Limits

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass
class Compiler:
    """Compiles functions, or leaves them as they are.

    Attributes
    ----------
    is_on : bool
        Whether it compiles; once compiling has failed where it need not be, it no longer does.
    is_required : bool
        Whether to raise where compiling fails, rather than to warn and go on with functions as they are.
    """

    is_on: bool
    is_required: bool = False

    @classmethod
    def make(
        cls, job: TrainingJob, wanted: Literal["auto"] | bool, n_together: int, limits: Limits
    ) -> "Compiler":
        """Return that of a job with steps of so many instances each.

        Raises
        ------
        InvalidArgumentError
            Steps are to be compiled, and there is no C++ compiler, which PyTorch needs for that.
        """
        if wanted is False or (wanted == "auto" and not worth_compiling(job, n_together, limits)):
            return cls(is_on=False)
        found = has_compiler()
        if wanted is True and not found:
            raise InvalidArgumentError(
                "TorchBackend: compile is True, but no C++ compiler was found (g++, clang++, or what the"
                " variable CXX names), which torch.compile needs: install one, or leave compile at 'auto'"
            )
        return cls(is_on=found, is_required=wanted is True)

    def step(self, method: Function, device: torch.device) -> Function:
        """Return a method as `compiled_step` does, or the method itself."""
        return self._or_plain(compiled_step(method, device), method) if self.is_on else method

    def for_any_length(self, function: Function) -> Function:
        """Return a function as `compiled_for_any_length` does, or the function itself."""
        return self._or_plain(compiled_for_any_length(function), function) if self.is_on else function

    def _or_plain(self, compiled: Function, plain: Function) -> Function:
        if self.is_required:
            return compiled
        from torch._dynamo.exc import TorchDynamoException

        @wraps(plain)
        def call(*arguments: Any) -> Any:
            if self.is_on:
                # Compiling fails before anything is worked out: nothing has been moved.
                try:
                    return compiled(*arguments)
                except TorchDynamoException as error:
                    self.is_on = False
                    reason = next(iter(str(error).strip().splitlines()), "")
                    warnings.warn(
                        f"training goes on with steps that are not compiled, as torch.compile failed:"
                        f" {type(error).__name__}: {reason}; see that the C++ compiler works, or pass"
                        " backend=mfcore_torch.TorchBackend(compile=False)",
                        RuntimeWarning,
                        stacklevel=2,
                    )
            return plain(*arguments)

        return cast("Function", call)


def worth_compiling(job: TrainingJob, n_together: int, limits: Limits) -> bool:
    """Return whether an epoch is long enough for compiled steps to pay within a few epochs."""
    n_steps = -(-job.n_instances // n_together)
    return n_steps >= limits.compiled_steps or job.n_instances >= limits.compiled_instances


def has_compiler() -> bool:
    """Return whether there is a C++ compiler."""
    return any(shutil.which(name) for name in (os.environ.get("CXX"), "g++", "clang++", "cl") if name)


def compiled_step(method: Function, device: torch.device) -> Function:
    """Return a method compiled for its object and arguments of the shapes that it is first called with.

    It is compiled once for each choice of arguments that are None.
    """
    _load_compiler()
    options: dict[str, Any] = {"guard_filter_fn": _no_guards}
    if device.type == "cpu":
        # The code around the kernels, too, is C++.
        options["cpp_wrapper"] = True
    bound: Any = method
    compiled: dict[tuple[bool, ...], Any] = {}

    @wraps(method)
    def call(*arguments: Any) -> Any:
        given = tuple(argument is not None for argument in arguments)
        if given not in compiled:
            own = MethodType(_apart(bound.__func__), bound.__self__)
            compiled[given] = torch.compile(own, fullgraph=True, dynamic=False, options=options)
        return compiled[given](*arguments)

    return cast("Function", call)


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
