"""Adagrad."""

from dataclasses import dataclass
from typing import Any, ClassVar

from mfcore.operators import Operators
from mfcore.optimizers._base import GradientOptimizer, Rule
from mfcore.validation import require_number


@dataclass(frozen=True)
class Adagrad(GradientOptimizer):
    r"""Adagrad: steps shrink with the squared gradients so far.

    .. math:: a \leftarrow a + g^2, \qquad \theta \leftarrow \theta - \eta g / (\sqrt a + \epsilon)

    Source: Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12, 2011.

    Attributes
    ----------
    learning_rate : float or Schedule
        eta.
    l2, l2_dense : float
        Weights of the squared norms; see `mfcore.optimizers.GradientOptimizer`.
    initial_accumulator : float
        a at the start; at least 0.
    epsilon : float
        Above 0.

    Raises
    ------
    InvalidArgumentError
        A number is outside its domain.

    Examples
    --------
    >>> import numpy as np
    >>> import mfcore
    >>> from mfcore.operators import NUMPY
    >>> adagrad = mfcore.Adagrad(learning_rate=1.0, initial_accumulator=0.0)
    >>> update = adagrad.rule(NUMPY)
    >>> parameter, accumulator, _ = update(np.zeros(1), np.full(1, 2.0), np.zeros(1), 0.0,
    ...                                    adagrad.coefficients(1, 1.0))
    >>> parameter.round(4).tolist(), accumulator.tolist()
    ([-1.0], [4.0])
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
