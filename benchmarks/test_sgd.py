"""Matrix factorisation by SGD on 20 M ratings: million updates a second, beside LIBMF."""

import pytest

import mfcore
from benchmarks import data, libmf, ours, quality
from benchmarks.ours import Training
from benchmarks.results import Measure, Result

TASK = "MF by SGD"
EPOCHS = 6
L2 = 0.05
# Adagrad's steps shrink as gradients add up; plain SGD is given a rate that falls likewise.
LEARNING_RATE, LIBMF_LEARNING_RATE = mfcore.Schedule(0.1, factor=0.6), 0.1
SIZES = (16, 32, 128)


def result_of(engine: str, n_factors: int, trained: Training) -> Result:
    train, test = data.synthetic_split()
    return Result(
        TASK,
        f"k={n_factors}, {data.in_words(train)}",
        engine,
        trained.epoch_seconds,
        "epoch",
        rate=len(train) / trained.epoch_seconds,
        unit="updates",
        first=trained.first_epoch,
        quality={"RMSE": quality.rmse(trained, train, test), "epochs": EPOCHS},
    )


@pytest.mark.parametrize("n_factors", SIZES)
@pytest.mark.parametrize("build", ["pip", *libmf.BUILDS])
def test_libmf(build: str, n_factors: int, measure: Measure) -> None:
    library = libmf.find(build)
    train, _ = data.synthetic_split()

    def work() -> Result:
        trained = libmf.train(
            library, train, n_factors=n_factors, l2=L2, learning_rate=LIBMF_LEARNING_RATE, epochs=EPOCHS
        )
        return result_of(f"LIBMF ({build})", n_factors, trained)

    measure(work)


@pytest.mark.parametrize("n_factors", SIZES)
def test_mfcore_reaches_the_rmse_of_libmf_in_as_many_epochs(
    n_factors: int, measure: Measure, ledger: list[Result]
) -> None:
    train, test = data.synthetic_split()
    # As LIBMF starts: positive factors, small beside the ratings, which it divides by their deviation.
    high = (float(train.values.std()) / n_factors) ** 0.5
    spec = mfcore.MF(n_factors=n_factors, init=mfcore.Uniform(0, high))

    def work() -> Result:
        optimizer = mfcore.SGD(learning_rate=LEARNING_RATE, l2=L2)
        _, trained = ours.train(spec, train, epochs=EPOCHS, optimizer=optimizer, backend="numba")
        return result_of("mfcore (numba)", n_factors, trained)

    found = measure(work)
    limits = [
        1.02 * other.quality["RMSE"] for other in ledger if other.is_peer and other.competes_with(found)
    ]
    assert found.quality["RMSE"] <= min(limits, default=0.9 * quality.baseline_rmse(train, test))
