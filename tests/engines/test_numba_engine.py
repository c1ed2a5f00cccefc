"""What the numba engine does beside training: refusals, ranking, caching, and taking over from others."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import mfcore
from mfcore import registry
from mfcore.errors import InvalidArgumentError, UnsupportedError
from mfcore.optimizers import Adam
from mfcore.retrieval import top_k

pytest.importorskip("numba", reason="numba is not installed on this Python")


@pytest.fixture(scope="module")
def data():
    return mfcore.data.synthetic(9_000, 300, 120, seed=4).interactions


@pytest.fixture(scope="module")
def model(data):
    return mfcore.fit(
        mfcore.MF(6, biases=True), data, epochs=3, optimizer=mfcore.WALS(l2=0.1), backend="numba"
    )


def test_it_is_what_auto_chooses(data):
    model = mfcore.fit(mfcore.MF(4), data, epochs=1)
    assert model.training["backend"] == "numba"
    assert "numba" in model.training["backend_reason"]


def test_another_device_is_refused_with_the_engines_that_would_do(data):
    with pytest.raises(UnsupportedError, match="device is 'cuda'; pass device='cpu'"):
        mfcore.fit(mfcore.MF(4), data, backend="numba", device="cuda")


def test_a_rule_of_somebody_elses_is_refused_not_guessed(data):
    class Reversed(Adam):
        @staticmethod
        def rule(sqrt):
            return lambda parameter, gradient, first, second, c: (parameter + c[0] * gradient, first, second)

    with pytest.raises(UnsupportedError, match="no compiled form of Reversed"):
        mfcore.fit(mfcore.MF(4), data, backend="numba", optimizer=Reversed())


@pytest.mark.parametrize("longest", [256, 5], ids=["by insertion", "by the core"])
@pytest.mark.parametrize("k", [1, 10, 120, 500])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_its_top_k_is_the_core_s(model, k, exclude_seen, longest, monkeypatch):
    monkeypatch.setattr("mfcore_numba.top_k.LONGEST", longest)
    users = np.array([5, -1, 0, 299, 17])
    kept = min(k, model.n_items)
    items, scores = model.scorer.top_k(users, kept, exclude_seen)
    expected = top_k(model.score_catalogue, users, kept, model.n_items, model.seen if exclude_seen else None)
    np.testing.assert_array_equal(items, expected[0])
    np.testing.assert_allclose(scores, expected[1], rtol=1e-5)


def test_its_top_k_breaks_ties_by_ascending_item(model):
    flat = {name: np.zeros_like(array) for name, array in model.parameters.items()}
    tied = replace(model, parameters=flat, scorer=None)
    scorer = registry.get("numba").scorer(tied)
    items, _ = scorer.top_k(np.array([3]), 5, exclude_seen=False)
    assert items.tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": mfcore.SGD(learning_rate=0.02, l2=0.02)},
        {"optimizer": mfcore.Adam(learning_rate=0.01, l2=0.02), "batch_size": 100},
        {"optimizer": mfcore.WALS(l2=0.1)},
    ],
    ids=["single steps", "adam", "wals"],
)
@pytest.mark.parametrize("engines", [("numba", "reference"), ("reference", "numba"), ("numba", "numba")])
def test_a_run_goes_on_where_another_engine_left_it(data, settings, engines):
    settings = {"dtype": "float64", "seed": 9, **settings}
    whole = mfcore.fit(mfcore.MF(4), data, epochs=3, backend="numba", **settings)
    begun = mfcore.fit(mfcore.MF(4), data, epochs=1, backend=engines[0], **settings)
    ended = mfcore.fit(mfcore.MF(4), data, epochs=3, backend=engines[1], resume=begun, **settings)
    for name, array in whole.parameters.items():
        np.testing.assert_allclose(ended.parameters[name], array, rtol=1e-9, atol=1e-11)


def test_a_singular_system_is_explained(data):
    with pytest.raises(InvalidArgumentError, match="raise l2"):
        mfcore.fit(
            mfcore.MF(200, init=mfcore.Normal(1e3)), data, optimizer=mfcore.WALS(l2=1e-30), backend="numba"
        )


def test_kernels_compiled_once_are_read_from_disk_by_the_next_process(tmp_path):
    script = (
        "import mfcore\n"
        "from numba.core import event\n"
        "compiled = event.RecordingListener()\n"
        "with event.install_listener('numba:compile', compiled):\n"
        "    mfcore.fit(mfcore.MF(5), mfcore.data.synthetic(500, 40, 30, seed=0).interactions, epochs=1)\n"
        "print(len(compiled.buffer))\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    counts = [
        int(subprocess.check_output([sys.executable, "-c", script], env=environment, text=True))
        for _ in range(2)
    ]
    assert counts[0] > 0
    assert counts[1] == 0


def test_without_a_writable_cache_folder_kernels_are_compiled_in_each_process(tmp_path):
    occupied = tmp_path / "file"
    occupied.write_text("no folder")
    script = (
        "import mfcore\n"
        "data = mfcore.data.synthetic(500, 40, 30, seed=0).interactions\n"
        "model = mfcore.fit(mfcore.MF(2), data, epochs=1)\n"
        "print(model.training['backend'])\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(occupied)}
    printed = subprocess.check_output([sys.executable, "-c", script], env=environment, text=True)
    assert printed.strip() == "numba"
