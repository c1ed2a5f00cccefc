"""Model files: everything comes back; nothing else is taken for a model; nothing is half-written."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mfcore import (
    MF,
    SGD,
    WALS,
    AdamW,
    Constant,
    Interactions,
    Logistic,
    Normal,
    RatingRange,
    Schedule,
    Uniform,
    WeightedSquared,
    fit,
    load,
)
from mfcore.errors import ModelFileError
from mfcore.model._file import FORMAT_VERSION
from mfcore.settings import from_dict, to_dict


@pytest.fixture(scope="module")
def data():
    return Interactions.from_columns(
        ["ann", "bob", "Zoë", "ann", "名前"],
        [30, 20, 10, 10, 20],
        [1, 2, 3, 4, 5],
        item_names={10: 'Ten: the "first"', 20: "Двадцать", 30: ""},
    )


@pytest.fixture(scope="module")
def model(data):
    return fit(
        MF(3, biases=True, output=RatingRange(1, 5), init=Normal(0.1)),
        data,
        optimizer=AdamW(Schedule(0.01, 0.9)),
        epochs=2,
        validation=data,
        backend="reference",
    )


@pytest.fixture
def path(model, tmp_path):
    path = tmp_path / "model.safetensors"
    model.save(path)
    return path


def rewrite(path, change):
    """Change the metadata and tensors of a file, with the means of safetensors itself."""
    header_length = struct.unpack("<Q", path.read_bytes()[:8])[0]
    metadata = json.loads(path.read_bytes()[8 : 8 + header_length])["__metadata__"]
    tensors = load_file(path)
    change(metadata, tensors)
    save_file(tensors, path, metadata)


def rewrite_description(path, change):
    def change_metadata(metadata, tensors):
        description = json.loads(metadata["model"])
        change(description)
        metadata["model"] = json.dumps(description)

    rewrite(path, change_metadata)


def test_everything_comes_back(model, path):
    loaded = load(path)
    assert loaded.spec == model.spec
    assert loaded.user_ids == model.user_ids
    assert loaded.item_ids == model.item_ids
    assert loaded.item_names.tolist() == ['Ten: the "first"', "Двадцать", ""]
    assert (loaded.training, loaded.history, loaded.epochs_trained) == (
        model.training,
        model.history,
        model.epochs_trained,
    )
    assert np.array_equal(loaded.seen.indptr, model.seen.indptr)
    assert np.array_equal(loaded.seen.indices, model.seen.indices)
    assert set(loaded.parameters) == set(model.parameters)
    for name, array in model.parameters.items():
        assert loaded.parameters[name].dtype == array.dtype
        assert np.array_equal(loaded.parameters[name], array)


def test_a_loaded_model_answers_like_the_one_saved(model, path):
    loaded = load(str(path))
    users, items = ["Zoë", "名前", "unheard of"], [30, 10, 20]
    assert np.array_equal(loaded.predict(users, items), model.predict(users, items))
    for one, other in zip(loaded.recommend(users), model.recommend(users), strict=True):
        assert one.items.tolist() == other.items.tolist()
        assert one.names.tolist() == other.names.tolist()
    folded = [each.fold_in([10, 20], [5, 1]).scores() for each in (loaded, model)]
    assert np.array_equal(*folded)


def test_optimizer_state_is_written_where_asked_for(model, path, tmp_path):
    assert load(path).optimizer_state is None
    model.save(tmp_path / "state.safetensors", optimizer_state=True)
    state = load(tmp_path / "state.safetensors").optimizer_state
    assert set(state) == set(model.optimizer_state)
    assert all(np.array_equal(state[name], array) for name, array in model.optimizer_state.items())


@pytest.mark.parametrize(
    ("users", "items"),
    [([3, 2**40], [0, 5]), (["a", "b"], ["x", "y"]), ([1, 2], ["7", "07"]), (["\u00e9", "e\u0301"], [0, 1])],
    ids=["large integers", "strings", "strings of digits", "composed and decomposed accents"],
)
def test_ids_come_back_as_they_went_in(tmp_path, users, items):
    model = fit(MF(1), Interactions.from_columns(users, items), epochs=1, backend="reference")
    model.save(tmp_path / "m.safetensors")
    loaded = load(tmp_path / "m.safetensors")
    assert list(loaded.user_ids) == sorted(users)
    assert list(loaded.item_ids) == sorted(items)
    assert loaded.item_names is None


def test_settings_in_numpy_numbers_are_saved_as_plain_ones(tmp_path):
    data = Interactions.from_columns([1, 2], [1, 2], [1.0, 2.0])
    model = fit(
        MF(np.int64(2), init=Normal(np.float64(0.1))),
        data,
        optimizer=SGD(np.float32(0.5)),
        epochs=np.int64(1),
        seed=np.int32(7),
        backend="reference",
        checkpoint=tmp_path / "m.safetensors",
    )
    assert load(tmp_path / "m.safetensors").training == model.training
    assert load(tmp_path / "m.safetensors").spec == model.spec


@pytest.mark.parametrize(
    "settings",
    [
        MF(3, output=RatingRange(1, 5, "sigmoid"), init=Uniform(-1, 1)),
        MF(3, init=Constant(0.5)),
        AdamW(Schedule(0.1, 0.5, 3), weight_decay=0.3),
        WALS(0.1, solver="subspace", block_size=7, zero_pairs="unobserved"),
        WeightedSquared(2.0),
        Logistic(),
    ],
    ids=str,
)
def test_settings_survive_json(settings):
    assert from_dict(json.loads(json.dumps(to_dict(settings)))) == settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "GMF2"}, "unknown kind of settings 'GMF2'; a newer mfcore may have written it"),
        ({"n_factors": 3}, "unknown kind of settings None"),
        ({"kind": "MF", "n_layers": 3}, "settings of MF do not fit this mfcore: .*n_layers"),
        ({"kind": "MF", "n_factors": 0}, "settings of MF do not fit this mfcore: MF: n_factors is 0"),
    ],
    ids=["unknown kind", "no kind", "unknown field", "impossible value"],
)
def test_settings_of_a_newer_mfcore_are_refused(settings, message):
    with pytest.raises(ModelFileError, match=message):
        from_dict(settings)


# What is not a model


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"there is no model file .*nowhere\.safetensors"):
        load(tmp_path / "nowhere.safetensors")


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(ModelFileError, match="there is no model file"):
        load(tmp_path)


@pytest.mark.parametrize(
    "kept", [0, 5, 100, -1], ids=["empty", "no header", "half a header", "last byte lost"]
)
def test_a_truncated_file_is_refused(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelFileError, match=r"model\.safetensors is no safetensors file, or was cut short"):
        load(path)


@pytest.mark.parametrize("content", [b"\x80\x04pickled", b"PK\x03\x04" + bytes(100), b"user,item\n1,2\n"])
def test_a_foreign_file_is_refused(tmp_path, content):
    (tmp_path / "foreign").write_bytes(content)
    with pytest.raises(ModelFileError, match="is no safetensors file"):
        load(tmp_path / "foreign")


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}], ids=str)
def test_a_safetensors_file_of_others_is_refused(tmp_path, metadata):
    save_file({"weight": np.zeros(3)}, tmp_path / "other.safetensors", metadata)
    with pytest.raises(ModelFileError, match=r"was not written by mfcore; Model.save writes such files"):
        load(tmp_path / "other.safetensors")


@pytest.mark.parametrize("version", [str(FORMAT_VERSION + 1), "99", "2.0", ""])
def test_a_newer_format_asks_for_an_upgrade(path, version):
    rewrite(path, lambda metadata, tensors: metadata.update(format_version=version))
    with pytest.raises(ModelFileError, match=rf"format version {version!r}.*: upgrade mfcore"):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda metadata, tensors: metadata.pop("model"), "is not a whole mfcore model"),
        (lambda metadata, tensors: metadata.update(model="{"), "is not a whole mfcore model"),
        (lambda metadata, tensors: metadata.update(model="[]"), "is not a whole mfcore model"),
        (lambda metadata, tensors: tensors.pop("user_ids"), "is not a whole mfcore model"),
        (lambda metadata, tensors: tensors.pop("seen.indptr"), "is not a whole mfcore model"),
        (lambda metadata, tensors: tensors.pop("parameters/user_bias"), "but the spec has"),
        (
            lambda metadata, tensors: tensors.update({"parameters/user_bias": np.zeros(99, np.float32)}),
            r"\(99,\).*but the spec has",
        ),
        (
            lambda metadata, tensors: tensors["parameters/user_bias"].fill(np.nan),
            "user_bias holds values that are not finite",
        ),
        (lambda metadata, tensors: tensors["seen.indices"].fill(99), "the seen items do not fit"),
        (lambda metadata, tensors: tensors["seen.indptr"].fill(3), "the seen items do not fit"),
        (
            lambda metadata, tensors: tensors.update({"item_names.offsets": np.array([0, 3])}),
            "there are 1 titles for 3 items",
        ),
        (
            lambda metadata, tensors: tensors["user_ids"].fill(0xFF),
            "is not a whole mfcore model: .*utf-8",
        ),
    ],
    ids=[
        "no description",
        "broken description",
        "wrong description",
        "no ids",
        "no seen items",
        "a parameter is missing",
        "a parameter of another shape",
        "NaN",
        "seen items outside the catalogue",
        "seen items of too few users",
        "too few titles",
        "ids that are no text",
    ],
)
def test_a_file_with_parts_missing_or_damaged_is_refused(path, change, message):
    rewrite(path, change)
    with pytest.raises(ModelFileError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda description: description["spec"].update(kind="NeuMF9"), "unknown kind of settings 'NeuMF9'"),
        (
            lambda description: description.update(spec={"kind": "SGD"}),
            "is not a whole mfcore model: its spec is SGD",
        ),
        (lambda description: description["history"][0].update(loss=1), "is not a whole mfcore model"),
        (lambda description: description.pop("training"), "is not a whole mfcore model"),
    ],
    ids=["unknown spec", "a spec that is none", "unknown quantity in the history", "no training"],
)
def test_a_description_that_does_not_fit_is_refused(path, change, message):
    rewrite_description(path, change)
    with pytest.raises(ModelFileError, match=message):
        load(path)


# Writing


@pytest.mark.parametrize("stage", ["safetensors.numpy.save_file", "os.fsync", "os.replace"])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), OSError("No space left on device")], ids=repr)
def test_an_interrupted_save_leaves_the_old_file_and_no_other(model, path, monkeypatch, stage, interruption):
    before = path.read_bytes()

    def interrupted(*arguments, **settings):
        raise interruption

    monkeypatch.setattr(stage, interrupted)
    with pytest.raises(type(interruption)):
        model.save(path, optimizer_state=True)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_interrupted_first_save_leaves_nothing(model, tmp_path, monkeypatch):
    def half_written(tensors, filename, metadata):
        filename.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.numpy.save_file", half_written)
    with pytest.raises(KeyboardInterrupt):
        model.save(tmp_path / "new.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_save_replaces_the_old_file(model, path):
    path.write_bytes(b"something else")
    model.save(path)
    assert load(path).epochs_trained == model.epochs_trained


def test_a_saved_file_has_the_permissions_of_any_new_file(path, tmp_path):
    (tmp_path / "plain").write_text("")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_saving_into_a_folder_that_is_not_there_says_so(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere.*; create it first"):
        model.save(tmp_path / "nowhere" / "m.safetensors")
