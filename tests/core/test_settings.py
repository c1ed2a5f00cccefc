"""Settings: the open registry of classes, their plain dictionaries, and what no file could hold."""

import json
import sys
from dataclasses import InitVar, dataclass

import numpy as np
import pytest

from mfcore import MF, SGD, Adam, Linear, Schedule
from mfcore.errors import InvalidArgumentError, ModelFileError
from mfcore.objectives import OBJECTIVES, PointwiseObjective
from mfcore.optimizers import OPTIMIZERS, GradientOptimizer
from mfcore.settings import from_dict, kind_of, load_plugin, registered, require_storable, to_dict
from mfcore.specs import MODELS, Initializer, ModelSpec

pytestmark = pytest.mark.usefixtures("registry_kept")


def defined_in(module, name, base, **members):
    """Define a class as if it stood at the top level of a module."""
    made = type(base)(name, (base,), {"__module__": module, "__qualname__": name, **members})
    return dataclass(frozen=True)(made)


# The registry


def test_names_are_told_in_the_order_of_their_definition():
    assert list(MODELS) == ["mf", "gmf", "mlp", "neumf", "two-tower"]
    assert list(OBJECTIVES) == ["squared", "weighted_squared", "logistic", "bpr", "in_batch_softmax"]
    assert list(OPTIMIZERS) == ["sgd", "adagrad", "rmsprop", "adam", "adamw", "lazyadam", "wals"]
    assert list(registered(GradientOptimizer)) == ["sgd", "adagrad", "rmsprop", "adam", "adamw", "lazyadam"]
    assert all(kind.short_name == name for name, kind in {**MODELS, **OBJECTIVES, **OPTIMIZERS}.items())


def test_a_view_takes_in_what_is_defined_later():
    assert "hasty" not in OPTIMIZERS
    hasty = defined_in("mine", "Hasty", SGD, short_name="hasty")
    assert OPTIMIZERS["hasty"] is hasty
    assert list(OPTIMIZERS)[-1] == "hasty"
    assert len(OPTIMIZERS) == 8
    assert "hasty" not in OBJECTIVES


def test_a_class_without_a_name_of_its_own_does_not_take_that_of_its_base():
    defined_in("mine", "Hasty", SGD)
    assert OPTIMIZERS["sgd"] is SGD


@pytest.mark.parametrize(
    ("base", "name"),
    [(SGD, "adam"), (MF, "mf"), (PointwiseObjective, "bpr")],
    ids=["of another", "its own", "of a base"],
)
def test_a_name_is_not_given_twice(base, name):
    taken = {**OPTIMIZERS, **MODELS, **OBJECTIVES}[name]
    message = f"mine:Other would have the name '{name}', which is that of mfcore.*:{taken.__name__}; give it"
    with pytest.raises(InvalidArgumentError, match=message):
        defined_in("mine", "Other", base, short_name=name)
    assert {**OPTIMIZERS, **MODELS, **OBJECTIVES}[name] is taken
    # What was refused is not half there.
    with pytest.raises(ModelFileError, match="Other of module mine is needed"):
        from_dict({"kind": "mine:Other"})


def test_a_rule_and_a_loss_may_have_one_name():
    rule, loss = (
        defined_in("mine", base.__name__, base, short_name="mine") for base in (SGD, PointwiseObjective)
    )
    assert (OPTIMIZERS["mine"], OBJECTIVES["mine"]) == (rule, loss)


def test_a_class_that_is_defined_anew_takes_the_place_of_the_earlier_one():
    """As where a cell of a notebook is run again."""
    earlier, later = (defined_in("mine", "Hasty", SGD, short_name="hasty") for _ in range(2))
    assert OPTIMIZERS["hasty"] is later
    assert type(from_dict(to_dict(earlier(0.5)))) is later


def test_a_file_calls_own_classes_by_their_module():
    assert kind_of(MF) == "MF"
    assert kind_of(defined_in("mine.parts", "MF", MF)) == "mine.parts:MF"
    assert kind_of(defined_in("mfcore_of_mine", "MF", MF)) == "mfcore_of_mine:MF"


def test_a_class_of_mfcore_is_not_called_like_another_of_its_own():
    with pytest.raises(InvalidArgumentError, match=r"mfcore\.here:MF would have the kind 'MF'"):
        defined_in("mfcore.here", "MF", MF)


# Dictionaries


def test_own_settings_survive_json():
    @dataclass(frozen=True)
    class Nested(Initializer):
        pairs: tuple[tuple[int, float], ...] = ()
        name: str | None = None

        def draw(self, name, shape, seed):
            return np.zeros(shape)

    settings = MF(3, init=Nested(((1, 0.5), (2, 0.25)), "x"))
    assert from_dict(json.loads(json.dumps(to_dict(settings)))) == settings


def test_numbers_of_numpy_become_plain_ones():
    plain = to_dict(SGD(np.float32(0.5), l2=np.float64(0.25), nesterov=np.True_, momentum=np.float16(0.5)))
    assert {type(value) for value in plain.values()} == {str, float, bool}


@pytest.mark.parametrize(
    "value",
    [[1, 2], {"a": 1}, {1}, np.zeros(2), 1j, b"x", object(), (1, [2])],
    ids=lambda value: repr(value)[:12],
)
def test_what_a_file_cannot_hold_is_refused_by_name(value):
    kind = defined_in("mine", "Weighted", SGD, __annotations__={"weights": object}, weights=None)
    settings = kind(0.1)
    object.__setattr__(settings, "weights", value)
    with pytest.raises(InvalidArgumentError, match=r"Weighted: weights is .*which a model file cannot hold"):
        to_dict(settings)


def test_a_class_that_is_no_dataclass_is_refused():
    class Bare(ModelSpec):
        parameters = score = score_gradients = score_catalogue = item_vectors = None

    class Hidden(SGD):
        def __init__(self, secret):
            super().__init__(0.1)

    for settings in (Bare(), Hidden(3)):
        with pytest.raises(
            InvalidArgumentError, match=r"is no dataclass.*write @dataclass\(frozen=True\) above"
        ):
            to_dict(settings)


def test_a_subclass_that_adds_no_settings_needs_no_decorator():
    kind = type(SGD)("Louder", (SGD,), {"__module__": "mine", "__qualname__": "Louder"})
    assert from_dict(to_dict(kind(0.5))) == kind(0.5)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("GMF2", "unknown kind of settings 'GMF2'; a newer mfcore may have written it"),
        (None, "unknown kind of settings None"),
        (["MF"], "unknown kind of settings"),
        (
            "no.such:Loss",
            r"Loss of module no.such is needed.*: import no.such first, or pass --plugin no.such",
        ),
        ("json:Loss", "Loss of module json is needed, and that module defines no such settings"),
    ],
    ids=str,
)
def test_an_unknown_kind_is_refused_with_what_to_import(kind, message):
    with pytest.raises(ModelFileError, match=message):
        from_dict({"kind": kind})


def test_nothing_is_imported_because_a_file_names_it(tmp_path, monkeypatch):
    (tmp_path / "unasked.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelFileError, match="Loss of module unasked is needed"):
        from_dict({"kind": "unasked:Loss"})
    assert "unasked" not in sys.modules


# What could not be loaded again


def test_settings_that_come_back_are_storable():
    own = defined_in("mine", "Hasty", SGD, __annotations__={"sizes": tuple}, sizes=(1, 2))
    for settings in (MF(3), Adam(Schedule(0.1)), own(0.5)):
        require_storable(settings)
        require_storable(to_dict(settings))


def test_what_is_defined_where_no_other_program_finds_it_is_not_storable():
    @dataclass(frozen=True)
    class Inner(Linear):
        pass

    main = defined_in("__main__", "Rule", SGD)
    for settings, message in (
        (Inner(), "Inner is defined inside a function"),
        (MF(2, output=Inner()), "Inner is defined inside a function"),
        (main(0.1), "Rule is defined in the program itself or a notebook"),
        (to_dict(main(0.1)), "Rule is defined in the program itself or a notebook"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            require_storable(settings)


def test_a_field_that_changes_on_its_way_is_not_storable():
    def double(self):
        object.__setattr__(self, "l2", 2 * self.l2)

    doubling = defined_in("mine", "Doubling", SGD, __post_init__=double)
    with pytest.raises(InvalidArgumentError, match=r"loaded as it is: from l2=0.5 it makes l2=1.0; let"):
        require_storable(doubling(l2=0.25))


def test_an_argument_that_is_no_field_is_not_storable_unless_it_has_a_default():
    def take(self, size):
        pass

    needed, spared = (
        defined_in("mine", f"Sized{n}", Initializer, __annotations__={"size": InitVar[int]}, draw=None,
                   __post_init__=take, **default)
        for n, default in enumerate(({}, {"size": 3}))
    )  # fmt: skip
    require_storable(spared(5))
    with pytest.raises(InvalidArgumentError, match=r"mine:Sized0 could not be loaded again: .*'size'"):
        require_storable(needed(5))


def test_settings_of_a_class_that_was_defined_anew_since_are_not_storable():
    earlier = defined_in("mine", "Hasty", SGD)(0.5)
    defined_in("mine", "Hasty", SGD)
    with pytest.raises(InvalidArgumentError, match=r"mine:Hasty was defined anew since .*: make it again"):
        require_storable(earlier)


def test_what_came_from_a_file_is_storable_without_its_module():
    require_storable({"kind": "not.imported:Loss", "margin": 1})


# Plug-ins


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A file with a rule, and its folder, which is not on the path."""
    monkeypatch.chdir(tmp_path)
    source = (
        "from dataclasses import dataclass\n"
        "from mfcore.optimizers import SGD\n"
        "@dataclass(frozen=True)\n"
        "class Hasty(SGD):\n"
        "    short_name = 'hasty'\n"
    )
    (tmp_path / "hasty_parts.py").write_text(source)
    return tmp_path


def test_a_plug_in_is_imported_by_its_file(parts):
    module = load_plugin(str(parts / "hasty_parts.py"))
    assert OPTIMIZERS["hasty"] is module.Hasty
    assert kind_of(module.Hasty) == "hasty_parts:Hasty"
    assert load_plugin("hasty_parts.py") is module


def test_a_plug_in_is_imported_by_its_name(parts, monkeypatch):
    monkeypatch.syspath_prepend(parts)
    assert load_plugin("hasty_parts").Hasty is OPTIMIZERS["hasty"]


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        (
            "hasty_parts",
            None,
            "'hasty_parts' was not imported: .*No module named.*; for the file .* pass hasty",
        ),
        ("no.such", None, "'no.such' was not imported: ModuleNotFoundError: No module named 'no'$"),
        ("no_such.py", None, "'no_such.py' was not imported: FileNotFoundError: there is no file no_such.py"),
        (
            "broken_parts.py",
            "1 / 0",
            "'broken_parts.py' was not imported: ZeroDivisionError: division by zero",
        ),
        ("json.py", "", "a module json is there already, .*json.*; rename the file"),
        (
            "taken_parts.py",
            "from mfcore import SGD\nclass Other(SGD):\n    short_name = 'adam'",
            "taken_parts:Other would have the name 'adam'",
        ),
    ],
    ids=["a file by its name", "no module", "no file", "an error", "a name that is taken", "a rule's name"],
)
def test_a_plug_in_that_is_not_there_or_fails_is_named(parts, name, source, message):
    if source is not None:
        (parts / name).write_text(source)
    with pytest.raises(InvalidArgumentError, match=message):
        load_plugin(name)
    assert name.removesuffix(".py") == "json" or name.removesuffix(".py") not in sys.modules
