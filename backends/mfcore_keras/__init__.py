"""The Keras engine: training in compiled TensorFlow, models as ordinary Keras models."""

from mfcore_keras.loading import load_tensorflow

# Before any module that imports it.
load_tensorflow()

from mfcore_keras.engine import KerasBackend, backend  # noqa: E402

__all__ = ["KerasBackend", "backend"]
