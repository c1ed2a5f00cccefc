r"""What steps of Adam do to a row that no batch touches, all of them at once.

Adam is not sparse: an untouched row keeps moving along its falling first moment. An engine need not fetch the
row for each of these steps. With n = 1, ..., N steps after step t, which left the row as
:math:`(\theta, m, v)`, and :math:`k = 1 - \eta \cdot` weight decay,

.. math:: \theta \leftarrow k^N \Big( \theta - \sum_{n=1}^{N} \frac{\eta (\beta_1 / k)^n m}
          {S_n \sqrt v + \epsilon} \Big), \qquad
          m \leftarrow \beta_1^N m, \quad v \leftarrow \beta_2^N v, \qquad
          S_n = \sqrt{\frac{\beta_2^n}{1 - \beta_2^{t + n}}}

once :math:`\beta_1^t` has vanished. :math:`S_n = S_1 (1 + r_n)` hardly changes while :math:`\beta_1^n`
fades, so each fraction is expanded in :math:`r_n`, to the cube. That leaves four sums,
:math:`a_j = \sum_n \eta (\beta_1 / k)^n r_n^j`, which are the same for all numbers of the row; with
:math:`\rho = S_1 \sqrt v / (S_1 \sqrt v + \epsilon)`,

.. math:: \theta \leftarrow k^N \Big( \theta - \frac{m}{S_1 \sqrt v + \epsilon}
          \big( a_0 - \rho a_1 + \rho^2 a_2 - \rho^3 a_3 \big) \Big)

The sums depend on N, up to where nothing is left of the first moment, and on t by way of
:math:`\beta_2^t / (1 - \beta_2^t)`, in which they are all but straight lines: they are tabled as polynomials.
What all this leaves out is less than the rounding of float32; in float64 take the steps one by one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mfcore.optimizers import Adam

# What is nothing beside 1, and the most idle steps until then, for which steps are summed up.
FADED, MOST_FADING = 1e-8, 512
# Steps that may be the first for that.
SMOOTH_STEPS = (100, 300, 1_000, 3_000, 10_000, 30_000)
# Sums, and terms of the polynomial of each.
N_SUMS, N_TERMS = 4, 6

Rest: TypeAlias = Callable[[Any, Any, Any, Any], tuple[Any, Any, Any]]


@dataclass(frozen=True, eq=False)
class IdleAdam:
    """What it takes to sum up the idle steps of Adam at one learning rate.

    Attributes
    ----------
    smooth_from : int
        Rows that were last touched in this step or a later one can be summed up.
    sums : float64 array [n_fading + 1, 4, 6]
        For each number of idle steps, the last row for any larger one: the coefficients of the sums a_0, ...,
        a_3, as polynomials in `place`.
    kept : float
        k.
    optimizer : Adam
    """

    smooth_from: int
    sums: NDArray[np.float64]
    kept: float
    optimizer: Adam

    @classmethod
    def make(cls, optimizer: Adam, learning_rate: float, kept: float) -> "IdleAdam | None":
        """Return the sums of an optimizer, or None where the series does not fit its settings.

        `kept` is 1 - learning_rate * weight decay as the engine rounds it.
        """
        smooth = smooth_from(optimizer)
        if smooth is None:
            return None
        places = 0.5 - 0.5 * np.cos(np.pi * (np.arange(N_TERMS) + 0.5) / N_TERMS)
        worst = _memory(optimizer.beta_2**smooth)
        # Chebyshev's nodes in [0, 1]: beta_2^t from x.
        decays = worst * places / (1 + worst * places)
        n = np.arange(1, fading_steps(optimizer) + 1)
        changes = np.stack([_changes(optimizer.beta_2, decay, n) for decay in decays])
        weights = learning_rate * (optimizer.beta_1 / kept) ** n
        powers = np.stack([changes**power for power in range(N_SUMS)], axis=-1)
        at_nodes = np.cumsum(weights[:, None] * powers, axis=1)
        terms = np.linalg.solve(np.vander(places, increasing=True), at_nodes.reshape(N_TERMS, -1))
        sums = terms.reshape(N_TERMS, len(n), N_SUMS).transpose(1, 2, 0)
        return cls(smooth, np.concatenate([np.zeros((1, N_SUMS, N_TERMS)), sums]), kept, optimizer)

    @property
    def scale(self) -> float:
        """What beta_2^t / (1 - beta_2^t) is multiplied by to make the polynomials' argument."""
        return 1 / float(_memory(self.optimizer.beta_2**self.smooth_from))

    def place(self, decay: Any) -> Any:
        """Return the polynomials' argument, in [0, 1], given beta_2^t: a number or an array."""
        return self.scale * _memory(decay)

    def start(self, decay: Any, sqrt: Callable[[Any], Any]) -> Any:
        """Return S_1, given beta_2^t."""
        return sqrt(self.optimizer.beta_2 / (1 - self.optimizer.beta_2 * decay))


def rest(sqrt: Callable[[Any], Any]) -> Rest:
    """Return the update above, to be called as rest(parameter, first, second, c).

    c holds S_1, a_0, ..., a_3, epsilon, k^N, beta_1^N, beta_2^N and 1.
    """

    def update(parameter: Any, first: Any, second: Any, c: Any) -> tuple[Any, Any, Any]:
        size = c[0] * sqrt(second)
        inverse = c[9] / (size + c[5])
        ratio = size * inverse
        series = c[1] - ratio * (c[2] - ratio * (c[3] - ratio * c[4]))
        return c[6] * (parameter - first * inverse * series), c[7] * first, c[8] * second

    return update


def fading_steps(optimizer: Adam) -> int:
    """Return after how many idle steps the first moment is nothing beside what it was, in float32."""
    return MOST_FADING if not optimizer.beta_1 else math.ceil(math.log(FADED) / math.log(optimizer.beta_1))


def smooth_from(optimizer: Adam) -> int | None:
    """Return the step from which the series may end after its cubic term; None for never.

    What it leaves out is the sum of beta_1^n r_n^4 beside the sum of beta_1^n. The first moment's own
    correction must have come to an end, too.
    """
    n_fading = fading_steps(optimizer)
    # Where somebody derived their own rule or coefficients, idle rows move in a way of their own.
    is_adam = type(optimizer).coefficients is Adam.coefficients and type(optimizer).rule is Adam.rule
    if n_fading > MOST_FADING or not optimizer.beta_2 or not is_adam:
        return None
    n = np.arange(1, n_fading + 1)
    weights = optimizer.beta_1**n
    for step in SMOOTH_STEPS:
        changes = _changes(optimizer.beta_2, optimizer.beta_2**step, n)
        if weights @ changes**4 < 1e-7 * weights.sum() and optimizer.beta_1**step < FADED:
            return step
    return None


def _memory(decay: Any) -> Any:
    return decay / (1 - decay)


def _changes(beta_2: float, decay: Any, n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return r_n, given beta_2^t."""
    relative = beta_2 ** (n - 1) * (1 - beta_2 * decay) / (1 - beta_2**n * decay)
    changes: NDArray[np.float64] = np.sqrt(relative) - 1
    return changes
