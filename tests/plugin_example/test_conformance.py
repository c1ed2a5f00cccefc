"""The engine passes mfcore's suite."""

from mfcore.testing.conformance import BackendConformance


class TestExample(BackendConformance):
    backend = "example"
