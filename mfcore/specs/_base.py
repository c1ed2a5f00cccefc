"""What a model is: its parameters, its score, and the score's derivative.

A spec is all that the core and the engines need to know of a model. Everything in it is numpy and is
the definition that engines are compared with.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mfcore.settings import Settings
from mfcore.specs._initializers import Initializer
from mfcore.specs._outputs import Output

Floats: TypeAlias = NDArray[np.floating]
Rows: TypeAlias = NDArray[np.integer]
Parameters: TypeAlias = Mapping[str, Floats]


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
    """

    shape: tuple[int, ...]
    init: Initializer
    side: Literal["user", "item"] | None = None
    trained: bool = True
    decayed: bool = True
    shared_by_items: bool = False


class TrainedModel(Protocol):
    """What a spec asks of the trained models that another one is made of; `mfcore.Model` is one."""

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
    """Base of all specs. A subclass is a frozen dataclass of settings that implements these methods.

    Attributes
    ----------
    short_name : str
        The model's name on the command line.
    is_inner_product : bool
        Whether the score is an inner product of something of the user and something of the item, so that all
        pairs of many users and items can be scored at the cost of a matrix product.
    output : Output
    """

    short_name: ClassVar[str]
    is_inner_product: ClassVar[bool] = False
    output: Output

    @abstractmethod
    def parameters(self, n_users: int, n_items: int) -> dict[str, Parameter]:
        """Return every parameter by name, in a fixed order."""

    @abstractmethod
    def score(self, parameters: Parameters, users: Rows, items: Rows) -> Floats:
        """Return the score of each (user, item) pair.

        Parameters
        ----------
        parameters : mapping of name to array
        users, items : integer arrays [n]
            Rows.

        Returns
        -------
        array [n] in the parameters' dtype
        """

    @abstractmethod
    def score_gradients(
        self, parameters: Parameters, users: Rows, items: Rows, upstream: Floats
    ) -> dict[str, Floats]:
        """Return the derivative of sum(upstream * score) by the trained parameters.

        Parameters
        ----------
        upstream : array [n]
            The derivative of the objective by each instance's score.

        Returns
        -------
        mapping of name to array
            For a parameter with a side: [n, ...], the gradient of the row that each instance touches (not
            yet summed over instances that share a row). For the others: the parameter's shape.
        """

    @abstractmethod
    def score_catalogue(self, parameters: Parameters, users: Rows) -> Floats:
        """Return the score of every item for each user: array [n, n_items]."""

    @abstractmethod
    def item_vectors(self, parameters: Parameters) -> Floats:
        """Return the vectors whose cosine says how similar two items are: array [n_items, d]."""

    def parameter_shapes(self, n_users: int, n_items: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter by name."""
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
        """
        return {
            name: (
                parameter.init.draw(name, parameter.shape, seed)
                if parameter.trained
                else np.full(parameter.shape, best_constant)
            ).astype(dtype)
            for name, parameter in self.parameters(n_users, n_items).items()
        }
