"""The Keras tutorial of MovieLens 100K, 80,000 ratings in batches of 32: engines beside `keras.Model.fit`."""

import time
from statistics import median
from typing import Any

import numpy as np
import pytest

import mfcore
from benchmarks import data, ncf_peers, ours
from benchmarks.ours import each_engine
from benchmarks.results import Measure, Result, peers_of
from benchmarks.tutorials import ml100k_adam

TASK, SETTING, SEED = "Keras tutorial", "ml-100k, MF k=3, Adam, batch 32", 0
EPOCHS, PEER_EPOCHS = 10, 3


@pytest.fixture(scope="module")
def train() -> mfcore.Interactions:
    data.require("ml-100k")
    return mfcore.splits.ratio(mfcore.datasets.movielens("100k"), test=0.2, seed=SEED)[0]


def test_keras_fit(train: mfcore.Interactions, measure: Measure) -> None:
    tensorflow, keras = ncf_peers.load_keras()
    models = pytest.importorskip("mfcore_keras.models", reason="the same model is made by the keras engine")

    class Clock(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        """Notes when each epoch ends."""

        def __init__(self) -> None:
            super().__init__()
            self.ends = [time.perf_counter()]

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.ends.append(time.perf_counter())

    def work() -> Result:
        clock = Clock()
        with tensorflow.device("CPU:0"):
            model = models.build_model(ml100k_adam.SPEC, train.n_users, train.n_items, seed=SEED)
            model.compile(keras.optimizers.Adam(ml100k_adam.OPTIMIZER.learning_rate), "mse")
            rows = [train.users.astype(np.int32), train.items.astype(np.int32)]
            history = model.fit(
                rows,
                train.values,
                batch_size=ml100k_adam.BATCH_SIZE,
                epochs=PEER_EPOCHS,
                verbose=0,
                callbacks=[clock],
            ).history
        seconds = np.diff(clock.ends)
        return Result(
            TASK,
            SETTING,
            "Keras fit",
            median(seconds[1:]),
            "epoch",
            rate=len(train) / median(seconds[1:]),
            unit="instances",
            first=float(seconds[0]),
            quality={"squared error": float(history["loss"][-1]), "epochs": PEER_EPOCHS},
        )

    measure(work)


@each_engine
def test_mfcore_learns_as_keras_does(
    engine: str, train: mfcore.Interactions, measure: Measure, ledger: list[Result]
) -> None:
    losses: list[float] = []

    def work() -> Result:
        model, times = ours.train(
            ml100k_adam.SPEC,
            train,
            epochs=EPOCHS,
            backend=engine,
            objective="squared",
            optimizer=ml100k_adam.OPTIMIZER,
            batch_size=ml100k_adam.BATCH_SIZE,
            seed=SEED,
        )
        losses.extend(2 * record.objective for record in model.history)
        return times.result(TASK, SETTING, quality={"squared error": losses[-1], "epochs": EPOCHS})

    found = measure(work)
    for peer in peers_of(found, ledger):
        # After as many epochs. Keras does not add up the gradients of a repeated id before Adam squares them.
        assert losses[int(peer.quality["epochs"]) - 1] <= 1.1 * peer.quality["squared error"]
