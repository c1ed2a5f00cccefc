"""What a model is: its parameters and its score.

A spec is all that the core and the engines need to know of a model. Its score is written once, on the
operators that an engine hands in (`mfcore.operators`); numpy's run of it is the definition that engines are
compared with.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mfcore.operators import NUMPY, Operators
from mfcore.settings import Settings
from mfcore.specs._initializers import Initializer
from mfcore.specs._outputs import Output

Floats: TypeAlias = NDArray[np.floating]
Rows: TypeAlias = NDArray[np.integer]
Parameters: TypeAlias = Mapping[str, Floats]
# Of any engine's library, by parameter name.
Arrays: TypeAlias = Mapping[str, Any]

# The distance of the points between which scores are differentiated numerically.
STEP = 1e-3


@dataclass(frozen=True)
class Parameter:
    """One named array of a model.

    Attributes
    ----------
    shape : tuple of int
    init : Initializer
    side : "user", "item" or None
        Which rows the first axis numbers; None for an array that every instance uses.
    trained : bool
        False for a constant that the core computes from the training data.
    decayed : bool
        Whether l2 (for rows) or l2_dense (for the others) applies.
    shared_by_items : bool
        Whether it adds the same to a user's scores of all items. It cancels in objectives that compare a
        user's items with one another, which therefore leave it as it is.

    Examples
    --------
    >>> import mfcore
    >>> mfcore.MF(2).parameters(n_users=4, n_items=3)["item_factors"].side
    'item'
    """

    shape: tuple[int, ...]
    init: Initializer
    side: Literal["user", "item"] | None = None
    trained: bool = True
    decayed: bool = True
    shared_by_items: bool = False


class TrainedModel(Protocol):
    """The part of `mfcore.Model` that specs need to build a model from trained ones."""

    @property
    def spec(self) -> Any:
        """What the model is."""

    @property
    def parameters(self) -> Any:
        """Arrays by name."""

    @property
    def user_ids(self) -> Any:
        """The ids of the users' rows."""

    @property
    def item_ids(self) -> Any:
        """The ids of the items' rows."""

    @property
    def seen(self) -> Any:
        """The items of each user in the training data."""

    @property
    def n_users(self) -> int:
        """The number of users."""

    @property
    def n_items(self) -> int:
        """The number of items."""

    def with_parameters(self, spec: Any, parameters: dict[str, Floats]) -> Any:
        """Return a model of other parameters, on the same users and items."""


class ModelSpec(Settings, ABC):
    """Base of all specs. A subclass is a frozen dataclass of settings with `parameters` and `score`.

    Attributes
    ----------
    short_name : str
        The name by which `fit`'s errors and the command line know the model.
    is_inner_product : bool
        Whether the score is an inner product of something of the user and something of the item, so that all
        pairs of many users and items can be scored at the cost of a matrix product; see `InnerProduct`.
    output : Output

    Examples
    --------
    A model of one's own, by the distance of two embeddings, s = -|p_u - q_i|^2:

    >>> from dataclasses import dataclass, field
    >>> import mfcore
    >>> from mfcore.specs import ModelSpec, Parameter
    >>> @dataclass(frozen=True)
    ... class Distance(ModelSpec):
    ...     n_factors: int = 8
    ...     output: mfcore.Linear = field(default_factory=mfcore.Linear)
    ...     def parameters(self, n_users, n_items):
    ...         init = mfcore.Normal(std=0.1)
    ...         return {
    ...             "user_factors": Parameter((n_users, self.n_factors), init, side="user"),
    ...             "item_factors": Parameter((n_items, self.n_factors), init, side="item"),
    ...         }
    ...     def score(self, xp, users, items, dense):
    ...         difference = users["user_factors"] - items["item_factors"]
    ...         return -xp.sum(difference * difference, axis=1)
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5])
    >>> adam = mfcore.Adam(learning_rate=0.1)
    >>> model = mfcore.fit(Distance(2), data, optimizer=adam, epochs=1, backend="reference")
    >>> bool(model.score(1, 6) < 0)
    True
    """

    short_name: ClassVar[str]
    is_inner_product: ClassVar[bool] = False
    output: Output

    @abstractmethod
    def parameters(self, n_users: int, n_items: int) -> dict[str, Parameter]:
        """Return every parameter by name, in a fixed order.

        Parameters
        ----------
        n_users, n_items : int

        Returns
        -------
        dict of name to Parameter
        """

    @abstractmethod
    def score(self, xp: Operators, users: Arrays, items: Arrays, dense: Arrays) -> Any:
        """Return the score of each pair of rows: the definition.

        Parameters
        ----------
        xp : Operators
            Of the library that the arrays are of.
        users, items : mapping of name to array [n, ...]
            Of each parameter with that side, the row of each pair's user or item.
        dense : mapping of name to array
            The parameters without a side, whole.

        Returns
        -------
        array [n] in the parameters' dtype
        """

    def score_pairs(self, parameters: Parameters, users: Rows, items: Rows) -> Floats:
        """Return the score of each pair of row numbers, on numpy.

        Parameters
        ----------
        parameters : mapping of name to array
            Whole.
        users, items : integer arrays [n]

        Returns
        -------
        array [n] in the parameters' dtype

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> parameters = {"user_factors": np.array([[1.0, 2.0]]), "item_factors": np.array([[3.0, 4.0]])}
        >>> mfcore.MF(2).score_pairs(parameters, users=np.array([0]), items=np.array([0]))
        array([11.])
        """
        scores: Floats = self.score(NUMPY, *self.gather(parameters, users, items))
        return scores

    def gather(self, parameters: Parameters, users: Rows, items: Rows) -> tuple[Arrays, Arrays, Arrays]:
        """Return the arguments of `score` for pairs of row numbers.

        Parameters
        ----------
        parameters : mapping of name to array
            Whole.
        users, items : integer arrays [n]

        Returns
        -------
        users, items : mapping of name to array [n, ...]
        dense : mapping of name to array

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> parameters = {"user_factors": np.array([[1.0], [2.0]]), "item_factors": np.array([[3.0]])}
        >>> mfcore.MF(1).gather(parameters, users=np.array([1]), items=np.array([0]))
        ({'user_factors': array([[2.]])}, {'item_factors': array([[3.]])}, {})
        """
        return (
            self.gather_side(parameters, "user", users),
            self.gather_side(parameters, "item", items),
            self.gather_side(parameters, None),
        )

    def gather_side(self, parameters: Parameters, side: str | None, rows: Rows | None = None) -> Arrays:
        """Return the parameters of a side by name: some of their rows or, where none are named, all.

        Parameters
        ----------
        parameters : mapping of name to array
            Whole.
        side : "user", "item" or None
            None for the parameters without a side.
        rows : integer array [n], optional

        Returns
        -------
        mapping of name to array
            [n, ...] each, or the whole parameters.

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> parameters = {"user_factors": np.array([[1.0], [2.0]]), "item_factors": np.array([[3.0]])}
        >>> mfcore.MF(1).gather_side(parameters, "user", np.array([1]))
        {'user_factors': array([[2.]])}
        """
        names = [name for name, one in self.parameters(1, 1).items() if one.side == side]
        return {name: parameters[name] if rows is None else parameters[name][rows] for name in names}

    def score_gradients(
        self, parameters: Parameters, users: Rows, items: Rows, upstream: Floats
    ) -> dict[str, Floats]:
        """Return the derivative of sum(upstream * score) by the trained parameters, on numpy.

        The built-in models define it. That of other models is computed numerically, in float64, with a
        relative error of about 1e-11: enough to verify an engine that differentiates, and slow.

        Parameters
        ----------
        parameters : mapping of name to array
            Whole.
        users, items : integer arrays [n]
            Rows.
        upstream : array [n]
            The derivative of the objective by each instance's score.

        Returns
        -------
        mapping of name to array
            For a parameter with a side: [n, ...], the gradient of each instance's row (not yet summed over
            instances that share a row). For the others: the parameter's shape.

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> parameters = {"user_factors": np.array([[1.0, 2.0]]), "item_factors": np.array([[3.0, 4.0]])}
        >>> mfcore.MF(2).score_gradients(parameters, np.array([0]), np.array([0]), np.array([0.5]))
        {'user_factors': array([[1.5, 2. ]]), 'item_factors': array([[0.5, 1. ]])}
        """
        layout = self.parameters(1, 1)
        arguments: tuple[dict[str, Floats], ...] = tuple(
            {name: np.asarray(array, dtype=np.float64) for name, array in part.items()}
            for part in self.gather(parameters, users, items)
        )
        gradients = {}
        for position, part in enumerate(arguments):
            for name in part:
                if layout[name].trained:
                    found = self._numeric_gradient(arguments, position, name, upstream.astype(np.float64))
                    gradients[name] = found.astype(upstream.dtype)
        return gradients

    def _numeric_gradient(
        self, arguments: tuple[dict[str, Floats], ...], position: int, name: str, upstream: Floats
    ) -> Floats:
        """Return the derivative by one of `score`'s arrays, by differences of the fourth order."""
        array = arguments[position][name]
        of_rows = position < 2
        gradient = np.zeros_like(array)

        def of_index(index: tuple[int, ...]) -> Any:
            return (slice(None), *index) if of_rows else index

        def shifted(index: tuple[int, ...], by: float) -> Floats:
            moved = array.copy()
            moved[of_index(index)] += by
            changed = [{**part, name: moved} if at == position else part for at, part in enumerate(arguments)]
            scores: Floats = self.score(NUMPY, changed[0], changed[1], changed[2])
            return upstream * scores

        for index in np.ndindex(array.shape[1:] if of_rows else array.shape):
            near = shifted(index, STEP) - shifted(index, -STEP)
            far = shifted(index, 2 * STEP) - shifted(index, -2 * STEP)
            grads = (8 * near - far) / (12 * STEP)
            gradient[of_index(index)] = grads if of_rows else grads.sum()
        return gradient

    def score_catalogue(self, parameters: Parameters, users: Rows) -> Floats:
        """Return the score of every item for each user, on numpy.

        Parameters
        ----------
        parameters : mapping of name to array
            Whole.
        users : integer array [n]
            Rows.

        Returns
        -------
        array [n, n_items]

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> parameters = {"user_factors": np.array([[2.0]]), "item_factors": np.array([[3.0], [4.0]])}
        >>> mfcore.MF(1).score_catalogue(parameters, np.array([0]))
        array([[6., 8.]])
        """
        n_items = next(
            len(parameters[name]) for name, one in self.parameters(1, 1).items() if one.side == "item"
        )
        every = np.arange(n_items)
        rows = [self.score_pairs(parameters, np.full(n_items, user), every) for user in users]
        return np.stack(rows) if rows else np.zeros((0, n_items), dtype=next(iter(parameters.values())).dtype)

    def item_vectors(self, parameters: Parameters) -> Floats:
        """Return the vectors whose cosine measures how similar two items are.

        By default these are the item parameters of two axes, side by side.

        Parameters
        ----------
        parameters : mapping of name to array
            Whole.

        Returns
        -------
        array [n_items, d]

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> parameters = {"user_factors": np.array([[2.0]]), "item_factors": np.array([[3.0], [4.0]])}
        >>> mfcore.MF(1).item_vectors(parameters)
        array([[3.],
               [4.]])
        """
        tables = [
            parameters[name]
            for name, one in self.parameters(1, 1).items()
            if one.side == "item" and len(one.shape) == 2
        ]
        return np.concatenate(tables, axis=1)

    def parameter_shapes(self, n_users: int, n_items: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter by name.

        Parameters
        ----------
        n_users, n_items : int

        Returns
        -------
        dict of name to tuple of int

        Examples
        --------
        >>> import mfcore
        >>> mfcore.MF(2).parameter_shapes(n_users=4, n_items=3)
        {'user_factors': (4, 2), 'item_factors': (3, 2)}
        """
        return {name: parameter.shape for name, parameter in self.parameters(n_users, n_items).items()}

    def initial_parameters(
        self, n_users: int, n_items: int, *, seed: int, dtype: np.dtype[np.floating], best_constant: float
    ) -> dict[str, Floats]:
        """Return initial values, the same for every engine.

        Parameters
        ----------
        n_users, n_items : int
        seed : int
        dtype : float32 or float64
        best_constant : float
            The score of the best constant prediction on the training data; the value of a global bias.

        Returns
        -------
        dict of name to array of that dtype

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> dtype = np.dtype("float32")
        >>> spec = mfcore.MF(2, biases=True)
        >>> values = spec.initial_parameters(4, 3, seed=0, dtype=dtype, best_constant=3.5)
        >>> values["global_bias"]
        array([3.5], dtype=float32)
        """
        return {
            name: (
                parameter.init.draw(name, parameter.shape, seed)
                if parameter.trained
                else np.full(parameter.shape, best_constant)
            ).astype(dtype)
            for name, parameter in self.parameters(n_users, n_items).items()
        }
