"""Whether and how functions on tensors are compiled."""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, Literal

import tensorflow as tf

from mfcore.engines import TrainingJob
from mfcore_keras.limits import Limits


def compiles(job: TrainingJob, wanted: Literal["auto"] | bool, limits: Limits) -> bool:
    """Return whether the steps of a job are compiled; "auto" is where it pays within some epochs."""
    if wanted != "auto":
        return wanted
    n_steps = -(-job.n_instances // job.batch_size)
    in_batch = job.objective.pairing == "in-batch"
    n_scored = job.n_instances * (job.batch_size if in_batch else 1)
    n_numbers = sum(prod(array.shape) for array in job.parameters.values())
    return (
        n_steps >= limits.worth_compiling_steps
        or n_scored >= limits.worth_compiling_instances
        or n_steps * n_numbers >= limits.worth_compiling_numbers
    )


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function compiled by XLA for arguments of the shapes that it is called with."""
    # TensorFlow counts tracings by code, and warns where many jobs share one; it knows no code of a partial.
    compiled_function: Callable[..., Any] = tf.function(partial(function), jit_compile=True, autograph=False)
    return compiled_function


def in_graph(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that TensorFlow runs by itself, once it is traced."""
    traced: Callable[..., Any] = tf.function(partial(function), reduce_retracing=True, autograph=False)
    return traced
