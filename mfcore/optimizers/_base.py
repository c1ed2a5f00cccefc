"""What every optimizer is, and the learning rate."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from mfcore.operators import Operators
from mfcore.settings import Settings
from mfcore.validation import require_integer, require_number

Rule: TypeAlias = Callable[[Any, Any, Any, Any, Any], tuple[Any, Any, Any]]


@dataclass(frozen=True)
class Schedule(Settings):
    """A learning rate that falls: initial * factor^(epoch // every).

    Attributes
    ----------
    initial : float
    factor : float in (0, 1]
    every : int
        Epochs between two falls.
    """

    initial: float
    factor: float = 0.95
    every: int = 1

    def __post_init__(self) -> None:
        require_number("Schedule: initial", self.initial, above=0)
        require_number("Schedule: factor", self.factor, above=0, at_most=1)
        require_integer("Schedule: every", self.every, 1)

    def at(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        return float(self.initial * self.factor ** (epoch // self.every))


@dataclass(frozen=True)
class Optimizer(Settings):
    """Base of everything that can be passed to `fit` as optimizer."""


@dataclass(frozen=True)
class GradientOptimizer(Optimizer, ABC):
    """Base of the optimizers that follow the gradient of batches.

    A rule of one's own is a subclass with `slots`, `coefficients` and `rule`; see `mfcore.SGD` for an
    example.

    Attributes
    ----------
    learning_rate : float or Schedule
        Of an epoch.
    l2 : float
        Weight of the squared norm of the embedding rows and biases that an instance touches, l2/2 * |row|^2.
    l2_dense : float
        Weight of the squared norm of the dense kernels.

    Examples
    --------
    A rule of one's own, Adadelta (Zeiler, "ADADELTA: an adaptive learning rate method", 2012):

    >>> from dataclasses import dataclass
    >>> from typing import ClassVar
    >>> from mfcore.optimizers import GradientOptimizer
    >>> @dataclass(frozen=True)
    ... class Adadelta(GradientOptimizer):
    ...     short_name: ClassVar[str] = "docs_adadelta"
    ...     slots: ClassVar[tuple[str, ...]] = ("mean_square", "mean_square_step")
    ...     learning_rate: float = 1.0
    ...     rho: float = 0.95
    ...     epsilon: float = 1e-6
    ...     def coefficients(self, step, learning_rate):
    ...         return (learning_rate, self.rho, 1 - self.rho, self.epsilon)
    ...     @staticmethod
    ...     def rule(xp):
    ...         def update(parameter, gradient, square, square_step, c):
    ...             square = c[1] * square + c[2] * gradient * gradient
    ...             move = gradient * xp.sqrt(square_step + c[3]) / xp.sqrt(square + c[3])
    ...             return parameter - c[0] * move, square, c[1] * square_step + c[2] * move * move
    ...         return update
    >>> Adadelta().slot_names
    ('mean_square', 'mean_square_step')
    """

    learning_rate: float | Schedule = 0.01
    l2: float = 0.0
    l2_dense: float = 0.0

    slots: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not isinstance(self.learning_rate, Schedule):
            require_number(f"{name}: learning_rate", self.learning_rate, above=0)
        require_number(f"{name}: l2", self.l2, at_least=0)
        require_number(f"{name}: l2_dense", self.l2_dense, at_least=0)

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Names of the arrays that the rule keeps beside each parameter, at most two."""
        return self.slots

    @property
    def sparse(self) -> bool:
        """Whether a row that a batch does not touch stays as it is, with its slots."""
        return False

    def initial_slot(self, slot: str) -> float:
        """Return the value that fills a slot at the start."""
        return 0.0

    def learning_rate_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if isinstance(self.learning_rate, Schedule):
            return self.learning_rate.at(epoch)
        return float(self.learning_rate)

    @abstractmethod
    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Return the rule's coefficients at a step, counted from 1: always the same number of them."""

    @staticmethod
    @abstractmethod
    def rule(xp: Operators) -> Rule:
        """Return the rule, to be called as rule(parameter, gradient, slot0, slot1, coefficients).

        It is applied element by element, on arrays or on single numbers, and may depend on the class and on
        its coefficients alone: settings come in through these, as one compiled rule serves all settings.

        Parameters
        ----------
        xp : Operators

        Returns
        -------
        callable
            To the parameter and both slots after the step; a slot that the rule does not keep is passed on.
        """
