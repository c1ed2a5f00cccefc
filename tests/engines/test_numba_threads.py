"""The numba engine gives the same bits on any number of threads, and lets itself be interrupted."""

import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import mfcore

numba = pytest.importorskip("numba", reason="numba is not installed on this Python")

from mfcore_numba.batches import BatchTrainer  # noqa: E402
from mfcore_numba.limits import Limits  # noqa: E402

JOBS = {
    "single steps": {"optimizer": mfcore.SGD(learning_rate=0.02, l2=0.02)},
    "single steps with negatives": {
        "optimizer": mfcore.SGD(learning_rate=0.02, l2=0.02),
        "objective": "logistic",
        "n_negatives": 2,
    },
    "small batches": {"optimizer": mfcore.Adam(), "batch_size": 64},
    "large batches": {"optimizer": mfcore.LazyAdam(l2=0.01), "batch_size": 8_192},
    "large dense batches": {"optimizer": mfcore.Adam(l2=0.01), "batch_size": 8_192},
    "wals by conjugate gradient": {"optimizer": mfcore.WALS(unobserved_weight=0.1, solver="cg")},
    "wals by cholesky": {"optimizer": mfcore.WALS(unobserved_weight=0.1, solver="cholesky")},
    "wals by subspaces": {"optimizer": mfcore.WALS(unobserved_weight=0.1, solver="subspace", block_size=5)},
}


@pytest.fixture(scope="module")
def many_ratings():
    return mfcore.data.synthetic(40_000, 2_000, 900, seed=2).interactions


@pytest.mark.parametrize("job", JOBS)
def test_bits_do_not_depend_on_the_number_of_threads(many_ratings, job):
    assert numba.config.NUMBA_NUM_THREADS >= 4
    models = [
        mfcore.fit(
            mfcore.MF(12, biases=True), many_ratings, epochs=2, backend="numba", threads=threads, **JOBS[job]
        )
        for threads in (1, 2, 4)
    ]
    for other in models[1:]:
        assert other.history.columns()["objective"] == models[0].history.columns()["objective"]
        for name, array in models[0].parameters.items():
            np.testing.assert_array_equal(array, other.parameters[name])
        for name, array in models[0].optimizer_state.items():
            np.testing.assert_array_equal(array, other.optimizer_state[name])


LAYERS = (10, 9, 5)
MODELS = {
    "gmf": (mfcore.GMF(7), {"objective": "logistic", "n_negatives": 1}),
    "mlp": (mfcore.MLP(LAYERS, "tanh"), {"objective": "squared"}),
    "neumf": (mfcore.NeuMF(7, LAYERS), {"objective": "logistic", "n_negatives": 2}),
    "neumf by pairs": (mfcore.NeuMF(7, LAYERS, fusion="projected"), {"objective": "bpr", "n_negatives": 1}),
    "two towers": (mfcore.TwoTower(7, (9, 5)), {"objective": "squared"}),
    "two towers by pairs": (
        mfcore.TwoTower(7, (9, 5)),
        {"objective": "bpr", "n_negatives": 1, "popularity_exponent": 0.75},
    ),
    "two towers in batches": (mfcore.TwoTower(7, (9, 5)), {"objective": "in_batch_softmax"}),
    "gmf in batches": (mfcore.GMF(7), {"objective": mfcore.InBatchSoftmax(remove_accidental_hits=False)}),
}


@pytest.fixture(scope="module")
def few_ratings():
    return mfcore.data.synthetic(3_001, 300, 150, seed=2).interactions


@pytest.mark.parametrize(
    "optimizer", [mfcore.Adam(l2=0.01, l2_dense=0.01), mfcore.LazyAdam(l2=0.01)], ids=str
)
@pytest.mark.parametrize("batch_size", [7, 65, 1_000])
@pytest.mark.parametrize("model", MODELS)
def test_bits_of_models_do_not_depend_on_the_number_of_workers(
    few_ratings, job_of, model, batch_size, optimizer
):
    spec, settings = MODELS[model]
    runs = []
    for threads in (1, 2, 4):
        job = job_of(
            spec,
            few_ratings,
            optimizer=optimizer,
            batch_size=batch_size,
            dtype="float32",
            threads=threads,
            **settings,
        )
        assert job.n_instances % batch_size
        trainer = BatchTrainer(job, Limits(worth_sharing=1))
        assert trainer.workers.n == threads
        objectives = [trainer.run_epoch(epoch) for epoch in range(2)]
        runs.append((objectives, {**trainer.parameters(), **trainer.optimizer_state()}))
    for objectives, arrays in runs[1:]:
        assert objectives == runs[0][0]
        for name, array in runs[0][1].items():
            np.testing.assert_array_equal(array, arrays[name])


def test_fits_in_two_threads_of_python_at_once(many_ratings):
    from concurrent.futures import ThreadPoolExecutor

    def fit(seed):
        return mfcore.fit(mfcore.MF(8), many_ratings, epochs=2, backend="numba", seed=seed)

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(fit, [0, 1]))
    for seed, model in enumerate(together):
        np.testing.assert_array_equal(model.parameters["item_factors"], fit(seed).parameters["item_factors"])


SLOW_FITS = {
    "single steps": "mfcore.SGD(learning_rate=1e-4)",
    "batches": "mfcore.Adam(learning_rate=1e-4)",
    "wals": "mfcore.WALS(solver='cholesky')",
}


@pytest.mark.parametrize("optimizer", SLOW_FITS)
@pytest.mark.skipif(sys.platform == "win32", reason="signals to a child process differ on Windows")
def test_an_interrupt_ends_a_long_epoch_within_two_seconds(optimizer):
    script = textwrap.dedent(f"""
        import sys, mfcore
        data = mfcore.data.synthetic(2_000_000, 20_000, 5_000, seed=0).interactions
        def started(end):
            print("started", flush=True)
        try:
            mfcore.fit(mfcore.MF(200), data, optimizer={SLOW_FITS[optimizer]}, epochs=1000, backend="numba",
                       callbacks=[started])
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "started\n"
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            sent = time.monotonic()
            while (line := process.stdout.readline()) == "started\n":
                pass
            assert line == "interrupted\n"
            assert time.monotonic() - sent < 2
        finally:
            process.kill()
