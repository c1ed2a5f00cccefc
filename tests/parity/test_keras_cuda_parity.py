"""The Keras engine passes the whole suite on a GPU; left out, in one piece, where there is none."""

import pytest

from mfcore.testing.conformance import BackendConformance

pytest.importorskip("mfcore_keras", reason="TensorFlow is not installed on this Python")

from mfcore_keras import devices

if not devices.gpus():
    pytest.skip("TensorFlow finds no GPU here", allow_module_level=True)


class TestKerasOnCuda(BackendConformance):
    backend = "keras"
    device = "cuda"
