"""Adam and its relatives."""

from dataclasses import dataclass
from typing import Any, ClassVar

from mfcore.operators import Operators
from mfcore.optimizers._base import GradientOptimizer, Rule, Schedule
from mfcore.validation import require_number


@dataclass(frozen=True)
class Adam(GradientOptimizer):
    r"""Adam, algorithm 1 of the paper: epsilon is added to the root of the corrected second moment.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
              v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
              \theta \leftarrow \theta - \eta \hat m / (\sqrt{\hat v} + \epsilon)

    with :math:`\hat m = m / (1 - \beta_1^t)` and :math:`\hat v = v / (1 - \beta_2^t)`. Moments of rows that
    are not in a batch decay and keep moving those rows. Source: Kingma & Ba, "Adam: a method for stochastic
    optimization", ICLR 2015.

    Attributes
    ----------
    learning_rate : float or Schedule
        eta.
    l2, l2_dense : float
        Weights of the squared norms; see `mfcore.optimizers.GradientOptimizer`.
    beta_1, beta_2 : float in [0, 1)
    epsilon : float
        Above 0.

    Raises
    ------
    InvalidArgumentError
        A number is outside its domain.

    Examples
    --------
    >>> import mfcore
    >>> mfcore.Adam(learning_rate=0.01).slot_names
    ('first_moment', 'second_moment')
    >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> model = mfcore.fit(mfcore.MLP(layers=(8, 4)), data, optimizer="adam", epochs=1, backend="reference")
    >>> model.training["optimizer"]["kind"]
    'Adam'
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
    def rule(xp: Operators) -> Rule:
        """Return the update above."""

        def update(parameter: Any, gradient: Any, first: Any, second: Any, c: Any) -> tuple[Any, Any, Any]:
            first = c[2] * first + c[3] * gradient
            second = c[4] * second + c[5] * gradient * gradient
            return c[7] * parameter - c[0] * first / (xp.sqrt(c[1] * second) + c[6]), first, second

        return update


@dataclass(frozen=True)
class AdamW(Adam):
    r"""Adam with decoupled weight decay: :math:`\theta` is first multiplied by :math:`1 - \eta \lambda`.

    Every row decays in every step. Source: Loshchilov & Hutter, "Decoupled weight decay regularization",
    ICLR 2019.

    Attributes
    ----------
    learning_rate : float or Schedule
        eta.
    l2, l2_dense : float
        Weights of the squared norms, in the gradient; see `mfcore.optimizers.GradientOptimizer`.
    beta_1, beta_2, epsilon : float
        As of `Adam`.
    weight_decay : float
        lambda; at least 0.

    Raises
    ------
    InvalidArgumentError
        A number is outside its domain.

    Examples
    --------
    >>> import mfcore
    >>> mfcore.AdamW(weight_decay=0.1).coefficients(step=1, learning_rate=0.5)[-1]
    0.95
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
    """Adam of which a step moves only the rows in the batch, and only their moments.

    The bias correction counts all steps. The cost of a step does not depend on the number of users and
    items, but the result differs from Adam's wherever a row is missing from a batch.

    Attributes
    ----------
    learning_rate : float or Schedule
        eta.
    l2, l2_dense : float
        Weights of the squared norms; see `mfcore.optimizers.GradientOptimizer`.
    beta_1, beta_2, epsilon : float
        As of `Adam`.

    Examples
    --------
    >>> import mfcore
    >>> mfcore.LazyAdam().sparse, mfcore.Adam().sparse
    (True, False)
    """

    short_name: ClassVar[str] = "lazyadam"

    @property
    def sparse(self) -> bool:
        """Only the rows in a batch move."""
        return True
