r"""What training minimises.

The objective of a batch B is the mean over its instances of

.. math:: w \, \ell(s, t) + \tfrac{l2}{2} \sum_{\theta \in \text{rows}(u, i)} \|\theta\|^2

plus :math:`\tfrac{l2\_dense}{2}` times the squared norm of the dense kernels. s is the score, t the
target, w the weight, and rows(u, i) are the embedding rows and biases of the instance; l2
belongs to the optimizer. Losses work on scores, never on probabilities.

An instance is a pair (u, i) with a target; a pairwise objective's is a triple (u, i, j) of a user, an
interaction's item and a negative, and its score the difference s_ui - s_uj; that of an in-batch objective is
an interaction (u, i), scored against the items of all instances of the batch.

The factor-2 convention: the squared loss is half the squared error, so that its gradient is the error
itself and plain SGD with batch_size 1 is the textbook update p += learning_rate * (e q - l2 p).

A loss of one's own is a subclass of `PointwiseObjective` or `PairwiseObjective` whose `terms` is written on
the operators `xp`; every engine trains on it.
"""

from mfcore.objectives._base import (
    Objective,
    PairwiseObjective,
    PointwiseObjective,
    RankingObjective,
    ScoreObjective,
    require_score,
    score_terms,
    total_loss,
)
from mfcore.settings import registered

# In the order in which objectives are listed, which is that of their definition.
# isort: off
from mfcore.objectives._squared import Squared, WeightedSquared
from mfcore.objectives._logistic import Logistic
from mfcore.objectives._bpr import BPR
from mfcore.objectives._in_batch import InBatchObjective, InBatchSoftmax
# isort: on

OBJECTIVES = registered(Objective)  # type: ignore[type-abstract]

__all__ = [
    "BPR",
    "OBJECTIVES",
    "InBatchObjective",
    "InBatchSoftmax",
    "Logistic",
    "Objective",
    "PairwiseObjective",
    "PointwiseObjective",
    "RankingObjective",
    "ScoreObjective",
    "Squared",
    "WeightedSquared",
    "require_score",
    "score_terms",
    "total_loss",
]
