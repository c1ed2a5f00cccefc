"""One measure of quality for all libraries."""

import numpy as np

import mfcore
from benchmarks.ours import Training
from mfcore import Interactions
from mfcore.data import NcfSplit
from mfcore.metrics import ScoringModel
from mfcore.specs import Floats

BLOCK = 500_000


def rmse(trained: Training, train: Interactions, test: Interactions) -> float:
    """Return the RMSE of predictions clipped to the range of the training ratings.

    A pair of which LIBMF has no row (it leaves NaN) is predicted by the mean training rating.
    """
    scores = _scores(trained, test)
    scores = np.where(np.isnan(scores), train.values.mean(dtype=np.float64), scores)
    errors = np.clip(scores, train.values.min(), train.values.max()) - test.values
    return float(np.sqrt(np.mean(errors**2, dtype=np.float64)))


def errors(predictions: Floats, test: Interactions) -> dict[str, float]:
    """Return RMSE and MAE of the predictions of a test part."""
    differences = predictions - test.values
    return {
        "RMSE": float(np.sqrt(np.mean(differences**2, dtype=np.float64))),
        "MAE": float(np.mean(np.abs(differences), dtype=np.float64)),
    }


def baseline_rmse(train: Interactions, test: Interactions) -> float:
    """Return the RMSE of predicting the mean training rating throughout."""
    errors = test.values - train.values.mean(dtype=np.float64)
    return float(np.sqrt(np.mean(errors**2)))


def hit_rate(model: ScoringModel, split: NcfSplit) -> float:
    """Return HR@10 among the 99 given negatives."""
    found = mfcore.evaluate(model, split.test, [mfcore.HitRate(10)], mfcore.GivenNegatives(split.negatives))
    return found["HR@10"]


def ranking(model: ScoringModel, split: NcfSplit) -> dict[str, float]:
    """Return HR@10 and NDCG@10 among the 99 given negatives, and NDCG@10 over the whole catalogue."""
    hit, gain = mfcore.HitRate(10), mfcore.NDCG(10)
    given = mfcore.evaluate(model, split.test, [hit, gain], mfcore.GivenNegatives(split.negatives))
    full = mfcore.evaluate(model, split.test, [gain], mfcore.FullRanking())
    return {"HR@10": given["HR@10"], "NDCG@10": given["NDCG@10"], "full NDCG@10": full["NDCG@10"]}


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
