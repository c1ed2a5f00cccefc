"""The torch engine beside its parity: compiled steps, precision, devices, memory, what it leaves alone."""

import subprocess
import sys
import textwrap
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import mfcore
from mfcore.data import Vocabulary
from mfcore.engines import STEP, registry
from mfcore.errors import DeviceMemoryError, InvalidArgumentError, UnsupportedError
from mfcore.operators import NUMPY
from mfcore.optimizers import GradientOptimizer
from mfcore.testing import in_float64
from mfcore.testing._deviations import distance

torch = pytest.importorskip("torch", reason="torch is not installed on this Python")

from mfcore_torch import TorchBackend, batches, compiling, deferral, devices, operators, stream  # noqa: E402
from mfcore_torch.batches import BatchTrainer  # noqa: E402
from mfcore_torch.limits import Limits  # noqa: E402

needs_compiler = pytest.mark.skipif(
    not compiling.has_compiler(), reason="torch.compile needs a C++ compiler, and none was found"
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device here")

INIT = mfcore.Normal(0.3)
LAYERS = (10, 9, 5)
PLAIN = TorchBackend(compile=False)


@pytest.fixture(scope="module")
def data():
    """1,200 ratings by 200 users of 80 items."""
    return mfcore.data.synthetic(1_200, 200, 80, seed=4).interactions


@pytest.fixture(scope="module")
def sparse():
    """150 ratings by 400 users of 400 items, and a hundred of each without any."""
    rng = np.random.default_rng(3)
    pairs = rng.choice(400 * 400, size=150, replace=False)
    vocabularies = {"user_ids": Vocabulary.range(500), "item_ids": Vocabulary.range(500)}
    return mfcore.Interactions.from_columns(
        pairs // 400, pairs % 400, rng.uniform(1, 5, len(pairs)), **vocabularies
    )


@pytest.fixture
def cut_small(monkeypatch):
    """Single steps of a small epoch are cut into cells, too, and four of them are trained at once."""
    monkeypatch.setattr("mfcore.sampling._grid.WORTH_CUTTING", 100)


def falling(initial):
    return mfcore.Schedule(initial, factor=0.5)


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def trained(job, epochs=2, **settings):
    """Return a trainer of the job after some epochs."""
    trainer = BatchTrainer(job, **{"compile": False, **settings})
    for epoch in range(epochs):
        trainer.run_epoch(epoch)
    return trainer


# Compiled steps

COMPILED = {
    "neumf, deferred updates": (
        mfcore.NeuMF(7, LAYERS, "tanh", init=INIT),
        "float32",
        {
            "data": "sparse",
            "batch_size": 7,
            "objective": "logistic",
            "n_negatives": 1,
            "optimizer": mfcore.Adam(falling(0.01), l2=0.02, l2_dense=0.01, epsilon=1e-5),
        },
    ),
    "mf": (mfcore.MF(7, biases=True, init=INIT), "float32", {"optimizer": mfcore.SGD(falling(0.5), l2=0.02)}),
    # As the one before it but for a number that no shape tells.
    "mf of stronger decay": (
        mfcore.MF(7, biases=True, init=INIT),
        "float32",
        {"optimizer": mfcore.SGD(falling(0.5), l2=0.2)},
    ),
    "gmf by pairs": (
        mfcore.GMF(7, biases=True, init=INIT),
        "float32",
        {"objective": "bpr", "n_negatives": 2, "optimizer": mfcore.Adagrad(falling(0.1), l2=0.02)},
    ),
    "two towers": (
        mfcore.TwoTower(7, (9, 5), "tanh", init=INIT),
        "float32",
        {
            "objective": mfcore.WeightedSquared(alpha=0.5),
            "n_negatives": 1,
            "optimizer": mfcore.LazyAdam(falling(0.01), epsilon=1e-5),
        },
    ),
    "mlp": (
        mfcore.MLP(LAYERS, "sigmoid", init=mfcore.Normal(0.6)),
        "float32",
        {"objective": "squared", "optimizer": mfcore.AdamW(falling(2**-7), weight_decay=2**-3, epsilon=1e-5)},
    ),
    "neumf, projected": (
        mfcore.NeuMF(7, LAYERS, "tanh", "projected", init=INIT),
        "float64",
        {
            "optimizer": mfcore.SGD(falling(0.02), momentum=0.9, l2=0.02, l2_dense=0.01),
        },
    ),
}


@needs_compiler
@pytest.mark.parametrize("run", COMPILED)
def test_compiled_steps_agree_with_the_reference(request, ratings, job_of, run):
    spec, dtype, settings = COMPILED[run]
    settings = {"batch_size": 23, "dtype": dtype, **settings}
    job = job_of(spec, request.getfixturevalue(settings.pop("data", "ratings")), **settings)
    if run == "neumf, deferred updates":
        job = replace(job, optimizer_state={**job.optimizer_state, STEP: np.array([5_000])})
    trainer, reference = BatchTrainer(job, compile=True), registry.get("reference").trainer(in_float64(job))
    compiled, n_taken = trainer.compiled_step, []

    def counted(*arguments):
        n_taken.append(1)
        return compiled(*arguments)

    trainer.compiled_step = counted
    objectives = [(trainer.run_epoch(epoch), reference.run_epoch(epoch)) for epoch in range(4)]
    assert job.n_instances % job.batch_size
    assert len(n_taken) == 4 * (job.n_instances // job.batch_size)
    tolerance = {"float64": 1e-9, "float32": 1e-5}[dtype]
    assert distance(trainer.parameters(), reference.parameters(), job.parameters) <= tolerance
    np.testing.assert_allclose(*np.transpose(objectives), rtol=tolerance)


@needs_compiler
@pytest.mark.parametrize("temperature", [0.7, 1.5])
def test_a_compiled_in_batch_softmax_agrees_with_the_reference(ratings, job_of, temperature):
    optimizer = mfcore.SGD(falling(0.1), momentum=0.9, l2=0.02)
    objective = mfcore.InBatchSoftmax(temperature)
    job = job_of(
        mfcore.TwoTower(7, init=INIT), ratings, objective=objective, optimizer=optimizer, batch_size=23
    )
    reference = registry.get("reference").trainer(job)
    for epoch in range(2):
        reference.run_epoch(epoch)
    found = trained(job, compile=True).parameters()
    assert distance(found, reference.parameters(), job.parameters) <= 1e-9


@needs_compiler
def test_a_function_is_compiled_for_more_threads_and_constants_than_pytorch_takes_for_one():
    def added(numbers, pair):
        for _ in range(pair[1]):
            numbers = numbers + pair[0]
        return numbers

    compiled = compiling.compiled_for_any_length(added)
    one = torch.ones(())
    with torch._dynamo.config.patch(recompile_limit=1):
        for threads, times in product((1, 2), (1, 2, 3)):
            with devices.settings(threads):
                assert compiled(torch.zeros(5), (one, times)).tolist() == [times] * 5


def test_steps_are_compiled_by_themselves_only_where_an_epoch_is_long(data, job_of, monkeypatch):
    monkeypatch.setattr(compiling, "has_compiler", lambda: True)
    job = job_of(mfcore.MF(4), data, optimizer="adam")

    def compiles(wanted, n_together, **limits):
        return compiling.Compiler.make(job, wanted, n_together, Limits(**limits)).is_on

    for n_together, pays in ((1, True), (2, False)):
        assert compiles("auto", n_together) == pays
        assert compiles(True, n_together)
        assert not compiles(False, n_together)
    assert compiles("auto", 256, compiled_instances=1_000)


@pytest.mark.parametrize(("n_cut", "n_together"), [(16_384, 1), (100, 4)])
def test_single_steps_that_are_taken_together_count_as_one(data, job_of, monkeypatch, n_cut, n_together):
    monkeypatch.setattr("mfcore.sampling._grid.WORTH_CUTTING", n_cut)
    monkeypatch.setattr(compiling, "has_compiler", lambda: True)
    trainer = BatchTrainer(job_of(mfcore.MF(4), data, optimizer=mfcore.SGD(), batch_size=1))
    assert (trainer.compiled_step is not None) == (1_200 // n_together >= 1_000)


@needs_compiler
def test_where_compiling_fails_training_goes_on_without_and_says_so(data, monkeypatch, tmp_path):
    broken = tmp_path / "broken-compiler"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    settings = {"optimizer": "adam", "batch_size": 7, "epochs": 1, "seed": 3}
    at_once = Limits(compiled_steps=1)
    with (
        torch._inductor.config.patch({"cpp.cxx": (str(broken),), "fx_graph_cache": False}),
        pytest.warns(RuntimeWarning, match="torch.compile failed: .*TorchBackend\\(compile=False\\)"),
    ):
        found = mfcore.fit(mfcore.MF(4, init=INIT), data, backend=TorchBackend(limits=at_once), **settings)
    plain = mfcore.fit(mfcore.MF(4, init=INIT), data, backend=PLAIN, **settings)
    assert_same_bits(found.parameters, plain.parameters)


def test_without_a_compiler_steps_are_not_compiled_unless_that_is_insisted_on(data, job_of, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    job = job_of(mfcore.MF(4), data, optimizer="adam", batch_size=1)
    assert not compiling.Compiler.make(job, "auto", 1, Limits()).is_on
    with pytest.raises(
        InvalidArgumentError, match=r"compile is True, but no C\+\+ compiler was found .*install"
    ):
        mfcore.fit(mfcore.MF(4), data, backend=TorchBackend(compile=True))


# An engine with settings of its own


def test_fit_takes_an_engine_with_settings_of_its_own(data):
    model = mfcore.fit(mfcore.MF(4), data, epochs=1, backend=TorchBackend(compile=False, matmul="tf32"))
    assert model.training["backend"] == "torch"
    assert model.training["backend_reason"] == "passed as an instance"
    assert type(model.scorer).__module__.startswith("mfcore_torch")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"compile": "yes"}, "compile is 'yes'; it must be 'auto', True or False"),
        ({"matmul": "float16"}, "matmul is 'float16'; it must be one of highest, tf32, bfloat16"),
        ({"cut_tables": 3}, "cut_tables is 3; it must be 'auto', True or False"),
    ],
)
def test_settings_outside_their_domain_are_refused(settings, message):
    with pytest.raises(InvalidArgumentError, match=f"TorchBackend: {message}"):
        TorchBackend(**settings)


# Precision of matrix products


@pytest.fixture(scope="module")
def groups():
    """80 users who like 5 groups of 16 items: twelve of their own group seen, the other four held out."""
    rng = np.random.default_rng(0)
    liked = np.stack([rng.permutation(16) for _ in range(80)]) * 5 + np.arange(80)[:, None] % 5
    users = np.repeat(np.arange(80), 16).reshape(80, 16)
    vocabularies = {"user_ids": Vocabulary.range(80), "item_ids": Vocabulary.range(80)}
    return [
        mfcore.Interactions.from_columns(users[:, part].ravel(), liked[:, part].ravel(), **vocabularies)
        for part in (slice(12), slice(12, None))
    ]


def test_products_in_bfloat16_train_a_model_as_good(groups):
    seen, held_out = groups
    found = {}
    for matmul in ("highest", "bfloat16"):
        model = mfcore.fit(
            mfcore.NeuMF(8, (16, 8), init=mfcore.Normal(0.1)),
            seen,
            objective="logistic",
            optimizer=mfcore.Adam(0.01),
            n_negatives=4,
            batch_size=64,
            epochs=8,
            backend=TorchBackend(compile=False, matmul=matmul),
        )
        assert all(array.dtype == np.float32 for array in model.parameters.values())
        assert all(np.isfinite(array).all() for array in model.parameters.values())
        found[matmul] = mfcore.evaluate(model, held_out, [mfcore.NDCG(4)])["NDCG@4"]
    assert found["highest"] > 0.9
    assert abs(found["bfloat16"] - found["highest"]) < 0.03


@pytest.mark.parametrize(
    "spec",
    [mfcore.NeuMF(7, (64, 32, 16), init=INIT), mfcore.TwoTower(16, (16, 8), init=INIT)],
    ids=["neumf", "two towers"],
)
def test_scores_by_products_in_bfloat16_are_good_to_a_hundredth_of_the_largest(data, job_of, spec):
    job = job_of(spec, data, dtype="float32")
    dense, users, items = {}, {}, {}
    for name, parameter in spec.parameters(data.n_users, data.n_items).items():
        tensor = torch.from_numpy(job.parameters[name].copy())
        if parameter.side is None:
            dense[name] = tensor
        else:
            side, rows = (users, data.users) if parameter.side == "user" else (items, data.items)
            side[name] = tensor[torch.from_numpy(rows.astype(np.int64))]
    exact = spec.score(operators.OPERATORS, users, items, dense)
    rounded = spec.score(operators.TorchOperators(operators.multiply_in_bfloat16), users, items, dense)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() <= 1e-2 * exact.abs().max()


def test_tf32_changes_nothing_on_a_cpu(data, job_of):
    job = job_of(mfcore.NeuMF(8, (64, 32), init=INIT), data, dtype="float32", batch_size=500)
    assert_same_bits(trained(job, matmul="tf32").parameters(), trained(job).parameters())


@needs_cuda
def test_tf32_is_off_on_cuda_unless_asked_for(data, job_of, monkeypatch):
    """Also where the caller uses it. Of 10 bits each, these products would be off by more than 1e-4."""
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(2, 512, 512, generator=generator, dtype=torch.float64)
    exact, found = left @ right, []
    job = job_of(mfcore.MF(4), data, optimizer="adam", device="cuda", dtype="float32")
    trainer = BatchTrainer(job, compile=False)

    def multiply(instances, learning_rate):
        found.append(trainer.stepper.xp.multiply(left.float().to("cuda"), right.float().to("cuda")).cpu())
        return torch.zeros((), dtype=torch.float64, device="cuda")

    monkeypatch.setattr(trainer, "_train", multiply)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        trainer.run_epoch(0)
    finally:
        torch.set_float32_matmul_precision(before)
    assert (found[0] - exact).abs().max() <= 1e-5 * exact.abs().max()


# Devices


@pytest.fixture
def machine(monkeypatch):
    """A function that makes PyTorch find so many CUDA devices; None for a build without CUDA."""

    def pretend(n):
        monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: n is not None)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(n))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n or 0)

    return pretend


@pytest.mark.parametrize(
    ("n", "device", "message"),
    [
        (
            None,
            "cuda",
            "device is 'cuda', but PyTorch .* is a build without CUDA; install one .*device='cpu'",
        ),
        (
            0,
            "cuda:1",
            "device is 'cuda:1', but PyTorch .* finds no CUDA device: check the driver .*device='cpu'",
        ),
        (2, "cuda:7", "device is 'cuda:7', and this machine has cuda:0, cuda:1; pass one of these"),
        (2, "tpu", "device is 'tpu'; it must be 'auto', 'cpu', 'cuda' or one of several, e.g. 'cuda:1'"),
        (2, "mps", "device is 'mps'; it must be 'auto', 'cpu'"),
        (2, "cuda:x", "device is 'cuda:x'; it must be 'auto', 'cpu'"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_what_to_do(data, machine, n, device, message):
    machine(n)
    with pytest.raises(InvalidArgumentError, match=f"^{message}"):
        devices.device_of(device)
    with pytest.raises(UnsupportedError, match=f"^backend 'torch' does not do this: {message}"):
        mfcore.fit(mfcore.MF(4), data, backend="torch", device=device)


@pytest.mark.parametrize(
    ("n", "device", "expected"),
    [
        (None, "auto", "cpu"),
        (0, "auto", "cpu"),
        (2, "auto", "cuda"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
    ],
)
def test_auto_is_cuda_where_there_is_any(machine, n, device, expected):
    machine(n)
    assert devices.device_of(device) == torch.device(expected)
    assert devices.unavailable(device) is None


def test_an_engine_for_the_cpu_names_this_one_where_there_is_cuda(data, machine):
    machine(1)
    with pytest.raises(
        UnsupportedError, match=r"device is 'cuda'; pass device='cpu'; engines that do: torch$"
    ):
        mfcore.fit(mfcore.MF(4), data, backend="reference", device="cuda")


def test_where_no_engine_has_the_device_each_says_why(data, machine):
    machine(None)
    with pytest.raises(
        UnsupportedError,
        match=r"no installed engine does this: reference: .*torch: device is 'cuda', but PyTorch",
    ):
        mfcore.fit(mfcore.MF(4), data, device="cuda")


def test_it_says_which_devices_it_has_found(machine):
    machine(None)
    assert f"PyTorch {torch.__version__} on the CPU;" in PLAIN.description
    for n, words in ((1, "the CPU and 1 CUDA device;"), (2, "the CPU and 2 CUDA devices;")):
        machine(n)
        assert words in PLAIN.description


# Memory


def out_of_memory(*arguments):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def out_of_host_memory(*arguments):
    torch.empty(1 << 55)


@pytest.mark.parametrize("failing", [out_of_memory, out_of_host_memory])
@pytest.mark.parametrize(
    "where", ["ParameterStore", "Stream.instances"], ids=["in the set-up", "in an epoch"]
)
def test_too_little_memory_is_explained_with_what_is_needed_and_what_to_change(
    data, monkeypatch, failing, where
):
    monkeypatch.setattr(f"mfcore_torch.batches.{where}", failing)
    with pytest.raises(
        DeviceMemoryError,
        # 280 rows of 4 numbers of 4 bytes, three times; 8 + 4 bytes of each of 1,200 ratings, and 24 more.
        match=r"^out of memory on cpu: the job needs about \d\d\.\d KiB \(parameters and optimizer state"
        r" 13\.1 KiB, training data 42\.2 KiB, a batch .*\); lower batch_size \(100\) or the number of"
        r" factors, or take an optimizer with fewer slots \(SGD has none, Adam two\)$",
    ) as caught:
        mfcore.fit(mfcore.MF(4), data, optimizer="adam", batch_size=100, backend=PLAIN)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_the_cpu_is_a_way_out_of_too_little_memory_on_another_device(data, job_of, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 << 28, 80 << 30))
    trainer = BatchTrainer(job_of(mfcore.MF(4), data, optimizer="adam"), compile=False)
    trainer.device = torch.device("cuda")
    with (
        pytest.raises(DeviceMemoryError, match=r"\(SGD has none, Adam two\), or pass device='cpu'$"),
        trainer._memory_errors_explained(),
    ):
        out_of_memory()


def test_the_memory_that_is_left_on_a_device_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 << 28, 80 << 30))
    needed = {"parameters": 5 << 30, "a batch": 1_023}
    with (
        pytest.raises(
            DeviceMemoryError,
            match=r"^out of memory on cuda:1, of whose 80\.0 GiB 768\.0 MiB are free: the job needs about"
            r" 5\.0 GiB \(parameters 5\.0 GiB, a batch 1023 bytes\); use less$",
        ),
        devices.memory_errors_explained(torch.device("cuda:1"), needed, "use less"),
    ):
        out_of_memory()


def test_any_other_error_of_pytorch_s_is_left_as_it_is(data, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("a sudden change of mind")

    monkeypatch.setattr(stream.Stream, "instances", broken)
    with pytest.raises(RuntimeError, match=r"^a sudden change of mind$"):
        mfcore.fit(mfcore.MF(4), data, optimizer="adam", backend=PLAIN)


def test_training_data_stays_on_the_host_where_it_would_take_half_of_the_device_s_memory(
    data, job_of, monkeypatch
):
    trainer = BatchTrainer(job_of(mfcore.MF(4), data, optimizer="adam"), compile=False)
    assert trainer._stream_device() == torch.device("cpu")
    trainer.device = torch.device("cuda")
    for n_free, expected in ((1 << 16, "cpu"), (1 << 20, "cuda")):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, n=n_free: (n, 80 << 30))
        assert trainer._stream_device() == torch.device(expected)


@needs_cuda
@pytest.mark.parametrize("objective", ["squared", "bpr"])
def test_results_are_the_same_with_the_training_data_on_the_host(data, job_of, objective):
    job = job_of(
        mfcore.NeuMF(7, LAYERS, init=INIT),
        data,
        objective=objective,
        n_negatives=1,
        device="cuda",
        dtype="float32",
    )
    on_device = trained(job)
    on_host = trained(job, limits=replace(Limits.of(torch.device("cuda")), data_share=0.0))
    assert (on_device.stream.device.type, on_host.stream.device.type) == ("cuda", "cpu")
    assert_same_bits(on_host.parameters(), on_device.parameters())


@needs_cuda
@pytest.mark.parametrize("run", COMPILED)
@pytest.mark.parametrize("compile", [False, True])
def test_cuda_agrees_with_the_reference(request, ratings, job_of, run, compile):
    spec, dtype, settings = COMPILED[run]
    settings = {"batch_size": 23, "dtype": dtype, "device": "cuda", **settings}
    job = job_of(spec, request.getfixturevalue(settings.pop("data", "ratings")), **settings)
    reference = registry.get("reference").trainer(in_float64(job))
    for epoch in range(2):
        reference.run_epoch(epoch)
    found = trained(job, compile=compile).parameters()
    assert (
        distance(found, reference.parameters(), job.parameters) <= {"float64": 1e-9, "float32": 1e-5}[dtype]
    )


# The same results

RUNS = {
    "neumf": (
        mfcore.NeuMF(7, (64, 32, 16)),
        {"objective": "logistic", "n_negatives": 3, "batch_size": 4_096},
    ),
    "mf by pairs": (mfcore.MF(16), {"objective": "bpr", "n_negatives": 2, "optimizer": mfcore.LazyAdam()}),
    "two towers in batches": (
        mfcore.TwoTower(16, (32, 16)),
        {"objective": "in_batch_softmax", "batch_size": 1_000, "optimizer": mfcore.Adagrad(0.1)},
    ),
    "single steps": (mfcore.MF(16, biases=True), {"optimizer": mfcore.SGD(0.02), "batch_size": 1}),
}


@pytest.mark.usefixtures("cut_small")
@pytest.mark.parametrize("run", RUNS)
def test_a_run_gives_the_same_bits_again_and_nearly_the_same_on_another_number_of_threads(data, job_of, run):
    spec, settings = RUNS[run]
    jobs = [job_of(spec, data, dtype="float32", threads=threads, **settings) for threads in (2, 2, 1)]
    first, again, alone = (trained(job) for job in jobs)
    assert_same_bits(again.parameters(), first.parameters())
    assert_same_bits(again.optimizer_state(), first.optimizer_state())
    assert distance(alone.parameters(), first.parameters(), jobs[0].parameters) <= 1e-5


@pytest.mark.usefixtures("cut_small")
@pytest.mark.parametrize("run", RUNS)
def test_a_resumed_run_ends_in_the_same_bits_as_one_that_went_through(data, run):
    spec, settings = RUNS[run]
    settings = {**settings, "backend": PLAIN, "seed": 9}
    whole = mfcore.fit(spec, data, epochs=3, **settings)
    begun = mfcore.fit(spec, data, epochs=1, **settings)
    ended = mfcore.fit(spec, data, epochs=3, resume=begun, **settings)
    assert_same_bits(ended.parameters, whole.parameters)
    assert_same_bits(ended.optimizer_state, whole.optimizer_state)


@pytest.mark.parametrize(
    "compile", [False, pytest.param(True, marks=needs_compiler)], ids=["plain", "compiled"]
)
def test_what_the_items_of_a_pair_have_in_common_cancels_to_the_last_bit(data, job_of, compile):
    """Adam would make whole steps of what rounding leaves over."""
    job = job_of(
        mfcore.MLP((8, 6, 4), init=INIT),
        data,
        objective="bpr",
        n_negatives=2,
        optimizer=mfcore.Adam(0.01),
        batch_size=37,
        dtype="float32",
    )
    # The last units are always active.
    start = {**job.parameters, "dense_1/bias": np.full(4, 50, dtype=np.float32)}
    found = trained(replace(job, parameters=start), compile=compile).parameters()
    np.testing.assert_array_equal(found["dense_1/bias"], start["dense_1/bias"])
    assert np.all(found["dense_1/kernel"] != start["dense_1/kernel"])


PARTS = {
    "deferred updates": (
        mfcore.NeuMF(7, LAYERS),
        {"data": "sparse", "objective": "logistic", "n_negatives": 1},
    ),
    "all rows moved": (mfcore.NeuMF(7, LAYERS), {"objective": "bpr", "n_negatives": 2}),
    "touched rows moved": (mfcore.GMF(7), {"objective": "in_batch_softmax", "optimizer": mfcore.LazyAdam()}),
    "blocked": (
        mfcore.MF(7, biases=True),
        {"optimizer": mfcore.SGD(0.02), "batch_size": 1, "n_negatives": 1},
    ),
}


@pytest.mark.usefixtures("cut_small")
@pytest.mark.parametrize("at_once", [1, 100])
@pytest.mark.parametrize("part", PARTS)
def test_instances_may_be_drawn_in_parts_of_whole_batches(request, job_of, part, at_once):
    spec, settings = PARTS[part]
    settings = {"batch_size": 37, "dtype": "float32", **settings}
    job = job_of(spec, request.getfixturevalue(settings.pop("data", "data")), **settings)
    job = replace(job, optimizer_state={**job.optimizer_state, STEP: np.array([5_000])})
    together = trained(job)
    in_parts = trained(job, limits=Limits(instances_at_once=at_once))
    assert_same_bits(in_parts.parameters(), together.parameters())
    assert_same_bits(in_parts.optimizer_state(), together.optimizer_state())


@pytest.mark.parametrize("n_at_once", [1, 10])
def test_few_small_batches_are_prepared_at_once_where_each_has_all_rows(data, job_of, monkeypatch, n_at_once):
    job = job_of(
        mfcore.MF(4, biases=True, init=INIT),
        data,
        optimizer=mfcore.SGD(0.02, momentum=0.9),
        batch_size=2,
        dtype="float32",
    )
    together = trained(job, epochs=1)
    # Of each row of a batch, and of the padding row, two int64.
    in_a_batch = 16 * (data.n_users + 1 + data.n_items + 1)
    bound = n_at_once * in_a_batch
    all_rows, taken = batches.all_rows, []

    def recorded(rows, n_rows):
        taken.append(16 * len(rows) * (n_rows + 1))
        return all_rows(rows, n_rows)

    monkeypatch.setattr(batches, "all_rows", recorded)
    in_parts = trained(job, epochs=1, limits=Limits(batch_rows_bytes=bound))
    assert sum(taken) == 600 * in_a_batch
    assert max(a + b for a, b in zip(taken[::2], taken[1::2], strict=True)) == bound
    assert_same_bits(in_parts.parameters(), together.parameters())
    assert_same_bits(in_parts.optimizer_state(), together.optimizer_state())


@pytest.mark.parametrize("batch_size", [2, 500, 1_199, 1_200, 10_000])
@pytest.mark.parametrize("optimizer", [mfcore.LazyAdam(), mfcore.Adam()], ids=["touched rows", "all rows"])
def test_batches_of_any_size_agree_with_the_reference(data, job_of, optimizer, batch_size):
    """The last one may be a single instance, or an epoch one batch of more instances than there are rows."""
    job = job_of(mfcore.MF(4, init=INIT), data, optimizer=optimizer, batch_size=batch_size)
    reference = registry.get("reference").trainer(job)
    reference.run_epoch(0)
    found = trained(job, epochs=1).parameters()
    assert distance(found, reference.parameters(), job.parameters) <= 1e-9


def test_rows_that_no_batch_touches_are_not_gone_through_once_updates_can_be_deferred(
    sparse, job_of, monkeypatch
):
    def gone_through(rows, n_rows):
        raise AssertionError("a step goes through all rows")

    monkeypatch.setattr(batches, "all_rows", gone_through)

    def run(dtype="float32", taken=5_000, **settings):
        settings = {"optimizer": mfcore.Adam(), "batch_size": 3, "dtype": dtype, **settings}
        job = job_of(mfcore.MF(4), sparse, **settings)
        trained(replace(job, optimizer_state={**job.optimizer_state, STEP: np.array([taken])}), epochs=1)

    run()
    run(optimizer=mfcore.AdamW())
    run(optimizer=mfcore.LazyAdam(), taken=0, dtype="float64", batch_size=150)
    dense = [
        {"dtype": "float64"},
        {"taken": 0},
        {"batch_size": 125},
        {"optimizer": mfcore.RMSprop()},
        {"optimizer": mfcore.Adam(beta_2=0.5)},
    ]
    for settings in dense:
        with pytest.raises(AssertionError, match="goes through all rows"):
            run(**settings)


@pytest.mark.parametrize("latest", [1_000, 1_300, 5_000])
def test_rows_that_have_caught_up_stand_where_steps_one_by_one_would_leave_them(sparse, job_of, latest):
    optimizer = mfcore.AdamW(2**-7, weight_decay=2**-3)
    job = job_of(mfcore.MF(4), sparse, optimizer=optimizer, batch_size=3, dtype="float32")
    job = replace(job, optimizer_state={**job.optimizer_state, STEP: np.array([latest])})
    tables = BatchTrainer(job, compile=False).deferral.begin(2**-7).users
    xp = operators.OPERATORS
    rng = np.random.default_rng(1)
    sizes = 10 ** rng.uniform(-4, 0, size=(50, 1))
    row = [rng.normal(size=(50, 6)), rng.normal(size=(50, 6)) * sizes, rng.uniform(size=(50, 6)) * sizes**2]
    row = [array.astype(np.float32).astype(float) for array in row]
    before = torch.from_numpy(np.stack(row, axis=1)).float()
    rule = optimizer.rule(NUMPY)
    for number in range(latest, latest + 500):
        at_once = deferral.caught_up(xp, before, torch.full((50,), latest), torch.tensor([number]), tables)
        for place, expected in enumerate(row):
            start, found = before[:, place].numpy(), at_once[:, place].numpy()
            # A few roundings of float32, of what was there and of the way from there.
            allowed = 2**-22 * (np.abs(start) + 2 * np.abs(expected - start))
            assert np.all(np.abs(found - expected) <= allowed)
        row = list(rule(row[0], 0.0, *row[1:], optimizer.coefficients(number + 1, 2**-7)))


@pytest.mark.usefixtures("cut_small")
def test_single_steps_are_grouped_so_that_none_of_a_group_share_a_row(data, job_of):
    job = job_of(mfcore.MF(4), data, optimizer=mfcore.SGD(), batch_size=1, n_negatives=1)
    own = stream.Stream(job, torch.device("cpu"), compiling.left_alone)
    groups = own.groups_apart(3)
    assert groups.shape[1] == 4
    assert sorted(groups[groups >= 0].tolist()) == list(range(job.n_instances))
    instances, is_real = own.take_apart(3, groups)
    for rows in (instances.users, instances.items):
        for row, real in zip(rows.view(-1, 4), is_real.view(-1, 4), strict=True):
            assert len(set(row[real].tolist())) == int(real.sum())
    # Those of a row come in the order of the epoch.
    shown = own.instances(3, 0, job.n_instances)
    for grouped, alone in ((instances.users, shown.users), (instances.items, shown.items)):
        order, expected = (rows.argsort(stable=True) for rows in (grouped[is_real], alone))
        for name in ("users", "items", "interactions"):
            found = getattr(instances, name)[is_real][order]
            assert torch.equal(found, getattr(shown, name)[expected])


# What others have derived


class Signs(GradientOptimizer):
    """A rule that is nobody's here: every row moves by the rate along the sign of its gradient, or decays."""

    def coefficients(self, step, learning_rate):
        return (learning_rate, 1e-3, 1 - 0.1 * learning_rate)

    @staticmethod
    def rule(xp):
        def update(parameter, gradient, first, second, c):
            return c[2] * parameter - c[0] * gradient / (xp.sqrt(gradient * gradient) + c[1]), first, second

        return update


class Warming(mfcore.SGD):
    """SGD whose rate grows from step to step."""

    def coefficients(self, step, learning_rate):
        return super().coefficients(step, learning_rate * min(1, step / 500))


@pytest.mark.parametrize(
    "compile", [False, pytest.param(True, marks=needs_compiler)], ids=["plain", "compiled"]
)
@pytest.mark.parametrize("optimizer", [Signs(0.01), Warming(0.05)], ids=["own rule", "own coefficients"])
def test_an_optimizer_of_somebody_elses_trains_by_its_own_rule(ratings, job_of, optimizer, compile):
    batch_size = 1 if isinstance(optimizer, Warming) else 37
    job = job_of(mfcore.MF(4, init=INIT), ratings, optimizer=optimizer, batch_size=batch_size)
    reference = registry.get("reference").trainer(job)
    for epoch in range(2):
        reference.run_epoch(epoch)
    found = trained(job, compile=compile).parameters()
    assert distance(found, reference.parameters(), job.parameters) <= 1e-9


# In company


class State:
    """What of PyTorch's settings a run might change."""

    def __init__(self):
        self.found = (
            torch.get_num_threads(),
            torch.get_float32_matmul_precision(),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cuda.matmul.allow_tf32,
            torch.random.get_rng_state().tolist(),
        )


@pytest.fixture
def left_as_it_was():
    """Settings of the caller's own, which must be found unchanged after the test."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(3)
    torch.set_float32_matmul_precision("medium")
    before = State().found
    yield
    after = State().found
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)
    assert after == before


@pytest.mark.usefixtures("left_as_it_was")
@pytest.mark.parametrize("run", RUNS)
def test_a_run_leaves_pytorch_s_settings_as_they_were(data, run):
    spec, settings = RUNS[run]
    engine = TorchBackend(compile=False, matmul="tf32")
    mfcore.fit(spec, data, epochs=2, threads=1, backend=engine, **settings)


@pytest.mark.usefixtures("left_as_it_was")
@pytest.mark.parametrize("where", ["in a callback", "in an epoch"])
def test_so_does_one_that_is_interrupted(data, monkeypatch, where):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    if where == "in an epoch":
        monkeypatch.setattr(BatchTrainer, "_train", interrupt)
    callbacks = [interrupt] if where == "in a callback" else []
    with pytest.raises(KeyboardInterrupt):
        mfcore.fit(mfcore.GMF(4), data, threads=1, backend=PLAIN, callbacks=callbacks)


def test_results_do_not_depend_on_the_caller_s_settings_of_pytorch(data, job_of):
    job = job_of(mfcore.NeuMF(7, LAYERS), data, dtype="float32", objective="bpr", n_negatives=1)
    expected = trained(job).parameters()
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.use_deterministic_algorithms(True)
        torch.set_float32_matmul_precision("medium")
        with torch.no_grad():
            found = trained(job).parameters()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.use_deterministic_algorithms(False)
        torch.set_float32_matmul_precision("highest")
    assert_same_bits(found, expected)


@pytest.mark.parametrize(
    "mode",
    [torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["inference", "autocast"],
)
@pytest.mark.parametrize(
    ("spec", "optimizer"),
    [(mfcore.MLP(LAYERS, init=INIT), mfcore.Adam(0.01)), (mfcore.MF(8), mfcore.WALS(l2=0.1))],
    ids=["steps", "WALS"],
)
def test_a_mode_that_the_caller_is_in_does_not_reach_training_or_scoring(data, mode, spec, optimizer):
    def trained():
        model = mfcore.fit(spec, data, optimizer=optimizer, epochs=2, backend="torch", seed=3, progress=False)
        return model.parameters["item_factors"], model.scorer.score_catalogue(np.arange(9))

    expected = trained()
    with mode():
        found = trained()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_fits_in_two_threads_of_python_at_once(data):
    from concurrent.futures import ThreadPoolExecutor

    def fit(seed):
        return mfcore.fit(mfcore.GMF(8), data, epochs=2, threads=1, backend=PLAIN, seed=seed)

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(fit, [0, 1]))
    for seed, model in enumerate(together):
        assert_same_bits(model.parameters, fit(seed).parameters)


def printed_by(source):
    """Return what Python source prints in a fresh process with this one's path."""
    prelude = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
    return subprocess.check_output([sys.executable, "-c", prelude + textwrap.dedent(source)], text=True)


def test_it_imports_no_other_framework():
    loaded = printed_by("import mfcore_torch.batches; print(*sys.modules)").split()
    others = {"numba", "llvmlite", "tensorflow", "keras", "pandas", "polars", "mfcore_numba", "mfcore_keras"}
    assert "torch" in loaded
    assert not others & set(loaded)


def test_where_pytorch_is_missing_the_command_that_installs_it_is_named():
    message = printed_by(
        """
        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "torch":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Absent())
        import mfcore

        data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [1, 2, 1], [1.0, 2.0, 3.0])
        try:
            mfcore.fit(mfcore.MF(2), data, epochs=1, backend="torch")
        except ImportError as error:
            print(error)
        """
    )
    assert message == "backend 'torch' needs torch, which is not installed: pip install 'mfcore[torch]'\n"
