"""Neural matrix factorisation: GMF and MLP fused."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from mfcore.errors import InvalidArgumentError
from mfcore.specs._base import Parameter, TrainedModel
from mfcore.specs._branches import Product, Tower
from mfcore.specs._dense import LINEAR, Layer, Stack, require_activation
from mfcore.specs._gmf import GMF
from mfcore.specs._initializers import Initializer, Normal
from mfcore.specs._mlp import MLP, checked_tower
from mfcore.specs._ncf import BIAS, KERNEL, NCF
from mfcore.specs._outputs import Linear, Output
from mfcore.validation import require_instance, require_integer, require_number

TOWER_PREFIX = "mlp_"


@dataclass(frozen=True)
class NeuMF(NCF):
    r"""Neural matrix factorisation: a product and a tower with factors of their own, under one dense unit.

    .. math:: s_{ui} = h \cdot [\, p_u \odot q_i,\; \phi_{ui} \,] + c, \qquad
              a_0 = [p'_u, q'_i], \quad a_{l+1} = f(a_l W_l + c_l)

    With fusion="concat", the paper's, :math:`\phi` is the tower's output :math:`a_L`; with "projected" it is
    :math:`a_L W + w`, which brings the tower to the width of the product.

    Source: He, Liao, Zhang, Nie, Hu & Chua, "Neural collaborative filtering", WWW 2017, section 3.4.

    Parameters (arrays)
    -------------------
    user_factors [n_users, n_factors], item_factors [n_items, n_factors] :
        p and q, drawn from `init`.
    mlp_user_factors [n_users, layers[0] / 2], mlp_item_factors [n_items, layers[0] / 2] :
        p' and q', likewise.
    dense_l/kernel [layers[l], layers[l + 1]], dense_l/bias [layers[l + 1]] :
        W_l, drawn from `GlorotUniform()`, and c_l, zero at the start; l counts from 0.
    projection/kernel [layers[-1], n_factors], projection/bias [n_factors] :
        W and w, likewise; with fusion="projected" only.
    output/kernel [n_factors + width of the tower's output, 1], output/bias [1] :
        h and c, likewise.

    Attributes
    ----------
    n_factors : int
        Of the product.
    layers : tuple of int
        The tower's widths: that of the concatenated factors, which is even, then that of each dense layer.
    activation : "relu", "tanh" or "sigmoid"
        f.
    fusion : "concat" or "projected"
    output : Output
    init : Initializer
        Of the factors.

    Raises
    ------
    InvalidArgumentError
        A width or n_factors is not a positive integer, fewer than two layers, an odd first one, an unknown
        activation or fusion, or a setting of another type.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.data.synthetic(400, n_users=50, n_items=200).interactions
    >>> neumf = mfcore.NeuMF(n_factors=2, layers=(4, 2), output=mfcore.Sigmoid())
    >>> model = mfcore.fit(
    ...     neumf, data, objective="logistic", n_negatives=4, epochs=1, backend="reference"
    ... )
    >>> len(model.recommend(3, k=5)[0])
    5
    """

    short_name: ClassVar[str] = "neumf"

    n_factors: int = 8
    layers: tuple[int, ...] = (64, 32, 16, 8)
    activation: str = "relu"
    fusion: Literal["concat", "projected"] = "concat"
    output: Output = field(default_factory=Linear)
    init: Initializer = field(default_factory=lambda: Normal(std=0.01))

    def __post_init__(self) -> None:
        require_integer("NeuMF: n_factors", self.n_factors, 1)
        object.__setattr__(self, "layers", checked_tower("NeuMF: layers", self.layers))
        require_activation("NeuMF: activation", self.activation)
        if self.fusion not in ("concat", "projected"):
            raise InvalidArgumentError(
                f"NeuMF: fusion is {self.fusion!r}; it must be 'concat' or 'projected'"
            )
        require_instance("NeuMF: output", self.output, Output, "Linear()")
        require_instance("NeuMF: init", self.init, Initializer, "Normal(std=0.01)")

    @property
    def branches(self) -> tuple[Product, Tower]:
        """The product, and the tower with its projection, if any."""
        stack = Stack.make("dense", self.layers, self.activation)
        if self.fusion == "projected":
            projection = Layer("projection", self.layers[-1], self.n_factors, LINEAR)
            stack = Stack((*stack.layers, projection))
        return Product("", self.n_factors, self.init), Tower(TOWER_PREFIX, stack, self.init)

    def parameters(self, n_users: int, n_items: int) -> dict[str, Parameter]:
        """Return the parameters of both branches, then those of the output unit."""
        layout = super().parameters(n_users, n_items)
        if self.fusion == "projected":
            bias = self.branches[1].stack.layers[-1].bias
            layout[bias] = replace(layout[bias], shared_by_items=True)
        return layout

    @classmethod
    def from_pretrained(cls, gmf: TrainedModel, mlp: TrainedModel, alpha: float = 0.5) -> Any:
        r"""Return the NeuMF that starts from a trained GMF and a trained MLP.

        Both kernels are scaled, as the paper has it, :math:`h = [\alpha h^{GMF}, (1 - \alpha) h^{MLP}]`, and
        the biases with them, so that the score is :math:`\alpha s^{GMF} + (1 - \alpha) s^{MLP}`. Train it
        further with ``fit(model.spec, data, initial=model)``; the paper does so by plain SGD, as no
        optimizer state goes with it.

        Parameters
        ----------
        gmf, mlp : Model
            Trained on the same data, on any engine; the GMF without biases.
        alpha : float in [0, 1]

        Returns
        -------
        Model
            Of zero epochs, in the GMF's dtype.

        Raises
        ------
        InvalidArgumentError
            Models of other specs, or trained on other data.

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
        >>> gmf = mfcore.fit(mfcore.GMF(2), data, epochs=1, dtype="float64", backend="reference")
        >>> mlp = mfcore.fit(mfcore.MLP((4, 2)), data, epochs=1, dtype="float64", backend="reference")
        >>> start = mfcore.NeuMF.from_pretrained(gmf, mlp)
        >>> abs(start.score(3, 5) - 0.5 * (gmf.score(3, 5) + mlp.score(3, 5))) < 1e-12
        np.True_
        """
        require_number("NeuMF.from_pretrained: alpha", alpha, at_least=0, at_most=1)
        _require_pair(gmf, mlp)
        assert isinstance(gmf.spec, GMF)
        assert isinstance(mlp.spec, MLP)
        spec = cls(
            n_factors=gmf.spec.n_factors,
            layers=mlp.spec.layers,
            activation=mlp.spec.activation,
            output=gmf.spec.output,
            init=gmf.spec.init,
        )
        dtype = gmf.parameters[KERNEL].dtype
        parameters = {
            "user_factors": gmf.parameters["user_factors"],
            "item_factors": gmf.parameters["item_factors"],
            **{
                f"{TOWER_PREFIX}{name}" if name in ("user_factors", "item_factors") else name: array
                for name, array in mlp.parameters.items()
            },
            KERNEL: np.concatenate([alpha * gmf.parameters[KERNEL], (1 - alpha) * mlp.parameters[KERNEL]]),
            BIAS: alpha * gmf.parameters[BIAS] + (1 - alpha) * mlp.parameters[BIAS],
        }
        layout = spec.parameters(gmf.n_users, gmf.n_items)
        return gmf.with_parameters(spec, {name: parameters[name].astype(dtype) for name in layout})


def _require_pair(gmf: TrainedModel, mlp: TrainedModel) -> None:
    for name, model, kind in (("gmf", gmf, GMF), ("mlp", mlp, MLP)):
        spec = getattr(model, "spec", None)
        if not isinstance(spec, kind):
            found = repr(model) if spec is None else f"a model of {type(spec).__name__}"
            raise InvalidArgumentError(
                f"NeuMF.from_pretrained: {name} is {found}; pass a trained model of {kind.__name__}"
            )
    assert isinstance(gmf.spec, GMF)
    if gmf.spec.biases:
        raise InvalidArgumentError(
            "NeuMF.from_pretrained: the GMF has biases, which NeuMF lacks; train it without"
        )
    for side in ("user", "item"):
        of_gmf, of_mlp = getattr(gmf, f"{side}_ids"), getattr(mlp, f"{side}_ids")
        if of_gmf != of_mlp:
            raise InvalidArgumentError(
                f"NeuMF.from_pretrained: the GMF knows {len(of_gmf)} {side}s and the MLP {len(of_mlp)}, not"
                " the same ones; train both on the same data"
            )
    same_pairs = np.array_equal(gmf.seen.indptr, mlp.seen.indptr) and np.array_equal(
        gmf.seen.indices, mlp.seen.indices
    )
    if not same_pairs:
        raise InvalidArgumentError(
            "NeuMF.from_pretrained: the GMF and the MLP were trained on other interactions of these users and"
            " items (another split?), so what is held out from one may be known to the other; train both on"
            " the same data"
        )
