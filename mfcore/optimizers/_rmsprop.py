"""RMSprop."""

from dataclasses import dataclass
from typing import Any, ClassVar

from mfcore.operators import Operators
from mfcore.optimizers._base import GradientOptimizer, Rule
from mfcore.validation import require_number


@dataclass(frozen=True)
class RMSprop(GradientOptimizer):
    r"""RMSprop, without momentum and not centred.

    .. math:: a \leftarrow \rho a + (1 - \rho) g^2, \qquad
              \theta \leftarrow \theta - \eta g / (\sqrt a + \epsilon)

    Source: Tieleman & Hinton, "Lecture 6.5: rmsprop", Coursera, 2012.

    Attributes
    ----------
    learning_rate : float or Schedule
        eta.
    l2, l2_dense : float
        Weights of the squared norms; see `mfcore.optimizers.GradientOptimizer`.
    rho : float in [0, 1)
    epsilon : float
        Above 0; added to the root, not under it.

    Raises
    ------
    InvalidArgumentError
        A number is outside its domain.

    Examples
    --------
    >>> import mfcore
    >>> mfcore.RMSprop(rho=0.75).coefficients(step=1, learning_rate=0.01)
    (0.01, 1e-07, 0.75, 0.25)
    """

    short_name: ClassVar[str] = "rmsprop"
    slots: ClassVar[tuple[str, ...]] = ("mean_square",)

    rho: float = 0.9
    epsilon: float = 1e-7

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("RMSprop: rho", self.rho, at_least=0, below=1)
        require_number("RMSprop: epsilon", self.epsilon, above=0)

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Return (learning rate, epsilon, rho, 1 - rho)."""
        return (learning_rate, self.epsilon, self.rho, 1 - self.rho)

    @staticmethod
    def rule(xp: Operators) -> Rule:
        """Return the update above."""

        def update(
            parameter: Any, gradient: Any, mean_square: Any, unused: Any, c: Any
        ) -> tuple[Any, Any, Any]:
            mean_square = c[2] * mean_square + c[3] * gradient * gradient
            return parameter - c[0] * gradient / (xp.sqrt(mean_square) + c[1]), mean_square, unused

        return update
