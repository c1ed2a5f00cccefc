"""The PyTorch engine, for CPUs and CUDA devices."""

from mfcore_torch.engine import TorchBackend, backend

__all__ = ["TorchBackend", "backend"]
