"""On a CUDA device: NeuMF in very large batches, the sampling included, and WALS with wide factors.

Every engine that trains there; without a device these are skipped. The costs that `backend="auto"` chooses by
are those of processors, so none are told.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.special import entr

import mfcore
from benchmarks import data, judging, ours
from benchmarks.jobs import job_of
from benchmarks.ours import Training, each_engine
from benchmarks.results import Measure, Result
from benchmarks.test_wals import ALPHA, L2, STEPS
from mfcore import Interactions

DEVICE = "cuda"
NEUMF = mfcore.NeuMF(64, (256, 256, 128, 64), output=mfcore.Sigmoid())
# Of the whole of the synthetic data; smaller data have as many steps an epoch.
BATCH_SIZE = 1_048_576
N_NEGATIVES, NEUMF_EPOCHS, SEED = 4, 5, 0
# What is ranked among 99 others, so that judging takes seconds.
N_RANKED = 10_000
WALS_RATINGS, WALS_FACTORS, WALS_EPOCHS = 10_000_000, 256, 4


def engines_and_products() -> Iterator[Any]:
    """Yield the engines with the precision of their matrix products; PyTorch's is a setting."""
    for engine in ours.engines():
        yield pytest.param(engine, None, id=engine)
        if engine == "torch":
            yield pytest.param(engine, "bfloat16", id=f"{engine}, bfloat16")


@pytest.mark.parametrize(("engine", "matmul"), list(engines_and_products()))
def test_mfcore_learns_in_very_large_batches(engine: str, matmul: str | None, measure: Measure) -> None:
    require_device(engine)
    backend: Any = ours.load(engine)
    if matmul is not None:
        backend = replace(backend, matmul=matmul)
    train, test = neumf_data()
    batch_size = round(BATCH_SIZE * data.n_ratings() / data.N_RATINGS)

    def work() -> Result:
        model, times = ours.train(
            NEUMF,
            train,
            epochs=NEUMF_EPOCHS,
            backend=backend,
            device=DEVICE,
            objective="logistic",
            optimizer=mfcore.Adam(learning_rate=0.001),
            n_negatives=N_NEGATIVES,
            batch_size=batch_size,
            seed=SEED,
        )
        quality = {
            "log loss": model.history[-1].objective,
            "HR@10": sampled_hit_rate(model, test),
            "HR@10 by popularity": sampled_hit_rate(popular(train), test),
        }
        where = f"{data.in_words(train)}, {N_NEGATIVES} negatives, Adam, batch {batch_size:,}"
        return told(times.result("NeuMF-64 on a CUDA device", where, quality=quality), matmul)

    found = measure(work)
    share = 1 / (1 + N_NEGATIVES)
    # 10 % better than a constant, which knows how many instances are positive.
    assert found.quality["log loss"] <= 0.9 * (entr(share) + entr(1 - share))
    # Who meets what depends on popularity alone here, so nothing does better than to rank by it.
    assert found.quality["HR@10"] >= 0.9 * found.quality["HR@10 by popularity"]


@each_engine
def test_mfcore_solves_for_wide_factors(engine: str, measure: Measure) -> None:
    require_device(engine)

    def work() -> Result:
        train = wals_data()
        model, times = ours.train(
            mfcore.MF(WALS_FACTORS, init=mfcore.Normal(std=0.1 / WALS_FACTORS**0.5)),
            train,
            epochs=WALS_EPOCHS,
            backend=engine,
            device=DEVICE,
            objective=mfcore.WeightedSquared(ALPHA),
            optimizer=mfcore.WALS(
                unobserved_weight=1.0, zero_pairs="unobserved", l2=L2, nu=0.0, solver="cg", steps=STEPS
            ),
        )
        objective = judging.hu_objective(times.with_factors(model), train, l2=L2, alpha=ALPHA)
        where = f"k={WALS_FACTORS}, {data.in_words(train)}"
        quality = {"objective": objective, "epochs": float(WALS_EPOCHS)}
        return told(times.result("WALS on a CUDA device", where, unit="interactions", quality=quality), None)

    # Better than the model that answers 0 throughout.
    nothing = 1 + ALPHA * float(wals_data().values.mean())
    assert measure(work).quality["objective"] <= 0.9 * nothing


def require_device(engine: str) -> None:
    """Skip, with the engine's reason, where it finds no CUDA device; before any large data are made."""
    few = mfcore.data.synthetic(100).interactions
    job = job_of({"spec": mfcore.MF(2), "optimizer": "adam", "device": DEVICE}, few)
    reason = ours.load(engine).unsupported(job)
    if reason is not None:
        pytest.skip(f"{engine}: {reason}")


def told(result: Result, matmul: str | None) -> Result:
    """Return a result without costs, and with the precision of matrix products beside the engine."""
    engine = result.engine if matmul is None else f"{result.engine.removesuffix(')')}, {matmul})"
    return replace(result, engine=engine, costs=None)


@cache
def neumf_data() -> tuple[Interactions, Interactions]:
    """Return the synthetic ratings; fewer come with all items still, so that nobody has met them all."""
    n = data.n_ratings()
    if n == data.N_RATINGS:
        return data.synthetic_split()
    n_users = round(data.N_USERS * n / data.N_RATINGS)
    return mfcore.splits.ratio(mfcore.data.synthetic(n, n_users, data.N_ITEMS).interactions, test=0.01)


@cache
def wals_data() -> Interactions:
    return data.split_of(data.scaled(WALS_RATINGS))[0]


def popular(train: Interactions) -> mfcore.Model:
    """Return the model that scores an item by the number of its training interactions."""
    counts = np.bincount(train.items, minlength=train.n_items).astype(np.float32)
    everybody = np.ones((train.n_users, 1), dtype=np.float32)
    return Training(float("nan"), None, everybody, counts[:, None]).as_model(train)


def sampled_hit_rate(model: mfcore.Model, test: Interactions) -> float:
    """Return HR@10 of some held-out interactions among 99 random items each."""
    rows = np.random.default_rng(SEED).permutation(len(test))[:N_RANKED]
    metrics = mfcore.evaluate(
        model, test.select(np.sort(rows)), [mfcore.HitRate(10)], mfcore.SampledRanking()
    )
    return metrics["HR@10"]
