"""Matrix factorisation by SGD on 20 M ratings: million updates a second, beside LIBMF."""

import pytest

import mfcore
from benchmarks import data, judging, libmf, ours
from benchmarks.ours import Training, each_engine
from benchmarks.results import Measure, Result, peers_of

TASK = "MF by SGD"
EPOCHS = 6
L2 = 0.05
# Adagrad's steps shrink as gradients add up; plain SGD is given a rate that falls likewise.
LEARNING_RATE, LIBMF_LEARNING_RATE = mfcore.Schedule(0.1, factor=0.6), 0.1
SIZES = (16, 32, 128)
SMALL_SIZES, SMALL_EPOCHS = (16, 128), 3


def setting(n_factors: int) -> str:
    return f"k={n_factors}, {data.in_words(data.synthetic_split()[0])}"


def along(n_factors: int) -> tuple[str, int]:
    return ("factors", n_factors)


def rmse(trained: Training) -> dict[str, float]:
    return {"RMSE": judging.rmse(trained, *data.synthetic_split()), "epochs": EPOCHS}


@pytest.mark.parametrize("n_factors", SIZES)
@pytest.mark.parametrize("build", ["pip", *libmf.BUILDS])
def test_libmf(build: str, n_factors: int, measure: Measure) -> None:
    library = libmf.find(build)
    train, _ = data.synthetic_split()

    def work() -> Result:
        trained = libmf.train(
            library, train, n_factors=n_factors, l2=L2, learning_rate=LIBMF_LEARNING_RATE, epochs=EPOCHS
        )
        return Result(
            TASK,
            setting(n_factors),
            f"LIBMF ({build})",
            trained.epoch_seconds,
            "epoch",
            rate=len(train) / trained.epoch_seconds,
            unit="updates",
            first=trained.first_epoch,
            quality=rmse(trained),
            along=along(n_factors),
        )

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
        model, times = ours.train(spec, train, epochs=EPOCHS, optimizer=optimizer, backend="numba")
        return times.result(
            TASK,
            setting(n_factors),
            unit="updates",
            quality=rmse(times.with_factors(model)),
            along=along(n_factors),
        )

    found = measure(work)
    limits = [1.02 * peer.quality["RMSE"] for peer in peers_of(found, ledger)]
    assert found.quality["RMSE"] <= min(limits, default=0.9 * judging.baseline_rmse(train, test))


@each_engine
@pytest.mark.parametrize("n_factors", SMALL_SIZES)
def test_single_steps_on_every_engine(n_factors: int, engine: str, measure: Measure) -> None:
    """On few ratings: most engines take such steps round by round, one from each block."""
    data.require("ml-100k")
    train, test = mfcore.splits.ratio(mfcore.datasets.movielens("100k"), test=0.1)

    def work() -> Result:
        model, times = ours.train(
            mfcore.MF(n_factors, init=mfcore.Uniform(0, (3 / n_factors) ** 0.5)),
            train,
            epochs=SMALL_EPOCHS,
            optimizer=mfcore.SGD(learning_rate=0.02, l2=L2),
            backend=engine,
        )
        found = {"RMSE": judging.rmse(times.with_factors(model), train, test), "epochs": SMALL_EPOCHS}
        return times.result(f"{TASK}, every engine", f"k={n_factors}, ml-100k", unit="updates", quality=found)

    assert measure(work).quality["RMSE"] <= 0.9 * judging.baseline_rmse(train, test)
