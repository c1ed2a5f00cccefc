"""What the numba engine does beside training: refusals, ranking, caching, and taking over from others."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import mfcore
from mfcore.engines import registry
from mfcore.errors import InvalidArgumentError, UnsupportedError
from mfcore.model import top_k
from mfcore.optimizers import Adam

pytest.importorskip("numba", reason="numba is not installed on this Python")

from mfcore_numba import batches
from mfcore_numba.engine import NumbaBackend
from mfcore_numba.limits import Limits


@pytest.fixture(scope="module")
def data():
    return mfcore.data.synthetic(9_000, 300, 120, seed=4).interactions


@pytest.fixture(scope="module")
def meetings():
    """Interactions of which every user has some unseen items left."""
    return mfcore.data.synthetic(3_001, 300, 150, seed=2).interactions


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


@pytest.mark.parametrize("longest", [256, 5], ids=["by insertion", "by the core"])
@pytest.mark.parametrize("k", [1, 10, 120, 500])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_its_top_k_is_the_core_s(model, k, exclude_seen, longest):
    scorer = NumbaBackend(limits=Limits(longest_insertion=longest)).scorer(model)
    users = np.array([5, -1, 0, 299, 17])
    kept = min(k, model.n_items)
    items, scores = scorer.top_k(users, kept, exclude_seen)
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


NEURAL_RUNS = {
    "neumf": (
        mfcore.NeuMF(7, (10, 9, 5), "tanh"),
        {"optimizer": mfcore.Adam(0.01, l2=0.02), "objective": "logistic", "n_negatives": 1},
    ),
    "two towers": (
        mfcore.TwoTower(7, (9, 5), "tanh"),
        {"optimizer": mfcore.LazyAdam(0.01), "objective": "in_batch_softmax"},
    ),
}


@pytest.mark.parametrize("run", NEURAL_RUNS)
@pytest.mark.parametrize("engines", [("reference", "numba", "reference"), ("numba", "reference", "numba")])
def test_a_neural_run_may_change_its_engine_every_epoch(meetings, run, engines):
    spec, settings = NEURAL_RUNS[run]
    settings = {"dtype": "float64", "seed": 9, "batch_size": 100, **settings}
    whole = mfcore.fit(spec, meetings, epochs=3, backend="numba", **settings)
    model = None
    for epochs, engine in enumerate(engines, 1):
        model = mfcore.fit(spec, meetings, epochs=epochs, backend=engine, resume=model, **settings)
    for name, array in whole.parameters.items():
        np.testing.assert_allclose(model.parameters[name], array, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("run", NEURAL_RUNS)
def test_a_resumed_run_ends_in_the_same_bits_as_one_that_went_through(meetings, run):
    spec, settings = NEURAL_RUNS[run]
    settings = {"dtype": "float32", "seed": 9, "batch_size": 100, "backend": "numba", **settings}
    whole = mfcore.fit(spec, meetings, epochs=3, **settings)
    begun = mfcore.fit(spec, meetings, epochs=1, **settings)
    ended = mfcore.fit(spec, meetings, epochs=3, resume=begun, **settings)
    for name, array in whole.parameters.items():
        np.testing.assert_array_equal(ended.parameters[name], array)
    for name, array in whole.optimizer_state.items():
        np.testing.assert_array_equal(ended.optimizer_state[name], array)


def test_an_optimizer_that_keeps_the_rule_it_was_derived_from_is_taken(data, job_of):
    class Warming(Adam):
        def coefficients(self, step, learning_rate):
            return super().coefficients(step, learning_rate * min(1, step / 100))

    assert registry.get("numba").unsupported(job_of(mfcore.MF(4), data, optimizer=Warming())) is None


def test_an_order_of_single_steps_is_refused_for_batches(data, job_of):
    job = job_of(mfcore.MF(4), data, optimizer="adam", batch_size=1, order="blocked")
    assert "blocked order with plain SGD and batch_size=1 alone" in registry.get("numba").unsupported(job)


@pytest.mark.parametrize("batch_size", [64, 5_000])
@pytest.mark.parametrize("optimizer", [mfcore.LazyAdam(), mfcore.Adam()], ids=str)
def test_an_epoch_is_listed_in_parts_of_whole_batches(data, job_of, monkeypatch, batch_size, optimizer):
    job = job_of(mfcore.MF(4), data, optimizer=optimizer, batch_size=batch_size)
    at_once = batches.BatchTrainer(job)
    at_once.run_epoch(0)
    listed = []

    def counted(job, n):
        listed.append(n)
        return empty_listing(job, n)

    empty_listing = batches.empty_listing
    monkeypatch.setattr(batches, "empty_listing", counted)
    in_parts = batches.BatchTrainer(job, Limits(instances_at_once=1_000))
    in_parts.run_epoch(0)
    assert listed == [max(batch_size, 1_000 // batch_size * batch_size)]
    for name, array in at_once.parameters().items():
        np.testing.assert_allclose(in_parts.parameters()[name], array, rtol=1e-12)


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
