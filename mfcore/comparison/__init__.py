"""One job on every engine, each in a process of its own: how good, how fast, how close to the reference."""

from mfcore.comparison._formatting import (
    agreement_in_words,
    bytes_in_words,
    deviation_in_words,
    failure_in_words,
    listed,
    seconds_in_words,
    speed_in_words,
    spread_in_words,
)
from mfcore.comparison._machine import machine
from mfcore.comparison._memory import peak_memory
from mfcore.comparison._processes import run_in_process
from mfcore.comparison._results import Comparison
from mfcore.comparison._runs import EngineRun, Failure
from mfcore.comparison._sections import Person, Scene, sections_of
from mfcore.comparison._tasks import Assignment, Audience, Judging, Watching

__all__ = [
    "Assignment",
    "Audience",
    "Comparison",
    "EngineRun",
    "Failure",
    "Judging",
    "Person",
    "Scene",
    "Watching",
    "agreement_in_words",
    "bytes_in_words",
    "deviation_in_words",
    "failure_in_words",
    "listed",
    "machine",
    "peak_memory",
    "run_in_process",
    "seconds_in_words",
    "sections_of",
    "speed_in_words",
    "spread_in_words",
]
