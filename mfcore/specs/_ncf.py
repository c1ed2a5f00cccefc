"""What the models of neural collaborative filtering share: arms, and one dense unit over their features."""

from abc import abstractmethod
from dataclasses import replace
from itertools import pairwise

import numpy as np

from mfcore.specs._base import Floats, ModelSpec, Parameter, Parameters, Rows
from mfcore.specs._branches import Arm
from mfcore.specs._dense import LINEAR, Layer

KERNEL, BIAS = "output/kernel", "output/bias"


class NCF(ModelSpec):
    r"""Base of GMF, MLP and NeuMF: :math:`s_{ui} = h \cdot [\phi^1_{ui}, \phi^2_{ui}, \dots] + c`.

    The features :math:`\phi` of each arm are concatenated; h is "output/kernel" [n_features, 1] and c
    "output/bias" [1].

    Source: He, Liao, Zhang, Nie, Hu & Chua, "Neural collaborative filtering", WWW 2017.
    """

    @property
    @abstractmethod
    def arms(self) -> tuple[Arm, ...]:
        """The arms, in the order of their features."""

    def parameters(self, n_users: int, n_items: int) -> dict[str, Parameter]:
        """Return the parameters of the arms, then those of the output unit."""
        n_features = sum(arm.n_features for arm in self.arms)
        layout: dict[str, Parameter] = {}
        for arm in self.arms:
            layout.update(arm.parameters(n_users, n_items))
        layout.update(Layer("output", n_features, 1, LINEAR).parameters())
        layout[BIAS] = replace(layout[BIAS], shared_by_items=True)
        return layout

    def score(self, parameters: Parameters, users: Rows, items: Rows) -> Floats:
        """Return s_ui of each pair."""
        score: Floats = self._features(parameters, users, items) @ parameters[KERNEL][:, 0]
        return score + parameters[BIAS]

    def score_gradients(
        self, parameters: Parameters, users: Rows, items: Rows, upstream: Floats
    ) -> dict[str, Floats]:
        """Return the derivatives by backpropagation through the arms."""
        features = self._features(parameters, users, items)
        gradients: dict[str, Floats] = {
            KERNEL: (upstream @ features)[:, None],
            BIAS: upstream.sum(keepdims=True),
        }
        for arm, kernel in zip(self.arms, self.kernels(parameters), strict=True):
            by_features = upstream[:, None] * kernel
            gradients.update(arm.gradients(parameters, users, items, by_features))
        return gradients

    def score_catalogue(self, parameters: Parameters, users: Rows) -> Floats:
        """Return s_ui for every item."""
        kernels = self.kernels(parameters)
        scores = self.arms[0].weigh_catalogue(parameters, users, kernels[0])
        for arm, kernel in zip(self.arms[1:], kernels[1:], strict=True):
            scores += arm.weigh_catalogue(parameters, users, kernel)
        scores += parameters[BIAS]
        return scores

    def item_vectors(self, parameters: Parameters) -> Floats:
        """Return the item factors of all arms, side by side."""
        return np.concatenate([parameters[arm.item_factors] for arm in self.arms], axis=1)

    def kernels(self, parameters: Parameters) -> list[Floats]:
        """Return each arm's part of the output kernel, [n_features of the arm]."""
        ends = np.cumsum([0, *(arm.n_features for arm in self.arms)])
        return [parameters[KERNEL][start:stop, 0] for start, stop in pairwise(ends)]

    def _features(self, parameters: Parameters, users: Rows, items: Rows) -> Floats:
        return np.concatenate([arm.features(parameters, users, items) for arm in self.arms], axis=1)
