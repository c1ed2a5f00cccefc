"""cmfrec, implicit, irspack and Surprise: build, train, and the seconds of an epoch without set-up.

The first three minimise the objective of Hu, Koren & Volinsky (2008) with confidence 1 + alpha * value and
plain l2: `mfcore.WALS(unobserved_weight=1, zero_pairs="unobserved", nu=0)`.
"""

import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from statistics import median
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from benchmarks.ours import THREADS, Times, Training
from mfcore import Interactions
from mfcore.specs import Floats

Peer = Callable[..., Training]


def load(name: str) -> Any:
    """Return a peer's package; skip where it is not installed."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        pytest.skip(f"{error.name} is not installed: pip install 'mfcore[peers]'")


def cmfrec(
    data: Interactions,
    *,
    n_factors: int,
    l2: float,
    alpha: float,
    solver: str,
    steps: int,
    block_size: int,
    epochs: int,
) -> Training:
    """Train `CMF_implicit`; an epoch's time is the difference of a long and a short run."""
    matrix = sparse.coo_matrix(data.to_csr())
    model_of = load("cmfrec").CMF_implicit

    def run(n_epochs: int) -> tuple[Any, float]:
        model = model_of(
            k=n_factors,
            lambda_=l2,
            alpha=alpha,
            use_cg=solver == "cg",
            finalize_chol=False,
            max_cg_steps=steps,
            niter=n_epochs,
            nthreads=THREADS,
            precompute_for_predictions=False,
            produce_dicts=False,
            verbose=False,
        )
        start = time.perf_counter()
        with single_threaded_blas():
            model.fit(matrix)
        return model, time.perf_counter() - start

    _, short = run(1)
    model, long = run(epochs)
    return Training((long - short) / (epochs - 1), short, model.A_, model.B_)


def implicit(
    data: Interactions,
    *,
    n_factors: int,
    l2: float,
    alpha: float,
    solver: str,
    steps: int,
    block_size: int,
    epochs: int,
) -> Training:
    """Train `AlternatingLeastSquares`, which tells the seconds of each iteration."""
    model = implicit_model(
        factors=n_factors,
        regularization=l2,
        use_cg=solver == "cg",
        iterations=epochs,
        random_state=0,
    )
    model.cg_steps = steps
    # Its weight of an interaction is the value itself.
    confidence = sparse.csr_matrix(data.to_csr())
    confidence.data = 1 + np.float32(alpha) * confidence.data
    laps: list[float] = []
    start = time.perf_counter()
    with single_threaded_blas():
        model.fit(
            confidence, show_progress=False, callback=lambda number, seconds, loss: laps.append(seconds)
        )
    whole = time.perf_counter() - start
    return Training(median(laps[1:]), whole - sum(laps[1:]), model.user_factors, model.item_factors)


def implicit_model(**settings: Any) -> Any:
    """Return an untrained `AlternatingLeastSquares` for the processor, with as many threads as all others."""
    model_of = load("implicit.cpu.als").AlternatingLeastSquares
    with single_threaded_blas():
        return model_of(alpha=1.0, num_threads=THREADS, **settings)


def irspack(
    data: Interactions,
    *,
    n_factors: int,
    l2: float,
    alpha: float,
    solver: str,
    steps: int,
    block_size: int,
    epochs: int,
) -> Training:
    """Train `IALSRecommender` with its "ORIGINAL" loss, epoch by epoch."""
    weights = sparse.csr_matrix(data.to_csr())
    weights.data *= np.float32(alpha)
    return ials(
        weights,
        epochs=epochs,
        n_components=n_factors,
        alpha0=1.0,
        reg=l2,
        nu=0.0,
        solver_type={"cg": "CG", "cholesky": "CHOLESKY", "subspace": "IALSPP"}[solver],
        max_cg_steps=steps,
        ialspp_subspace_dimension=block_size,
        loss_type="ORIGINAL",
    )


def ials(matrix: sparse.csr_matrix, *, epochs: int, **settings: Any) -> Training:
    """Train irspack's `IALSRecommender` with its own settings."""
    recommender_of = load("irspack").IALSRecommender
    laps = []
    with single_threaded_blas():
        start = time.perf_counter()
        recommender = recommender_of(matrix, n_threads=THREADS, train_epochs=epochs, **settings)
        recommender.start_learning()
        for _ in range(epochs):
            recommender.run_epoch()
            laps.append(time.perf_counter())
    seconds = np.diff([start, *laps])
    core = recommender.trainer.core_trainer
    return Training(float(np.median(seconds[1:])), float(seconds[0]), core.user, core.item)


def surprise(
    train: Interactions, test: Interactions, *, epochs: int, **settings: Any
) -> tuple[Times, Floats]:
    """Train `SVD`, biased MF by plain SGD on one thread; return its times, and its predictions for a test.

    An epoch's time is the difference of a long and a short run.

    Parameters
    ----------
    train, test : Interactions
        Ratings from 1 to 5, with the same ids.
    epochs : int
        From 2.
    settings
        Of `SVD`.
    """
    package = load("surprise")
    # As its own readers make it, without their detour over text.
    by_user: dict[int, list[Any]] = defaultdict(list)
    by_item: dict[int, list[Any]] = defaultdict(list)
    columns = (column.tolist() for column in (train.users, train.items, train.values))
    for user, item, value in zip(*columns, strict=True):
        by_user[user].append((item, value))
        by_item[item].append((user, value))
    rows = [{row: row for row in range(n)} for n in (train.n_users, train.n_items)]
    known = package.Trainset(by_user, by_item, train.n_users, train.n_items, len(train), (1, 5), *rows)

    def run(n_epochs: int) -> tuple[Any, float]:
        model = package.SVD(n_epochs=n_epochs, random_state=0, **settings)
        start = time.perf_counter()
        model.fit(known)
        return model, time.perf_counter() - start

    _, short = run(1)
    model, long = run(epochs)
    scores = known.global_mean + model.bu[test.users] + model.bi[test.items]
    scores += np.einsum("nk,nk->n", model.pu[test.users], model.qi[test.items])
    return Times((long - short) / (epochs - 1), short), np.clip(scores, 1, 5)


def single_threaded_blas() -> Any:
    """Keep BLAS from starting threads beside a peer's own, as implicit's manual asks."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")


WALS_PEERS: dict[str, Peer] = {"cmfrec": cmfrec, "implicit": implicit, "irspack": irspack}
