"""What the Keras engine does beside what parity tests: compiled steps, its stream, devices, beside Keras."""

import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import mfcore
from mfcore import sampling
from mfcore.engines import STEP, registry
from mfcore.errors import DeviceMemoryError, InvalidArgumentError, UnsupportedError
from mfcore.testing._cells import small_data_cut
from mfcore.testing._deviations import distance
from mfcore.testing._streams import STREAM_CASES, uneven

pytest.importorskip("mfcore_keras", reason="TensorFlow is not installed on this Python")

import tensorflow as tf
from mfcore_keras import KerasBackend, compiling, devices, steps
from mfcore_keras.limits import Limits
from mfcore_keras.stream import Stream

COMPILED, IN_GRAPHS = KerasBackend(compile=True), KerasBackend(compile=False)
INIT = mfcore.Normal(0.3)


def falling(initial):
    return mfcore.Schedule(initial, factor=0.5)


@pytest.fixture(scope="module")
def data():
    """1,501 interactions of which every user has some unseen items left, in no particular order."""
    rng = np.random.default_rng(3)
    pairs = rng.choice(60 * 50, size=1_501, replace=False)
    return mfcore.Interactions.from_columns(pairs // 50, pairs % 50, rng.uniform(1, 5, len(pairs)))


@pytest.fixture(scope="module")
def sparse():
    """900 ratings of 600 users and 600 items: a batch of three touches few of them."""
    rng = np.random.default_rng(3)
    pairs = rng.choice(600 * 600, size=900, replace=False)
    return mfcore.Interactions.from_columns(
        pairs // 600,
        pairs % 600,
        rng.uniform(1, 5, len(pairs)),
        user_ids=mfcore.data.Vocabulary.range(600),
        item_ids=mfcore.data.Vocabulary.range(600),
    )


def trained(job, engine, epochs=2):
    trainer = engine.trainer(job)
    objectives = [trainer.run_epoch(epoch) for epoch in range(epochs)]
    return trainer, objectives


# Compiled steps

L2 = {"l2": 0.02, "l2_dense": 0.01}
RUNS = {
    "MF by SGD": (mfcore.MF(7, biases=True, init=INIT), {"optimizer": mfcore.SGD(falling(0.5), l2=0.02)}),
    "MF by SGD, single steps": (
        mfcore.MF(7, biases=True, init=INIT),
        {"optimizer": mfcore.SGD(falling(0.05), l2=0.02), "batch_size": 1},
    ),
    "MF by momentum through a sigmoid": (
        mfcore.MF(7, biases=True, output=mfcore.RatingRange(0.5, 5.5, "sigmoid"), init=INIT),
        {"optimizer": mfcore.SGD(falling(0.1), momentum=0.9, l2=0.02)},
    ),
    "GMF by Adagrad, negatives by popularity": (
        mfcore.GMF(7, biases=True, init=INIT),
        {
            "objective": "logistic",
            "n_negatives": 2,
            "popularity_exponent": 0.75,
            "optimizer": mfcore.Adagrad(falling(0.1), **L2),
        },
    ),
    "MLP by RMSprop, weighted": (
        mfcore.MLP((10, 9, 5), "sigmoid", init=mfcore.Normal(0.6)),
        {
            "objective": mfcore.WeightedSquared(alpha=0.5),
            "n_negatives": 1,
            "optimizer": mfcore.RMSprop(falling(0.01), epsilon=1e-4, **L2),
        },
    ),
    "NeuMF by Adam": (
        mfcore.NeuMF(7, (10, 9, 5), "tanh", "projected", init=INIT),
        {
            "objective": "logistic",
            "n_negatives": 3,
            "optimizer": mfcore.Adam(falling(0.01), epsilon=1e-5, **L2),
        },
    ),
    "NeuMF by lazy Adam, BPR": (
        mfcore.NeuMF(7, (10, 9, 5), "tanh", init=INIT),
        {"objective": "bpr", "n_negatives": 2, "optimizer": mfcore.LazyAdam(falling(0.01), **L2)},
    ),
    "two towers by Adagrad, in-batch softmax": (
        mfcore.TwoTower(7, (9, 5), "tanh", init=INIT),
        {"objective": mfcore.InBatchSoftmax(0.7), "optimizer": mfcore.Adagrad(falling(0.1), **L2)},
    ),
    "GMF by AdamW, in-batch softmax": (
        mfcore.GMF(7, biases=True, init=INIT),
        {
            "objective": mfcore.InBatchSoftmax(1.5, logq=False, remove_accidental_hits=False),
            "optimizer": mfcore.AdamW(falling(2**-7), weight_decay=2**-3),
        },
    ),
}


@pytest.mark.parametrize("run", RUNS)
def test_compiled_steps_agree_with_the_reference(data, job_of, run):
    spec, settings = RUNS[run]
    job = job_of(spec, data, **{"batch_size": 46, **settings}, dtype="float64")
    reference, expected = trained(job, registry.get("reference"))
    trainer, objectives = trained(job, COMPILED)
    assert trainer.is_compiled
    assert distance(trainer.parameters(), reference.parameters(), job.parameters) < 1e-12
    np.testing.assert_allclose(objectives, expected, rtol=1e-12)
    state = trainer.optimizer_state()
    for name, array in reference.optimizer_state().items():
        np.testing.assert_allclose(state[name], array, rtol=1e-7, atol=1e-12)


def test_compiled_steps_in_parts_agree_with_the_reference(data, job_of):
    """What a part shows is drawn while the part before it is trained."""
    spec, settings = RUNS["NeuMF by Adam"]
    job = job_of(spec, data, batch_size=46, **settings)
    reference, expected = trained(job, registry.get("reference"))
    trainer, objectives = trained(job, replace(COMPILED, limits=Limits(instances_at_once=600)))
    assert trainer._batches_at_once < job.n_instances // 46 / 2
    assert distance(trainer.parameters(), reference.parameters(), job.parameters) < 1e-12
    np.testing.assert_allclose(objectives, expected, rtol=1e-12)


DEFERRED = {
    "Adam": mfcore.Adam(0.01),
    "Adam with a long memory": mfcore.Adam(0.01, beta_2=1 - 2**-17),
    # In the first epoch weights of deferred steps would grow without end: every step moves all rows.
    "AdamW of which the second epoch is deferred": mfcore.AdamW(
        mfcore.Schedule(0.0625, factor=2**-6), weight_decay=8
    ),
}


@pytest.mark.parametrize("optimizer", DEFERRED.values(), ids=DEFERRED.keys())
@pytest.mark.parametrize("engine", [COMPILED, IN_GRAPHS], ids=["compiled", "in graphs"])
def test_updates_of_rows_that_no_batch_uses_are_deferred(sparse, job_of, engine, optimizer):
    job = job_of(mfcore.MF(7, biases=True, init=INIT), sparse, optimizer=optimizer, batch_size=3)
    rng = np.random.default_rng(4)
    state = {name: np.abs(rng.normal(0, 0.01, array.shape)) for name, array in job.optimizer_state.items()}
    job = replace(job, optimizer_state={**state, STEP: np.array([5_000])})
    reference, _ = trained(job, registry.get("reference"))
    short = replace(
        job,
        dtype=np.dtype(np.float32),
        parameters={name: array.astype(np.float32) for name, array in job.parameters.items()},
    )
    trainer, _ = trained(short, engine)
    assert [side.updates for side in trainer._sides] == ["deferred", "deferred"]
    assert distance(trainer.parameters(), reference.parameters(), job.parameters) < 1e-5


@pytest.mark.parametrize("n_pairs", [5_000, 310 * 31], ids=["one part smaller", "equal parts"])
@pytest.mark.parametrize("engine", [COMPILED, IN_GRAPHS], ids=["compiled", "in graphs"])
def test_large_batches_of_the_in_batch_softmax_are_scored_in_parts(
    data, job_of, monkeypatch, engine, n_pairs
):
    scored, matrix_terms = [], mfcore.InBatchSoftmax.matrix_terms

    def spy(objective, xp):
        terms = matrix_terms(objective, xp)

        def noted(scores, *others):
            scored.append(scores.shape.num_elements())
            return terms(scores, *others)

        return noted

    spec, settings = RUNS["two towers by Adagrad, in-batch softmax"]
    # The last batch is a large one too.
    job = job_of(spec, data, batch_size=310, **settings)
    reference, expected = trained(job, registry.get("reference"))
    monkeypatch.setattr(mfcore.InBatchSoftmax, "matrix_terms", spy)
    trainer, objectives = trained(job, replace(engine, limits=Limits(pairs_at_once=n_pairs)))
    assert distance(trainer.parameters(), reference.parameters(), job.parameters) < 1e-12
    np.testing.assert_allclose(objectives, expected, rtol=1e-12)
    assert max(scored) <= n_pairs


def test_jobs_that_differ_in_rates_and_seeds_alone_share_a_graph_for_each_size_of_batches(data, job_of):
    spec, settings = RUNS["two towers by Adagrad, in-batch softmax"]
    graphs = []
    for seed, rate in ((0, 0.1), (1, 0.05)):
        optimizer = mfcore.Adagrad(falling(rate), l2=0.03)
        job = job_of(spec, data, batch_size=310, seed=seed, **{**settings, "optimizer": optimizer})
        trainer, _ = trained(job, IN_GRAPHS)
        graphs.append(steps._graph(trainer._stepper(is_deferring=False)))
    assert graphs[0] is graphs[1]
    assert graphs[0].experimental_get_tracing_count() == 2


def test_steps_are_compiled_where_an_epoch_is_long(data, job_of):
    job = job_of(mfcore.MF(4), data, optimizer="adam", batch_size=16)
    usual, low = Limits(), Limits(worth_compiling_steps=90)
    assert not compiling.compiles(job, "auto", usual)
    assert compiling.compiles(job, True, usual)
    assert compiling.compiles(job, "auto", low)
    assert not compiling.compiles(job, False, low)


def test_a_run_gives_the_same_bits_again(data, job_of):
    spec, settings = RUNS["NeuMF by lazy Adam, BPR"]
    job = job_of(spec, data, batch_size=46, dtype="float32", **settings)
    first, second = (trained(job, COMPILED)[0].parameters() for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array)


@pytest.mark.parametrize("order", [("reference", "keras"), ("keras", "reference")])
def test_a_run_resumed_from_another_engine_goes_on_as_if_nothing_had_happened(data, order):
    settings = {
        "objective": "logistic",
        "n_negatives": 2,
        "optimizer": mfcore.Adam(0.01),
        "batch_size": 64,
        "dtype": "float64",
    }
    spec = mfcore.NeuMF(4, (8, 4), "tanh", init=INIT)
    begun = mfcore.fit(spec, data, epochs=2, backend=order[0], **settings)
    ended = mfcore.fit(spec, data, epochs=4, backend=order[1], resume=begun, **settings)
    whole = mfcore.fit(spec, data, epochs=4, backend="reference", **settings)
    for name, array in whole.parameters.items():
        np.testing.assert_allclose(ended.parameters[name], array, rtol=1e-9, atol=1e-12)


# The stream, beside what the conformance suite holds it to: compiled, and whose targets it reads


@pytest.mark.parametrize("plan", ["blocked with negatives", "negatives", "pairs with popular negatives"])
def test_the_compiled_stream_tells_the_interaction_of_each_instance(plan):
    job = STREAM_CASES[plan].job(uneven(), seed=11)
    with small_data_cut():
        stream, n = Stream(job), job.n_instances
        draw = compiling.in_graph(partial(stream.instances, n=n, compiled=compiling.compiled))
        for epoch in (0, 7):
            found = draw(stream.positions(epoch, 0, n), keys=stream.keys(epoch))
            expected = sampling.epoch(job.data, job.sampling, seed=11, epoch=epoch)
            for name in ("users", "items", "interactions", "positive", "negatives"):
                column = getattr(expected, name)
                if column is not None:
                    np.testing.assert_array_equal(getattr(found, name), column)


# Keras's own fit


# Keras adds epsilon under the root, or before its moments are corrected; 1e-12 is nothing in any place. Both
# let Adagrad's sums begin with 0.1. Beside each, what part of the way `fit` is off at least.
OPTIMIZERS = {
    "Adam": (mfcore.Adam(0.01, epsilon=1e-12), 0.3),
    "RMSprop": (mfcore.RMSprop(0.01, epsilon=1e-12), 0.4),
    "Adagrad": (mfcore.Adagrad(0.1, initial_accumulator=0.1, epsilon=1e-12), 0.15),
}


def beside_keras(name, job_of, n, batch_size):
    """Return how far an epoch of this engine, and one by `fit` of Keras, are from the reference."""
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng(5)
    data = mfcore.Interactions.from_columns(
        rng.integers(0, 12, n), rng.integers(0, 10, n), rng.uniform(1, 5, n), duplicates="keep"
    )
    spec, (optimizer, _) = mfcore.MF(4, init=INIT), OPTIMIZERS[name]
    job = job_of(spec, data, optimizer=optimizer, batch_size=batch_size)
    reference, _ = trained(job, registry.get("reference"), epochs=1)
    expected = reference.parameters()
    assert expected.keys() == job.parameters.keys()
    assert int(reference.optimizer_state()[STEP][0]) == 50
    ours, _ = trained(job, IN_GRAPHS, epochs=1)

    shown = sampling.epoch(data, job.sampling, seed=job.seed, epoch=0)
    start = mfcore.Model(spec=spec, parameters=dict(job.parameters), **mfcore.model.data_fields(data))
    theirs = start.to_keras()
    theirs.compile(
        getattr(keras.optimizers, name)(optimizer.learning_rate, epsilon=optimizer.epsilon),
        loss=lambda y, p: 0.5 * (y - p) ** 2,
    )
    theirs.fit(
        [shown.users, shown.items],
        data.values[shown.interactions],
        batch_size=batch_size,
        shuffle=False,
        verbose=0,
    )
    found = mfcore.Model.from_keras(theirs, spec, start).parameters
    return tuple(distance(one, expected, job.parameters) for one in (ours.parameters(), found))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fit_of_keras_squares_repeated_gradients_one_by_one_and_ours_adds_them_up(job_of, name):
    """50 steps on batches of 32 that repeat ids."""
    ours, theirs = beside_keras(name, job_of, n=1_600, batch_size=32)
    assert ours < 1e-12
    assert theirs > OPTIMIZERS[name][1]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fit_of_keras_does_as_ours_where_no_batch_repeats_an_id(job_of, name):
    """The difference is due to repeated ids alone: 50 steps on one interaction each."""
    ours, theirs = beside_keras(name, job_of, n=50, batch_size=1)
    assert ours < 1e-12
    # Keras rounds rates and decays to float32.
    assert theirs < 1e-5


# Refusals, devices, threads


def test_wals_is_refused_with_the_reason_and_the_engines_that_have_it(data):
    with pytest.raises(UnsupportedError, match=r"follows gradients alone.*engines that do: .*reference"):
        mfcore.fit(mfcore.MF(4), data, optimizer="wals", backend="keras")


class Halved(mfcore.Adam):
    """Coefficients of somebody's own, for the rule of Adam."""

    def coefficients(self, step, learning_rate):
        return super().coefficients(step, learning_rate / 2)


def test_coefficients_of_somebody_elses_are_taken_as_they_are(data, job_of):
    job = job_of(mfcore.MF(4, init=INIT), data, optimizer=Halved(0.01), batch_size=100)
    reference, _ = trained(job, registry.get("reference"))
    trainer, _ = trained(job, IN_GRAPHS)
    assert distance(trainer.parameters(), reference.parameters(), job.parameters) < 1e-12


def test_a_setting_outside_its_domain_is_refused():
    with pytest.raises(InvalidArgumentError, match="compile is 'xla'; it must be 'auto', True or False"):
        KerasBackend(compile="xla")


@pytest.mark.parametrize(
    ("n_gpus", "with_cuda", "device", "message"),
    [
        (0, True, "cuda", "finds no CUDA device: check the driver"),
        (0, False, "cuda", "is a build without CUDA"),
        (2, True, "cuda:2", "this machine has cuda:0, cuda:1; pass one of these"),
        (2, True, "gpu", "it must be 'auto', 'cpu', 'cuda' or one of several"),
        (2, True, "cuda:", "it must be 'auto', 'cpu', 'cuda' or one of several"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_what_to_do(
    data, monkeypatch, n_gpus, with_cuda, device, message
):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [None] * n_gpus)
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: with_cuda)
    with pytest.raises(UnsupportedError, match=message):
        mfcore.fit(mfcore.MF(4), data, optimizer="adam", backend="keras", device=device)


def test_devices_are_called_what_tensorflow_calls_them(monkeypatch):
    assert devices.device_of("cpu") == "CPU:0"
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [None, None])
    assert [devices.device_of(name) for name in ("auto", "cuda", "cuda:1")] == ["GPU:0", "GPU:0", "GPU:1"]
    assert "2 CUDA devices" in KerasBackend().description


def test_products_are_made_in_full_precision_and_the_caller_s_setting_comes_back(data, job_of, monkeypatch):
    setting = tf.config.experimental.tensor_float_32_execution_enabled
    trainer = IN_GRAPHS.trainer(job_of(mfcore.MF(4), data))
    seen, rest_of_epoch = [], trainer._run
    monkeypatch.setattr(trainer, "_run", lambda *given: seen.append(setting()) or rest_of_epoch(*given))
    before = setting()
    try:
        for wanted in (True, False):
            tf.config.experimental.enable_tensor_float_32_execution(wanted)
            trainer.run_epoch(0)
            assert setting() is wanted
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
    assert seen
    assert not any(seen)


def test_too_little_memory_is_explained_with_what_is_needed_and_what_to_change(data, job_of, monkeypatch):
    def out_of_memory(*arguments):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    trainer = IN_GRAPHS.trainer(job_of(mfcore.MF(4), data, optimizer="adam", batch_size=100))
    monkeypatch.setattr(trainer, "_train", out_of_memory)
    with pytest.raises(
        DeviceMemoryError,
        match=r"^out of memory on CPU:0: the job needs about .* KiB \(.*training data.*\); lower batch_size"
        r" \(100\) or the number of factors, or take an optimizer with fewer slots \([^;]*\)$",
    ):
        trainer.run_epoch(0)


def test_the_cpu_is_advised_where_the_memory_of_a_gpu_is_too_small(data, job_of, monkeypatch):
    trainer = IN_GRAPHS.trainer(job_of(mfcore.MF(4), data, optimizer="adam", batch_size=100))
    monkeypatch.setattr(trainer, "device", "GPU:0")
    with (
        pytest.raises(DeviceMemoryError, match=r"on GPU:0: .*lower batch_size.*, or pass device='cpu'$"),
        trainer._memory_errors_explained(),
    ):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="there is no CUDA device")
@pytest.mark.parametrize("run", RUNS)
def test_cuda_agrees_with_the_reference(data, job_of, run):
    spec, settings = RUNS[run]
    job = job_of(spec, data, **{"batch_size": 46, **settings}, device="cuda")
    reference, _ = trained(job, registry.get("reference"))
    for engine in (COMPILED, IN_GRAPHS):
        trainer, _ = trained(job, engine)
        assert distance(trainer.parameters(), reference.parameters(), job.parameters) < 1e-9


def test_an_interrupt_ends_a_long_epoch_soon():
    source = """
        import signal
        import mfcore
        from mfcore_keras import KerasBackend
        from mfcore.training import make_job

        # What a shell runs in the background is started with interrupts ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        data = mfcore.data.synthetic(400_000, 4_000, 3_000, seed=1).interactions
        job = make_job(
            mfcore.MF(8), data, objective="logistic", optimizer=mfcore.SGD(0.1), batch_size=32,
            n_negatives=20, order="shuffled", device="cpu", threads=1, dtype="float32", seed=0,
        )
        trainer = KerasBackend(compile=True).trainer(job)
        trainer._run_compiled(0, trainer._parts()[:2])
        try:
            print("compiled", flush=True)
            trainer.run_epoch(0)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    prelude = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
    with subprocess.Popen(
        [sys.executable, "-c", prelude + textwrap.dedent(source)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "compiled\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0] == "interrupted\n"
