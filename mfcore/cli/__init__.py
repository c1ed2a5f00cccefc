"""The command line: train, evaluate, recommend, explore, data and backends."""

from mfcore.cli.console import Output
from mfcore.cli.entry import app, main

__all__ = [
    "Output",
    "app",
    "main",
]
