"""The branches of NCF models: the features of a pair that the last dense unit weighs.

A branch maps a pair to features; a model's score is an inner product of the features of its branches with the
kernel of its output unit.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfcore.operators import NUMPY, Operators
from mfcore.specs._base import Arrays, Floats, Parameter, Parameters, Rows
from mfcore.specs._dense import Stack
from mfcore.specs._initializers import Initializer

# Pairs whose layers are computed together: their outputs stay in a core's cache.
PAIRS_AT_ONCE = 1 << 14


class Branch(ABC):
    """A map from a pair of rows to features.

    Attributes
    ----------
    prefix : str
        Of the names of the factors.

    Examples
    --------
    >>> import mfcore
    >>> product, tower = mfcore.NeuMF(n_factors=2, layers=(6, 4)).branches
    >>> product.item_factors, tower.item_factors
    ('item_factors', 'mlp_item_factors')
    >>> product.n_features, tower.n_features
    (2, 4)
    """

    prefix: str

    @property
    def user_factors(self) -> str:
        """The name of the users' factors."""
        return f"{self.prefix}user_factors"

    @property
    def item_factors(self) -> str:
        """The name of the items' factors."""
        return f"{self.prefix}item_factors"

    @property
    @abstractmethod
    def n_features(self) -> int:
        """The number of features."""

    @abstractmethod
    def parameters(self, n_users: int, n_items: int) -> dict[str, Parameter]:
        """Return the branch's parameters by name.

        Parameters
        ----------
        n_users, n_items : int

        Returns
        -------
        dict of name to Parameter
        """

    @abstractmethod
    def features(self, xp: Operators, users: Arrays, items: Arrays, dense: Arrays) -> Any:
        """Return the features of each pair of rows.

        Parameters
        ----------
        xp : Operators
        users, items : mapping of name to array [n, ...]
        dense : mapping of name to array

        Returns
        -------
        array [n, n_features]
        """

    @abstractmethod
    def gradients(self, users: Arrays, items: Arrays, dense: Arrays, upstream: Floats) -> dict[str, Floats]:
        """Return the derivative of sum(upstream * features), on numpy.

        Parameters
        ----------
        users, items : mapping of name to array [n, ...]
        dense : mapping of name to array
        upstream : array [n, n_features]

        Returns
        -------
        dict of name to array
            As `ModelSpec.score_gradients` returns it.
        """

    @abstractmethod
    def weigh_catalogue(self, parameters: Parameters, users: Rows, kernel: Floats) -> Floats:
        """Return features . kernel for each user and every item, on numpy.

        Parameters
        ----------
        parameters : mapping of name to array
            Whole.
        users : integer array [n]
            Rows.
        kernel : array [n_features]

        Returns
        -------
        array [n, n_items]
        """

    def _factors(self, n_users: int, n_items: int, width: int, init: Initializer) -> dict[str, Parameter]:
        return {
            self.user_factors: Parameter((n_users, width), init, side="user"),
            self.item_factors: Parameter((n_items, width), init, side="item"),
        }


@dataclass(frozen=True)
class Product(Branch):
    """The element-wise product p_u * q_i, of n_factors features.

    Attributes
    ----------
    prefix : str
        Of the names of the factors.
    n_factors : int
    init : Initializer

    Examples
    --------
    >>> import mfcore, numpy as np
    >>> from mfcore.operators import NUMPY
    >>> from mfcore.specs import Product
    >>> product = Product("", 2, mfcore.Normal())
    >>> users, items = {"user_factors": np.array([[1.0, 2.0]])}, {"item_factors": np.array([[3.0, 4.0]])}
    >>> product.features(NUMPY, users, items, {})
    array([[3., 8.]])
    """

    prefix: str
    n_factors: int
    init: Initializer

    @property
    def n_features(self) -> int:
        """As many as factors."""
        return self.n_factors

    def parameters(self, n_users: int, n_items: int) -> dict[str, Parameter]:
        """Return p and q."""
        return self._factors(n_users, n_items, self.n_factors, self.init)

    def features(self, xp: Operators, users: Arrays, items: Arrays, dense: Arrays) -> Any:
        """Return p_u * q_i."""
        return users[self.user_factors] * items[self.item_factors]

    def gradients(self, users: Arrays, items: Arrays, dense: Arrays, upstream: Floats) -> dict[str, Floats]:
        """Return upstream * q_i and upstream * p_u."""
        return {
            self.user_factors: upstream * items[self.item_factors],
            self.item_factors: upstream * users[self.user_factors],
        }

    def weigh_catalogue(self, parameters: Parameters, users: Rows, kernel: Floats) -> Floats:
        """Return (p_u * kernel) . q_i."""
        scores: Floats = (parameters[self.user_factors][users] * kernel) @ parameters[self.item_factors].T
        return scores


@dataclass(frozen=True)
class Tower(Branch):
    """Dense layers over the concatenated factors [p_u, q_i].

    Attributes
    ----------
    prefix : str
        Of the names of the factors.
    stack : Stack
        Its inputs are the factors of the user and of the item, half each.
    init : Initializer
        Of the factors.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.specs import Stack, Tower
    >>> tower = Tower("mlp_", Stack.make("dense", (6, 4, 2), "relu"), mfcore.Normal())
    >>> tower.n_factors, tower.n_features, list(tower.parameters(5, 7))[:3]
    (3, 2, ['mlp_user_factors', 'mlp_item_factors', 'dense_0/kernel'])
    """

    prefix: str
    stack: Stack
    init: Initializer

    @property
    def n_factors(self) -> int:
        """The length of each side's factors."""
        return self.stack.layers[0].n_in // 2

    @property
    def n_features(self) -> int:
        """The width of the last layer."""
        return self.stack.layers[-1].n_out

    def parameters(self, n_users: int, n_items: int) -> dict[str, Parameter]:
        """Return the factors and the layers."""
        return {**self._factors(n_users, n_items, self.n_factors, self.init), **self.stack.parameters()}

    def features(self, xp: Operators, users: Arrays, items: Arrays, dense: Arrays) -> Any:
        """Return the outputs of the last layer."""
        return self.stack.forward(xp, dense, self._inputs(xp, users, items))

    def gradients(self, users: Arrays, items: Arrays, dense: Arrays, upstream: Floats) -> dict[str, Floats]:
        """Return the derivatives by backpropagation."""
        outputs = self.stack.outputs(dense, self._inputs(NUMPY, users, items))
        grad_inputs, gradients = self.stack.backward(dense, outputs, upstream)
        half = self.n_factors
        return {
            self.user_factors: grad_inputs[:, :half],
            self.item_factors: grad_inputs[:, half:],
            **gradients,
        }

    def weigh_catalogue(self, parameters: Parameters, users: Rows, kernel: Floats) -> Floats:
        """Return the weighted outputs; the first layer's products are computed once per user and item."""
        p, q = parameters[self.user_factors][users], parameters[self.item_factors]
        first, half = self.stack.layers[0], self.n_factors
        weights = parameters[first.kernel]
        of_users, of_items = p @ weights[:half], q @ weights[half:] + parameters[first.bias]
        scores = np.empty((len(p), len(q)), dtype=p.dtype)
        n_at_once = max(1, PAIRS_AT_ONCE // max(1, len(q)))
        for start in range(0, len(p), n_at_once):
            sums = of_users[start : start + n_at_once, None] + of_items
            outputs = first.activate(NUMPY, sums.reshape(-1, first.n_out))
            last = self.stack.forward(NUMPY, parameters, outputs, first=1)
            scores[start : start + n_at_once] = (last @ kernel).reshape(-1, len(q))
        return scores

    def _inputs(self, xp: Operators, users: Arrays, items: Arrays) -> Any:
        return xp.concat([users[self.user_factors], items[self.item_factors]], axis=1)
