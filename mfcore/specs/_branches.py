"""What a pair of user and item is turned into before the last dense unit weighs it: the arms of NCF models.

An arm maps a pair to features; a model's score is an inner product of the features of its arms with the
kernel of its output unit.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from mfcore.specs._base import Floats, Parameter, Parameters, Rows
from mfcore.specs._dense import Stack
from mfcore.specs._initializers import Initializer

# Pairs whose layers are worked out together: their outputs stay in a core's cache.
PAIRS_AT_ONCE = 1 << 14


class Arm(ABC):
    """From a pair of rows to features."""

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
        """Return the arm's parameters by name."""

    @abstractmethod
    def features(self, parameters: Parameters, users: Rows, items: Rows) -> Floats:
        """Return the features of each pair, [n, n_features]."""

    @abstractmethod
    def gradients(
        self, parameters: Parameters, users: Rows, items: Rows, upstream: Floats
    ) -> dict[str, Floats]:
        """Return the derivative of sum(upstream * features), as `ModelSpec.score_gradients` does."""

    @abstractmethod
    def weigh_catalogue(self, parameters: Parameters, users: Rows, kernel: Floats) -> Floats:
        """Return features . kernel for each user and every item, [n, n_items]; kernel is [n_features]."""

    def _factors(self, n_users: int, n_items: int, width: int, init: Initializer) -> dict[str, Parameter]:
        return {
            self.user_factors: Parameter((n_users, width), init, side="user"),
            self.item_factors: Parameter((n_items, width), init, side="item"),
        }


@dataclass(frozen=True)
class Product(Arm):
    """The element-wise product p_u * q_i, of n_factors features.

    Attributes
    ----------
    prefix : str
        Of the names of the factors.
    n_factors : int
    init : Initializer
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

    def features(self, parameters: Parameters, users: Rows, items: Rows) -> Floats:
        """Return p_u * q_i."""
        product: Floats = parameters[self.user_factors][users] * parameters[self.item_factors][items]
        return product

    def gradients(
        self, parameters: Parameters, users: Rows, items: Rows, upstream: Floats
    ) -> dict[str, Floats]:
        """Return upstream * q_i and upstream * p_u."""
        return {
            self.user_factors: upstream * parameters[self.item_factors][items],
            self.item_factors: upstream * parameters[self.user_factors][users],
        }

    def weigh_catalogue(self, parameters: Parameters, users: Rows, kernel: Floats) -> Floats:
        """Return (p_u * kernel) . q_i."""
        scores: Floats = (parameters[self.user_factors][users] * kernel) @ parameters[self.item_factors].T
        return scores


@dataclass(frozen=True)
class Tower(Arm):
    """Dense layers over the concatenated factors [p_u, q_i].

    Attributes
    ----------
    prefix : str
        Of the names of the factors.
    stack : Stack
        Its inputs are the factors of the user and of the item, half each.
    init : Initializer
        Of the factors.
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

    def features(self, parameters: Parameters, users: Rows, items: Rows) -> Floats:
        """Return the outputs of the last layer."""
        return self.stack.forward(parameters, self._inputs(parameters, users, items))[-1]

    def gradients(
        self, parameters: Parameters, users: Rows, items: Rows, upstream: Floats
    ) -> dict[str, Floats]:
        """Return the derivatives by backpropagation."""
        outputs = self.stack.forward(parameters, self._inputs(parameters, users, items))
        by_inputs, gradients = self.stack.backward(parameters, outputs, upstream)
        half = self.n_factors
        return {
            self.user_factors: by_inputs[:, :half],
            self.item_factors: by_inputs[:, half:],
            **gradients,
        }

    def weigh_catalogue(self, parameters: Parameters, users: Rows, kernel: Floats) -> Floats:
        """Return the weighed outputs; the first layer takes its products once a user and once an item."""
        p, q = parameters[self.user_factors][users], parameters[self.item_factors]
        first, half = self.stack.layers[0], self.n_factors
        weights = parameters[first.kernel]
        of_users, of_items = p @ weights[:half], q @ weights[half:] + parameters[first.bias]
        scores = np.empty((len(p), len(q)), dtype=p.dtype)
        n_at_once = max(1, PAIRS_AT_ONCE // max(1, len(q)))
        for start in range(0, len(p), n_at_once):
            sums = of_users[start : start + n_at_once, None] + of_items
            outputs = first.activate(sums.reshape(-1, first.n_out))
            last = self.stack.forward(parameters, outputs, first=1)[-1]
            scores[start : start + n_at_once] = (last @ kernel).reshape(-1, len(q))
        return scores

    def _inputs(self, parameters: Parameters, users: Rows, items: Rows) -> Floats:
        both = (parameters[self.user_factors][users], parameters[self.item_factors][items])
        inputs: Floats = np.concatenate(both, axis=1)
        return inputs
