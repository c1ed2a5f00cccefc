"""Two towers: a model for retrieval."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from mfcore.specs._base import Floats, ModelSpec, Parameter, Parameters, Rows
from mfcore.specs._dense import LINEAR, Stack, checked_widths, require_activation
from mfcore.specs._initializers import Initializer, Uniform
from mfcore.specs._outputs import Linear, Output
from mfcore.validation import require_instance, require_integer


@dataclass(frozen=True)
class TwoTower(ModelSpec):
    r"""A tower for users and one for items; the score is the inner product of their ends.

    .. math:: a_0 = p_u, \quad a_{l+1} = f(a_l W_l + c_l), \qquad s_{ui} = a_L(u) \cdot a_L(i)

    The last layer of each tower has no activation. Users meet items at the end only, so the items' ends can
    be worked out once and searched. Usually trained by `InBatchSoftmax`.

    Source: Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations",
    RecSys 2019.

    Parameters (arrays)
    -------------------
    user_factors [n_users, n_factors], item_factors [n_items, n_factors] :
        p and q, drawn from `init`.
    user_dense_l/kernel [width before, layers[l]], user_dense_l/bias [layers[l]] :
        W_l, drawn from `GlorotUniform()`, and c_l, zero at the start, of the users' tower; l counts from 0.
    item_dense_l/kernel, item_dense_l/bias :
        The same of the items' tower.

    Attributes
    ----------
    n_factors : int
    layers : tuple of int
        Widths of the dense layers that follow the factors; none by default.
    activation : "relu", "tanh" or "sigmoid"
        f.
    output : Output
    init : Initializer
        Of the factors.
    """

    short_name: ClassVar[str] = "two-tower"
    is_inner_product: ClassVar[bool] = True

    n_factors: int = 32
    layers: tuple[int, ...] = ()
    activation: str = "relu"
    output: Output = field(default_factory=Linear)
    init: Initializer = field(default_factory=lambda: Uniform(-0.05, 0.05))

    def __post_init__(self) -> None:
        require_integer("TwoTower: n_factors", self.n_factors, 1)
        object.__setattr__(self, "layers", checked_widths("TwoTower: layers", self.layers, at_least=0))
        require_activation("TwoTower: activation", self.activation)
        require_instance("TwoTower: output", self.output, Output, "Linear()")
        require_instance("TwoTower: init", self.init, Initializer, "Uniform(-0.05, 0.05)")

    @property
    def user_stack(self) -> Stack:
        """The dense layers of the users' tower."""
        return self._stack("user")

    @property
    def item_stack(self) -> Stack:
        """The dense layers of the items' tower."""
        return self._stack("item")

    def parameters(self, n_users: int, n_items: int) -> dict[str, Parameter]:
        """Return the factors and the layers of both towers."""
        layout = {
            "user_factors": Parameter((n_users, self.n_factors), self.init, side="user"),
            "item_factors": Parameter((n_items, self.n_factors), self.init, side="item"),
            **self.user_stack.parameters(),
            **self.item_stack.parameters(),
        }
        for layer in self.item_stack.layers[-1:]:
            layout[layer.bias] = replace(layout[layer.bias], shared_by_items=True)
        return layout

    def score(self, parameters: Parameters, users: Rows, items: Rows) -> Floats:
        """Return s_ui of each pair."""
        of_users = self.user_stack.forward(parameters, parameters["user_factors"][users])[-1]
        of_items = self.item_stack.forward(parameters, parameters["item_factors"][items])[-1]
        score: Floats = np.einsum("nd,nd->n", of_users, of_items)
        return score

    def score_gradients(
        self, parameters: Parameters, users: Rows, items: Rows, upstream: Floats
    ) -> dict[str, Floats]:
        """Return the derivatives by backpropagation through both towers."""
        of_users = self.user_stack.forward(parameters, parameters["user_factors"][users])
        of_items = self.item_stack.forward(parameters, parameters["item_factors"][items])
        by_users, of_user_layers = self.user_stack.backward(
            parameters, of_users, upstream[:, None] * of_items[-1]
        )
        by_items, of_item_layers = self.item_stack.backward(
            parameters, of_items, upstream[:, None] * of_users[-1]
        )
        return {"user_factors": by_users, "item_factors": by_items, **of_user_layers, **of_item_layers}

    def score_catalogue(self, parameters: Parameters, users: Rows) -> Floats:
        """Return s_ui for every item."""
        of_users = self.user_stack.forward(parameters, parameters["user_factors"][users])[-1]
        scores: Floats = of_users @ self.item_vectors(parameters).T
        return scores

    def item_vectors(self, parameters: Parameters) -> Floats:
        """Return the ends of the items' tower."""
        return self.item_stack.forward(parameters, parameters["item_factors"])[-1]

    def _stack(self, side: str) -> Stack:
        widths = (self.n_factors, *self.layers)
        return Stack.make(f"{side}_dense", widths, self.activation, last=LINEAR)
