"""A known answer: users who met only items of one colour of a checkerboard are recommended that colour.

The idea is that of implicit's tests (`recommender_base_test.py`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mfcore.data import Interactions
from mfcore.engines import Backend, TrainingJob
from mfcore.optimizers import WALS, Adagrad, Adam, Optimizer
from mfcore.specs import MF, ModelSpec, NeuMF, Normal, TwoTower
from mfcore.testing._arrays import ConformanceError
from mfcore.testing._cells import LAYERS, OBJECTIVES
from mfcore.training import fit, make_job

SIZE, EPOCHS, BATCH = 20, 30, 32


@dataclass(frozen=True)
class KnownAnswer:
    """A model trained on a board of 20 users and 20 items.

    User u met item i where u + i is even, except where u = i: a model that has learnt the pattern recommends
    item u to user u. With many factors it could tell the held-out item apart as well; regularisation keeps it
    to few.

    Attributes
    ----------
    model, objective : str
        As in `cells`.
    spec : ModelSpec
        What the model's name stands for here.
    optimizer : str
        As in `cells`.
    settings : Optimizer
        What the name stands for here.
    dtype : "float32" or "float64"

    Examples
    --------
    >>> from mfcore.engines.reference import backend
    >>> from mfcore.testing import KNOWN_ANSWERS
    >>> by_wals = KNOWN_ANSWERS[-1]
    >>> print(by_wals)
    mf, implicit, wals by cholesky, float32, on a checkerboard
    >>> by_wals.job().batch_size, by_wals.n_wrong(backend)
    (32, 0)
    >>> by_wals.require(backend)
    """

    model: str
    spec: ModelSpec
    objective: str
    optimizer: str
    settings: Optimizer
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.model}, {self.objective}, {self.optimizer}, {self.dtype}, on a checkerboard"

    @property
    def kind(self) -> str:
        """The model's name on the command line."""
        return self.spec.short_name

    @property
    def data(self) -> Interactions:
        """What the users met."""
        users, items = np.divmod(np.arange(SIZE**2), SIZE)
        met = ((users + items) % 2 == 0) & (users != items)
        return Interactions.from_columns(users[met], items[met])

    def job(self, device: str = "cpu") -> TrainingJob:
        """Return the job that `n_wrong` does.

        Parameters
        ----------
        device : str

        Returns
        -------
        TrainingJob
        """
        return make_job(self.spec, self.data, **self._arguments, device=device)

    def require(self, backend: Backend, device: str = "cpu") -> None:
        """Require that an engine's model recommends the known item to every user.

        Parameters
        ----------
        backend : Backend
        device : str

        Raises
        ------
        ConformanceError
            It does not; says for how many.
        """
        wrong = self.n_wrong(backend, device)
        if wrong:
            raise ConformanceError(f"{wrong} of the users are recommended something else than what is known")

    def n_wrong(self, backend: Backend, device: str = "cpu") -> int:
        """Return how many users an engine's model recommends another item.

        Parameters
        ----------
        backend : Backend
        device : str

        Returns
        -------
        int
        """
        model = fit(
            self.spec,
            self.data,
            **self._arguments,
            device=device,
            epochs=EPOCHS,
            backend=backend,
            progress=False,
        )
        found = model.recommend(range(SIZE), k=1)
        return sum(ranking.items.tolist() != [user] for user, ranking in enumerate(found))

    @property
    def _arguments(self) -> dict[str, Any]:
        case = OBJECTIVES[self.objective]
        return {
            "objective": case.objective,
            "optimizer": self.settings,
            "n_negatives": min(case.n_negatives, 1),
            "batch_size": BATCH,
            "threads": 2,
            "dtype": self.dtype,
        }


INIT = Normal(0.1)
ADAM = Adam(0.05, l2=0.05)
KNOWN_ANSWERS = (
    KnownAnswer("mf", MF(7, init=INIT), "logistic", "adam", ADAM),
    KnownAnswer("neumf", NeuMF(7, LAYERS, "tanh", init=INIT), "logistic", "adam", Adam(0.02, l2=0.05)),
    KnownAnswer("two towers", TwoTower(7, init=INIT), "softmax", "adagrad", Adagrad(0.3, l2=0.05)),
    KnownAnswer("mf", MF(7, init=INIT), "implicit", "wals by cholesky", WALS(0.1, l2=0.05)),
)
