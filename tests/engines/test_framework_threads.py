"""Whole runs of the torch and Keras engines on 1, 2 and 4 threads: the same but for rounding.

Run as a program it trains the Keras engine's runs: ``python test_framework_threads.py THREADS FOLDER``.
"""

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import mfcore

THREADS = (1, 2, 4)
L2 = {"l2": 0.01, "l2_dense": 0.01}
# Of batches large enough for a framework to share the work of one operation among threads; none of a function
# with corners, whose sides rounding may swap.
BATCHES = {
    "mf": (mfcore.MF(12, biases=True), {"optimizer": mfcore.Adam(l2=0.01), "batch_size": 4_096}),
    "neumf": (
        mfcore.NeuMF(7, (64, 32, 16), "tanh"),
        {"objective": "logistic", "n_negatives": 3, "optimizer": mfcore.Adam(**L2), "batch_size": 4_096},
    ),
    "gmf by pairs": (
        mfcore.GMF(12),
        {
            "objective": "bpr",
            "n_negatives": 1,
            "popularity_exponent": 0.75,
            "optimizer": mfcore.LazyAdam(l2=0.01),
            "batch_size": 4_096,
        },
    ),
    "two towers in batches": (
        mfcore.TwoTower(16, (32, 16), "tanh"),
        {"objective": "in_batch_softmax", "optimizer": mfcore.Adagrad(0.1, **L2), "batch_size": 1_000},
    ),
}
WALS = {
    solver: (
        mfcore.MF(12, biases=True),
        {"optimizer": mfcore.WALS(unobserved_weight=0.1, solver=solver, block_size=5)},
    )
    for solver in ("cholesky", "cg", "subspace")
}


@cache
def ratings():
    return mfcore.data.synthetic(12_000, 2_000, 900, seed=2).interactions


def trained(engine, spec, settings, threads):
    """Return every array of a run of two epochs, its objectives among them."""
    model = mfcore.fit(spec, ratings(), epochs=2, backend=engine, threads=threads, **settings)
    objectives = {"objective": np.array(model.history.columns()["objective"])}
    return {**model.parameters, **(model.optimizer_state or {}), **objectives}


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def assert_the_same_but_for_rounding(found, expected, spec):
    """Parameters within 1e-5 of the distance moved, as between engines in float32; objectives likewise."""
    n_users, n_items = ratings().n_users, ratings().n_items
    start = spec.initial_parameters(
        n_users, n_items, seed=0, dtype=np.dtype(np.float32), best_constant=np.nan
    )
    for name, parameter in spec.parameters(n_users, n_items).items():
        allowed = 1e-5 * np.linalg.norm(expected[name] - start[name]) if parameter.trained else 0.0
        assert np.linalg.norm(found[name] - expected[name]) <= allowed, name
    np.testing.assert_allclose(found["objective"], expected["objective"], rtol=1e-5)


@pytest.mark.parametrize("solver", WALS)
def test_the_torch_engine_gives_the_same_bits_by_wals(solver):
    pytest.importorskip("torch", reason="torch is not installed on this Python")
    first, *others = (trained("torch", *WALS[solver], threads) for threads in THREADS)
    for other in others:
        assert_same_bits(other, first)


@pytest.mark.parametrize("run", BATCHES)
def test_the_torch_engine_gives_the_same_but_for_rounding_and_the_same_bits_again(run):
    pytest.importorskip("torch", reason="torch is not installed on this Python")
    from mfcore_torch import TorchBackend

    plain = TorchBackend(compile=False)
    first, *others = (trained(plain, *BATCHES[run], threads) for threads in THREADS)
    for other in others:
        assert_the_same_but_for_rounding(other, first, BATCHES[run][0])
    assert_same_bits(trained(plain, *BATCHES[run], THREADS[-1]), others[-1])


def test_the_keras_engine_gives_the_same_but_for_rounding(tmp_path):
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed on this Python")
    # TensorFlow has one number of threads for a whole process.
    for threads in THREADS:
        subprocess.run([sys.executable, __file__, str(threads), tmp_path], check=True)
    for run, (spec, _) in BATCHES.items():
        first, *others = (loaded(tmp_path / f"{run} {threads}.npz") for threads in THREADS)
        for other in others:
            assert_the_same_but_for_rounding(other, first, spec)


def loaded(path):
    with np.load(path) as file:
        return dict(file)


def train_by_keras(threads, folder):
    import tensorflow as tf
    from mfcore_keras import KerasBackend

    plain = KerasBackend(compile=False)
    for run, (spec, settings) in BATCHES.items():
        np.savez(folder / f"{run} {threads}.npz", **trained(plain, spec, settings, threads))
    assert tf.config.threading.get_intra_op_parallelism_threads() == threads


if __name__ == "__main__":
    train_by_keras(int(sys.argv[1]), Path(sys.argv[2]))
