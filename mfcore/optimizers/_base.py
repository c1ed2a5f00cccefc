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
    """A learning rate that falls by steps: initial * factor^(epoch // every).

    Attributes
    ----------
    initial : float
        Of epoch 0, above 0.
    factor : float in (0, 1]
    every : int
        Epochs from one step to the next.

    Raises
    ------
    InvalidArgumentError
        A number is outside its domain.

    Examples
    --------
    >>> import mfcore
    >>> schedule = mfcore.Schedule(0.1, factor=0.5, every=2)
    >>> [schedule.at(epoch) for epoch in range(4)]
    [0.1, 0.1, 0.05, 0.05]
    >>> mfcore.SGD(learning_rate=schedule).learning_rate_at(2)
    0.05
    """

    initial: float
    factor: float = 0.95
    every: int = 1

    def __post_init__(self) -> None:
        require_number("Schedule: initial", self.initial, above=0)
        require_number("Schedule: factor", self.factor, above=0, at_most=1)
        require_integer("Schedule: every", self.every, 1)

    def at(self, epoch: int) -> float:
        """Return the learning rate of an epoch.

        Parameters
        ----------
        epoch : int
            Counted from 0.

        Returns
        -------
        float
        """
        return float(self.initial * self.factor ** (epoch // self.every))


@dataclass(frozen=True)
class Optimizer(Settings):
    """Base of everything that can be passed to `fit` as optimizer.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.optimizers import GradientOptimizer, Optimizer
    >>> isinstance(mfcore.WALS(), Optimizer), isinstance(mfcore.WALS(), GradientOptimizer)
    (True, False)
    """


@dataclass(frozen=True)
class GradientOptimizer(Optimizer, ABC):
    """Base of the optimizers that follow the gradient of batches.

    A rule of one's own is a subclass with `slots`, `coefficients` and `rule`.

    Attributes
    ----------
    learning_rate : float or Schedule
        Constant, or by epoch; above 0.
    l2 : float
        Weight of the squared norm of the embedding rows and biases of an instance, l2/2 * |row|^2; at least
        0.
    l2_dense : float
        Weight of the squared norm of the dense kernels, l2_dense/2 * |kernel|^2; at least 0.
    slots : tuple of str
        Of the class: the names of the arrays that the rule keeps beside each parameter, at most two.

    Raises
    ------
    InvalidArgumentError
        A number is outside its domain.

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
        """Whether rows that are not in a batch stay as they are, with their slots."""
        return False

    def initial_slot(self, slot: str) -> float:
        """Return the value that fills a slot before the first step, 0 by default.

        Parameters
        ----------
        slot : str
            One of `slot_names`.

        Returns
        -------
        float

        Examples
        --------
        >>> import mfcore
        >>> mfcore.Adagrad(initial_accumulator=0.2).initial_slot("accumulator")
        0.2
        """
        return 0.0

    def learning_rate_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch.

        Parameters
        ----------
        epoch : int
            Counted from 0.

        Returns
        -------
        float

        Examples
        --------
        >>> import mfcore
        >>> mfcore.SGD(learning_rate=mfcore.Schedule(0.1, factor=0.5)).learning_rate_at(1)
        0.05
        """
        if isinstance(self.learning_rate, Schedule):
            return self.learning_rate.at(epoch)
        return float(self.learning_rate)

    @abstractmethod
    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Return the rule's coefficients at a step: always the same number of them.

        Parameters
        ----------
        step : int
            Counted from 1, over all epochs.
        learning_rate : float
            Of the step's epoch.

        Returns
        -------
        tuple of float
            In float64; an engine rounds them to the training dtype.
        """

    @staticmethod
    @abstractmethod
    def rule(xp: Operators) -> Rule:
        """Return the rule, to be called as rule(parameter, gradient, slot0, slot1, coefficients).

        It is applied element by element, to arrays or to single numbers. It may depend on the class and on
        its coefficients alone: settings come in through these, since one compiled rule serves all settings.

        Parameters
        ----------
        xp : Operators

        Returns
        -------
        callable
            It returns the parameter and both slots after the step; a slot that the rule does not keep is
            passed on.
        """
