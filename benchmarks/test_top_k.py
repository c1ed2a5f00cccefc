"""The 10 best of all items a user has not seen: users a second, beside implicit."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

import mfcore
from benchmarks import data, ours, peers
from benchmarks.results import Measure, Result
from benchmarks.timing import timed_twice
from mfcore.model import top_k
from mfcore.specs import Floats

K, N_FACTORS, N_ASKED = 10, 64, 20_000

Ranked = tuple[NDArray[np.int64], Floats]


@cache
def trained_model() -> mfcore.Model:
    train, _ = data.synthetic_split()
    optimizer = mfcore.WALS(unobserved_weight=1.0, l2=1.0, nu=0.0, solver="cg")
    return mfcore.fit(
        mfcore.MF(n_factors=N_FACTORS), train, optimizer=optimizer, epochs=1, threads=ours.THREADS
    )


@cache
def asked() -> NDArray[np.int64]:
    """Return random users, of those who have not seen all but a few of the items."""
    model = trained_model()
    users = np.flatnonzero(model.n_items - model.seen.counts >= K)
    return np.random.default_rng(0).choice(users, size=min(N_ASKED, len(users)), replace=False)


@cache
def exact() -> Ranked:
    """Return the answer of the core's numpy top-k."""
    model = trained_model()
    return top_k(model.score_catalogue, asked(), K, model.n_items, model.seen)


def result_of(engine: str, seconds: float, first: float, ranked: Ranked) -> Result:
    model = trained_model()
    return Result(
        f"top {K}",
        f"{model.n_items:,} items, k={N_FACTORS}, seen items left out",
        engine,
        seconds,
        f"{len(asked()):,} users",
        rate=len(asked()) / seconds,
        unit="users",
        first=first,
        quality={
            "equal to exact": float(np.mean(ranked[0] == exact()[0])),
            "score error": float(np.abs(ranked[1] - exact()[1]).max() / np.abs(exact()[1]).max()),
        },
    )


def test_implicit(measure: Measure) -> None:
    als = peers.implicit_model(factors=N_FACTORS)
    model, users = trained_model(), asked()
    als.user_factors, als.item_factors = (model.parameters[f"{side}_factors"] for side in ("user", "item"))
    train, _ = data.synthetic_split()
    seen = sparse.csr_matrix(train.to_csr())[users]

    def answer() -> Ranked:
        with peers.single_threaded_blas():
            items, scores = als.recommend(users, seen, N=K, filter_already_liked_items=True)
        return items, scores

    measure(lambda: result_of("implicit", *timed_twice(answer)))


@pytest.mark.parametrize("engine", ["numpy", *ours.engines()])
def test_mfcore_recommends_what_the_exact_top_k_does(engine: str, measure: Measure) -> None:
    model, users = trained_model(), asked()
    asking = replace(model, scorer=None) if engine == "numpy" else ours.scored_by(engine, model)

    def answer() -> Any:
        return asking.recommend(users, k=K)

    def work() -> Result:
        seconds, first, found = timed_twice(answer)
        columns = found.columns()
        items, scores = (columns[name].reshape(len(users), K) for name in ("item", "score"))
        return result_of(f"mfcore ({engine})", seconds, first, (items, scores))

    quality = measure(work).quality
    # Sums in another order may exchange items whose scores agree in all but the last digits.
    assert quality["equal to exact"] >= 0.999
    assert quality["score error"] <= 1e-4
