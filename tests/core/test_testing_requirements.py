"""Each requirement of the contract is kept by the reference engine, and can be failed."""

from dataclasses import replace

import numpy as np
import pytest

from mfcore.engines import API_VERSION, Gap, reference, registry
from mfcore.testing import KNOWN_ANSWERS, Cell, ConformanceError, Requirement, refusal
from mfcore.testing._arrays import require_arrays
from mfcore.testing._gaps import covers
from mfcore.testing._requirements import REQUIREMENTS, USUAL, cells_of, require_reason

JOB = Cell("mf with biases", "logistic", "adam", "float64").job()


class Twin:
    """The reference engine, whose trainer is spoilt on the way."""

    name = "twin"
    api_version = API_VERSION
    description = "the reference engine once more"

    def __init__(self, spoil=lambda trainer: None, prepare=lambda job: job):
        self.spoil, self.prepare = spoil, prepare

    def unsupported(self, job):
        return reference.backend.unsupported(job)

    def trainer(self, job):
        trainer = reference.backend.trainer(self.prepare(job))
        self.spoil(trainer)
        return trainer

    def scorer(self, model):
        return None


def named(name, value):
    engine = Twin()
    setattr(engine, name, value)
    return engine


def as_views(trainer):
    trainer.parameters = lambda: {name: array.view() for name, array in trainer.values.items()}


def as_read_only_views(trainer):
    def parameters():
        views = {name: array.view() for name, array in trainer.values.items()}
        for view in views.values():
            view.flags.writeable = False
        return views

    trainer.parameters = parameters


def in_place(trainer):
    trainer.values = dict(trainer.job.parameters)


def without_moments(trainer):
    trainer.state = {name: np.zeros_like(array) for name, array in trainer.state.items()}


def hidden(trainer):
    run = trainer.run_epoch
    trainer.run_epoch = lambda epoch: float(np.nan_to_num(run(epoch)))


def unsteady(trainer):
    noise = np.random.default_rng().normal(size=1)
    trainer.values["user_bias"] += 1e-3 * noise


def need_contiguous(job):
    if not all(array.flags.c_contiguous for array in job.parameters.values()):
        raise ValueError("the array is not contiguous")
    return job


def read_as_contiguous(job):
    """Read memory on from where an array begins, as C would that knows nothing of strides."""
    read = {
        name: np.lib.stride_tricks.as_strided(array, strides=np.empty(array.shape).strides)
        for name, array in job.parameters.items()
    }
    return replace(job, parameters=read)


FAULTS = {
    "another version": (named("api_version", API_VERSION + 1), "it says who it is", "api_version is 2"),
    "no name": (named("name", ""), "it says who it is", "name is ''"),
    "no description": (named("description", ""), "it says who it is", "has no description"),
    "any device": (
        named("unsupported", lambda job: None),
        "its refusals are sentences",
        "nothing against device",
    ),
    "a vague reason": (
        named("unsupported", lambda job: "no, not on mars"),
        "its refusals are sentences",
        "what is in the way and what to do instead",
    ),
    "views": (Twin(as_views), "what it exported stays", "gives views"),
    "read-only views": (Twin(as_read_only_views), "what it exported stays", "changed with training"),
    "work in place": (Twin(in_place), "it leaves the job as it is", "wrote to the job's parameters"),
    "contiguous arrays alone": (
        Twin(prepare=need_contiguous),
        "it takes arrays as they lie",
        "not contiguous fails: the array is not contiguous",
    ),
    "strides unread": (
        Twin(prepare=read_as_contiguous),
        "it takes arrays as they lie",
        "not contiguous has another result",
    ),
    "chance": (Twin(unsteady), "it does again what it did", "a second run of one job is off by"),
    "moments forgotten": (Twin(without_moments), "it goes on where it was left", "resumed is off by"),
    "a NaN unseen": (Twin(hidden), "it does not hide a divergence", "would go unseen"),
}


@pytest.mark.parametrize("requirement", REQUIREMENTS)
@pytest.mark.parametrize("cell", USUAL, ids=str)
def test_the_reference_engine_keeps_it(requirement, cell):
    REQUIREMENTS[requirement](reference.backend, cell.job())


@pytest.mark.parametrize("fault", FAULTS)
def test_an_engine_with_a_fault_fails_it(fault):
    engine, requirement, says = FAULTS[fault]
    job = Cell("mf with biases", "logistic", "adam", "float64").job()
    with pytest.raises(ConformanceError, match=says):
        REQUIREMENTS[requirement](engine, job)


def test_every_requirement_can_be_failed():
    assert {requirement for _, requirement, _ in FAULTS.values()} == set(REQUIREMENTS)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda arrays: arrays.pop("user_bias"), "lacks user_bias and has nothing besides"),
        (lambda arrays: arrays.update(extra=arrays["user_bias"]), "lacks nothing and has extra besides"),
        (
            lambda arrays: arrays.update(user_bias=arrays["user_bias"].astype("float32")),
            r"is float32 \[60\]; it must be float64 \[60\]",
        ),
        (lambda arrays: arrays.update(user_bias=[0.0]), r"is a list; it must be float64 \[60\]"),
    ],
    ids=["one too few", "one too many", "another dtype", "no array"],
)
def test_arrays_of_other_names_shapes_or_dtypes_are_told(spoil, says):
    trainer = reference.backend.trainer(JOB)
    arrays = trainer.parameters()
    spoil(arrays)
    trainer.parameters = lambda: arrays
    with pytest.raises(ConformanceError, match=says):
        require_arrays(trainer, JOB)


def test_an_engine_is_asked_about_what_it_does():
    assert cells_of(lambda cell: True) == list(USUAL)
    [cell] = cells_of(lambda cell: cell.model == "neumf")
    assert cell.model == "neumf"
    assert cells_of(lambda cell: False) == []


def test_a_reason_is_one_line_that_names_what_it_is_about():
    require_reason("it has no kernels for mars; pass device='cpu'", "mars")
    with pytest.raises(ConformanceError, match="should name mars"):
        require_reason("it has no kernels for that; pass device='cpu'", "mars")
    with pytest.raises(ConformanceError, match="in one line"):
        require_reason("it has no kernels\nfor that; use another")


@pytest.mark.parametrize("known_answer", KNOWN_ANSWERS, ids=str)
def test_an_engine_that_learns_nothing_does_not_find_the_known_answer(known_answer):
    def idle(trainer):
        trainer.run_epoch = lambda epoch: 1.0

    assert known_answer.n_wrong(reference.backend) == 0
    assert known_answer.n_wrong(Twin(idle)) > 10
    with pytest.raises(ConformanceError, match="something else than what is known"):
        known_answer.require(Twin(idle))


# Gaps

NARROW = Cell("mlp of tanh", "bpr", "adam", "float32")


def test_a_gap_covers_what_all_its_patterns_match():
    assert covers(Gap("", models=["mlp*"]), NARROW)
    assert covers(Gap("", models=["gmf", "mlp of tanh"], dtypes=["float32"]), NARROW)
    assert not covers(Gap("", models=["mlp*"], dtypes=["float64"]), NARROW)
    assert not covers(Gap("", optimizers=["wals*"]), NARROW)


def test_engine_and_gaps_must_agree():
    job, gap = NARROW.job(), Gap("too hard", models=["mlp*"])
    able, unable = Twin(), named("unsupported", lambda job: "it cannot; use another")
    assert refusal(able, NARROW, job, []) is None
    assert refusal(unable, NARROW, job, [gap]).reason == "too hard"
    with pytest.raises(
        ConformanceError, match=r"twin refuses mlp of tanh.* its reason: it cannot; use another"
    ):
        refusal(unable, NARROW, job, [])
    with pytest.raises(ConformanceError, match=r"declared a gap \(too hard\); remove it"):
        refusal(able, NARROW, job, [gap])


def test_without_known_gaps_the_engine_s_own_reason_is_taken():
    unable = named("unsupported", lambda job: "it cannot; use another")
    assert refusal(unable, NARROW, NARROW.job(), None).reason == "it cannot; use another"


def test_reasons_that_differ_in_settings_alone_are_of_one_kind():
    said = named(
        "unsupported", lambda job: f"it knows plain SGD, and optimizer is {job.optimizer}; use SGD()"
    )
    by_name = named("unsupported", lambda job: f"it has no {type(job.spec).__name__}; use MF")
    cells = [Cell("gmf", "squared", optimizer, "float64") for optimizer in ("adam", "adagrad", "momentum")]
    refusals = [refusal(said, cell, cell.job(), None) for cell in cells]
    assert len({refused.reason for refused in refusals}) == 3
    assert len({refused.kind for refused in refusals[:2]}) == 1
    others = [Cell(model, "squared", "adam", "float64") for model in ("gmf", "neumf")]
    assert len({refusal(by_name, cell, cell.job(), None).kind for cell in others}) == 1


@pytest.mark.parametrize("engine", ["reference", "numba", "torch", "keras"])
def test_mfcore_s_engines_declare_their_gaps_with_reasons(engine):
    try:
        backend = registry.get(engine)
    except registry.BackendMissingError as error:
        pytest.skip(str(error))
    assert all(len(gap.reason.split()) > 5 for gap in backend.gaps)


def test_an_engine_that_does_none_of_the_cells_meets_no_requirement():
    unable = named("unsupported", lambda job: "it cannot; use another")
    with pytest.raises(ConformanceError, match="twin does none of the cells"):
        Requirement("it says who it is").require(unable)
