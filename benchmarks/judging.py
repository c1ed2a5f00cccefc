"""One measure of quality for all libraries, from the factors that they trained."""

import numpy as np

from benchmarks.ours import Training
from mfcore import Interactions
from mfcore.specs.base import Floats

BLOCK = 500_000


def rmse(trained: Training, train: Interactions, test: Interactions) -> float:
    """Return the RMSE of predictions clipped to the range of the training ratings.

    A pair of which LIBMF has no row (it leaves NaN) is predicted by the mean training rating.
    """
    scores = _scores(trained, test)
    scores = np.where(np.isnan(scores), train.values.mean(dtype=np.float64), scores)
    errors = np.clip(scores, train.values.min(), train.values.max()) - test.values
    return float(np.sqrt(np.mean(errors**2, dtype=np.float64)))


def baseline_rmse(train: Interactions, test: Interactions) -> float:
    """Return the RMSE of predicting the mean training rating throughout."""
    errors = test.values - train.values.mean(dtype=np.float64)
    return float(np.sqrt(np.mean(errors**2)))


def hu_objective(trained: Training, data: Interactions, *, l2: float, alpha: float) -> float:
    r"""Return the objective of Hu, Koren & Volinsky (2008), divided by the number of interactions.

    .. math:: \sum_{ui} c_{ui} (t_{ui} - s_{ui})^2 + \lambda (\|P\|^2 + \|Q\|^2)

    over all pairs: t = 1 and c = 1 + alpha * value for interactions, else t = 0 and c = 1.
    """
    users, items = (table.astype(np.float64) for table in (trained.user_factors, trained.item_factors))
    total = float(((users.T @ users) * (items.T @ items)).sum())
    total += l2 * float((users**2).sum() + (items**2).sum())
    scores = _scores(trained, data).astype(np.float64)
    weights = 1 + alpha * data.values.astype(np.float64)
    total += float((weights * (1 - scores) ** 2 - scores**2).sum())
    return total / len(data)


def _scores(trained: Training, pairs: Interactions) -> Floats:
    pieces = []
    for start in range(0, len(pairs), BLOCK):
        users, items = pairs.users[start : start + BLOCK], pairs.items[start : start + BLOCK]
        pieces.append(np.einsum("nk,nk->n", trained.user_factors[users], trained.item_factors[items]))
    return np.concatenate(pieces)
