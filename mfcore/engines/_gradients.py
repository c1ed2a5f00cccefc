r"""A step, defined once: the mean objective of a batch over gathered rows, and its gradient.

The objective of a batch of n instances is

.. math:: \frac1n \sum_b w_b \, \ell(s_b, t_b) + \frac{l2}{2 n} \sum_b \sum_{\theta \in \text{rows}(b)}
          \|\theta\|^2 + \frac{l2\_dense}{2} \sum_{\text{kernels}} \|W\|^2

An engine that differentiates gathers the rows of a batch, calls `batch_gradients`, adds up the gradients of
rows that the batch repeats, and applies the optimizer's rule. `batch_objective` is the same function as a
plain number, for engines that would rather differentiate the whole of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from mfcore.engines._layout import ParameterLayout
from mfcore.engines.contract import TrainingJob
from mfcore.objectives import InBatchObjective, Objective, ScoreObjective, score_terms, total_loss
from mfcore.operators import Array, Operators
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import Arrays, Embeddings, InnerProduct, ModelSpec, score_embeddings


class DifferentiableOperators(Operators, Protocol):
    """The operators of an engine that differentiates.

    Examples
    --------
    A library brings both: ``vjp=jax.vjp``, say. The plain objective needs `total` alone:

    >>> import numpy as np
    >>> from mfcore.operators import NUMPY
    >>> class Summing(type(NUMPY)):
    ...     def total(self, x):
    ...         return x.sum(dtype=np.float64)
    >>> float(Summing().total(np.array([[0.5, 1.0], [2.0, 3.0]])))
    6.5
    """

    def vjp(
        self, function: Callable[..., Any], *inputs: Array
    ) -> tuple[Any, Callable[[Any], tuple[Array, ...]]]:
        """Return a function's value, and its vector-Jacobian product.

        Parameters
        ----------
        function : callable
            From the inputs to an array or a tuple of arrays.
        *inputs : array

        Returns
        -------
        value : array or tuple of arrays
        vjp : callable
            From the derivatives by the value, shaped like it, to a tuple of those by the inputs; an input
            that the value does not depend on gets zeros.
        """

    def total(self, x: Array) -> Array:
        """Return the sum of all elements of x, [], in float64 where the library has it."""


@dataclass(frozen=True)
class BatchProblem:
    """What is minimised in a step; equal ones are the same function.

    Attributes
    ----------
    spec : ModelSpec
    objective : Objective
    l2, l2_dense : float
    layout : ParameterLayout

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.engines import BatchProblem
    >>> from mfcore.training import make_job
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5], [3.0, 4.0, 5.0])
    >>> problem = BatchProblem.of(make_job(mfcore.MF(2), data, optimizer=mfcore.Adam(l2=0.1)))
    >>> problem.objective, problem.l2, problem.layout.users.names
    (Squared(), 0.1, ('user_factors',))
    """

    spec: ModelSpec
    objective: Objective
    l2: float
    l2_dense: float
    layout: ParameterLayout

    @classmethod
    def of(cls, job: TrainingJob) -> "BatchProblem":
        """Return the problem of a job.

        Parameters
        ----------
        job : TrainingJob
            With a gradient optimizer.

        Returns
        -------
        BatchProblem
            Hashable; equal for jobs whose steps are the same function.
        """
        assert isinstance(job.optimizer, GradientOptimizer)
        return cls(job.spec, job.objective, job.optimizer.l2, job.optimizer.l2_dense, job.layout)


class GatheredBatch(NamedTuple):
    """The rows and targets of m instances.

    Attributes
    ----------
    users, items : arrays [m, width]
        Packed as `RowLayout` has it. Of an in-batch objective items are those of the whole batch, [n, width].
    dense : array [width]
        The parameters without a side, packed.
    constants : mapping of name to array
        Those parameters without a side that are not trained.
    negatives : array [m, width], or None
        Of a pairwise objective.
    targets : array [m], or None
        Of a pointwise objective.
    weights : array [m], or None for 1
    positions : int array [m], or None
        Of an in-batch objective: the instances' positions in the batch of n.
    every : int array [n], or None
        Of an in-batch objective: 0, ..., n - 1.
    item_rows : int array [n], or None
        Of an in-batch objective: the row numbers of the batch's items.
    log_q : array [n], or None
        Of an in-batch objective: what is subtracted from the items' logits.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.engines import GatheredBatch
    >>> rows = np.zeros((3, 2))
    >>> batch = GatheredBatch(rows, rows, dense=np.zeros(0), constants={}, targets=np.ones(3))
    >>> batch.negatives is None
    True
    """

    users: Array
    items: Array
    dense: Array
    constants: Arrays
    negatives: Array | None = None
    targets: Array | None = None
    weights: Array | None = None
    positions: Array | None = None
    every: Array | None = None
    item_rows: Array | None = None
    log_q: Array | None = None


class Gradients(NamedTuple):
    """The gradients of a batch's mean objective.

    Attributes
    ----------
    objective : array []
        The objective summed over the m instances, without what l2_dense adds.
    users, items : arrays [m, width], [m or n, width]
        By each instance's rows.
    negatives : array [m, width], or None
    dense : array [width]
        Without what l2_dense adds; see `dense_decay`.

    Examples
    --------
    >>> from mfcore.engines import Gradients
    >>> Gradients._fields
    ('objective', 'users', 'items', 'negatives', 'dense')
    """

    objective: Array
    users: Array
    items: Array
    negatives: Array | None
    dense: Array


Part: TypeAlias = Callable[[Array], tuple[Array, ...]]
MatrixPart: TypeAlias = Callable[..., tuple[Array, ...]]


def batch_gradients(
    xp: DifferentiableOperators,
    problem: BatchProblem,
    batch: GatheredBatch,
    *,
    n: Any,
    decayed_items: Array | None = None,
    in_parts: Callable[[Part], tuple[Array, ...]] | None = None,
    matrix_part: MatrixPart | None = None,
) -> Gradients:
    """Return the gradients of a batch's mean objective by its rows and by the dense parameters.

    Parameters
    ----------
    xp : DifferentiableOperators
    problem : BatchProblem
    batch : GatheredBatch
    n : int
        The number of instances that the mean is taken over.
    decayed_items : array like `batch.items`, optional
        The item rows that l2 applies to, where they are not all: zeros stand for the others.
    in_parts : callable, optional
        How an in-batch objective is computed where the matrix of all scores would be too large: given a
        function from the positions of some of the m instances to (loss, gradient by the embeddings of these
        users, further gradients), it returns the sum of the losses, the gradients of all users in their
        order, and the sums of the further ones.
    matrix_part : callable, optional
        `in_batch_part(xp, problem.objective)`, as the engine compiled it.

    Returns
    -------
    Gradients

    Examples
    --------
    By central differences, where an engine has a library that differentiates:

    >>> import mfcore, numpy as np
    >>> from mfcore.engines import BatchProblem, GatheredBatch, batch_gradients
    >>> from mfcore.operators import NUMPY
    >>> from mfcore.training import make_job
    >>> class Numeric(type(NUMPY)):
    ...     total = staticmethod(np.sum)
    ...     def vjp(self, function, *inputs):
    ...         def by(position, index, upstream):
    ...             above, below = ([one.copy() for one in inputs] for _ in range(2))
    ...             above[position][index] += 1e-4
    ...             below[position][index] -= 1e-4
    ...             return ((function(*above) - function(*below)) * upstream).sum() / 2e-4
    ...         def backward(upstream):
    ...             return tuple(
    ...                 np.array([by(p, i, upstream) for i in np.ndindex(x.shape)]).reshape(x.shape)
    ...                 for p, x in enumerate(inputs)
    ...             )
    ...         return function(*inputs), backward
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5], [3.0, 4.0, 5.0])
    >>> problem = BatchProblem.of(make_job(mfcore.MF(2), data, optimizer="adam"))
    >>> batch = GatheredBatch(
    ...     users=np.array([[1.0, 2.0]]), items=np.array([[0.5, 0.5]]), dense=np.zeros(0), constants={},
    ...     targets=np.array([1.0]),
    ... )
    >>> found = batch_gradients(Numeric(), problem, batch, n=1)
    >>> float(found.objective), found.users.round(6).tolist(), found.items.round(6).tolist()
    (0.125, [[0.25, 0.25]], [[0.5, 1.0]])
    """
    if isinstance(problem.objective, InBatchObjective):
        part = in_batch_part(xp, problem.objective) if matrix_part is None else matrix_part
        losses, gradients = _in_batch(xp, problem, batch, n=n, in_parts=in_parts, matrix_part=part)
    else:
        losses, gradients = _by_instance(xp, problem, batch, n)
    if not problem.l2:
        return gradients._replace(objective=losses)
    layout, objective = problem.layout, losses
    found = {}
    for name, rows, decayed_rows in (
        ("users", layout.users, batch.users),
        ("items", layout.items, batch.items if decayed_items is None else decayed_items),
        ("negatives", layout.items, batch.negatives),
    ):
        if decayed_rows is not None:
            decayed = _decayed(xp, rows, decayed_rows)
            objective = objective + 0.5 * problem.l2 * xp.total(decayed * decayed)
            found[name] = getattr(gradients, name) + (problem.l2 / n) * decayed
    return gradients._replace(objective=objective, **found)


def batch_objective(xp: DifferentiableOperators, problem: BatchProblem, batch: GatheredBatch) -> Array:
    """Return the mean objective of a batch, with weights and decay, as one number to be differentiated.

    Its gradient by automatic differentiation is that of the loss as the library takes it, which at a kink
    need not be the slope that the loss gives.

    Parameters
    ----------
    xp : DifferentiableOperators
    problem : BatchProblem
    batch : GatheredBatch
        Of a whole batch.

    Returns
    -------
    array []

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> from mfcore.engines import BatchProblem, GatheredBatch, batch_objective
    >>> from mfcore.operators import NUMPY
    >>> from mfcore.training import make_job
    >>> class Summing(type(NUMPY)):
    ...     total = staticmethod(np.sum)
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5], [3.0, 4.0, 5.0])
    >>> problem = BatchProblem.of(make_job(mfcore.MF(2), data, optimizer=mfcore.Adam(l2=0.1)))
    >>> batch = GatheredBatch(
    ...     users=np.array([[1.0, 2.0]]), items=np.array([[0.5, 0.5]]), dense=np.zeros(0), constants={},
    ...     targets=np.array([1.0]),
    ... )
    >>> float(batch_objective(Summing(), problem, batch))
    0.4
    """
    objective = problem.objective
    if isinstance(objective, InBatchObjective):
        of_users, of_items = _embeddings(xp, problem, batch)
        scores = score_embeddings(xp, Embeddings(of_users.vectors), of_items)
        losses, _ = objective.matrix_terms(xp)(scores, *_masks(xp, batch), batch.log_q)
    else:
        losses = _losses(xp, problem, batch)(_instance_scores(xp, problem, batch))[0]
    if batch.weights is not None:
        losses = losses * batch.weights
    total = xp.total(losses)
    for rows, numbers in (
        (problem.layout.users, batch.users),
        (problem.layout.items, batch.items),
        (problem.layout.items, batch.negatives),
    ):
        if numbers is not None and problem.l2:
            total = total + 0.5 * problem.l2 * xp.total(_decayed(xp, rows, numbers) ** 2)
    return total / batch.users.shape[0] + dense_decay(xp, problem, batch.dense)[1]


def dense_decay(xp: DifferentiableOperators, problem: BatchProblem, dense: Array) -> tuple[Array, Array]:
    """Return what l2_dense adds to the gradient and to the objective.

    Parameters
    ----------
    xp : DifferentiableOperators
    problem : BatchProblem
    dense : array [width]
        The parameters without a side, packed.

    Returns
    -------
    gradient : array [width]
    objective : array []

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> from mfcore.engines import BatchProblem, dense_decay
    >>> from mfcore.operators import NUMPY
    >>> from mfcore.training import make_job
    >>> class Summing(type(NUMPY)):
    ...     total = staticmethod(np.sum)
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5], [3.0, 4.0, 5.0])
    >>> problem = BatchProblem.of(make_job(mfcore.GMF(2), data, optimizer=mfcore.Adam(l2_dense=0.5)))
    >>> dense_decay(Summing(), problem, np.array([1.0, 2.0, 3.0]))
    (array([0.5, 1. , 0. ]), np.float64(1.25))
    """
    decayed = problem.l2_dense * _decayed(xp, problem.layout.dense, dense)
    return decayed, 0.5 * xp.total(decayed * dense)


def _by_instance(
    xp: DifferentiableOperators, problem: BatchProblem, batch: GatheredBatch, n: Any
) -> tuple[Array, Gradients]:
    """Return the sum of the losses and the gradients where an instance is a pair, or a difference of two."""
    names = ["users", "items", *([] if batch.negatives is None else ["negatives"]), "dense"]

    def scores_of(*inputs: Array) -> Array:
        return _instance_scores(xp, problem, batch._replace(**dict(zip(names, inputs, strict=True))))

    scores, backward = xp.vjp(scores_of, *(getattr(batch, name) for name in names))
    losses_of = _losses(xp, problem, batch)
    assert isinstance(problem.objective, ScoreObjective)
    if problem.objective.gives_slope:
        losses, grad_scores = losses_of(scores)
    else:
        losses, differentiate = xp.vjp(lambda scores: losses_of(scores)[0], scores)
        (grad_scores,) = differentiate(1 + 0 * losses)
    if batch.weights is not None:
        losses, grad_scores = losses * batch.weights, grad_scores * batch.weights
    total = xp.total(losses)
    found = dict(zip(names, backward(grad_scores / n), strict=True))
    return total, Gradients(total, **{"negatives": None, **found})


def _instance_scores(xp: Operators, problem: BatchProblem, batch: GatheredBatch) -> Array:
    """Return the score of each instance, [m], or the difference of two."""
    layout, score = problem.layout, problem.spec.score
    dense = {**layout.dense.split(batch.dense, xp), **batch.constants}
    users = layout.users.split(batch.users, xp)
    scores = score(xp, users, layout.items.split(batch.items, xp), dense)
    if batch.negatives is None:
        return scores
    # Apart: what both have in common cancels to the last bit, where Adam would follow the rounding.
    return scores - score(xp, users, layout.items.split(batch.negatives, xp), dense)


def _losses(
    xp: Operators, problem: BatchProblem, batch: GatheredBatch
) -> Callable[[Array], tuple[Array, Array | None]]:
    """Return the function from scores [m] to losses [m] and derivatives [m], None of a loss without."""
    objective, output = problem.objective, problem.spec.output
    assert isinstance(objective, ScoreObjective)
    terms = score_terms(objective, output, xp)
    targets = 1.0 if batch.targets is None else batch.targets

    def losses(scores: Array) -> tuple[Array, Array | None]:
        linear, argument, *slope = terms(scores, targets, objective.constants(), output.constants())
        return total_loss(xp, linear, argument), slope[0] if slope else None

    return losses


def in_batch_part(xp: DifferentiableOperators, objective: InBatchObjective) -> MatrixPart:
    """Return the function that scores some users of a batch with all of its items.

    Parameters
    ----------
    xp : DifferentiableOperators
    objective : InBatchObjective

    Returns
    -------
    callable
        From (batch, n, vectors) and, where items have them, offsets, to (loss [], gradient by users, by
        vectors and by offsets). Of the batch, users [m, d] are the vectors of some instances' users,
        positions and weights are these instances', and items and dense are not read; vectors [n, d] and
        offsets [n] are those of all items.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.engines import in_batch_part
    >>> from mfcore.operators import NUMPY
    >>> callable(in_batch_part(NUMPY, mfcore.InBatchSoftmax()))
    True
    """
    terms = objective.matrix_terms(xp)

    def part(batch: GatheredBatch, n: Any, *items: Array) -> tuple[Array, ...]:
        def scores_of(users: Array, *items: Array) -> Array:
            # What is added to all scores of a user cancels.
            return score_embeddings(xp, Embeddings(users), Embeddings(*items))

        scores, backward = xp.vjp(scores_of, batch.users, *items)
        losses, grad_scores = terms(scores, *_masks(xp, batch), batch.log_q)
        if batch.weights is not None:
            losses, grad_scores = losses * batch.weights, grad_scores * batch.weights[:, None]
        return xp.total(losses), *backward(grad_scores / n)

    return part


def _in_batch(
    xp: DifferentiableOperators,
    problem: BatchProblem,
    batch: GatheredBatch,
    *,
    n: Any,
    in_parts: Callable[[Part], tuple[Array, ...]] | None,
    matrix_part: MatrixPart,
) -> tuple[Array, Gradients]:
    """Return the same where an instance is a row of the matrix of all users and items of the batch."""

    def embed(users: Array, items: Array, dense: Array) -> tuple[Array, ...]:
        of_users, of_items = _embeddings(xp, problem, batch._replace(users=users, items=items, dense=dense))
        given = (of_users.vectors, *of_items)
        return given if of_items.offsets is not None else given[:2]

    (of_users, *of_items), backward = xp.vjp(embed, batch.users, batch.items, batch.dense)

    def part(numbers: Array | None) -> tuple[Array, ...]:
        def some(of_all: Array | None) -> Array | None:
            return of_all if numbers is None or of_all is None else xp.take(of_all, numbers)

        rows = batch._replace(
            users=some(of_users),
            items=None,
            dense=None,
            positions=some(batch.positions),
            weights=some(batch.weights),
        )
        return matrix_part(rows, n, *of_items)

    total, *grads = part(None) if in_parts is None else in_parts(part)
    users, items, dense = backward(tuple(grads))
    return total, Gradients(total, users, items, None, dense)


def _embeddings(xp: Operators, problem: BatchProblem, batch: GatheredBatch) -> tuple[Embeddings, Embeddings]:
    layout, spec = problem.layout, problem.spec
    assert isinstance(spec, InnerProduct)
    dense = {**layout.dense.split(batch.dense, xp), **batch.constants}
    return (
        spec.user_embeddings(xp, layout.users.split(batch.users, xp), dense),
        spec.item_embeddings(xp, layout.items.split(batch.items, xp), dense),
    )


def _masks(xp: Operators, batch: Any) -> tuple[Array, Array]:
    """Return which entries of the matrix are the instances' own, and which are accidental hits."""
    own = batch.positions[:, None] == batch.every[None, :]
    same_item = xp.take(batch.item_rows, batch.positions)[:, None] == batch.item_rows[None, :]
    # An instance's own entry shows its item, too, so what is in one of the two alone are the others.
    return own, same_item ^ own


def _decayed(xp: Operators, rows: Any, numbers: Array) -> Array:
    """Return packed parameters with zeros for those that do not decay."""
    if all(rows.decayed):
        return numbers
    parts = [numbers] if len(rows.names) == 1 else xp.split(numbers, rows.sizes)
    kept = [part if decayed else 0 * part for part, decayed in zip(parts, rows.decayed, strict=True)]
    return kept[0] if len(kept) == 1 else xp.concat(kept, axis=-1)
