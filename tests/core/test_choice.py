"""Which engine runs a job: the one asked for, or the one that would be done first, and why."""

import subprocess
import sys

import numpy as np
import pytest

from mfcore import GMF, MF, WALS, Adam, NeuMF, fit
from mfcore.engines import API_VERSION, Costs, CostTable, choose_backend, costs
from mfcore.engines import selection as choice
from mfcore.engines.reference import ReferenceBackend
from mfcore.errors import InvalidArgumentError, UnsupportedError

NEUMF = {"objective": "logistic", "n_negatives": 4, "optimizer": Adam()}


class OwnBackend(ReferenceBackend):
    """An engine that nobody has installed: the reference, with a reason of its own why not."""

    name = "own"

    def __init__(self, refusal=None, api_version=API_VERSION):
        self.refusal, self.api_version = refusal, api_version

    def __repr__(self):
        return "OwnBackend()"

    def unsupported(self, job):
        return self.refusal


class NamedBackend(OwnBackend):
    """The same under another name; on a CUDA device it may have none."""

    def __init__(self, name, refusal=None, has_cuda=True):
        super().__init__(refusal)
        self.name, self.has_cuda = name, has_cuda

    def unsupported(self, job):
        return "there is no CUDA device" if job.device == "cuda" and not self.has_cuda else self.refusal


class Telling(NamedBackend):
    """The same, telling its costs."""

    def __init__(self, name, told, refusal=None):
        super().__init__(name, refusal)
        self.told, self.asked = told, []

    def costs(self, job):
        self.asked.append(job)
        return self.told


class Unsure(NamedBackend):
    """The same, failing when it is asked whether it does a job."""

    def unsupported(self, job):
        raise RuntimeError("ask me tomorrow")


def engine_of(start_s, step_us, *, on_cuda=False, families=(costs.SINGLE_STEPS, costs.THROUGH_LAYERS)):
    """Return an engine's part of costs.json: nothing costs it anything but the start and the steps."""
    of_family = {"start_s": start_s, "step_us": step_us, "instance_ns": 0, "product_ns": 0}
    return {"on_cuda": on_cuda, "negative_ns": 0, "families": dict.fromkeys(families, of_family)}


@pytest.fixture
def measured(monkeypatch):
    """Return a function that sets what was measured."""

    def measure(**engines):
        table = CostTable.from_document({"machine": "an abacus", "threads": 2, "engines": engines})
        monkeypatch.setattr(costs, "measured", lambda: table)
        monkeypatch.setattr(choice, "_has_cuda_driver", lambda: False)

    return measure


# The quickest


def test_a_short_job_goes_to_the_engine_that_starts_sooner(ratings, job_of, install_backend, measured):
    measured(swift=engine_of(1, 100), strong=engine_of(10, 1))
    for name in ("strong", "swift"):
        install_backend(name, NamedBackend(name))
    job = job_of(NeuMF(2, (4, 2)), ratings, batch_size=10, **NEUMF)
    backend, reason = choose_backend("auto", job, epochs=20)
    assert backend.name == "swift"
    assert reason == "swift: about 1 s for this job, strong about 10 s, measured on 2 threads of an abacus"


def test_a_long_job_goes_to_the_engine_that_takes_steps_sooner(ratings, job_of, install_backend, measured):
    measured(swift=engine_of(1, 100), strong=engine_of(10, 1))
    for name in ("strong", "swift"):
        install_backend(name, NamedBackend(name))
    # 200 steps an epoch.
    job = job_of(NeuMF(2, (4, 2)), ratings, batch_size=10, **NEUMF)
    backend, reason = choose_backend("auto", job, epochs=100_000)
    assert backend.name == "strong"
    assert reason.startswith("strong: about 30 s for this job, swift about 33 min, ")


def test_an_engine_that_refuses_is_passed_over_and_its_reason_told(
    ratings, job_of, install_backend, measured
):
    measured(swift=engine_of(1, 1), strong=engine_of(2, 1))
    install_backend("swift", NamedBackend("swift", refusal="it is closed on Mondays"))
    install_backend("strong", NamedBackend("strong"))
    backend, reason = choose_backend("auto", job_of(MF(2), ratings), epochs=1)
    assert backend.name == "strong"
    assert reason.endswith("; swift: it is closed on Mondays")


def test_engines_that_would_take_longer_are_not_loaded(ratings, job_of, install_backend, measured):
    measured(swift=engine_of(1, 1), strong=engine_of(2, 1))
    install_backend("swift", NamedBackend("swift"))
    # Loading it would fail: it speaks no version of the contract.
    install_backend("strong", object())
    backend, _ = choose_backend("auto", job_of(MF(2), ratings), epochs=1)
    assert backend.name == "swift"


def test_an_engine_without_its_framework_is_no_candidate(
    ratings, job_of, install_backend, install_source, measured
):
    measured(swift=engine_of(1, 1), strong=engine_of(2, 1), slow=engine_of(3, 1))
    install_backend("strong", NamedBackend("strong"))
    for name in ("slow", "swift"):
        install_source(
            name, "import no_such_framework_at_all", "mfcore", ["no-such-framework; extra == 'slow'"]
        )
    backend, reason = choose_backend("auto", job_of(MF(2), ratings), epochs=1)
    assert backend.name == "strong"
    assert "swift" not in reason
    assert "slow" not in reason


def test_a_broken_engine_is_passed_over_and_its_reason_told(
    ratings, job_of, install_backend, install_source, measured
):
    measured(swift=engine_of(1, 1), strong=engine_of(2, 1))
    install_backend("strong", NamedBackend("strong"))
    install_source("swift", "raise RuntimeError('no driver')")
    install_source("newcomer", "backend = 3")
    install_backend("moody", Unsure("moody"))
    backend, reason = choose_backend("auto", job_of(MF(2), ratings), epochs=1)
    assert backend.name == "strong"
    assert (
        "backend 'swift' of an unknown distribution fails when it is imported: RuntimeError: no dr" in reason
    )
    assert "newcomer: backend 'newcomer' has no name, api_version" in reason
    assert "moody: RuntimeError: ask me tomorrow" in reason


# Engines of others, of which nothing was measured


def test_an_engine_that_tells_its_costs_is_weighed_against_those_measured(
    ratings, job_of, install_backend, measured
):
    measured(swift=engine_of(2, 1), strong=engine_of(4, 1))
    for name in ("swift", "strong"):
        install_backend(name, NamedBackend(name))
    install_backend("newcomer", Telling("newcomer", Costs(1, 0, 0, 0, 0, threads=2)))
    backend, reason = choose_backend("auto", job_of(MF(2), ratings), epochs=1)
    assert backend.name == "newcomer"
    assert reason == (
        "newcomer: about 1 s for this job, swift about 2 s, strong about 4 s, measured on 2 threads of an"
        " abacus; by the costs that newcomer stated"
    )
    install_backend(
        "quickest", Telling("quickest", Costs(0, 0, 0, 0, 0, threads=2), refusal="not on Mondays")
    )
    backend, reason = choose_backend("auto", job_of(MF(2), ratings), epochs=1)
    assert backend.name == "newcomer"
    assert reason.endswith("; quickest: not on Mondays")


def test_an_engine_that_tells_higher_costs_comes_later(ratings, job_of, install_backend, measured):
    measured(swift=engine_of(2, 1))
    install_backend("swift", NamedBackend("swift"))
    install_backend("newcomer", Telling("newcomer", Costs(3, 0, 0, 0, 0, threads=2)))
    backend, reason = choose_backend("auto", job_of(MF(2), ratings), epochs=1)
    assert backend.name == "swift"
    assert reason.startswith("swift: about 2 s for this job, newcomer about 3 s, ")


def test_costs_are_told_of_the_very_job(ratings, job_of, install_backend, measured):
    measured()
    newcomer = Telling("newcomer", Costs(3, 0, 0, 0, 0, threads=2))
    install_backend("newcomer", newcomer)
    job = job_of(MF(2), ratings)
    _, reason = choose_backend("auto", job, epochs=1)
    assert newcomer.asked == [job]
    assert reason == "newcomer: about 3 s for this job; by the costs that newcomer stated"


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (None, "it does not say what the job costs it"),
        (3.5, "asked for its costs, AttributeError: "),
        (Costs(float("nan"), 0, 0, 0, 0, threads=2), "it says that the job takes nan s"),
        (Costs(-1, 0, 0, 0, 0, threads=2), "it says that the job takes -1"),
    ],
    ids=["nothing", "a number", "nan", "less than nothing"],
)
def test_an_engine_of_unknown_costs_comes_after_those_of_known_ones(
    ratings, job_of, install_backend, measured, told, says
):
    measured(swift=engine_of(1, 1))
    install_backend("newcomer", Telling("newcomer", told))
    install_backend("swift", NamedBackend("swift"))
    backend, reason = choose_backend("auto", job_of(MF(2), ratings), epochs=1)
    assert backend.name == "swift"
    assert f"; newcomer: {says}" in reason
    assert reason.endswith(", so it comes after those of known costs")
    assert choose_backend("newcomer", job_of(MF(2), ratings), epochs=1)[0].name == "newcomer"


def test_an_engine_of_unknown_costs_comes_before_the_reference(ratings, job_of, install_backend, measured):
    measured(swift=engine_of(1, 1))
    install_backend("swift", NamedBackend("swift", refusal="it is closed on Mondays"))
    install_backend("newcomer", NamedBackend("newcomer"))
    backend, reason = choose_backend("auto", job_of(MF(2), ratings), epochs=1)
    assert backend.name == "newcomer"
    assert reason.startswith("newcomer rather than the reference: what the job costs it is unknown; swift: ")
    assert reason.endswith("; swift: it is closed on Mondays")


def test_an_engine_comes_late_for_jobs_of_a_kind_that_it_was_not_measured_at(
    ratings, job_of, install_backend, measured
):
    measured(swift=engine_of(1, 1), slow=engine_of(90, 1, families=[costs.BATCHES]))
    for name in ("slow", "swift"):
        install_backend(name, NamedBackend(name))
    job = job_of(GMF(2), ratings, optimizer=Adam())
    assert choose_backend("auto", job, epochs=1)[0].name == "slow"
    measured(swift=engine_of(1, 1))
    install_backend("slow", NamedBackend("slow", refusal="closed"))
    assert choose_backend("auto", job, epochs=1)[1].startswith("swift rather than the reference")


def test_where_no_engine_does_the_job_the_error_says_why_of_each(ratings, job_of, install_backend, measured):
    measured(swift=engine_of(1, 1))
    install_backend("swift", NamedBackend("swift", refusal="it is closed on Mondays"))
    job = job_of(MF(2), ratings, device="cuda")
    with pytest.raises(UnsupportedError, match=r"^no installed engine does this: reference: .*; swift: "):
        choose_backend("auto", job, epochs=1)


def test_more_threads_than_were_measured_share_the_work(ratings, job_of, install_backend, measured):
    engine = engine_of(0, 0)
    engine["families"][costs.SINGLE_STEPS]["instance_ns"] = 1e9
    measured(swift=engine)
    install_backend("swift", NamedBackend("swift"))
    for threads, seconds in ((1, "27 min"), (2, "13 min"), (4, "7 min")):
        _, reason = choose_backend("auto", job_of(MF(2), ratings, threads=threads), epochs=2)
        assert reason.startswith(f"swift: about {seconds} for this job"), reason


# A CUDA device


@pytest.fixture
def with_gpu(measured, install_backend, monkeypatch):
    """Return a function that installs a quick engine for the CPU, and a slow one for CUDA devices too."""

    def install(*, has_cuda):
        measured(cpu=engine_of(1, 100), gpu=engine_of(10, 1, on_cuda=True))
        monkeypatch.setattr(choice, "_has_cuda_driver", lambda: True)
        install_backend("cpu", NamedBackend("cpu", has_cuda=False))
        install_backend("gpu", NamedBackend("gpu", has_cuda=has_cuda))

    return install


def test_a_long_job_goes_to_the_engine_with_a_cuda_device(ratings, job_of, with_gpu):
    with_gpu(has_cuda=True)
    job = job_of(NeuMF(2, (4, 2)), ratings, batch_size=10, device="auto", **NEUMF)
    backend, reason = choose_backend("auto", job, epochs=100_000)
    assert backend.name == "gpu"
    assert reason.startswith("gpu on CUDA: about 30 s for this job, cpu about 33 min, ")
    assert "no GPU was measured: of CUDA, the start and the calls of the steps are counted" in reason


def test_where_the_engine_finds_no_cuda_device_its_time_on_the_cpu_counts(ratings, job_of, with_gpu):
    with_gpu(has_cuda=False)
    job = job_of(NeuMF(2, (4, 2)), ratings, batch_size=10, device="auto", **NEUMF)
    backend, reason = choose_backend("auto", job, epochs=100_000)
    assert backend.name == "gpu"
    assert reason.startswith("gpu: about 30 s for this job")
    assert reason.endswith("; gpu on CUDA: there is no CUDA device")


@pytest.mark.parametrize("has_driver", [False, True])
def test_a_cuda_device_is_looked_for_only_where_there_is_a_driver(monkeypatch, tmp_path, has_driver):
    driver = tmp_path / "version"
    if has_driver:
        driver.touch()
    monkeypatch.setattr(choice, "CUDA_DRIVERS", (str(driver),))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert choice._has_cuda_driver() == has_driver
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not choice._has_cuda_driver()


# What comes with this version


def test_engines_are_measured_at_all_that_they_do(ratings, job_of):
    """`auto` would not find an engine for a family of jobs that is missing."""
    jobs = [
        job_of(MF(2), ratings),
        job_of(GMF(2), ratings),
        job_of(NeuMF(2, (4, 2)), ratings),
        job_of(MF(2), ratings, objective="in_batch_softmax"),
        *(job_of(MF(2), ratings, optimizer=WALS(solver=solver)) for solver in ("cg", "cholesky", "subspace")),
    ]
    families = {costs.Work.of(job).family for job in jobs}
    assert len(families) == len(jobs)
    table = costs.measured()
    assert families == set(table.engines["numba"]) == set(table.engines["torch"])
    assert set(table.engines["keras"]) == {name for name in families if not name.startswith("WALS")}


def test_a_choice_loads_no_framework_but_the_one_it_takes():
    """Numba is quickest at a small job on a CPU, whatever else is installed."""
    pytest.importorskip("numba", reason="numba is not installed on this Python")
    source = (
        f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
        "import mfcore\n"
        "data = mfcore.data.synthetic(300, 40, 30).interactions\n"
        "model = mfcore.fit(mfcore.MF(2), data, epochs=1, device='cpu')\n"
        "print(model.training['backend'], *({'torch', 'tensorflow', 'keras'} & set(sys.modules)))\n"
    )
    printed = subprocess.check_output([sys.executable, "-c", source], text=True)
    assert printed.split() == ["numba"]


# One asked for


def test_an_engine_itself_may_be_passed_and_need_not_be_installed(ratings):
    own, named = (fit(MF(2), ratings, epochs=1, backend=engine) for engine in (OwnBackend(), "reference"))
    assert own.training["backend"] == "own"
    assert own.training["backend_reason"] == "passed as an instance"
    np.testing.assert_array_equal(own.parameters["item_factors"], named.parameters["item_factors"])


def test_an_engine_itself_may_refuse_a_job_and_those_installed_are_named(ratings):
    with pytest.raises(
        UnsupportedError,
        match=r"^backend 'own' does not do this: it is closed on Mondays; engines that do: .*reference$",
    ):
        fit(MF(2), ratings, backend=OwnBackend("it is closed on Mondays"))


@pytest.mark.parametrize("backend", [None, 3, b"reference", ["reference"]], ids=repr)
def test_what_is_neither_a_name_nor_an_engine_is_refused(ratings, backend):
    with pytest.raises(
        InvalidArgumentError,
        match=r"^backend is .*; it must be 'auto', the name of an engine \(reference.*\), or an engine"
        r" itself, such as mfcore_torch\.TorchBackend\(compile=False\)$",
    ):
        fit(MF(2), ratings, backend=backend)


def test_the_class_of_an_engine_is_refused_with_what_to_write(ratings):
    with pytest.raises(InvalidArgumentError, match=r"write an instance, OwnBackend\(\)$"):
        fit(MF(2), ratings, backend=OwnBackend)


def test_an_engine_of_another_contract_is_refused(ratings):
    with pytest.raises(
        InvalidArgumentError,
        match=r"backend OwnBackend\(\) speaks version 9 of the contract, this mfcore version 1",
    ):
        fit(MF(2), ratings, backend=OwnBackend(api_version=9))
