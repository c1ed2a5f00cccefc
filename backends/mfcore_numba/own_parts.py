"""A person's own losses, outputs and rules: compiled by themselves, and called by kernels at their address.

So a kernel knows no more of them than that they are there: it is compiled once for all of them and kept on
disk like any other, while the functions themselves are compiled anew in each process, in some tenths of a
second, and can never be out of date.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from types import CellType, FunctionType
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype
from numba.np.unsafe.ndarray import to_fixed_tuple

from mfcore.engines import TrainingJob
from mfcore.objectives import ScoreObjective, score_terms
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import Output
from mfcore_numba.operators import SCALARS

# Functions that are kept compiled.
KEPT = 64


def own_terms(job: TrainingJob) -> Any:
    """Return a job's loss, through its output where it is trained through, compiled; see `call_terms`.

    Returns
    -------
    object
        With the attribute `address`, where the function is for as long as the object lives.

    Raises
    ------
    numba.core.errors.NumbaError, Exception
        It cannot be compiled for single numbers; see `why_not_compiled`.
    """
    objective, output = job.objective, job.spec.output
    assert isinstance(objective, ScoreObjective)
    constants = (tuple(objective.constants()), tuple(output.constants()))
    functions = (type(objective).terms, type(output).forward)
    return _compiled_terms(objective, output, constants, functions, job.dtype)


def own_rule(optimizer: GradientOptimizer, dtype: np.dtype[np.floating]) -> Any:
    """Return a job's rule, compiled; see `call_rule`. Result and errors are those of `own_terms`."""
    n_coefficients = len(optimizer.coefficients(1, optimizer.learning_rate_at(0)))
    return _compiled_rule(type(optimizer).rule, n_coefficients, len(optimizer.slot_names), dtype)


def why_not_compiled(compile_part: Callable[[], Any], name: str) -> str | None:
    """Return why a part cannot be compiled, in words that a person can act on, or None.

    Parameters
    ----------
    compile_part : callable
        `own_terms` or `own_rule` of a job.
    name : str
        Of the part.
    """
    try:
        compile_part()
    except Exception as error:
        # Beside its own errors, which begin with the steps that failed, Numba lets through those of Python.
        lines = [re.sub(r"\x1b\[\d*m", "", line).strip() for line in str(error).splitlines()]
        reason = next((line for line in lines if line and not line.startswith("Failed in")), str(error))
        return (
            f"Numba cannot compile {name} for single numbers ({reason}): write it on the operators xp and on"
            " numbers that come in through its constants or coefficients, or use backend='torch', 'keras' or"
            " 'reference'"
        )
    return None


def compiled_for_numbers(function: Callable[..., Any]) -> Any:
    """Return a plain function compiled for numbers, and with it the plain functions that it refers to."""
    return _compiled_tree(function, {})


def _compiled_tree(function: Any, known: dict[Any, Any]) -> Any:
    if not isinstance(function, FunctionType) or function is SCALARS.sqrt:
        return function
    if function not in known:
        cells = tuple(CellType() for _ in function.__closure__ or ())
        scope = dict(function.__globals__)
        copy = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, cells)
        known[function] = njit(copy, error_model="numpy")
        # Filled in now that the function itself is known, which it may refer to.
        for own, given in zip(cells, function.__closure__ or (), strict=True):
            own.cell_contents = _compiled_tree(given.cell_contents, known)
        for name in function.__code__.co_names:
            if name in scope:
                scope[name] = _compiled_tree(scope[name], known)
    return known[function]


# `functions` tells apart what was before and after somebody put another function into a class.
@lru_cache(maxsize=KEPT)
def _compiled_terms(
    objective: ScoreObjective,
    output: Output,
    constants: tuple[tuple[float, ...], ...],
    functions: tuple[Any, ...],
    dtype: np.dtype[np.floating],
) -> Any:
    terms = compiled_for_numbers(score_terms(objective, output, SCALARS))
    c, output_c = (tuple(map(dtype.type, numbers)) for numbers in constants)

    def write_terms(score, target, result):
        terms_of = carray(result, 3)
        terms_of[0], terms_of[1], terms_of[2] = terms(score, target, c, output_c)

    number = from_dtype(dtype)
    return cfunc(types.void(number, number, types.CPointer(number)), error_model="numpy")(write_terms)


@lru_cache(maxsize=KEPT)
def _compiled_rule(
    rule: Callable[[Any], Any], n_coefficients: int, n_slots: int, dtype: np.dtype[np.floating]
) -> Any:
    update, zero = compiled_for_numbers(rule(SCALARS)), dtype.type(0)

    def take_steps(start, distance, gradient, has_gradient, n, coefficients, first, stop):
        numbers, gradients = carray(start, n_slots * distance + n), carray(gradient, n)
        table = carray(coefficients, (stop, n_coefficients))
        for step in range(first, stop):
            c = to_fixed_tuple(table[step], n_coefficients)
            for j in range(n):
                slot0 = numbers[j + distance] if n_slots > 0 else zero
                slot1 = numbers[j + 2 * distance] if n_slots > 1 else zero
                gradient_j = gradients[j] if has_gradient else zero
                numbers[j], slot0, slot1 = update(numbers[j], gradient_j, slot0, slot1, c)
                if n_slots > 0:
                    numbers[j + distance] = slot0
                if n_slots > 1:
                    numbers[j + 2 * distance] = slot1

    pointer = types.CPointer(from_dtype(dtype))
    integer = types.int64
    kinds = (pointer, integer, pointer, integer, integer, pointer, integer, integer)
    return cfunc(types.void(*kinds), error_model="numpy")(take_steps)


@intrinsic
def call_terms(typing_context: Any, address: Any, score: Any, target: Any) -> Any:
    """Return (linear, argument, slope) of a score and its target, of the terms at an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = context.get_value_type(score)
        result = cgutils.alloca_once(builder, ir.ArrayType(number, 3))
        zero = ir.Constant(ir.IntType(32), 0)
        first = builder.gep(result, [zero, zero])
        kind = ir.FunctionType(ir.VoidType(), [number, number, first.type])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1], args[2], first])
        return builder.load(result)

    return types.UniTuple(score, 3)(types.int64, score, score), generate


@intrinsic
def call_rule(
    typing_context: Any,
    address: Any,
    numbers: Any,
    at: Any,
    distance: Any,
    gradient: Any,
    gradient_at: Any,
    has_gradient: Any,
    n: Any,
    coefficients: Any,
    first: Any,
    stop: Any,
) -> Any:
    """Take steps with the rule at an address.

    Parameters
    ----------
    numbers, at, distance : array, int, int
        The parameters begin at `at`, and each slot `distance` after what is before it.
    gradient, gradient_at, has_gradient : array, int, int
        Where `has_gradient` is 0, it is 0.
    n : int
        The number of parameters.
    coefficients, first, stop : array [n_steps, n_coefficients], int, int
        The steps in [first, stop) are taken.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def pointer(array: int, index: Any) -> Any:
            made = context.make_array(signature.args[array])(context, builder, args[array])
            return builder.gep(made.data, [index])

        given = [
            pointer(1, args[2]),
            args[3],
            pointer(4, args[5]),
            *args[6:8],
            pointer(8, ir.Constant(ir.IntType(64), 0)),
            *args[9:],
        ]
        kind = ir.FunctionType(ir.VoidType(), [one.type for one in given])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), given)
        return context.get_dummy_value()

    integer = types.int64
    return types.void(
        *(integer, numbers, integer, integer, gradient, integer, integer, integer),
        *(coefficients, integer, integer),
    ), generate
