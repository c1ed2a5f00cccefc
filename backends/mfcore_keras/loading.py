"""How TensorFlow is loaded: without its noise, and without taking the whole of a GPU's memory."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from mfcore.errors import UnsupportedError

KERAS_BACKEND, LOG_LEVEL = "KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL"
# Its log lines begin with a letter and a date, of which those written before the log is set up have none.
LOG_LINES = re.compile(
    rb"[IWE]\d{4} |WARNING: All log messages before absl::InitializeLog\(\)|To enable the "
)
GROWTH = "TF_FORCE_GPU_ALLOW_GROWTH"


def load_tensorflow() -> None:
    """Import TensorFlow for the first time in this process, as above; nothing is done where it is there.

    What TensorFlow logs on the way, of its build and of drivers that it looked for, is left out unless the
    variable TF_CPP_MIN_LOG_LEVEL is set. Memory of GPUs is taken as it is needed, unless the variable
    TF_FORCE_GPU_ALLOW_GROWTH says otherwise.

    Raises
    ------
    ModuleNotFoundError
        It is not installed.
    """
    if "tensorflow" in sys.modules:
        return
    if LOG_LEVEL in os.environ:
        _import()
        return
    os.environ[LOG_LEVEL] = "2"
    try:
        with _log_lines_left_out():
            _import()
    finally:
        # TensorFlow has read it; the processes that this one starts are not ours.
        del os.environ[LOG_LEVEL]


def _import() -> None:
    import tensorflow as tf

    # Looking for devices logs, too.
    for device in tf.config.list_physical_devices("GPU"):
        if GROWTH not in os.environ:
            tf.config.experimental.set_memory_growth(device, True)


@contextmanager
def _log_lines_left_out() -> Iterator[None]:
    """Keep TensorFlow's log lines from the process's standard error; whatever else is written there stays.

    They come from C++, which does not know of `sys.stderr`, and in part before any setting is read.
    """
    try:
        standard_error = os.dup(2)
    except OSError:
        # There is none to keep them from.
        yield
        return
    with tempfile.TemporaryFile() as lines:
        os.dup2(lines.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
            lines.seek(0)
            for line in lines:
                if not LOG_LINES.match(line):
                    os.write(2, line)


def load_keras() -> None:
    """Import Keras, as it runs on TensorFlow.

    Raises
    ------
    UnsupportedError
        Keras runs on another framework in this process, or is told to.
    """
    asked = os.environ.get(KERAS_BACKEND, "tensorflow")
    if "keras" not in sys.modules and asked != "tensorflow":
        raise UnsupportedError(_explained(asked))
    import keras

    runs_on = keras.backend.backend()
    if runs_on != "tensorflow":
        raise UnsupportedError(_explained(runs_on))


def _explained(framework: str) -> str:
    where = (
        f"the environment variable {KERAS_BACKEND} is {os.environ[KERAS_BACKEND]!r}: unset it, or set it to"
        if KERAS_BACKEND in os.environ
        else f"~/.keras/keras.json says so: set the environment variable {KERAS_BACKEND} to"
    )
    return (
        f"Keras runs on {framework} in this process, and this engine's Keras models on TensorFlow. Keras"
        f" chooses once, when it is first imported; {where} 'tensorflow' before Python starts, or at least"
        " before keras or tensorflow is imported. Training by this engine does not depend on it"
    )
