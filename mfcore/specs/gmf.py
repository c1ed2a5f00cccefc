"""Generalised matrix factorisation."""

from dataclasses import dataclass, field
from typing import ClassVar

from mfcore.checks import require_instance, require_integer
from mfcore.specs.arms import Product
from mfcore.specs.base import Floats, Parameter, Parameters, Rows
from mfcore.specs.biases import add_to_catalogue, bias_parameters, with_biases
from mfcore.specs.initializers import Initializer, Normal
from mfcore.specs.ncf import NCF
from mfcore.specs.outputs import Linear, Output


@dataclass(frozen=True)
class GMF(NCF):
    r"""Generalised matrix factorisation: the product of the factors, weighed by a dense unit.

    .. math:: s_{ui} = h \cdot (p_u \odot q_i) + c \; [\, + \mu + b_u + b_i \,], \qquad
              \hat r_{ui} = \text{output}(s_{ui})

    The terms in brackets are there with biases only. As in `MF`, :math:`\mu` is a constant: the score of the
    best constant prediction on the training targets. (Models for ratings that add the biases to the product
    before the dense unit are the same functions, with biases larger by the factor :math:`\sum_k h_k`.)

    Source: He, Liao, Zhang, Nie, Hu & Chua, "Neural collaborative filtering", WWW 2017, section 3.2.

    Parameters (arrays)
    -------------------
    user_factors [n_users, n_factors], item_factors [n_items, n_factors] :
        p and q, drawn from `init`.
    output/kernel [n_factors, 1], output/bias [1] :
        h, drawn from `GlorotUniform()`, and c, zero at the start.
    user_bias [n_users], item_bias [n_items], global_bias [1] :
        b_u and b_i, zero at the start, and the constant mu; with biases only.

    Attributes
    ----------
    n_factors : int
    biases : bool
    output : Output
        `Linear()`, `ReLU()`, `Sigmoid()` or `RatingRange(low, high)`.
    init : Initializer
        Of the factors.
    """

    short_name: ClassVar[str] = "gmf"
    is_inner_product: ClassVar[bool] = True

    n_factors: int = 32
    biases: bool = False
    output: Output = field(default_factory=Linear)
    init: Initializer = field(default_factory=lambda: Normal(std=0.01))

    def __post_init__(self) -> None:
        require_integer("GMF: n_factors", self.n_factors, 1)
        require_instance("GMF: biases", self.biases, bool, "True")
        require_instance("GMF: output", self.output, Output, "Linear()")
        require_instance("GMF: init", self.init, Initializer, "Normal(std=0.01)")

    @property
    def arms(self) -> tuple[Product]:
        """The product alone."""
        return (Product("", self.n_factors, self.init),)

    def parameters(self, n_users: int, n_items: int) -> dict[str, Parameter]:
        """Return factors and output unit and, with biases, the biases."""
        layout = super().parameters(n_users, n_items)
        if self.biases:
            layout.update(bias_parameters(n_users, n_items))
        return layout

    def score(self, parameters: Parameters, users: Rows, items: Rows) -> Floats:
        """Return s_ui of each pair."""
        score = super().score(parameters, users, items)
        if self.biases:
            score = with_biases(score, parameters, users, items)
        return score

    def score_gradients(
        self, parameters: Parameters, users: Rows, items: Rows, upstream: Floats
    ) -> dict[str, Floats]:
        """Return the derivatives; those by the biases are upstream itself."""
        gradients = super().score_gradients(parameters, users, items, upstream)
        if self.biases:
            gradients["user_bias"] = upstream
            gradients["item_bias"] = upstream
        return gradients

    def score_catalogue(self, parameters: Parameters, users: Rows) -> Floats:
        """Return s_ui for every item."""
        scores = super().score_catalogue(parameters, users)
        if self.biases:
            add_to_catalogue(scores, parameters, users)
        return scores
