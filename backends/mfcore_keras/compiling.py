"""Whether and how functions on tensors are compiled."""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, Literal

import tensorflow as tf

from mfcore.engines import TrainingJob

# Compiling takes 1-3 s, and saves .1-.4 ms a step, or more where much is worked out in a step.
WORTH_COMPILING_STEPS, WORTH_COMPILING_INSTANCES = 500, 500_000
# Numbers that steps copy in an epoch if they are not compiled: each copies the tables.
WORTH_COMPILING_NUMBERS = 200_000_000


def compiles(job: TrainingJob, wanted: Literal["auto"] | bool) -> bool:
    """Return whether the steps of a job are compiled; "auto" is where it pays within some epochs."""
    if wanted != "auto":
        return wanted
    n_steps = -(-job.n_instances // job.batch_size)
    in_batch = job.objective.pairing == "in-batch"
    n_scored = job.n_instances * (job.batch_size if in_batch else 1)
    n_numbers = sum(prod(array.shape) for array in job.parameters.values())
    return (
        n_steps >= WORTH_COMPILING_STEPS
        or n_scored >= WORTH_COMPILING_INSTANCES
        or n_steps * n_numbers >= WORTH_COMPILING_NUMBERS
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
