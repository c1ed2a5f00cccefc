"""Adagrad."""

from dataclasses import dataclass
from typing import Any, ClassVar

from mfcore.operators import Operators
from mfcore.optimizers._base import GradientOptimizer, Rule
from mfcore.validation import require_number


@dataclass(frozen=True)
class Adagrad(GradientOptimizer):
    r"""Adagrad.

    .. math:: a \leftarrow a + g^2, \qquad \theta \leftarrow \theta - \eta g / (\sqrt a + \epsilon)

    Source: Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12, 2011.

    Attributes
    ----------
    initial_accumulator : float
        a at the start.
    epsilon : float
    """

    short_name: ClassVar[str] = "adagrad"
    slots: ClassVar[tuple[str, ...]] = ("accumulator",)

    initial_accumulator: float = 0.1
    epsilon: float = 1e-7

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("Adagrad: initial_accumulator", self.initial_accumulator, at_least=0)
        require_number("Adagrad: epsilon", self.epsilon, above=0)

    @property
    def sparse(self) -> bool:
        """A gradient of 0 moves nothing."""
        return True

    def initial_slot(self, slot: str) -> float:
        """Return the initial accumulator."""
        return self.initial_accumulator

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Return (learning rate, epsilon)."""
        return (learning_rate, self.epsilon)

    @staticmethod
    def rule(xp: Operators) -> Rule:
        """Return the update above."""

        def update(
            parameter: Any, gradient: Any, accumulator: Any, unused: Any, c: Any
        ) -> tuple[Any, Any, Any]:
            accumulator = accumulator + gradient * gradient
            return parameter - c[0] * gradient / (xp.sqrt(accumulator) + c[1]), accumulator, unused

        return update
