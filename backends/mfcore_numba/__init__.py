"""The CPU engine: compiled kernels for matrix factorisation by SGD, by mini-batches and by WALS."""

from mfcore_numba.engine import backend

__all__ = ["backend"]
