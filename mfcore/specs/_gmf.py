"""Generalised matrix factorisation."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from mfcore.errors import InvalidArgumentError
from mfcore.operators import Operators
from mfcore.specs._base import Arrays, Floats, Parameter, Parameters, Rows, TrainedModel
from mfcore.specs._biases import bias_parameters, user_offsets
from mfcore.specs._branches import Product
from mfcore.specs._initializers import Initializer, Normal
from mfcore.specs._inner_product import Embeddings, InnerProduct
from mfcore.specs._mf import MF
from mfcore.specs._ncf import BIAS, KERNEL, NCF
from mfcore.specs._outputs import Linear, Output
from mfcore.validation import require_instance, require_integer


@dataclass(frozen=True)
class GMF(InnerProduct, NCF):
    r"""Generalised matrix factorisation: the product of the factors, weighted by a dense unit.

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
    >>> mfcore.GMF(n_factors=2).parameter_shapes(n_users=4, n_items=3)
    {'user_factors': (4, 2), 'item_factors': (3, 2), 'output/kernel': (2, 1), 'output/bias': (1,)}
    """

    short_name: ClassVar[str] = "gmf"

    n_factors: int = 32
    biases: bool = False
    output: Output = field(default_factory=Linear)
    init: Initializer = field(default_factory=lambda: Normal(std=0.01))

    def __post_init__(self) -> None:
        require_integer("GMF: n_factors", self.n_factors, 1)
        require_instance("GMF: biases", self.biases, bool, "True")
        require_instance("GMF: output", self.output, Output, "Linear()")
        require_instance("GMF: init", self.init, Initializer, "Normal(std=0.01)")

    @classmethod
    def from_mf(cls, mf: TrainedModel) -> Any:
        """Return the GMF that scores as a trained matrix factorisation does: h of ones, and c = 0.

        A way to pre-train NeuMF: matrix factorisation by plain SGD, with l2, ranks better than a GMF whose
        three factors are all trained by Adam. Source: Rendle, Krichene, Zhang & Anderson, "Neural
        collaborative filtering vs. matrix factorization revisited", RecSys 2020.

        Parameters
        ----------
        mf : Model
            Trained on any engine, with biases or without.

        Returns
        -------
        Model
            Of zero epochs, in the MF's dtype.

        Raises
        ------
        InvalidArgumentError
            A model of another spec.

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
        >>> mf = mfcore.fit(mfcore.MF(2), data, epochs=1, backend="reference")
        >>> gmf = mfcore.GMF.from_mf(mf)
        >>> gmf.score(3, 5) == mf.score(3, 5), gmf.epochs_trained
        (np.True_, 0)
        """
        found = getattr(mf, "spec", None)
        if not isinstance(found, MF):
            shown = repr(mf) if found is None else f"a model of {type(found).__name__}"
            raise InvalidArgumentError(f"GMF.from_mf: mf is {shown}; pass a trained model of MF")
        spec = cls(found.n_factors, biases=found.biases, output=found.output, init=found.init)
        dtype = mf.parameters["user_factors"].dtype
        unit = {KERNEL: np.ones((found.n_factors, 1), dtype=dtype), BIAS: np.zeros(1, dtype=dtype)}
        layout = spec.parameters(mf.n_users, mf.n_items)
        return mf.with_parameters(spec, {name: {**mf.parameters, **unit}[name] for name in layout})

    @property
    def branches(self) -> tuple[Product]:
        """The product alone."""
        return (Product("", self.n_factors, self.init),)

    def parameters(self, n_users: int, n_items: int) -> dict[str, Parameter]:
        """Return factors and output unit and, with biases, the biases."""
        layout = super().parameters(n_users, n_items)
        if self.biases:
            layout.update(bias_parameters(n_users, n_items))
        return layout

    def user_embeddings(self, xp: Operators, rows: Arrays, dense: Arrays) -> Embeddings:
        """Return h * p_u, and c or, with biases, mu + b_u + c."""
        offsets = user_offsets(rows, dense) + dense[BIAS] if self.biases else dense[BIAS]
        return Embeddings(rows["user_factors"] * dense[KERNEL][:, 0], offsets)

    def item_embeddings(self, xp: Operators, rows: Arrays, dense: Arrays) -> Embeddings:
        """Return q_i, and b_i with biases."""
        return Embeddings(rows["item_factors"], rows["item_bias"] if self.biases else None)

    def score_gradients(
        self, parameters: Parameters, users: Rows, items: Rows, upstream: Floats
    ) -> dict[str, Floats]:
        """Return the derivatives; those by the biases are upstream itself."""
        gradients = super().score_gradients(parameters, users, items, upstream)
        if self.biases:
            gradients["user_bias"] = upstream
            gradients["item_bias"] = upstream
        return gradients
