"""The torch engine passes the whole suite on a CUDA device; left out, in one piece, where there is none."""

import pytest

from mfcore.testing.conformance import BackendConformance

torch = pytest.importorskip("torch", reason="torch is not installed on this Python")

if not torch.cuda.is_available():
    pytest.skip("PyTorch finds no CUDA device here", allow_module_level=True)


class TestTorchOnCuda(BackendConformance):
    backend = "torch"
    device = "cuda"
