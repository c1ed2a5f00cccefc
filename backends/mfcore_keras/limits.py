"""How much is done at once, and from where on compiling pays."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Sizes that results do not depend on, but for rounding.

    An interrupt is noticed between two calls, which the first two keep to about a second.

    Attributes
    ----------
    instances_at_once : int
        That are trained on in one call.
    products_at_once : int
        Multiplications that a call takes the time of.
    pairs_at_once : int
        Scores of an in-batch objective's matrix that are worked out together.
    worth_compiling_steps, worth_compiling_instances : int
        Of an epoch: compiling takes 1-3 s, and saves .1-.4 ms a step, or more where much is worked out in a
        step.
    worth_compiling_numbers : int
        That steps copy in an epoch if they are not compiled: each copies the tables.
    """

    instances_at_once: int = 1 << 18
    products_at_once: int = 1 << 32
    pairs_at_once: int = 1 << 22
    worth_compiling_steps: int = 500
    worth_compiling_instances: int = 500_000
    worth_compiling_numbers: int = 200_000_000
