"""An engine for mfcore that does one thing: matrix factorisation by plain SGD, in numpy."""

from mfcore_plugin_example.engine import ExampleBackend, backend

__all__ = ["ExampleBackend", "backend"]
