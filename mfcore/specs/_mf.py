"""Matrix factorisation."""

from dataclasses import dataclass, field
from typing import ClassVar

from mfcore.operators import Operators
from mfcore.specs._base import Arrays, Floats, Parameter, Parameters, Rows
from mfcore.specs._biases import bias_parameters, user_offsets
from mfcore.specs._initializers import Initializer, Normal
from mfcore.specs._inner_product import Embeddings, InnerProduct
from mfcore.specs._outputs import Linear, Output
from mfcore.validation import require_instance, require_integer


@dataclass(frozen=True)
class MF(InnerProduct):
    r"""Matrix factorisation, with or without biases.

    .. math:: s_{ui} = \mu + b_u + b_i + p_u \cdot q_i, \qquad \hat r_{ui} = \text{output}(s_{ui})

    Without biases the first three terms are absent. The global bias :math:`\mu` is a constant: the score
    of the best constant prediction on the training targets (their mean for a squared loss, their
    log-odds for the logistic loss). Shifts of it are learnt by the user and item biases, so training it
    as well would change nothing but make steps on separate rows depend on each other.

    Source: Koren, Bell & Volinsky, "Matrix factorization techniques for recommender systems",
    IEEE Computer 42(8), 2009.

    Parameters (arrays)
    -------------------
    user_factors [n_users, n_factors], item_factors [n_items, n_factors] :
        p and q, drawn from `init`.
    user_bias [n_users], item_bias [n_items] :
        b_u and b_i, zero at the start; with biases only.
    global_bias [1] :
        mu, constant; with biases only.

    Attributes
    ----------
    n_factors : int
    biases : bool
    output : Output
        `Linear()`, `ReLU()`, `Sigmoid()`, `RatingRange(low, high)` or one of your own.
    init : Initializer
        Of the factors.

    Raises
    ------
    InvalidArgumentError
        n_factors is below 1, or a setting is of another type.

    Examples
    --------
    >>> import mfcore
    >>> mfcore.MF(n_factors=2, biases=True).parameter_shapes(n_users=4, n_items=3)
    {'user_factors': (4, 2), 'item_factors': (3, 2), 'user_bias': (4,), 'item_bias': (3,),
     'global_bias': (1,)}
    >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> model = mfcore.fit(mfcore.MF(2, biases=True), data, epochs=2, backend="reference")
    >>> model.predict(3, [5, 6]).shape
    (2,)
    """

    short_name: ClassVar[str] = "mf"

    n_factors: int = 50
    biases: bool = False
    output: Output = field(default_factory=Linear)
    init: Initializer = field(default_factory=lambda: Normal(std=0.01))

    def __post_init__(self) -> None:
        require_integer("MF: n_factors", self.n_factors, 1)
        require_instance("MF: biases", self.biases, bool, "True")
        require_instance("MF: output", self.output, Output, "Linear()")
        require_instance("MF: init", self.init, Initializer, "Normal(std=0.01)")

    def parameters(self, n_users: int, n_items: int) -> dict[str, Parameter]:
        """Return the factors and, with biases, the biases."""
        layout = {
            "user_factors": Parameter((n_users, self.n_factors), self.init, side="user"),
            "item_factors": Parameter((n_items, self.n_factors), self.init, side="item"),
        }
        if self.biases:
            layout.update(bias_parameters(n_users, n_items))
        return layout

    def user_embeddings(self, xp: Operators, rows: Arrays, dense: Arrays) -> Embeddings:
        """Return p_u, and mu + b_u with biases."""
        return Embeddings(rows["user_factors"], user_offsets(rows, dense) if self.biases else None)

    def item_embeddings(self, xp: Operators, rows: Arrays, dense: Arrays) -> Embeddings:
        """Return q_i, and b_i with biases."""
        return Embeddings(rows["item_factors"], rows["item_bias"] if self.biases else None)

    def score_gradients(
        self, parameters: Parameters, users: Rows, items: Rows, upstream: Floats
    ) -> dict[str, Floats]:
        """Return ds/dp = q, ds/dq = p and ds/db = 1, times upstream, for the row of each instance."""
        gradients: dict[str, Floats] = {
            "user_factors": upstream[:, None] * parameters["item_factors"][items],
            "item_factors": upstream[:, None] * parameters["user_factors"][users],
        }
        if self.biases:
            gradients["user_bias"] = upstream
            gradients["item_bias"] = upstream
        return gradients
