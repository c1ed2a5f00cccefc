"""What the models of neural collaborative filtering share: branches under one dense unit."""

from abc import abstractmethod
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from mfcore.operators import NUMPY, Operators
from mfcore.specs._base import Arrays, Floats, ModelSpec, Parameter, Parameters, Rows
from mfcore.specs._branches import Branch
from mfcore.specs._dense import LINEAR, Layer

KERNEL, BIAS = "output/kernel", "output/bias"


class NCF(ModelSpec):
    r"""Base of GMF, MLP and NeuMF: :math:`s_{ui} = h \cdot [\phi^1_{ui}, \phi^2_{ui}, \dots] + c`.

    The features :math:`\phi` of each branch are concatenated; h is "output/kernel" [n_features, 1] and c
    "output/bias" [1].

    Source: He, Liao, Zhang, Nie, Hu & Chua, "Neural collaborative filtering", WWW 2017.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.specs import NCF
    >>> model = mfcore.NeuMF(n_factors=2, layers=(4, 2))
    >>> isinstance(model, NCF), [branch.n_features for branch in model.branches]
    (True, [2, 2])
    """

    @property
    @abstractmethod
    def branches(self) -> tuple[Branch, ...]:
        """The branches, in the order of their features."""

    def parameters(self, n_users: int, n_items: int) -> dict[str, Parameter]:
        """Return the parameters of the branches, then those of the output unit."""
        n_features = sum(branch.n_features for branch in self.branches)
        layout: dict[str, Parameter] = {}
        for branch in self.branches:
            layout.update(branch.parameters(n_users, n_items))
        layout.update(Layer("output", n_features, 1, LINEAR).parameters())
        layout[BIAS] = replace(layout[BIAS], shared_by_items=True)
        return layout

    def score(self, xp: Operators, users: Arrays, items: Arrays, dense: Arrays) -> Any:
        """Return s_ui of each pair of rows, [n]."""
        return (self._features(xp, users, items, dense) @ dense[KERNEL])[:, 0] + dense[BIAS]

    def score_gradients(
        self, parameters: Parameters, users: Rows, items: Rows, upstream: Floats
    ) -> dict[str, Floats]:
        """Return the derivatives by backpropagation through the branches."""
        rows = self.gather(parameters, users, items)
        gradients: dict[str, Floats] = {
            KERNEL: (upstream @ self._features(NUMPY, *rows))[:, None],
            BIAS: upstream.sum(keepdims=True),
        }
        for branch, kernel in zip(self.branches, self.kernels(parameters), strict=True):
            gradients.update(branch.gradients(*rows, upstream[:, None] * kernel))
        return gradients

    def score_catalogue(self, parameters: Parameters, users: Rows) -> Floats:
        """Return the score of every item for each user, [n, n_items], on numpy."""
        scores = np.zeros(1, dtype=parameters[KERNEL].dtype)
        for branch, kernel in zip(self.branches, self.kernels(parameters), strict=True):
            scores = scores + branch.weigh_catalogue(parameters, users, kernel)
        return scores + parameters[BIAS]

    def item_vectors(self, parameters: Parameters) -> Floats:
        """Return the item factors of all branches, side by side."""
        return np.concatenate([parameters[branch.item_factors] for branch in self.branches], axis=1)

    def kernels(self, parameters: Parameters) -> list[Floats]:
        """Return each branch's part of the output kernel.

        Parameters
        ----------
        parameters : mapping of name to array
            Of the whole model.

        Returns
        -------
        list of arrays [n_features of the branch]

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> model = mfcore.NeuMF(n_factors=2, layers=(4, 1))
        >>> model.kernels({"output/kernel": np.array([[1.0], [2.0], [3.0]])})
        [array([1., 2.]), array([3.])]
        """
        bounds = accumulate((branch.n_features for branch in self.branches), initial=0)
        return [parameters[KERNEL][start:stop, 0] for start, stop in pairwise(bounds)]

    def _features(self, xp: Operators, users: Arrays, items: Arrays, dense: Arrays) -> Any:
        features = [branch.features(xp, users, items, dense) for branch in self.branches]
        return features[0] if len(features) == 1 else xp.concat(features, axis=1)
