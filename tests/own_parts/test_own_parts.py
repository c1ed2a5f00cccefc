"""A model, a loss, a rule and an output of one's own are trained, saved, loaded, resumed and folded in.

Each part stands in `own_parts.py`, which knows mfcore and which mfcore does not know.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from mfcore import MF, SGD, Adam, Interactions, Linear, fit, load
from mfcore.errors import InvalidArgumentError, ModelFileError
from mfcore.settings import from_dict, load_plugin

PARTS = Path(__file__).with_name("own_parts.py")
SETTINGS = {"batch_size": 32, "dtype": "float64", "seed": 5, "backend": "reference"}


@pytest.fixture
def parts(registry_kept):
    """The module, imported as a plug-in."""
    return load_plugin(str(PARTS))


@pytest.fixture
def own(parts):
    """The arguments of a run that has nothing of mfcore's own but the engine."""
    spec = parts.SteppedMF(3, biases=True, weights=((0.5, 1), (2.0, 3)))
    return {
        "spec": spec,
        "objective": parts.Capped(3.5),
        "optimizer": parts.Warming(0.02, l2=0.01),
        **SETTINGS,
    }


def same_bits(one, other):
    return set(one) == set(other) and all(np.array_equal(one[name], other[name]) for name in one)


def test_own_parts_are_trained_as_they_are_defined(own, parts, ratings):
    """Each does what parts of mfcore do on other values, at other rates or from other parameters."""
    model = fit(data=ratings, epochs=2, **{**own, "optimizer": parts.Warming(0.02, l2=0.01, epochs=2)})
    capped = Interactions.from_columns(
        ratings.users, ratings.items, np.minimum(ratings.values, 3.5),
        user_ids=ratings.user_ids, item_ids=ratings.item_ids,
    )  # fmt: skip
    plain = {"spec": replace(own["spec"], output=Linear()), "objective": "squared", **SETTINGS}
    rates = [SGD(rate, l2=0.01, momentum=0.9) for rate in (0.01, 0.02)]
    half = fit(data=capped, epochs=1, **plain, optimizer=rates[0])
    assert model.parameters["global_bias"] == half.parameters["global_bias"]
    same = fit(data=capped, epochs=2, **plain, optimizer=rates[1], resume=half)
    assert same_bits(model.parameters, same.parameters)
    predictions = model.predict(ratings.users, ratings.items)
    assert np.array_equal(predictions, np.round(same.predict(ratings.users, ratings.items) * 2) / 2)


def test_a_model_of_own_parts_comes_back_from_its_file(own, ratings, tmp_path):
    model = fit(data=ratings, epochs=2, **own)
    model.save(tmp_path / "m.safetensors")
    loaded = load(tmp_path / "m.safetensors")
    assert loaded.spec == model.spec
    assert type(loaded.spec) is type(own["spec"])
    assert from_dict(loaded.training["objective"]) == own["objective"]
    assert from_dict(loaded.training["optimizer"]) == own["optimizer"]
    assert np.array_equal(loaded.predict([1, 2], [3, 4]), model.predict([1, 2], [3, 4]))


def test_a_run_of_own_parts_is_resumed_with_the_bits_of_an_uninterrupted_one(own, ratings, tmp_path):
    path = tmp_path / "run.safetensors"
    whole = fit(data=ratings, epochs=4, **own)
    half = fit(data=ratings, epochs=2, checkpoint=path, **own)
    for start in (half, path):
        resumed = fit(data=ratings, epochs=4, resume=start, **own)
        assert same_bits(resumed.parameters, whole.parameters)
        assert same_bits(resumed.optimizer_state, whole.optimizer_state)


@pytest.mark.parametrize("part", ["spec", "objective", "optimizer"])
def test_a_run_is_not_resumed_with_another_own_part(own, parts, ratings, part):
    others = {
        "spec": (parts.SteppedMF(3, biases=True), "resume: the model's spec is SteppedMF"),
        "objective": (parts.Capped(4.5), "resume: the model was trained with objective .*3.5.*not .*4.5"),
        "optimizer": (Adam(), "trained with optimizer own_parts:Warming, not Adam"),
    }
    begun = fit(data=ratings, epochs=1, **own)
    other, message = others[part]
    with pytest.raises(InvalidArgumentError, match=message):
        fit(data=ratings, epochs=2, resume=begun, **{**own, part: other})


def test_own_parts_go_by_their_names(parts, ratings):
    model = fit(MF(2), ratings, objective="capped", optimizer="warming", epochs=1, backend="reference")
    assert from_dict(model.training["objective"]) == parts.Capped()
    assert from_dict(model.training["optimizer"]) == parts.Warming()
    with pytest.raises(
        InvalidArgumentError, match=r"objective is 'caped'; it must be one of .*capped, poisson"
    ):
        fit(MF(2), ratings, objective="caped")


def test_a_new_user_minimises_their_share_of_an_own_loss(parts, ratings, tmp_path):
    optimizer = Adam(0.05, l2=0.05)
    settings = {"objective": parts.Poisson(), "optimizer": optimizer, **SETTINGS}
    fit(parts.SteppedMF(3, output=Linear()), ratings, epochs=10, **settings).save(tmp_path / "m.safetensors")
    model = load(tmp_path / "m.safetensors")
    items, values = np.arange(6), np.array([5.0, 4.0, 3.0, 2.0, 1.0, 4.0])
    row = model.fold_in(items, values).parameters["user_factors"]

    def share(row):
        scores = model.catalogue["item_factors"][items] @ row
        return (np.exp(scores) - values * scores).sum() + 6 * optimizer.l2 / 2 * row @ row

    assert share(row) <= minimize(share, row, options={"gtol": 1e-9}).fun + 1e-9


# In another process


def run(source, *arguments):
    """Run a program that starts with what this one can import; return its last line."""
    path = f"import sys; sys.path[:0] = {[entry for entry in sys.path if entry]!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", path + source, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    return (done.stdout + done.stderr).strip().splitlines()[-1]


def test_a_file_of_own_parts_names_the_module_to_import(own, ratings, tmp_path):
    path = tmp_path / "m.safetensors"
    fit(data=ratings, epochs=2, **own).save(path)
    said = run("import mfcore; mfcore.load(sys.argv[1])", path)
    assert said.startswith("mfcore.errors.ModelFileError: ")
    assert "SteppedMF of module own_parts is needed" in said
    assert "import own_parts first, or pass --plugin own_parts on the command line" in said


@pytest.mark.parametrize("how", ["from mfcore.settings import load_plugin; load_plugin(sys.argv[2])",
                                 "sys.path.append(sys.argv[2].rpartition('/')[0]); import own_parts"],
                         ids=["as a plug-in", "as a module"])  # fmt: skip
def test_a_file_of_own_parts_is_loaded_where_their_module_was_imported(own, ratings, tmp_path, how):
    path = tmp_path / "m.safetensors"
    model = fit(data=ratings, epochs=2, **own)
    model.save(path)
    said = run(f"{how}; import mfcore; print(mfcore.load(sys.argv[1]).predict(1, 3).hex())", path, PARTS)
    assert said == model.predict(1, 3).hex()


def test_a_model_answers_without_the_module_of_the_loss_that_it_was_trained_by(parts, ratings, tmp_path):
    path = tmp_path / "m.safetensors"
    fit(MF(2), ratings, objective=parts.Capped(), epochs=1, backend="reference").save(path)
    source = "import mfcore; model = mfcore.load(sys.argv[1]); model.save(sys.argv[1])\n"
    assert run(source + "print(len(model.recommend(1, 3)[0]))", path) == "3"
    assert load(path).spec == MF(2)
    assert "Capped of module own_parts is needed" in run(source + "model.fold_in([1])", path)


# What could not be loaded


def test_what_another_program_cannot_find_is_refused_before_anything_is_written(ratings, tmp_path, own):
    class Local(type(own["objective"])):
        pass

    path = tmp_path / "m.safetensors"
    message = "Local is defined inside a function, .*move it to the top level of a module of its own"
    model = fit(MF(2), ratings, objective=Local(), epochs=1, backend="reference")
    with pytest.raises(InvalidArgumentError, match=message):
        model.save(path)
    # Before an epoch is lost.
    with pytest.raises(InvalidArgumentError, match=message):
        fit(MF(2), ratings, objective=Local(), checkpoint=path, callbacks=[lambda end: 1 / 0])
    assert list(tmp_path.iterdir()) == []


def test_what_is_defined_in_the_program_itself_is_trained_and_not_saved(tmp_path):
    source = (
        "from dataclasses import dataclass, replace\n"
        "import mfcore\n"
        "@dataclass(frozen=True)\n"
        "class Mine(mfcore.MF): pass\n"
        "data = mfcore.data.synthetic(300, 40, 30).interactions\n"
        "model = mfcore.fit(Mine(2), data, epochs=1, backend='reference')\n"
        "again = mfcore.fit(Mine(2), data, epochs=2, backend='reference', resume=model)\n"
        "print(again.epochs_trained)\n"
    )
    assert run(source) == "2"
    said = run(source + "model.save(sys.argv[1])", tmp_path / "m.safetensors")
    assert "Mine is defined in the program itself or a notebook, where no other program can find it" in said
    assert list(tmp_path.iterdir()) == []


def test_settings_of_an_own_class_that_do_not_fit_are_refused(own, ratings, tmp_path, parts, monkeypatch):
    path = tmp_path / "m.safetensors"
    fit(data=ratings, epochs=1, **own).save(path)
    monkeypatch.delattr(parts.SteppedMF, "__init__")
    with pytest.raises(ModelFileError, match="settings of own_parts:SteppedMF do not fit the module that is"):
        load(path)
