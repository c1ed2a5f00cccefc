"""Training NeuMF-8 on MovieLens 1M, on the processor: million instances a second, the sampling included."""

import pytest

import mfcore
from benchmarks import data, judging, ncf_peers, ours, peers
from benchmarks.ncf_peers import NcfPeer
from benchmarks.ours import each_engine
from benchmarks.results import Measure, Result, peers_of
from mfcore.data import NcfSplit

TASK = "NeuMF-8 training"
N_FACTORS, LAYERS, N_NEGATIVES, EPOCHS, SEED = 8, (64, 32, 16, 8), 4, 3, 0
BATCH_SIZES = (256, 16_384)
# A whole epoch of 5.0 M instances in small batches takes a peer up to a minute; its rate shows sooner.
PEERS_MAX_INSTANCES = {256: 1_000_000}


@pytest.fixture(scope="module")
def split() -> NcfSplit:
    data.require("ml-1m-ncf")
    return mfcore.datasets.ncf("ml-1m")


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_torch_loop(batch_size: int, split: NcfSplit, measure: Measure) -> None:
    peers.load("torch")
    measure(lambda: peer_result("torch loop", ncf_peers.torch_loop, batch_size, split))


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_keras_fit(batch_size: int, split: NcfSplit, measure: Measure) -> None:
    ncf_peers.load_keras()
    measure(lambda: peer_result("Keras fit", ncf_peers.keras_fit, batch_size, split))


@each_engine
@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_mfcore_trains_to_the_loss_of_its_peers(
    engine: str, batch_size: int, split: NcfSplit, measure: Measure, ledger: list[Result]
) -> None:
    spec = mfcore.NeuMF(N_FACTORS, LAYERS, output=mfcore.Sigmoid())

    def work() -> Result:
        model, times = ours.train(
            spec,
            split.train,
            epochs=EPOCHS,
            objective="logistic",
            optimizer=mfcore.Adam(learning_rate=ncf_peers.LEARNING_RATE),
            n_negatives=N_NEGATIVES,
            batch_size=batch_size,
            seed=SEED,
            backend=engine,
        )
        quality = {
            "log loss": model.history[-1].objective,
            "epochs": float(EPOCHS),
            "HR@10": judging.hit_rate(model, split),
        }
        return times.result(TASK, setting(batch_size), quality=quality)

    found = measure(work)
    # After as many instances; at batch 256 the peers have seen fewer.
    losses = [peer.quality["log loss"] for peer in peers_of(found, ledger)]
    assert found.quality["log loss"] <= 1.1 * min(losses, default=0.35)


def peer_result(engine: str, peer: NcfPeer, batch_size: int, split: NcfSplit) -> Result:
    trained = peer(
        split.train,
        n_factors=N_FACTORS,
        layers=LAYERS,
        n_negatives=N_NEGATIVES,
        batch_size=batch_size,
        epochs=EPOCHS,
        seed=SEED,
        max_instances=PEERS_MAX_INSTANCES.get(batch_size),
    )
    return trained.result(TASK, setting(batch_size), engine, split)


def setting(batch_size: int) -> str:
    return f"ml-1m-ncf, {N_NEGATIVES} negatives, Adam, batch {batch_size:,}"
