"""The command line: train, evaluate, recommend, explore, data and backends."""

from mfcore.cli.entry import app, main

__all__ = ["app", "main"]
