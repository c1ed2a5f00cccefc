"""Training NeuMF-8 on MovieLens 1M, on the processor: million instances a second, the sampling included."""

import pytest

import mfcore
from benchmarks import data, ncf_peers, ours, peers
from benchmarks.ncf_peers import NcfPeer, NcfTraining
from benchmarks.results import Measure, Result
from mfcore.data.ncf import NcfSplit
from mfcore.metrics.interfaces import ScoringModel

TASK = "NeuMF-8 training"
N_FACTORS, LAYERS, N_NEGATIVES, EPOCHS, SEED = 8, (64, 32, 16, 8), 4, 3, 0
BATCH_SIZES = (256, 16_384)
ENGINES = ("numba", "torch")
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


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@pytest.mark.parametrize("engine", ENGINES)
def test_mfcore_trains_to_the_loss_of_its_peers(
    engine: str, batch_size: int, split: NcfSplit, measure: Measure, ledger: list[Result]
) -> None:
    spec = mfcore.NeuMF(N_FACTORS, LAYERS, output=mfcore.Sigmoid())

    def work() -> Result:
        model, trained = ours.train(
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
            "HR@10": hit_rate(model, split),
        }
        return result_of(
            f"mfcore ({engine})",
            batch_size,
            split,
            epoch_seconds=trained.epoch_seconds,
            first=trained.first_epoch,
            quality=quality,
        )

    found = measure(work)
    # After as many instances; at batch 256 the peers have seen fewer.
    peers_losses = [
        other.quality["log loss"] for other in ledger if other.is_peer and other.competes_with(found)
    ]
    assert found.quality["log loss"] <= 1.1 * min(peers_losses, default=0.35)


def peer_result(engine: str, peer: NcfPeer, batch_size: int, split: NcfSplit) -> Result:
    trained: NcfTraining = peer(
        split.train,
        n_factors=N_FACTORS,
        layers=LAYERS,
        n_negatives=N_NEGATIVES,
        batch_size=batch_size,
        epochs=EPOCHS,
        seed=SEED,
        max_instances=PEERS_MAX_INSTANCES.get(batch_size),
    )
    quality = {"log loss": trained.epochs[-1].log_loss, "epochs": EPOCHS * trained.share}
    if trained.share == 1:
        quality["HR@10"] = hit_rate(trained.as_model(split.train), split)
    return result_of(
        engine,
        batch_size,
        split,
        epoch_seconds=trained.epoch_seconds,
        first=trained.first_epoch,
        quality=quality,
    )


def result_of(
    engine: str,
    batch_size: int,
    split: NcfSplit,
    *,
    epoch_seconds: float,
    first: float | None,
    quality: dict[str, float],
) -> Result:
    """Return the result of any engine, ours among them; the log loss is the mean over the last epoch."""
    return Result(
        TASK,
        f"ml-1m-ncf, {N_NEGATIVES} negatives, Adam, batch {batch_size:,}",
        engine,
        epoch_seconds,
        "epoch",
        rate=len(split.train) * (1 + N_NEGATIVES) / epoch_seconds,
        unit="instances",
        first=first,
        quality=quality,
    )


def hit_rate(model: ScoringModel, split: NcfSplit) -> float:
    """Return HR@10 among the 99 given negatives."""
    found = mfcore.evaluate(model, split.test, [mfcore.HitRate(10)], mfcore.GivenNegatives(split.negatives))
    return found["HR@10"]
