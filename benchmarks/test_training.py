"""Training by mini-batches: million instances a second of every engine, model and batch size.

Two fifths of MovieLens 1M's NCF split, with four negatives 2.0 M instances an epoch, are long enough for all
engines to compile what they compile. `test_ncf_speed` has NeuMF on the whole of it.
"""

from functools import cache

import numpy as np
import pytest

import mfcore
from benchmarks import data, judging, ncf_peers, ours, peers
from benchmarks.ncf_peers import NcfPeer
from benchmarks.ours import each_engine
from benchmarks.results import Measure, Result, peers_of
from mfcore.data import NcfSplit
from mfcore.specs import ModelSpec

SHARE, N_NEGATIVES, EPOCHS, SEED, ADAM = 0.4, 4, 2, 0, mfcore.Adam(learning_rate=0.001)
BATCH_SIZES = [256, pytest.param(4_096, marks=pytest.mark.long(minutes=0.3)), 16_384]
# Of a small batch's epoch, so that a peer's cell takes seconds.
PEERS_MAX_INSTANCES = 500_000
SIGMOID = mfcore.Sigmoid()
INIT = mfcore.Normal(std=0.01)
MODELS: dict[str, ModelSpec] = {
    "MF-8": mfcore.MF(8, output=SIGMOID, init=INIT),
    "MF-64": mfcore.MF(64, output=SIGMOID, init=INIT),
    "GMF-8": mfcore.GMF(8, output=SIGMOID),
    "MLP-8": mfcore.MLP((64, 32, 16, 8), output=SIGMOID),
    "MLP-64": mfcore.MLP((256, 128, 64), output=SIGMOID),
    "NeuMF-8": mfcore.NeuMF(8, (64, 32, 16, 8), output=SIGMOID),
}
# The same in other libraries: factors of the product, and layers of the tower.
PEER_MODELS: dict[str, tuple[int, tuple[int, ...]]] = {
    "GMF-8": (8, ()),
    "MLP-8": (0, (64, 32, 16, 8)),
    "MLP-64": (0, (256, 128, 64)),
    "NeuMF-8": (8, (64, 32, 16, 8)),
}
TOWERS: dict[str, ModelSpec] = {
    "two towers of 32": mfcore.TwoTower(32),
    "two towers of 64, 32": mfcore.TwoTower(64, (32,)),
}
# Of a batch all pairs are scored: larger ones are dear, smaller ones teach little.
IN_BATCH_SIZES = [256, 1_024, pytest.param(4_096, marks=pytest.mark.long(minutes=1))]


@cache
def split() -> NcfSplit:
    return data.part_of_ml_1m(SHARE)


def setting(batch_size: int) -> str:
    return f"{size()} of ml-1m-ncf, {N_NEGATIVES} negatives, Adam, batch {batch_size:,}"


def size() -> str:
    return f"{len(split().train) / 1e6:.2g} M"


def along(batch_size: int) -> tuple[str, int]:
    return ("batch size", batch_size)


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@pytest.mark.parametrize("name", PEER_MODELS)
def test_torch_loop(name: str, batch_size: int, measure: Measure) -> None:
    peers.load("torch")
    measure(lambda: peer_result("torch loop", ncf_peers.torch_loop, name, batch_size))


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@pytest.mark.parametrize("name", PEER_MODELS)
def test_keras_fit(name: str, batch_size: int, measure: Measure) -> None:
    ncf_peers.load_keras()
    measure(lambda: peer_result("Keras fit", ncf_peers.keras_fit, name, batch_size))


@each_engine
@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@pytest.mark.parametrize("name", MODELS)
def test_mfcore_learns_as_its_peers_do(
    name: str, batch_size: int, engine: str, measure: Measure, ledger: list[Result]
) -> None:
    def work() -> Result:
        model, times = ours.train(
            MODELS[name],
            split().train,
            epochs=EPOCHS,
            backend=engine,
            objective="logistic",
            optimizer=ADAM,
            n_negatives=N_NEGATIVES,
            batch_size=batch_size,
            seed=SEED,
        )
        quality = {
            "log loss": model.history[-1].objective,
            "epochs": float(EPOCHS),
            "HR@10": judging.hit_rate(model, split()),
        }
        return times.result(f"training {name}", setting(batch_size), quality=quality, along=along(batch_size))

    found = measure(work)
    limits = [
        1.1 * peer.quality["log loss"] for peer in peers_of(found, ledger) if peer.quality["epochs"] == EPOCHS
    ]
    # Without a peer: below the loss of a score of 0, from which it starts.
    assert found.quality["log loss"] <= min(limits, default=np.log(2))
    assert_agrees(found, ledger, "log loss")


@each_engine
@pytest.mark.parametrize("batch_size", IN_BATCH_SIZES)
@pytest.mark.parametrize("name", TOWERS)
def test_mfcore_learns_to_retrieve(
    name: str, batch_size: int, engine: str, measure: Measure, ledger: list[Result]
) -> None:
    def work() -> Result:
        model, times = ours.train(
            TOWERS[name],
            split().train,
            epochs=EPOCHS,
            backend=engine,
            objective=mfcore.InBatchSoftmax(temperature=1.0, logq=False, remove_accidental_hits=False),
            optimizer=ADAM,
            batch_size=batch_size,
            seed=SEED,
        )
        where = f"{size()} of ml-1m-ncf, Adam, batch {batch_size:,}"
        quality = {"softmax loss": model.history[-1].objective, "HR@10": judging.hit_rate(model, split())}
        return times.result(
            f"training {name} by in-batch softmax", where, quality=quality, along=along(batch_size)
        )

    found = measure(work)
    # Every item of a batch as likely as the others.
    assert found.quality["softmax loss"] <= np.log(batch_size)
    assert_agrees(found, ledger, "softmax loss")


def assert_agrees(found: Result, ledger: list[Result], loss: str) -> None:
    """Hold the engines' losses together: they show the same instances to the same model."""
    for other in ledger:
        if not other.is_peer and other.competes_with(found):
            assert found.quality[loss] == pytest.approx(other.quality[loss], rel=0.01), other.engine


def peer_result(engine: str, peer: NcfPeer, name: str, batch_size: int) -> Result:
    n_factors, layers = PEER_MODELS[name]
    trained = peer(
        split().train,
        n_factors=n_factors,
        layers=layers,
        n_negatives=N_NEGATIVES,
        batch_size=batch_size,
        epochs=EPOCHS,
        seed=SEED,
        max_instances=PEERS_MAX_INSTANCES if batch_size < 1_024 else None,
    )
    return trained.result(f"training {name}", setting(batch_size), engine, split(), along=along(batch_size))
