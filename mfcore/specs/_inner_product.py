"""Models whose score is an inner product."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

from mfcore.operators import NUMPY, Operators
from mfcore.specs._base import Arrays, Floats, ModelSpec, Parameters, Rows


class Embeddings(NamedTuple):
    """What the inner products of a side's rows are made of.

    Attributes
    ----------
    vectors : array [n, d]
    offsets : array [n], or [1] for a constant, or None for 0
        Added to every score of the row.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.specs import Embeddings
    >>> Embeddings(np.zeros((2, 3))).offsets is None
    True
    """

    vectors: Any
    offsets: Any = None


class InnerProduct(ModelSpec):
    r"""Base of the models with :math:`s_{ui} = x_u \cdot y_i + a_u + b_i`.

    A subclass gives x and a from a user's rows, y and b from an item's; the score of pairs, that of all pairs
    of many users and items, the catalogue's and the vectors of items follow. Constants belong to the users.

    Examples
    --------
    Matrix factorisation with a learnt temperature:

    >>> from dataclasses import dataclass, field
    >>> from typing import ClassVar
    >>> import mfcore, numpy as np
    >>> from mfcore.specs import Embeddings, InnerProduct, Parameter
    >>> @dataclass(frozen=True)
    ... class TemperatureMF(InnerProduct):
    ...     short_name: ClassVar[str] = "docs_temperature_mf"
    ...     n_factors: int = 8
    ...     output: mfcore.Linear = field(default_factory=mfcore.Linear)
    ...     def parameters(self, n_users, n_items):
    ...         init = mfcore.Normal(std=0.1)
    ...         return {
    ...             "user_factors": Parameter((n_users, self.n_factors), init, side="user"),
    ...             "item_factors": Parameter((n_items, self.n_factors), init, side="item"),
    ...             "temperature": Parameter((1,), mfcore.Constant(1.0)),
    ...         }
    ...     def user_embeddings(self, xp, rows, dense):
    ...         return Embeddings(rows["user_factors"] * dense["temperature"])
    ...     def item_embeddings(self, xp, rows, dense):
    ...         return Embeddings(rows["item_factors"])
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5], [3.0, 4.0, 5.0])
    >>> model = mfcore.fit(TemperatureMF(2), data, epochs=1, backend="reference")
    >>> model.predict(1, 6).shape
    ()
    """

    is_inner_product: ClassVar[bool] = True

    @abstractmethod
    def user_embeddings(self, xp: Operators, rows: Arrays, dense: Arrays) -> Embeddings:
        """Return x and a of rows of users.

        Parameters
        ----------
        xp : Operators
        rows : mapping of name to array [n, ...]
            Of each parameter of users.
        dense : mapping of name to array
            The parameters without a side.

        Returns
        -------
        Embeddings
            x [n, d] and a, of the library that `xp` belongs to.
        """

    @abstractmethod
    def item_embeddings(self, xp: Operators, rows: Arrays, dense: Arrays) -> Embeddings:
        """Return y and b of rows of items.

        Parameters
        ----------
        xp : Operators
        rows : mapping of name to array [n, ...]
            Of each parameter of items.
        dense : mapping of name to array
            The parameters without a side.

        Returns
        -------
        Embeddings
            y [n, d] and b, of the library that `xp` belongs to.
        """

    def score(self, xp: Operators, users: Arrays, items: Arrays, dense: Arrays) -> Any:
        """Return s_ui of each pair of rows, [n]."""
        of_users = self.user_embeddings(xp, users, dense)
        of_items = self.item_embeddings(xp, items, dense)
        scores = xp.sum(of_users.vectors * of_items.vectors, axis=1)
        given = [offsets for offsets in (of_users.offsets, of_items.offsets) if offsets is not None]
        return scores + (given[0] if len(given) == 1 else given[0] + given[1]) if given else scores

    def score_matrix(self, xp: Operators, users: Arrays, items: Arrays, dense: Arrays) -> Any:
        """Return the score of each of n rows of users with each of m rows of items.

        Parameters
        ----------
        xp : Operators
        users : mapping of name to array [n, ...]
        items : mapping of name to array [m, ...]
        dense : mapping of name to array
            The parameters without a side.

        Returns
        -------
        array [n, m]

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> from mfcore.operators import NUMPY
        >>> users = {"user_factors": np.array([[1.0, 2.0]])}
        >>> items = {"item_factors": np.array([[3.0, 4.0], [5.0, 6.0]])}
        >>> mfcore.MF(2).score_matrix(NUMPY, users, items, {})
        array([[11., 17.]])
        """
        return score_embeddings(
            xp, self.user_embeddings(xp, users, dense), self.item_embeddings(xp, items, dense)
        )

    def score_catalogue(self, parameters: Parameters, users: Rows) -> Floats:
        """Return the score of every item for each user, [n, n_items], on numpy."""
        of_users, dense = self.gather_side(parameters, "user", users), self.gather_side(parameters, None)
        scores: Floats = self.score_matrix(NUMPY, of_users, self.gather_side(parameters, "item"), dense)
        return scores

    def item_vectors(self, parameters: Parameters) -> Floats:
        """Return y of every item, [n_items, d], on numpy."""
        of_items, dense = self.gather_side(parameters, "item"), self.gather_side(parameters, None)
        vectors: Floats = self.item_embeddings(NUMPY, of_items, dense).vectors
        return vectors


def score_embeddings(xp: Operators, users: Embeddings, items: Embeddings) -> Any:
    """Return the score of each user with each item, given their embeddings.

    Parameters
    ----------
    xp : Operators
    users : Embeddings
        Of n rows.
    items : Embeddings
        Of m rows.

    Returns
    -------
    array [n, m]

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore.operators import NUMPY
    >>> from mfcore.specs import Embeddings, score_embeddings
    >>> users = Embeddings(np.array([[1.0, 2.0]]), np.array([0.5]))
    >>> score_embeddings(NUMPY, users, Embeddings(np.array([[3.0, 4.0]])))
    array([[11.5]])
    """
    scores = xp.inner(users.vectors, items.vectors)
    if items.offsets is not None:
        scores = scores + items.offsets
    return scores if users.offsets is None else scores + users.offsets[:, None]
