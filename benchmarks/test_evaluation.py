"""Ranking quality of a trained model: users a second, among 99 negatives and over the whole catalogue."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import mfcore
from benchmarks import data, ours, peers
from benchmarks.results import Measure, Result
from benchmarks.timing import timed_twice
from mfcore.data import NcfSplit
from mfcore.specs import ModelSpec

METRICS = [mfcore.HitRate(10), mfcore.NDCG(10)]
MODELS: dict[str, ModelSpec] = {
    "MF-64": mfcore.MF(64),
    "NeuMF-8": mfcore.NeuMF(8, (64, 32, 16, 8), output=mfcore.Sigmoid()),
}
PROTOCOLS = ("1+99", "full ranking")


@cache
def split() -> NcfSplit:
    data.require("ml-1m-ncf")
    return mfcore.datasets.ncf("ml-1m")


@cache
def trained(name: str) -> mfcore.Model:
    settings: dict[str, Any] = {"epochs": 2, "threads": ours.THREADS, "progress": False}
    if name == "MF-64":
        settings["optimizer"] = mfcore.WALS(unobserved_weight=0.3, l2=0.007, nu=1, solver="cg")
    else:
        settings |= {"objective": "logistic", "n_negatives": 1, "batch_size": 4_096}
    return mfcore.fit(MODELS[name], split().train, **settings)


def protocol_of(name: str) -> Any:
    return mfcore.GivenNegatives(split().negatives) if name == "1+99" else mfcore.FullRanking()


@cache
def definition(model: str, protocol: str) -> dict[str, float]:
    """Return what the core finds from numpy's scores."""
    return dict(mfcore.evaluate(by_core(model), split().test, METRICS, protocol_of(protocol)))


def by_core(model: str) -> mfcore.Model:
    return replace(trained(model), scorer=None)


def test_irspack(measure: Measure) -> None:
    """It ranks by an evaluator of its own, in C++, what one matrix product scores."""
    peers.load("irspack")
    from irspack.evaluation import Evaluator

    train, test, model = split().train, split().test, trained("MF-64")
    held_out = sparse.csr_matrix((np.ones(len(test)), (test.users, test.items)), train.to_csr().shape)
    evaluator = Evaluator(held_out, cutoff=10, n_threads=ours.THREADS)
    users, items = (model.parameters[f"{side}_factors"] for side in ("user", "item"))
    recommender: Any = SimpleNamespace(
        n_users=model.n_users,
        n_items=model.n_items,
        X_train_all=sparse.csr_matrix(train.to_csr() > 0),
        get_score_block=lambda start, stop: users[start:stop] @ items.T,
    )

    def evaluate() -> dict[str, float]:
        found = evaluator.get_score(recommender)
        return {"HR@10": found["hit"], "NDCG@10": found["ndcg"]}

    def work() -> Result:
        return result_of("irspack", "MF-64", "full ranking", timed_twice(evaluate))

    assert measure(work).quality == pytest.approx(definition("MF-64", "full ranking"), abs=1e-3)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("engine", ["numpy", *ours.engines()])
def test_evaluation_finds_what_the_definition_does(
    engine: str, model: str, protocol: str, measure: Measure
) -> None:
    judged = by_core(model) if engine == "numpy" else ours.scored_by(engine, trained(model))

    def evaluate() -> dict[str, float]:
        return dict(mfcore.evaluate(judged, split().test, METRICS, protocol_of(protocol)))

    def work() -> Result:
        return result_of(f"mfcore ({engine})", model, protocol, timed_twice(evaluate))

    found = measure(work).quality
    # A sum in another order may exchange two items of nearly the same score.
    assert found == pytest.approx(definition(model, protocol), abs=1e-3)


def result_of(engine: str, model: str, protocol: str, timed: tuple[float, float, dict[str, float]]) -> Result:
    seconds, first, found = timed
    n = len(split().test)
    return Result(
        f"evaluation, {protocol}",
        f"{model} on ml-1m-ncf",
        engine,
        seconds,
        f"{n:,} users",
        rate=n / seconds,
        unit="users",
        first=first,
        quality=found,
    )
