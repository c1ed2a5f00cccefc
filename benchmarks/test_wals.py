"""Weighted alternating least squares on 20 M ratings: seconds an epoch by solver and k, beside its peers.

All minimise one objective, which one function evaluates at the end; see `benchmarks.peers`.
"""

from typing import Literal

import pytest

import mfcore
from benchmarks import data, judging, ours, peers
from benchmarks.ours import Training, each_engine
from benchmarks.results import Measure, Result, peers_of

Solver = Literal["cg", "cholesky", "subspace"]
L2, ALPHA, STEPS, BLOCK_SIZE = 1.0, 1.0, 3, 32
EPOCHS = {"cg": 4, "cholesky": 2, "subspace": 2}
SOLVERS = {
    "cg": f"conjugate gradient, {STEPS} steps",
    "cholesky": "Cholesky",
    "subspace": f"blocks of {BLOCK_SIZE}",
}
# A solver and k; each takes several times as long at 128 as at 64.
SIZES = [
    *(pytest.param("cg", k, marks=pytest.mark.long(minutes=1)) for k in (16, 32)),
    *((solver, 64) for solver in SOLVERS),
    *(pytest.param(solver, 128, marks=pytest.mark.long(minutes=3)) for solver in SOLVERS),
]
PEERS = {"cmfrec": ["cg"], "implicit": ["cg", "cholesky"], "irspack": ["cg", "subspace"]}


def task(solver: str) -> str:
    return f"WALS by {SOLVERS[solver]}"


def setting(k: int) -> str:
    return f"k={k}, {data.in_words(data.synthetic_split()[0])}"


def objective(solver: str, trained: Training) -> dict[str, float]:
    train, _ = data.synthetic_split()
    return {
        "objective": judging.hu_objective(trained, train, l2=L2, alpha=ALPHA),
        "epochs": EPOCHS[solver],
    }


@pytest.mark.parametrize(("solver", "k"), SIZES)
@pytest.mark.parametrize("peer", PEERS)
def test_peer(peer: str, solver: str, k: int, measure: Measure) -> None:
    peers.load(peer)
    if solver not in PEERS[peer]:
        pytest.skip(f"{peer} does not solve by {SOLVERS[solver]}")
    train, _ = data.synthetic_split()

    def work() -> Result:
        trained = peers.WALS_PEERS[peer](
            train,
            n_factors=k,
            l2=L2,
            alpha=ALPHA,
            solver=solver,
            steps=STEPS,
            block_size=BLOCK_SIZE,
            epochs=EPOCHS[solver],
        )
        return Result(
            task(solver),
            setting(k),
            peer,
            trained.epoch_seconds,
            "epoch",
            rate=len(train) / trained.epoch_seconds,
            unit="interactions",
            first=trained.first_epoch,
            quality=objective(solver, trained),
            along=("factors", k),
        )

    measure(work)


@each_engine
@pytest.mark.parametrize(("solver", "k"), SIZES)
def test_mfcore_reaches_the_objective_of_its_peers_in_as_many_epochs(
    solver: Solver, k: int, engine: str, measure: Measure, ledger: list[Result]
) -> None:
    train, _ = data.synthetic_split()
    spec = mfcore.MF(n_factors=k, init=mfcore.Normal(std=0.1 / k**0.5))
    optimizer = mfcore.WALS(
        unobserved_weight=1.0,
        zero_pairs="unobserved",
        l2=L2,
        nu=0.0,
        solver=solver,
        steps=STEPS,
        block_size=BLOCK_SIZE,
    )

    def work() -> Result:
        model, times = ours.train(
            spec,
            train,
            epochs=EPOCHS[solver],
            objective=mfcore.WeightedSquared(ALPHA),
            optimizer=optimizer,
            backend=engine,
        )
        return times.result(
            task(solver),
            setting(k),
            unit="interactions",
            quality=objective(solver, times.with_factors(model)),
            along=("factors", k),
        )

    found = measure(work)
    limits = [1.02 * peer.quality["objective"] for peer in peers_of(found, ledger)]
    # Without a peer: better than the model that answers 0 throughout.
    nothing = 1 + ALPHA * float(train.values.mean())
    assert found.quality["objective"] <= min(limits, default=0.9 * nothing)
