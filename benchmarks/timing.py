"""The seconds of a call."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def timed_twice(answer: Callable[[], Answer]) -> tuple[float, float, Answer]:
    """Return the seconds of a second call, those of the first one, which may compile, and the answer."""
    laps = [time.perf_counter()]
    for _ in range(2):
        found = answer()
        laps.append(time.perf_counter())
    return laps[2] - laps[1], laps[1] - laps[0], found
