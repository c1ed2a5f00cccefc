"""Weighted alternating least squares on 20 M ratings, k=64: seconds an epoch, beside its peers.

All minimise one objective, which one function evaluates at the end; see `benchmarks.peers`.
"""

import pytest

import mfcore
from benchmarks import data, ours, peers, quality
from benchmarks.ours import Training
from benchmarks.results import Measure, Result

TASK = "WALS"
N_FACTORS, L2, ALPHA, STEPS, BLOCK_SIZE = 64, 1.0, 1.0, 3, 32
EPOCHS = {"cg": 4, "cholesky": 2, "subspace": 2}
PEERS = [
    ("cg", "cmfrec"),
    ("cg", "implicit"),
    ("cg", "irspack"),
    ("cholesky", "implicit"),
    ("subspace", "irspack"),
]
SOLVERS = {
    "cg": f"conjugate gradient, {STEPS} steps",
    "cholesky": "Cholesky",
    "subspace": f"blocks of {BLOCK_SIZE}",
}


def result_of(engine: str, solver: str, trained: Training) -> Result:
    train, _ = data.synthetic_split()
    return Result(
        TASK,
        f"{SOLVERS[solver]}, k={N_FACTORS}, {data.in_words(train)}",
        engine,
        trained.epoch_seconds,
        "epoch",
        rate=len(train) / trained.epoch_seconds,
        unit="interactions",
        first=trained.first_epoch,
        quality={
            "objective": quality.hu_objective(trained, train, l2=L2, alpha=ALPHA),
            "epochs": EPOCHS[solver],
        },
    )


@pytest.mark.parametrize(("solver", "peer"), PEERS)
def test_peer(solver: str, peer: str, measure: Measure) -> None:
    peers.load(peer)
    train, _ = data.synthetic_split()

    def work() -> Result:
        trained = peers.WALS_PEERS[peer](
            train,
            n_factors=N_FACTORS,
            l2=L2,
            alpha=ALPHA,
            solver=solver,
            steps=STEPS,
            block_size=BLOCK_SIZE,
            epochs=EPOCHS[solver],
        )
        return result_of(peer, solver, trained)

    measure(work)


@pytest.mark.parametrize("solver", list(SOLVERS))
def test_mfcore_reaches_the_objective_of_its_peers_in_as_many_epochs(
    solver: str, measure: Measure, ledger: list[Result]
) -> None:
    train, _ = data.synthetic_split()
    spec = mfcore.MF(n_factors=N_FACTORS, init=mfcore.Normal(std=0.1 / N_FACTORS**0.5))
    optimizer = mfcore.WALS(
        unobserved_weight=1.0,
        zero_pairs="unobserved",
        l2=L2,
        nu=0.0,
        solver=solver,  # type: ignore[arg-type]
        steps=STEPS,
        block_size=BLOCK_SIZE,
    )

    def work() -> Result:
        _, trained = ours.train(
            spec,
            train,
            epochs=EPOCHS[solver],
            objective=mfcore.WeightedSquared(ALPHA),
            optimizer=optimizer,
            backend="numba",
        )
        return result_of("mfcore (numba)", solver, trained)

    found = measure(work)
    limits = [
        1.02 * other.quality["objective"] for other in ledger if other.is_peer and other.competes_with(found)
    ]
    # Without a peer: better than the model that answers 0 throughout.
    nothing = 1 + ALPHA * float(train.values.mean())
    assert found.quality["objective"] <= min(limits, default=0.9 * nothing)
