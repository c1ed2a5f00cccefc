"""The command line: train, evaluate, recommend, explore, compare, verify, data and backends."""

from mfcore.cli.console import Printer
from mfcore.cli.entry import main

__all__ = [
    "Printer",
    "main",
]
