r"""What the steps of Adam do to a row that is in no batch, all of them at once: deferred updates.

Adam is not sparse: a row that is not in the batch keeps moving along its fading first moment. An engine need
not fetch the row for each of these steps: it may defer them, and catch up when the row is next needed. With
n = 1, ..., N steps after step t, which left the row as :math:`(\theta, m, v)`, and
:math:`k = 1 - \eta \cdot` weight decay,

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
:math:`\beta_2^t / (1 - \beta_2^t)`, in which they are nearly linear: they are tabulated as polynomials.
What all this leaves out is less than the rounding of float32; in float64 take the steps one by one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mfcore.engines.contract import TrainingJob
from mfcore.operators import Array, Operators
from mfcore.optimizers import Adam, GradientOptimizer

# The share of the first moment that counts as nothing, and the most steps to get there for sums to be used.
FADED, MOST_FADING = 1e-8, 512
# Candidates for the step from which sums are used.
SMOOTH_STEPS = (100, 300, 1_000, 3_000, 10_000, 30_000)
# Sums, and terms of the polynomial of each.
N_SUMS, N_TERMS = 4, 6
# Updates of a side are deferred where a batch holds less than this part of its rows: a row of a batch costs
# about as much as four that a step goes through in order.
FEW = 0.25
# The largest weight of a deferred step: where weight decay outpaces beta_1, weights grow from step to step,
# and their sum would lose all digits.
MOST_WEIGHT = 1e3

CatchUp: TypeAlias = Callable[[Any, Any, Any, Any], tuple[Any, Any, Any]]


@dataclass(frozen=True, eq=False)
class DeferredAdam:
    """What it takes to sum up the deferred steps of Adam at one learning rate.

    Attributes
    ----------
    smooth_from : int
        Rows whose latest batch was that of this step or a later one can be summed up.
    sums : float64 array [n_fading + 1, 4, 6]
        For each number of deferred steps, the last row for any larger one: the coefficients of the sums a_0,
        ..., a_3, as polynomials in `argument`.
    kept : float
        k.
    optimizer : Adam

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> from mfcore.engines import DeferredAdam
    >>> plan = DeferredAdam.make(mfcore.Adam(), learning_rate=0.001, dtype=np.dtype("float32"))
    >>> plan.smooth_from, plan.sums.shape, plan.kept
    (1000, (176, 4, 6), 1.0)
    >>> decay = 0.999**plan.smooth_from
    >>> round(float(plan.argument(decay)), 4), round(float(plan.start(decay)), 4)
    (1.0, 1.2566)
    >>> DeferredAdam.make(mfcore.SGD(), learning_rate=0.001, dtype=np.dtype("float32")) is None
    True
    """

    smooth_from: int
    sums: NDArray[np.float64]
    kept: float
    optimizer: Adam

    @classmethod
    def make(
        cls, optimizer: GradientOptimizer, learning_rate: float, dtype: np.dtype[np.floating]
    ) -> "DeferredAdam | None":
        """Return the plan for an optimizer, or None where steps are to be taken one by one.

        That is so in float64, where the series would not be exact; for other rules than Adam's; for settings
        that the series does not fit; and for a weight decay that outpaces beta_1.

        Parameters
        ----------
        optimizer : GradientOptimizer
        learning_rate : float
        dtype : float32 or float64

        Returns
        -------
        DeferredAdam or None
        """
        smooth = smooth_from(optimizer)
        if smooth is None or dtype != np.float32:
            return None
        assert isinstance(optimizer, Adam)
        # As the engine rounds it.
        kept = float(dtype.type(optimizer.coefficients(1, learning_rate)[-1]))
        n = np.arange(1, fading_steps(optimizer) + 1)
        if kept <= 0 or len(n) * math.log(max(optimizer.beta_1, FADED) / kept) > math.log(MOST_WEIGHT):
            return None
        arguments = 0.5 - 0.5 * np.cos(np.pi * (np.arange(N_TERMS) + 0.5) / N_TERMS)
        worst = _memory(optimizer.beta_2**smooth)
        # Chebyshev's nodes in [0, 1]: beta_2^t from x.
        decays = worst * arguments / (1 + worst * arguments)
        changes = np.stack([_changes(optimizer.beta_2, decay, n) for decay in decays])
        weights = learning_rate * (optimizer.beta_1 / kept) ** n
        powers = np.stack([changes**power for power in range(N_SUMS)], axis=-1)
        at_nodes = np.cumsum(weights[:, None] * powers, axis=1)
        terms = np.linalg.solve(np.vander(arguments, increasing=True), at_nodes.reshape(N_TERMS, -1))
        sums = terms.reshape(N_TERMS, len(n), N_SUMS).transpose(1, 2, 0)
        return cls(smooth, np.concatenate([np.zeros((1, N_SUMS, N_TERMS)), sums]), kept, optimizer)

    @property
    def scale(self) -> float:
        """The factor from beta_2^t / (1 - beta_2^t) to the polynomials' argument."""
        return 1 / float(_memory(self.optimizer.beta_2**self.smooth_from))

    @property
    def log_kept(self) -> NDArray[np.float64]:
        """The logarithms of the factors of a deferred step on a parameter and both moments, [3]."""
        return np.log([self.kept, self.optimizer.beta_1, self.optimizer.beta_2])

    def argument(self, decay: Any) -> Any:
        """Return the polynomials' argument, in [0, 1].

        Parameters
        ----------
        decay : float or array
            beta_2^t.

        Returns
        -------
        float or array
        """
        return self.scale * _memory(decay)

    def start(self, decay: Any) -> Any:
        """Return S_1.

        Parameters
        ----------
        decay : float or array
            beta_2^t.

        Returns
        -------
        float or array
        """
        return np.sqrt(self.optimizer.beta_2 / (1 - self.optimizer.beta_2 * decay))


class CatchUpTables(NamedTuple):
    """A `DeferredAdam` as arrays of an engine's library, in the training dtype.

    Attributes
    ----------
    sums : array [n_fading + 1, 6 * 4]
        Term by term, as rows of numbers are read fastest.
    log_kept : array [1, 3]
    scale, epsilon, one : arrays [1, 1]

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> from mfcore.engines import CatchUpTables, DeferredAdam
    >>> plan = DeferredAdam.make(mfcore.Adam(), learning_rate=0.001, dtype=np.dtype("float32"))
    >>> tables = CatchUpTables.of(plan, np.asarray)
    >>> tables.sums.shape, tables.sums.dtype
    ((176, 24), dtype('float32'))
    """

    sums: Array
    log_kept: Array
    scale: Array
    epsilon: Array
    one: Array

    @classmethod
    def of(cls, plan: DeferredAdam, array: Callable[[NDArray[np.float32]], Array]) -> "CatchUpTables":
        """Return the tables of a plan.

        Parameters
        ----------
        plan : DeferredAdam
        array : callable
            From a float32 array of numpy to one of the engine's library.

        Returns
        -------
        CatchUpTables
        """
        sums = plan.sums.transpose(0, 2, 1).reshape(len(plan.sums), -1)
        numbers = (sums, plan.log_kept[None], [[plan.scale]], [[plan.optimizer.epsilon]], [[1.0]])
        return cls(*(array(np.asarray(one, dtype=np.float32)) for one in numbers))


def catch_up(
    xp: Operators,
    row: tuple[Array, Array, Array],
    *,
    latest: Array,
    steps: Array,
    n_steps: Array,
    tables: CatchUpTables,
) -> tuple[Array, Array, Array]:
    """Return rows after the steps that were deferred.

    Parameters
    ----------
    xp : Operators
    row : three arrays [m, width]
        Parameters, first and second moments, as the step `latest` left them.
    latest : array [m, 1] in the training dtype
        Counted from 1.
    steps : array [m, 1] in the training dtype
        How many steps were deferred since.
    n_steps : int array [m]
        The same.
    tables : CatchUpTables

    Returns
    -------
    three arrays [m, width]
        Parameters, first and second moments.

    Examples
    --------
    Ten steps at once, and one by one:

    >>> import mfcore, numpy as np
    >>> from mfcore.engines import CatchUpTables, DeferredAdam, catch_up
    >>> from mfcore.operators import NUMPY
    >>> adam, real = mfcore.Adam(), np.float32
    >>> tables = CatchUpTables.of(DeferredAdam.make(adam, 0.001, np.dtype(real)), np.asarray)
    >>> start = tuple(np.full((1, 2), value, dtype=real) for value in (0.5, 1e-2, 1e-4))
    >>> latest, steps = np.full((1, 1), 5000, dtype=real), np.full((1, 1), 10, dtype=real)
    >>> at_once = catch_up(
    ...     NUMPY, start, latest=latest, steps=steps, n_steps=np.array([10]), tables=tables
    ... )
    >>> one_by_one = start
    >>> for step in range(5001, 5011):
    ...     c = np.array(adam.coefficients(step, 0.001), dtype=real)
    ...     one_by_one = adam.rule(NUMPY)(one_by_one[0], real(0), *one_by_one[1:], c)
    >>> bool(np.allclose(at_once[0], one_by_one[0], rtol=1e-6))
    True
    """
    log_beta_2 = tables.log_kept[:, 2:]
    # With x = log(beta_2^t), beta_2^t / (1 - beta_2^t) is 1 / (exp(-x) - 1): exact for beta_2 near 1, too.
    argument = tables.scale / xp.expm1(-(log_beta_2 * latest))
    start = xp.sqrt(xp.exp(log_beta_2) / -xp.expm1(log_beta_2 * (latest + 1)))
    kept = xp.exp(tables.log_kept * steps)
    # As arrays of their own: compiled, each would be worked out again for every number that it is used for.
    argument, start, kept = xp.split(xp.concat([argument, start, kept], axis=1), [1, 1, 3])
    last = tables.sums.shape[0] - 1
    terms = xp.split(xp.take(tables.sums, xp.minimum(n_steps, last)), [N_SUMS] * N_TERMS)
    sums = terms[-1]
    for term in terms[-2::-1]:
        sums = sums * argument + term
    columns = xp.split(xp.concat([start, sums, kept], axis=1), [1] * (1 + N_SUMS + 3))
    c = (*columns[: 1 + N_SUMS], tables.epsilon, *columns[1 + N_SUMS :], tables.one)
    return catch_up_rule(xp)(*row, c)


def catch_up_rule(xp: Operators) -> CatchUp:
    """Return the update above, to be called as update(parameter, first, second, c).

    c holds S_1, a_0, ..., a_3, epsilon, k^N, beta_1^N, beta_2^N and 1.

    Parameters
    ----------
    xp : Operators

    Returns
    -------
    callable
        It returns the parameter and both moments.

    Examples
    --------
    >>> from mfcore.engines import catch_up_rule
    >>> from mfcore.operators import NUMPY
    >>> update = catch_up_rule(NUMPY)
    >>> c = (1.0, 0.5, 0.0, 0.0, 0.0, 1.0, 1.0, 0.25, 0.5, 1.0)
    >>> [float(number) for number in update(2.0, 1.0, 1.0, c)]
    [1.75, 0.25, 0.5]
    """

    def update(parameter: Any, first: Any, second: Any, c: Any) -> tuple[Any, Any, Any]:
        size = c[0] * xp.sqrt(second)
        inverse = c[9] / (size + c[5])
        ratio = size * inverse
        series = c[1] - ratio * (c[2] - ratio * (c[3] - ratio * c[4]))
        return c[6] * (parameter - first * inverse * series), c[7] * first, c[8] * second

    return update


def defers(job: TrainingJob, side: str) -> bool:
    """Return whether it pays to defer a side's updates of rows that are not in the batch.

    This is the one definition, for all engines. A sparse rule has no such updates; those of other rules than
    Adam's in float32 cannot be summed up; and where a batch holds many of the rows, going through all of them
    in order is faster.

    Parameters
    ----------
    job : TrainingJob
    side : "user" or "item"

    Returns
    -------
    bool

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.engines import defers
    >>> from mfcore.training import make_job
    >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> job = make_job(mfcore.MF(2), data, optimizer="adam", batch_size=8)
    >>> defers(job, "user")
    True
    """
    optimizer = job.optimizer
    if not isinstance(optimizer, GradientOptimizer) or optimizer.sparse or job.dtype != np.float32:
        return False
    n_rows = job.data.n_users if side == "user" else job.data.n_items
    n_rows_of_batch = job.batch_size * (2 if side == "item" and job.sampling.paired else 1)
    return n_rows_of_batch < FEW * n_rows and smooth_from(optimizer) is not None


def fading_steps(optimizer: Adam) -> int:
    """Return after how many deferred steps nothing is left of the first moment, in float32."""
    return MOST_FADING if not optimizer.beta_1 else math.ceil(math.log(FADED) / math.log(optimizer.beta_1))


def smooth_from(optimizer: GradientOptimizer) -> int | None:
    """Return the step from which the series may end after its cubic term; None for never.

    What it leaves out is the sum of beta_1^n r_n^4 beside the sum of beta_1^n. The first moment's own
    correction must have come to an end, too.

    Parameters
    ----------
    optimizer : GradientOptimizer

    Returns
    -------
    int or None

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.engines import smooth_from
    >>> smooth_from(mfcore.Adam()), smooth_from(mfcore.RMSprop())
    (1000, None)
    """
    # A derived class with a rule or coefficients of its own moves rows outside the batch in its own way.
    kind = type(optimizer)
    if (
        not isinstance(optimizer, Adam)
        or kind.coefficients is not Adam.coefficients
        or kind.rule is not Adam.rule
    ):
        return None
    n_fading = fading_steps(optimizer)
    if n_fading > MOST_FADING or not optimizer.beta_2:
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
