"""Metrics against independent implementations: trec_eval, ranx, scikit-learn and TorchMetrics.

What is judged is what `evaluate` answers for a model with given scores, so protocols and metrics together.
Where an oracle defines a metric otherwise, the function that asks it says how one maps to the other.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import combinations, permutations

import numpy as np
import pytest
import pytrec_eval
import sklearn
from sklearn.metrics import (
    mean_absolute_error,
    roc_auc_score,
    root_mean_squared_error,
)

from mfcore.data import Interactions, SeenItems, Vocabulary
from mfcore.metrics import (
    AUC,
    MAE,
    MAP,
    MRR,
    NDCG,
    RMSE,
    Coverage,
    FullRanking,
    GivenNegatives,
    HitRate,
    Precision,
    Recall,
    RoundedMAE,
    SampledRanking,
    TopKAccuracy,
    evaluate,
)

CUT = {"HR": HitRate, "Precision": Precision, "Recall": Recall, "MRR": MRR, "MAP": MAP, "NDCG": NDCG}
WHOLE = {"MRR": MRR(), "MAP": MAP(), "NDCG": NDCG(), "AUC": AUC()}
TIES = ["pessimistic", "average", "optimistic"]


@dataclass(frozen=True)
class Rankings:
    """Rankings of as many candidates each, and the cutoff that they are judged at.

    scores: float64 [n, n_candidates]. relevant: bool of that shape, a positive or more in each row.
    n_missing: int64 [n], positives that are no candidates.
    """

    k: int
    scores: np.ndarray
    relevant: np.ndarray
    n_missing: np.ndarray

    def __len__(self):
        return len(self.scores)

    @property
    def n_relevant(self):
        return self.relevant.sum(axis=1) + self.n_missing

    @property
    def shown(self):
        """How many positives the best ranking shows."""
        return np.minimum(self.k, self.n_relevant)

    @property
    def gains(self):
        """int64 [n, n_candidates + most missing]: 1 for positives; the last columns are the missing ones."""
        missing = np.arange(self.n_missing.max()) < self.n_missing[:, np.newaxis]
        return np.column_stack([self.relevant, missing]).astype(np.int64)


class TableModel:
    """A model whose scores are a table [n_users, n_items], and its predictions too."""

    def __init__(self, table, n_seen=0):
        """Let every user have seen the last `n_seen` items."""
        n_users, n_items = table.shape
        self.table = table
        self.user_ids, self.item_ids = Vocabulary.range(n_users), Vocabulary.range(n_items)
        items = np.arange(n_items - n_seen, n_items, dtype=np.int32)
        self.seen = SeenItems(np.arange(n_users + 1) * n_seen, np.tile(items, n_users))

    def score_pairs(self, users, items):
        return self.table[users, items]

    predict_pairs = score_pairs

    def score_catalogue(self, users):
        return self.table[users]


def posed(rankings, n_seen=2):
    """Return a model and a test of which `FullRanking` makes these rankings.

    Users have seen items of a higher score than any candidate; positives that are no candidates are items
    that the model has never met.
    """
    n = len(rankings)
    model = TableModel(np.column_stack([rankings.scores, np.full((n, n_seen), np.inf)]), n_seen)
    users, columns = np.nonzero(rankings.gains)
    n_candidates = rankings.scores.shape[1]
    items = np.where(columns < n_candidates, columns, columns + n_seen)
    return model, Interactions.from_columns(users, items, user_ids=model.user_ids)


def metrics_at(k):
    return {**{f"{name}@k": kind(k) for name, kind in CUT.items()}, **WHOLE}


def judged(rankings, ties):
    """Return what `evaluate` says of each ranking: float64 [n] by name, "HR@k" and so on."""
    metrics = metrics_at(rankings.k)
    found = evaluate(*posed(rankings), list(metrics.values()), FullRanking(ties=ties))
    return {name: found.per_user(metric.name) for name, metric in metrics.items()}


# The oracles: each returns float64 [n] by name, of some or all of the names of `judged`


def by_trec_eval(rankings):
    """Ask trec_eval, in float64.

    It divides average precision by all positives P whatever the cutoff, we by the min(k, P) that the best
    ranking shows; its reciprocal rank has no cutoff.
    """
    k = rankings.k
    items = [str(item) for item in range(rankings.gains.shape[1])]
    relevance = {
        str(row): dict(zip(items, gains, strict=True)) for row, gains in enumerate(rankings.gains.tolist())
    }
    run = {
        str(row): dict(zip(items, scores, strict=False))
        for row, scores in enumerate(rankings.scores.tolist())
    }
    cut = {
        "HR@k": "success",
        "Precision@k": "P",
        "Recall@k": "recall",
        "MAP@k": "map_cut",
        "NDCG@k": "ndcg_cut",
    }
    whole = {"MRR": "recip_rank", "MAP": "map", "NDCG": "ndcg"}
    asked = {*(f"{measure}.{k}" for measure in cut.values()), *whole.values()}
    answers = pytrec_eval.RelevanceEvaluator(relevance, asked).evaluate(run)
    keys = {**{name: f"{measure}_{k}" for name, measure in cut.items()}, **whole}
    values = {
        name: np.array([answers[str(row)][key] for row in range(len(rankings))]) for name, key in keys.items()
    }
    values["MAP@k"] *= rankings.n_relevant / rankings.shown
    values["MRR@k"] = np.where(values["MRR"] > 1 / (k + 0.5), values["MRR"], 0.0)
    return values


RANX = """
import sys
import numpy as np
import ranx

given, found = np.load(sys.argv[1]), {}
for number, k in enumerate(given["k"]):
    metrics = [name.replace("@k", f"@{k}") for name in sys.argv[3:]]
    values = ranx.evaluate(given[f"qrels {number}"], given[f"run {number}"], metrics, return_mean=False)
    found |= {f"{name} {number}": values[metric] for name, metric in zip(sys.argv[3:], metrics)}
np.savez(sys.argv[2], **found)
"""


def by_ranx(cases, folder):
    """Ask ranx, in float64, about lists of rankings.

    It divides average precision by all positives P whatever the cutoff, as trec_eval does.

    In a process of its own, as it chooses Numba's threading layer for the whole process; and uncompiled,
    which takes less time than to compile it for so few rankings.
    """
    arrays = {"k": np.array([rankings.k for rankings in cases])}
    for number, rankings in enumerate(cases):
        for name, of_items in (("qrels", rankings.gains), ("run", rankings.scores)):
            order = np.argsort(-of_items, axis=1, kind="stable")
            arrays[f"{name} {number}"] = np.stack(
                [order.astype(np.float64), np.take_along_axis(of_items, order, axis=1)], axis=2
            )
    np.savez(folder / "given.npz", **arrays)
    names = {"HR@k": "hit_rate@k", "Precision@k": "precision@k", "Recall@k": "recall@k", "MRR@k": "mrr@k"}
    names |= {"MAP@k": "map@k", "NDCG@k": "ndcg@k", "MRR": "mrr", "MAP": "map", "NDCG": "ndcg"}
    subprocess.run(
        [sys.executable, "-c", RANX, folder / "given.npz", folder / "found.npz", *names.values()],
        check=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "IR_DATASETS_HOME": str(folder)},
    )
    with np.load(folder / "found.npz") as file:
        found = dict(file)
    for number, rankings in enumerate(cases):
        values = {ours: found[f"{theirs} {number}"] for ours, theirs in names.items()}
        values["MAP@k"] *= rankings.n_relevant / rankings.shown
        yield values


def by_scikit_learn(rankings):
    """Ask scikit-learn for the area under the curve, in float64; NaN where it refuses for want of negatives.

    It knows of no positives that are no candidates: they win against no negative, and only divide.
    """
    relevant, scores = rankings.relevant, rankings.scores
    defined = ~relevant.all(axis=1)
    area = np.full(len(scores), np.nan)
    if defined.any():
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            # Each ranking is a class of its own: one call for all.
            area[defined] = roc_auc_score(relevant[defined].T, scores[defined].T, average=None)
    return {"AUC": area * relevant.sum(axis=1) / rankings.n_relevant}


def by_torchmetrics(rankings):
    """Ask TorchMetrics, in the float32 that it computes in: good to two units in the last place at 1, 2^-22.

    It divides average precision by the positives among the first k, we by the min(k, P) that the best
    ranking shows; and recall by the positives among the candidates.
    """
    torch = pytest.importorskip("torch", reason="torch is not installed on this Python")
    retrieval = pytest.importorskip(
        "torchmetrics.functional.retrieval", reason="TorchMetrics is not installed"
    )
    names = {"HR@k": "hit_rate", "Precision@k": "precision", "Recall@k": "recall", "MRR@k": "reciprocal_rank"}
    names |= {"MAP@k": "average_precision"}
    scores, relevant = torch.from_numpy(rankings.scores), torch.from_numpy(rankings.relevant)
    values = {}
    for name, function in names.items():
        judge = getattr(retrieval, f"retrieval_{function}")
        values[name] = np.array(
            [judge(s, y, top_k=rankings.k).item() for s, y in zip(scores, relevant, strict=True)]
        )
    values["MAP@k"] *= np.rint(values["Precision@k"] * rankings.k) / rankings.shown
    values["Recall@k"] *= rankings.relevant.sum(axis=1) / rankings.n_relevant
    return values


def assert_agree(found, expected, tolerance):
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=tolerance, err_msg=name)


# Without ties


@pytest.fixture(scope="module")
def cases():
    """10,000 rankings without ties, of 2 to 30 candidates, at cutoffs from 1 to 40."""
    generator = np.random.default_rng(17)

    def drawn(n_candidates, k, n=400):
        scores = generator.permuted(np.tile(np.arange(1.0, n_candidates + 1), (n, 1)), axis=1)
        relevant = generator.random(scores.shape) < generator.uniform(0.02, 1, (n, 1))
        relevant[np.arange(n), generator.integers(n_candidates, size=n)] = True
        return Rankings(k, scores, relevant, np.maximum(generator.integers(-4, 5, size=n), 0))

    return [drawn(n_candidates, k) for n_candidates in (2, 3, 6, 12, 30) for k in (1, 2, 5, 10, 40)]


def test_ten_thousand_rankings_are_judged_as_by_trec_eval_whatever_the_tie_rule(cases):
    assert sum(map(len, cases)) == 10_000
    for rankings in cases:
        expected = by_trec_eval(rankings)
        for ties in TIES:
            assert_agree(judged(rankings, ties), expected, 1e-12)


def test_ten_thousand_rankings_are_judged_as_by_ranx(cases, tmp_path):
    if find_spec("ranx") is None:
        pytest.skip("ranx needs Numba, and is not installed on this Python")
    for rankings, expected in zip(cases, by_ranx(cases, tmp_path), strict=True):
        assert_agree(judged(rankings, "average"), expected, 1e-12)


def test_ten_thousand_rankings_are_judged_as_by_scikit_learn(cases):
    for rankings in cases:
        assert_agree(judged(rankings, "average"), by_scikit_learn(rankings), 1e-12)


def test_ten_thousand_rankings_are_judged_as_by_torchmetrics(cases):
    for rankings in cases:
        assert_agree(judged(rankings, "average"), by_torchmetrics(rankings), 2.0**-22)


def test_top_k_accuracy_pools_the_positives_that_trec_eval_finds(cases):
    for rankings in cases:
        n_found = (by_trec_eval(rankings)["Precision@k"] * rankings.k).sum()
        found = evaluate(*posed(rankings), [TopKAccuracy(rankings.k)])[f"TopK@{rankings.k}"]
        assert found == pytest.approx(n_found / rankings.n_relevant.sum(), abs=1e-12)


def test_coverage_is_the_share_of_the_items_that_the_lists_of_torch_hold(cases):
    torch = pytest.importorskip("torch", reason="torch is not installed on this Python")
    for rankings in cases:
        few = Rankings(rankings.k, rankings.scores[:4], rankings.relevant[:4], rankings.n_missing[:4])
        n_items = few.scores.shape[1]
        shown = torch.from_numpy(few.scores).topk(min(few.k, n_items)).indices.unique()
        found = evaluate(*posed(few, n_seen=0), [Coverage(few.k)])[f"Coverage@{few.k}"]
        assert found == pytest.approx(len(shown) / n_items, abs=1e-12)


@pytest.mark.parametrize("ties", TIES)
def test_a_positive_among_given_negatives_is_judged_as_by_trec_eval(cases, ties):
    for rankings in cases:
        n, n_candidates = rankings.scores.shape
        alone = Rankings(
            rankings.k, rankings.scores, np.eye(1, n_candidates) > np.zeros((n, 1)), np.zeros(n, int)
        )
        model, test = posed(alone)
        negatives = np.tile(np.arange(1, n_candidates), (n, 1))
        test = Interactions.from_columns(
            test.users, test.items, user_ids=model.user_ids, item_ids=Vocabulary.range(n_candidates)
        )
        metrics = metrics_at(rankings.k)
        found = evaluate(model, test, list(metrics.values()), GivenNegatives(negatives, ties=ties))
        of_users = {name: found.per_user(metric.name) for name, metric in metrics.items()}
        assert_agree(of_users, by_trec_eval(alone), 1e-12)


# With ties


def by_oracles(rankings):
    """Return what trec_eval and scikit-learn say, all names of `judged` together."""
    return by_trec_eval(rankings) | by_scikit_learn(rankings)


def orders_of(rankings):
    """Return the rankings without ties in which no score rises, and where those of each ranking begin."""
    every = np.array(list(permutations(range(rankings.scores.shape[1]))))
    fits = (np.diff(rankings.scores[:, every], axis=2) <= 0).all(axis=2)
    rows, orders = np.nonzero(fits)
    scores = -np.argsort(every[orders], axis=1).astype(np.float64)
    untied = Rankings(rankings.k, scores, rankings.relevant[rows], rankings.n_missing[rows])
    return untied, np.searchsorted(rows, np.arange(len(rankings)))


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_tie_rules_are_the_worst_the_mean_and_the_best_of_the_oracles_over_all_orders(k):
    generator = np.random.default_rng(k)
    scores = generator.integers(0, 3, size=(40, 5)).astype(np.float64)
    relevant = generator.random(scores.shape) < 0.4
    relevant[:, 0], relevant[:, 1] = True, False
    rankings = Rankings(k, scores, relevant, generator.integers(3, size=40))
    untied, starts = orders_of(rankings)
    assert len(untied) > 5 * len(rankings)
    sizes = np.diff(starts, append=len(untied))
    values = by_oracles(untied)
    over = {"pessimistic": np.minimum.reduceat, "average": np.add.reduceat, "optimistic": np.maximum.reduceat}
    for ties, reduce in over.items():
        divisor = sizes if ties == "average" else 1
        expected = {name: reduce(array, starts) / divisor for name, array in values.items()}
        assert_agree(judged(rankings, ties), expected, 1e-12)


# Models that know nothing

N_ITEMS, N_SEEN, N_POSITIVES = 12, 3, 2


def law(n_candidates, n_positives, k):
    """Return, by name, the oracles' values of all placements of the positives, which are equally likely."""
    placements = np.array(list(combinations(range(n_candidates), n_positives)))
    relevant = np.zeros((len(placements), n_candidates), dtype=bool)
    np.put_along_axis(relevant, placements, True, axis=1)
    scores = np.tile(-np.arange(float(n_candidates)), (len(placements), 1))
    return by_oracles(Rankings(k, scores, relevant, np.zeros(len(placements), dtype=np.int64)))


def exam(n_users, n_positives, seed=0):
    """Return a test of `n_positives` items for each user, any but the last ones, which users have seen."""
    generator = np.random.default_rng(seed)
    open_items = np.tile(np.arange(N_ITEMS - N_SEEN), (n_users, 1))
    items = generator.permuted(open_items, axis=1)[:, :n_positives]
    return Interactions.from_columns(
        np.repeat(np.arange(n_users), n_positives), items.ravel(), item_ids=Vocabulary.range(N_ITEMS)
    )


# By name: how many positives a user has, and of how many candidates a ranking is, and the protocol.
PROTOCOLS = {
    "full": (N_POSITIVES, N_ITEMS - N_SEEN, lambda test, ties: FullRanking(ties=ties)),
    "full, seen items too": (
        N_POSITIVES,
        N_ITEMS,
        lambda test, ties: FullRanking(exclude_seen=False, ties=ties),
    ),
    "sampled": (1, 6, lambda test, ties: SampledRanking(5, seed=3, ties=ties)),
    "sampled, seen items too": (1, 9, lambda test, ties: SampledRanking(8, ties=ties, exclude_seen=False)),
    "given": (
        1,
        5,
        lambda test, ties: GivenNegatives((test.items[:, None] + np.arange(1, 5)) % N_ITEMS, ties),
    ),
}


@pytest.mark.parametrize("k", [1, 4, 20])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_constant_model_scores_chance_or_the_worst_or_the_best_of_all_placements(protocol, k):
    n_positives, n_candidates, of = PROTOCOLS[protocol]
    test = exam(30, n_positives)
    model = TableModel(np.full((30, N_ITEMS), 2.5), N_SEEN)
    values, metrics = law(n_candidates, n_positives, k), metrics_at(k)
    for ties, summary in (("pessimistic", np.min), ("average", np.mean), ("optimistic", np.max)):
        found = evaluate(model, test, list(metrics.values()), of(test, ties))
        for name, metric in metrics.items():
            assert found[metric.name] == pytest.approx(summary(values[name]), abs=1e-12), (ties, name)


def distances_from_chance(protocol, ties, favour):
    """Return by name how far a random model is from chance, in standard errors of the mean over users.

    Scores are normal, and those of positives higher by `favour` standard deviations.
    """
    n_users = 4_000
    n_positives, n_candidates, of = PROTOCOLS[protocol]
    test = exam(n_users, n_positives)
    table = np.random.default_rng(11).normal(size=(n_users, N_ITEMS))
    table[test.users, test.items] += favour
    values, metrics = law(n_candidates, n_positives, 3), metrics_at(3)
    found = evaluate(TableModel(table, N_SEEN), test, list(metrics.values()), of(test, ties))
    return {
        name: (found[metric.name] - values[name].mean()) / (values[name].std() / n_users**0.5)
        for name, metric in metrics.items()
    }


# Beyond this many standard errors lies one of 100,000 samples.
FAR = 4.4


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_random_model_scores_chance(protocol, ties):
    distances = distances_from_chance(protocol, ties, favour=0.0)
    assert max(map(abs, distances.values())) < FAR, distances


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_model_that_knows_little_scores_more_than_chance(protocol):
    distances = distances_from_chance(protocol, "average", favour=0.25)
    assert min(distances.values()) > FAR, distances


# Ratings


def test_errors_of_ten_thousand_users_are_those_of_scikit_learn_and_torchmetrics():
    torch = pytest.importorskip("torch", reason="torch is not installed on this Python")
    errors = pytest.importorskip("torchmetrics.functional.regression", reason="TorchMetrics is not installed")
    generator = np.random.default_rng(5)
    for n_ratings in (1, 3, 10, 40):
        n_users = 2_500
        predictions = generator.uniform(0, 6, size=(n_users, n_ratings))
        # Half of them half-way between two ratings or at one, where rounding has a rule.
        predictions[::2] = np.rint(2 * predictions[::2]) / 2
        targets = generator.integers(1, 11, size=predictions.shape) / 2
        users, items = np.divmod(generator.permutation(predictions.size), n_ratings)
        test = Interactions.from_columns(users, items, targets[users, items])
        found = evaluate(TableModel(predictions), test, [RMSE(), MAE(), RoundedMAE()])
        pair = [torch.from_numpy(array.T.copy()) for array in (predictions, targets)]
        expected = {
            "RMSE": [
                root_mean_squared_error(targets.T, predictions.T, multioutput="raw_values"),
                errors.mean_squared_error(*pair, squared=False, num_outputs=n_users).numpy(),
            ],
            "MAE": [
                mean_absolute_error(targets.T, predictions.T, multioutput="raw_values"),
                errors.mean_absolute_error(*pair, num_outputs=n_users).numpy(),
            ],
            "rounded MAE": [
                mean_absolute_error(targets.T, np.round(predictions).T, multioutput="raw_values")
            ],
        }
        for name, oracles in expected.items():
            for values in oracles:
                np.testing.assert_allclose(found.per_user(name), values, rtol=1e-12, atol=0, err_msg=name)
        assert found["RMSE"] == pytest.approx(
            root_mean_squared_error(targets.ravel(), predictions.ravel()), rel=1e-12
        )
        assert found["MAE"] == pytest.approx(
            mean_absolute_error(targets.ravel(), predictions.ravel()), rel=1e-12
        )
