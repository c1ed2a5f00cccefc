"""Stochastic gradient descent, plain or with momentum."""

from dataclasses import dataclass
from typing import Any, ClassVar

from mfcore.errors import InvalidArgumentError
from mfcore.operators import Operators
from mfcore.optimizers._base import GradientOptimizer, Rule
from mfcore.validation import require_number


@dataclass(frozen=True)
class SGD(GradientOptimizer):
    r"""Stochastic gradient descent, plain or with (Nesterov) momentum.

    .. math:: v \leftarrow m v + g, \qquad \theta \leftarrow \theta - \eta v
              \quad (\text{Nesterov: } \theta - \eta (g + m v))

    The learning rate is outside the velocity, so a change of it acts at once. Source: Sutskever, Martens,
    Dahl & Hinton, "On the importance of initialization and momentum in deep learning", ICML 2013.

    Attributes
    ----------
    learning_rate : float or Schedule
        eta.
    l2, l2_dense : float
        Weights of the squared norms; see `mfcore.optimizers.GradientOptimizer`.
    momentum : float in [0, 1)
        m.
    nesterov : bool
        Needs momentum.

    Raises
    ------
    InvalidArgumentError
        A number is outside its domain, or nesterov lacks momentum.

    Examples
    --------
    >>> import mfcore
    >>> mfcore.SGD(learning_rate=0.1, momentum=0.9, nesterov=True).slot_names
    ('velocity',)
    >>> mfcore.SGD(nesterov=True)
    Traceback (most recent call last):
        ...
    mfcore.errors.InvalidArgumentError: SGD: nesterov=True needs a momentum above 0,...
    """

    short_name: ClassVar[str] = "sgd"
    slots: ClassVar[tuple[str, ...]] = ("velocity",)

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("SGD: momentum", self.momentum, at_least=0, below=1)
        if self.nesterov and not self.momentum:
            raise InvalidArgumentError("SGD: nesterov=True needs a momentum above 0, e.g. momentum=0.9")

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The velocity, with momentum only."""
        return self.slots if self.momentum else ()

    @property
    def sparse(self) -> bool:
        """Without momentum, a gradient of 0 moves nothing."""
        return not self.momentum

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Return (learning rate, momentum, share of g and share of v in the step)."""
        return (learning_rate, self.momentum, *((1.0, self.momentum) if self.nesterov else (0.0, 1.0)))

    @staticmethod
    def rule(xp: Operators) -> Rule:
        """Return the update above."""

        def update(parameter: Any, gradient: Any, velocity: Any, unused: Any, c: Any) -> tuple[Any, Any, Any]:
            velocity = c[1] * velocity + gradient
            return parameter - c[0] * (c[2] * gradient + c[3] * velocity), velocity, unused

        return update
