"""MovieLens 100K: predicted ratings on the published folds, and the small model of the Keras tutorial."""

import numpy as np
import pytest

import mfcore
from benchmarks import data, ours
from benchmarks.results import Measure, Result

EPOCHS = 100
# Batches of the Keras tutorial are of 32; the rate is Adam's default.
ADAM_BATCH_SIZE, ADAM_LEARNING_RATE, ADAM_FACTORS = 32, 0.001, 3


@pytest.fixture(autouse=True)
def ml_100k() -> None:
    data.require("ml-100k")


def test_biased_mf_by_sgd_reaches_the_published_errors_on_u1_to_u5(measure: Measure) -> None:
    spec = mfcore.MF(
        n_factors=50, biases=True, output=mfcore.RatingRange(1, 5), init=mfcore.Normal(std=0.001)
    )
    optimizer = mfcore.SGD(learning_rate=0.01, l2=0.1)

    def work() -> Result:
        folds, seconds, firsts = [], [], []
        for train, test in mfcore.datasets.movielens_folds("100k"):
            model, trained = ours.train(
                spec, train, epochs=EPOCHS, optimizer=optimizer, dtype="float64", backend="numba"
            )
            folds.append(mfcore.evaluate(model, test, [mfcore.RMSE(), mfcore.MAE()]))
            seconds.append(trained.epoch_seconds)
            firsts.append(trained.first_epoch)
        return Result(
            "biased MF by SGD, u1 to u5",
            f"ml-100k, k=50, {EPOCHS} epochs, float64",
            "mfcore (numba)",
            float(np.median(seconds)),
            "epoch",
            rate=80_000 / float(np.median(seconds)),
            unit="updates",
            first=firsts[0],
            quality={name: float(np.mean([fold[name] for fold in folds])) for name in ("RMSE", "MAE")},
        )

    found = measure(work)
    assert found.quality["RMSE"] <= 0.910
    assert found.quality["MAE"] <= 0.718


def test_three_factors_by_adam_reach_the_rounded_mae_of_the_tutorial(measure: Measure) -> None:
    train, test = mfcore.splits.ratio(mfcore.datasets.movielens("100k"), test=0.2)

    def work() -> Result:
        model, trained = ours.train(
            mfcore.MF(n_factors=ADAM_FACTORS, init=mfcore.Uniform(0, 1)),
            train,
            epochs=EPOCHS,
            optimizer=mfcore.Adam(learning_rate=ADAM_LEARNING_RATE),
            batch_size=ADAM_BATCH_SIZE,
            backend="numba",
        )
        return Result(
            "MF by Adam",
            f"ml-100k, k={ADAM_FACTORS}, batches of {ADAM_BATCH_SIZE}, {EPOCHS} epochs",
            "mfcore (numba)",
            trained.epoch_seconds,
            "epoch",
            rate=len(train) / trained.epoch_seconds,
            unit="instances",
            first=trained.first_epoch,
            quality=dict(mfcore.evaluate(model, test, [mfcore.RoundedMAE()])),
        )

    assert measure(work).quality["rounded MAE"] <= 0.70
