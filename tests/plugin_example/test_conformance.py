"""The engine passes mfcore's suite."""

from mfcore_plugin_example.gaps import GAPS

from mfcore.testing.conformance import BackendConformance


class TestExample(BackendConformance):
    backend = "example"
    gaps = GAPS
