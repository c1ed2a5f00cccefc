"""How much is done at once, and from where on threads and insertion pay."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Sizes that no score depends on.

    The first three are of what is done between two returns to Python, where an interrupt is noticed.

    Attributes
    ----------
    numbers_at_once : int
        Numbers that steps read or write.
    instances_at_once, steps_at_once : int
        That are trained on, and taken.
    worth_sharing : int
        Numbers handled in a step below which a barrier costs more than a second thread gains.
    longest_insertion : int
        The longest list of a top-k that is kept in order by insertion; beyond, the core's partition is
        faster.
    """

    numbers_at_once: int = 500_000_000
    instances_at_once: int = 1_000_000
    steps_at_once: int = 20_000
    worth_sharing: int = 10_000
    longest_insertion: int = 256
