"""The multi-layer perceptron of neural collaborative filtering."""

from dataclasses import dataclass, field
from typing import ClassVar

from mfcore.errors import InvalidArgumentError
from mfcore.specs._branches import Tower
from mfcore.specs._dense import Stack, checked_widths, require_activation
from mfcore.specs._initializers import Initializer, Normal
from mfcore.specs._ncf import NCF
from mfcore.specs._outputs import Linear, Output
from mfcore.validation import require_instance


def checked_tower(argument: str, layers: object) -> tuple[int, ...]:
    """Return the widths of a tower over a user's and an item's factors.

    Raises
    ------
    InvalidArgumentError
        Fewer than two widths, one that is not a positive integer, or an odd first one.
    """
    widths = checked_widths(argument, layers, at_least=2)
    if widths[0] % 2:
        raise InvalidArgumentError(
            f"{argument} is {widths}; its first width is that of a user's and an item's factors together, so"
            f" it must be even: {widths[0] + 1}, say"
        )
    return widths


@dataclass(frozen=True)
class MLP(NCF):
    r"""A tower of dense layers over the concatenated factors, and a dense unit over its outputs.

    .. math:: a_0 = [p_u, q_i], \qquad a_{l+1} = f(a_l W_l + c_l), \qquad s_{ui} = h \cdot a_L + c

    Source: He, Liao, Zhang, Nie, Hu & Chua, "Neural collaborative filtering", WWW 2017, section 3.3.

    Parameters (arrays)
    -------------------
    user_factors [n_users, layers[0] / 2], item_factors [n_items, layers[0] / 2] :
        p and q, drawn from `init`.
    dense_l/kernel [layers[l], layers[l + 1]], dense_l/bias [layers[l + 1]] :
        W_l, drawn from `GlorotUniform()`, and c_l, zero at the start; l counts from 0.
    output/kernel [layers[-1], 1], output/bias [1] :
        h and c, likewise.

    Attributes
    ----------
    layers : tuple of int
        The tower's widths: that of the concatenated factors, which is even, then that of each dense layer.
    activation : "relu", "tanh" or "sigmoid"
        f.
    output : Output
    init : Initializer
        Of the factors.

    Raises
    ------
    InvalidArgumentError
        Fewer than two layers, a width that is not a positive integer, an odd first one, an unknown
        activation, or a setting of another type.

    Examples
    --------
    >>> import mfcore
    >>> mfcore.MLP(layers=(4, 2)).parameter_shapes(n_users=4, n_items=3)
    {'user_factors': (4, 2), 'item_factors': (3, 2), 'dense_0/kernel': (4, 2), 'dense_0/bias': (2,),
     'output/kernel': (2, 1), 'output/bias': (1,)}
    """

    short_name: ClassVar[str] = "mlp"

    layers: tuple[int, ...] = (64, 32, 16, 8)
    activation: str = "relu"
    output: Output = field(default_factory=Linear)
    init: Initializer = field(default_factory=lambda: Normal(std=0.01))

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", checked_tower("MLP: layers", self.layers))
        require_activation("MLP: activation", self.activation)
        require_instance("MLP: output", self.output, Output, "Linear()")
        require_instance("MLP: init", self.init, Initializer, "Normal(std=0.01)")

    @property
    def branches(self) -> tuple[Tower]:
        """The tower alone."""
        return (Tower("", Stack.make("dense", self.layers, self.activation), self.init),)
