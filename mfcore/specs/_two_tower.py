"""Two towers: a model for retrieval."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

from mfcore.operators import Operators
from mfcore.specs._base import Arrays, Floats, Parameter, Parameters, Rows
from mfcore.specs._dense import LINEAR, Stack, checked_widths, require_activation
from mfcore.specs._initializers import Initializer, Uniform
from mfcore.specs._inner_product import Embeddings, InnerProduct
from mfcore.specs._outputs import Linear, Output
from mfcore.validation import require_instance, require_integer


@dataclass(frozen=True)
class TwoTower(InnerProduct):
    r"""A tower for users and one for items; the score is the inner product of their outputs.

    .. math:: a_0 = p_u, \quad a_{l+1} = f(a_l W_l + c_l), \qquad s_{ui} = a_L(u) \cdot a_L(i)

    The last layer of each tower has no activation. Users meet items only in the inner product, so the items'
    embeddings can be computed once and searched. Usually trained by `InBatchSoftmax`.

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

    Raises
    ------
    InvalidArgumentError
        A width or n_factors is not a positive integer, an unknown activation, or a setting of another type.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> towers = mfcore.TwoTower(n_factors=4, layers=(8, 4))
    >>> model = mfcore.fit(towers, data, objective="in_batch_softmax", epochs=1, backend="reference")
    >>> len(model.similar_items(5, k=3)[0])
    3
    """

    short_name: ClassVar[str] = "two-tower"

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

    def user_embeddings(self, xp: Operators, rows: Arrays, dense: Arrays) -> Embeddings:
        """Return the outputs of the users' tower."""
        return Embeddings(self.user_stack.forward(xp, dense, rows["user_factors"]))

    def item_embeddings(self, xp: Operators, rows: Arrays, dense: Arrays) -> Embeddings:
        """Return the outputs of the items' tower."""
        return Embeddings(self.item_stack.forward(xp, dense, rows["item_factors"]))

    def score_gradients(
        self, parameters: Parameters, users: Rows, items: Rows, upstream: Floats
    ) -> dict[str, Floats]:
        """Return the derivatives by backpropagation through both towers."""
        user_outputs = self.user_stack.outputs(parameters, parameters["user_factors"][users])
        item_outputs = self.item_stack.outputs(parameters, parameters["item_factors"][items])
        grad_users, grad_user_layers = self.user_stack.backward(
            parameters, user_outputs, upstream[:, None] * item_outputs[-1]
        )
        grad_items, grad_item_layers = self.item_stack.backward(
            parameters, item_outputs, upstream[:, None] * user_outputs[-1]
        )
        return {
            "user_factors": grad_users,
            "item_factors": grad_items,
            **grad_user_layers,
            **grad_item_layers,
        }

    def _stack(self, side: str) -> Stack:
        widths = (self.n_factors, *self.layers)
        return Stack.make(f"{side}_dense", widths, self.activation, last=LINEAR)
