"""What `mfcore compare` runs: one job on every engine, each in a process of its own.

It measures how good engines are, how fast, and how close to the reference.
"""

from mfcore.comparison._attempts import attempt, attempt_in_process
from mfcore.comparison._formatting import (
    format_agreement,
    format_bytes,
    format_deviation,
    format_failure,
    format_list,
    format_seconds,
    format_speed,
    format_spread,
)
from mfcore.comparison._machine import machine
from mfcore.comparison._results import Comparison
from mfcore.comparison._runs import EngineRun, Failure
from mfcore.comparison._sections import ExampleUser, ReportContext, sections_of
from mfcore.comparison._tasks import EvaluationPlan, ExampleUsers, Monitor, Task

__all__ = [
    "Comparison",
    "EngineRun",
    "EvaluationPlan",
    "ExampleUser",
    "ExampleUsers",
    "Failure",
    "Monitor",
    "ReportContext",
    "Task",
    "attempt",
    "attempt_in_process",
    "format_agreement",
    "format_bytes",
    "format_deviation",
    "format_failure",
    "format_list",
    "format_seconds",
    "format_speed",
    "format_spread",
    "machine",
    "sections_of",
]
