r"""How parameters move: one canonical rule each, the same on every engine.

A rule maps (parameter, gradient, two slots, coefficients) to (parameter, two slots), element by element.
It is written with arithmetic operators and a square root that the engine hands in, so one source serves
numpy arrays, compiled scalars and tensors. Coefficients are worked out in float64 for each step, then
rounded to the training dtype.

The gradients of an id that a batch repeats are summed before the rule is applied. A batch is one step,
counted from 1. Unless a rule is *sparse*, it is applied to every row in every step, with gradient 0
where the batch does not touch a row.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from mfcore.errors import InvalidArgumentError
from mfcore.settings import Settings, registered
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

    Attributes
    ----------
    learning_rate : float or Schedule
    l2 : float
        Weight of the squared norm of the embedding rows and biases that an instance touches, l2/2 * |row|^2.
    l2_dense : float
        Weight of the squared norm of the dense kernels.
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
    def rule(sqrt: Callable[[Any], Any]) -> Rule:
        """Return the rule, to be called as rule(parameter, gradient, slot0, slot1, coefficients)."""


@dataclass(frozen=True)
class SGD(GradientOptimizer):
    r"""Stochastic gradient descent, plain or with (Nesterov) momentum.

    .. math:: v \leftarrow m v + g, \qquad \theta \leftarrow \theta - \eta v
              \quad (\text{Nesterov: } \theta - \eta (g + m v))

    The learning rate is outside the velocity, so a change of it acts at once. Source: Sutskever, Martens,
    Dahl & Hinton, "On the importance of initialization and momentum in deep learning", ICML 2013.

    Attributes
    ----------
    momentum : float in [0, 1)
    nesterov : bool
        Needs momentum.
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
    def rule(sqrt: Callable[[Any], Any]) -> Rule:
        """Return the update above."""

        def update(parameter: Any, gradient: Any, velocity: Any, unused: Any, c: Any) -> tuple[Any, Any, Any]:
            velocity = c[1] * velocity + gradient
            return parameter - c[0] * (c[2] * gradient + c[3] * velocity), velocity, unused

        return update


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
    def rule(sqrt: Callable[[Any], Any]) -> Rule:
        """Return the update above."""

        def update(
            parameter: Any, gradient: Any, accumulator: Any, unused: Any, c: Any
        ) -> tuple[Any, Any, Any]:
            accumulator = accumulator + gradient * gradient
            return parameter - c[0] * gradient / (sqrt(accumulator) + c[1]), accumulator, unused

        return update


@dataclass(frozen=True)
class RMSprop(GradientOptimizer):
    r"""RMSprop, without momentum and not centred.

    .. math:: a \leftarrow \rho a + (1 - \rho) g^2, \qquad
              \theta \leftarrow \theta - \eta g / (\sqrt a + \epsilon)

    Source: Tieleman & Hinton, "Lecture 6.5: rmsprop", Coursera, 2012.

    Attributes
    ----------
    rho : float in [0, 1)
    epsilon : float
        Added to the root, not under it.
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
    def rule(sqrt: Callable[[Any], Any]) -> Rule:
        """Return the update above."""

        def update(
            parameter: Any, gradient: Any, mean_square: Any, unused: Any, c: Any
        ) -> tuple[Any, Any, Any]:
            mean_square = c[2] * mean_square + c[3] * gradient * gradient
            return parameter - c[0] * gradient / (sqrt(mean_square) + c[1]), mean_square, unused

        return update


@dataclass(frozen=True)
class Adam(GradientOptimizer):
    r"""Adam, algorithm 1 of the paper: epsilon is added to the root of the corrected second moment.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
              v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
              \theta \leftarrow \theta - \eta \hat m / (\sqrt{\hat v} + \epsilon)

    with :math:`\hat m = m / (1 - \beta_1^t)` and :math:`\hat v = v / (1 - \beta_2^t)`. Moments of rows that a
    batch does not touch decay and keep moving those rows. Source: Kingma & Ba, "Adam: a method for
    stochastic optimization", ICLR 2015.

    Attributes
    ----------
    beta_1, beta_2 : float in [0, 1)
    epsilon : float
    """

    short_name: ClassVar[str] = "adam"
    slots: ClassVar[tuple[str, ...]] = ("first_moment", "second_moment")

    learning_rate: float | Schedule = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        require_number(f"{name}: beta_1", self.beta_1, at_least=0, below=1)
        require_number(f"{name}: beta_2", self.beta_2, at_least=0, below=1)
        require_number(f"{name}: epsilon", self.epsilon, above=0)

    @property
    def decay(self) -> float:
        """Decoupled weight decay; 0 for Adam itself."""
        return 0.0

    def coefficients(self, step: int, learning_rate: float) -> tuple[float, ...]:
        """Return the coefficients of step t.

        They are (rate / (1 - beta_1^t), 1 / (1 - beta_2^t), beta_1, 1 - beta_1, beta_2, 1 - beta_2, epsilon,
        1 - rate * decay).
        """
        return (
            learning_rate / (1 - self.beta_1**step),
            1 / (1 - self.beta_2**step),
            self.beta_1,
            1 - self.beta_1,
            self.beta_2,
            1 - self.beta_2,
            self.epsilon,
            1 - learning_rate * self.decay,
        )

    @staticmethod
    def rule(sqrt: Callable[[Any], Any]) -> Rule:
        """Return the update above."""

        def update(parameter: Any, gradient: Any, first: Any, second: Any, c: Any) -> tuple[Any, Any, Any]:
            first = c[2] * first + c[3] * gradient
            second = c[4] * second + c[5] * gradient * gradient
            return c[7] * parameter - c[0] * first / (sqrt(c[1] * second) + c[6]), first, second

        return update


@dataclass(frozen=True)
class AdamW(Adam):
    r"""Adam with decoupled weight decay: :math:`\theta` is first multiplied by :math:`1 - \eta \lambda`.

    Every row decays in every step. Source: Loshchilov & Hutter, "Decoupled weight decay regularization",
    ICLR 2019.

    Attributes
    ----------
    weight_decay : float
    """

    short_name: ClassVar[str] = "adamw"

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("AdamW: weight_decay", self.weight_decay, at_least=0)

    @property
    def decay(self) -> float:
        """Return the weight decay."""
        return self.weight_decay


@dataclass(frozen=True)
class LazyAdam(Adam):
    """Adam of which a step moves only the rows that the batch touches, and only their moments.

    The bias correction counts all steps. The cost of a step does not depend on the number of users and
    items, but the result differs from Adam's wherever a row is left out of a batch.
    """

    short_name: ClassVar[str] = "lazyadam"

    @property
    def sparse(self) -> bool:
        """Only touched rows move."""
        return True


SOLVERS = ("cholesky", "cg", "subspace")
ZERO_PAIRS = ("all", "unobserved")


@dataclass(frozen=True)
class WALS(Optimizer):
    r"""Weighted alternating least squares, for matrix factorisation.

    An epoch minimises over all users, then over all items,

    .. math:: \sum_{ui \in O} c_{ui} (t_{ui} - s_{ui})^2 + w_0 \sum_{ui \in Z} s_{ui}^2
              + \lambda \Big( \sum_u n_u^{\nu} \|p_u\|^2 + \sum_i n_i^{\nu} \|q_i\|^2 \Big)

    O are the interactions, c the objective's weights, t its targets (see `WeightedSquared` and
    `Squared`), :math:`w_0` the unobserved weight, and Z the pairs that it pulls to zero: all pairs, or
    those without an interaction. :math:`n_u` counts the pairs of the user's row by their weight with
    c = 1: the interactions plus w0 for each pair in Z; :math:`n_i` likewise. With biases, a row is
    (p_u, b_u), and scores include the biases.

    How the settings of others map to these:

    - iALS, Rendle, Krichene, Zhang & Koren, "Revisiting the performance of iALS on item recommendation
      benchmarks", RecSys 2022, and irspack: zero_pairs="all", w0 = their alpha_0, the same l2 and nu.
    - Hu, Koren & Volinsky (2008) and implicit: zero_pairs="unobserved", w0 = 1, nu = 0, weight
      1 + alpha * value.
    - Spark ALS on ratings: w0 = 0, nu = 1, the same l2 (they multiply it by the number of ratings).

    Solvers, of the n_factors x n_factors system of each row:

    - "cholesky": exact.
    - "cg": `steps` steps of conjugate gradient from the row's present value. Takács, Pilászy & Tikk,
      "Applications of the conjugate gradient method for implicit feedback collaborative filtering",
      RecSys 2011.
    - "subspace": one pass over blocks of `block_size` factors, each solved exactly with the others fixed
      (iALS++). Rendle, Krichene, Zhang & Koren, "iALS++: speeding up matrix factorization with subspace
      optimization", 2021.

    Attributes
    ----------
    unobserved_weight : float
        w0; 0 for ratings.
    l2 : float
        lambda.
    nu : float
    solver : "cholesky", "cg" or "subspace"
    steps : int
        Of conjugate gradient.
    block_size : int
        Of the subspace solver.
    zero_pairs : "all" or "unobserved"
        Z.
    """

    short_name: ClassVar[str] = "wals"

    unobserved_weight: float = 0.0
    l2: float = 0.1
    nu: float = 1.0
    solver: Literal["cholesky", "cg", "subspace"] = "cholesky"
    steps: int = 3
    block_size: int = 32
    zero_pairs: Literal["all", "unobserved"] = "all"

    def __post_init__(self) -> None:
        require_number("WALS: unobserved_weight", self.unobserved_weight, at_least=0)
        require_number("WALS: l2", self.l2, above=0)
        require_number("WALS: nu", self.nu, at_least=0)
        require_integer("WALS: steps", self.steps, 1)
        require_integer("WALS: block_size", self.block_size, 1)
        if self.solver not in SOLVERS:
            raise InvalidArgumentError(
                f"WALS: solver is {self.solver!r}; it must be one of {', '.join(SOLVERS)}"
            )
        if self.zero_pairs not in ZERO_PAIRS:
            raise InvalidArgumentError(
                f"WALS: zero_pairs is {self.zero_pairs!r}; it must be one of {', '.join(ZERO_PAIRS)}"
            )

    def terms(self, targets: Any, weights: Any) -> tuple[Any, Any]:
        """Return what each interaction adds to a row's system, beside w0 times the sum over all pairs.

        Parameters
        ----------
        targets : array [n]
        weights : array [n] or None for 1

        Returns
        -------
        two arrays [n] in the targets' dtype
            a, the factor of f f' in the matrix, and b, the factor of f on the right side.
        """
        weights = np.ones_like(targets) if weights is None else weights
        overlap = self.unobserved_weight if self.zero_pairs == "unobserved" else 0.0
        return weights - targets.dtype.type(overlap), weights * targets

    def ridge(self, counts: Any, n_others: int) -> Any:
        """Return lambda * n^nu of each row; a row with n = 0 is given n = 1, to keep its system regular.

        Parameters
        ----------
        counts : array [n]
            The number of interactions of each row.
        n_others : int
            The number of rows of the other side.

        Returns
        -------
        float64 array [n]
        """
        counts = np.asarray(counts, dtype=np.float64)
        zero_pairs = n_others if self.zero_pairs == "all" else n_others - counts
        total = counts + self.unobserved_weight * zero_pairs
        return self.l2 * np.where(total > 0, total, 1.0) ** self.nu


OPTIMIZERS = registered(Optimizer)
