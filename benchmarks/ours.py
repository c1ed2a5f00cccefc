"""mfcore as the benchmarks run it: through `fit`, timed by the history that it returns."""

import os
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from mfcore import MF, Interactions, Model, fit
from mfcore.specs.base import Floats, ModelSpec

# As many for mfcore as for every peer.
THREADS = int(os.environ.get("MFCORE_BENCHMARK_THREADS", "2"))


@dataclass(frozen=True, eq=False)
class Training:
    """A finished run of any library.

    Attributes
    ----------
    epoch_seconds : float
        Of an epoch, set-up and the first epoch left aside.
    first_epoch : float or None
        Seconds from the call to the end of the first epoch; None where the library does not tell.
    user_factors, item_factors : float array [n_users, n_factors], [n_items, n_factors]
    """

    epoch_seconds: float
    first_epoch: float | None
    user_factors: Floats
    item_factors: Floats

    def as_model(self, data: Interactions) -> Model:
        """Return the factors as a model of mfcore, whoever trained them on these data."""
        factors = {"user_factors": self.user_factors, "item_factors": self.item_factors}
        return Model(
            spec=MF(n_factors=self.user_factors.shape[1]),
            parameters=factors,
            user_ids=data.user_ids,
            item_ids=data.item_ids,
            seen=data.seen,
        )


def train(spec: ModelSpec, data: Interactions, *, epochs: int, **settings: Any) -> tuple[Model, Training]:
    """Return a model and its times: the median of the epochs after the first, and the first apart.

    Parameters
    ----------
    spec, data, settings
        As `mfcore.fit` takes them.
    epochs : int
        From 2.
    """
    start = time.perf_counter()
    model = fit(spec, data, epochs=epochs, threads=THREADS, progress=False, **settings)
    whole = time.perf_counter() - start
    later = [record.seconds for record in model.history[1:]]
    parameters = model.parameters
    return model, Training(
        median(later), whole - sum(later), parameters["user_factors"], parameters["item_factors"]
    )
