"""Saving and loading, for any model, ids, titles and settings: all comes back, and training goes on."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mfcore import (
    BPR,
    GMF,
    MF,
    MLP,
    SGD,
    WALS,
    Adagrad,
    Adam,
    AdamW,
    Constant,
    GlorotUniform,
    InBatchSoftmax,
    Interactions,
    LazyAdam,
    Linear,
    NeuMF,
    Normal,
    RatingRange,
    ReLU,
    RMSprop,
    Schedule,
    Sigmoid,
    TwoTower,
    Uniform,
    fit,
    load,
)
from mfcore.data import Vocabulary
from mfcore.settings import from_dict, to_dict

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
INTEGER_IDS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=6, unique=True)
STRING_IDS = st.lists(TEXT, min_size=1, max_size=6, unique=True)
POSITIVE = st.floats(1e-6, 1e6)
OUTPUTS = st.sampled_from([Linear(), ReLU(), Sigmoid(), RatingRange(1, 5), RatingRange(0, 1, "sigmoid")])
INITIALIZERS = st.one_of(
    st.builds(Constant, st.floats(-10, 10)),
    st.builds(Normal, st.floats(0, 10)),
    st.builds(Uniform, st.floats(-10, 0), st.floats(0, 10)),
    st.just(GlorotUniform()),
)
FACTORS = st.integers(1, 1000)
WIDTHS = st.lists(st.integers(1, 100), max_size=4).map(tuple)
TOWERS = st.tuples(st.integers(1, 100).map(lambda half: 2 * half), WIDTHS, st.integers(1, 100)).map(
    lambda parts: (parts[0], *parts[1], parts[2])
)
ACTIVATIONS = st.sampled_from(["relu", "tanh", "sigmoid"])
FUSIONS = st.sampled_from(["concat", "projected"])
SPECS = st.one_of(
    st.builds(MF, FACTORS, st.booleans(), OUTPUTS, INITIALIZERS),
    st.builds(GMF, FACTORS, st.booleans(), OUTPUTS, INITIALIZERS),
    st.builds(MLP, TOWERS, ACTIVATIONS, OUTPUTS, INITIALIZERS),
    st.builds(NeuMF, FACTORS, TOWERS, ACTIVATIONS, FUSIONS, OUTPUTS, INITIALIZERS),
    st.builds(TwoTower, FACTORS, WIDTHS, ACTIVATIONS, OUTPUTS, INITIALIZERS),
)
RATES = st.one_of(POSITIVE, st.builds(Schedule, POSITIVE, st.floats(0.1, 1), st.integers(1, 100)))


@given(st.one_of(INTEGER_IDS, STRING_IDS), st.one_of(INTEGER_IDS, STRING_IDS), st.data())
@settings(max_examples=30)
def test_a_model_comes_back_with_its_ids_and_titles(user_ids, item_ids, data):
    titled = data.draw(st.sets(st.sampled_from(item_ids)))
    titles = {one_id: data.draw(st.text(st.characters(exclude_categories=["Cs"]))) for one_id in titled}
    users = [user for user in user_ids for _ in item_ids]
    trained = Interactions.from_columns(
        users, item_ids * len(user_ids), item_names=titles if titles else None
    )
    model = fit(MF(2), trained, optimizer=WALS(), epochs=1, backend="reference")
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "m.safetensors", optimizer_state=True)
        loaded = load(Path(folder) / "m.safetensors")
    assert list(loaded.user_ids) == list(model.user_ids) == sorted(user_ids)
    assert list(loaded.item_ids) == list(model.item_ids)
    if titles:
        assert loaded.item_names.tolist() == [titles.get(one_id, str(one_id)) for one_id in loaded.item_ids]
    else:
        assert loaded.item_names is None
    assert np.array_equal(
        loaded.predict(users, item_ids * len(user_ids)), model.predict(users, item_ids * len(user_ids))
    )


@given(
    st.one_of(
        SPECS,
        st.just(BPR()),
        st.builds(InBatchSoftmax, POSITIVE, st.booleans(), st.booleans()),
        st.builds(SGD, RATES, POSITIVE, momentum=st.floats(0, 0.99)),
        st.builds(Adam, RATES, beta_1=st.floats(0, 0.99)),
        st.builds(WALS, st.floats(0, 10), POSITIVE, solver=st.sampled_from(["cholesky", "cg", "subspace"])),
    )
)
def test_settings_survive_the_text_of_a_plain_dictionary(settings):
    assert from_dict(json.loads(json.dumps(to_dict(settings)))) == settings


TAME = st.sampled_from([Normal(0.1), Uniform(-0.1, 0.2), GlorotUniform()])
SMALL_TOWERS = st.sampled_from([(2, 3), (4, 1), (4, 3, 2)])
FEW = st.integers(1, 3)
SMALL_SPECS = st.one_of(
    st.builds(MF, FEW, st.booleans(), OUTPUTS, TAME),
    st.builds(GMF, FEW, st.booleans(), OUTPUTS, TAME),
    st.builds(MLP, SMALL_TOWERS, ACTIVATIONS, OUTPUTS, TAME),
    st.builds(NeuMF, FEW, SMALL_TOWERS, ACTIVATIONS, FUSIONS, OUTPUTS, TAME),
    st.builds(TwoTower, FEW, st.sampled_from([(), (3,)]), ACTIVATIONS, OUTPUTS, TAME),
)
SMALL_RATES = st.sampled_from([0.01, Schedule(0.02, 0.5, 1)])
OPTIMIZERS = st.one_of(
    st.builds(SGD, SMALL_RATES, momentum=st.sampled_from([0.0, 0.9])),
    *(st.builds(rule, SMALL_RATES) for rule in (Adagrad, RMSprop, Adam, AdamW, LazyAdam)),
)


SEVERAL_IDS = st.one_of(INTEGER_IDS, STRING_IDS).filter(lambda ids: len(ids) > 1)


@st.composite
def trainings(draw):
    """Draw a spec and settings that go together."""
    spec = draw(SMALL_SPECS)
    settings = {
        "dtype": draw(st.sampled_from(["float32", "float64"])),
        "seed": draw(st.integers(0, 2**63 - 1)),
        "backend": "reference",
    }
    if isinstance(spec, MF) and draw(st.booleans()):
        # It fits the score itself.
        spec = replace(spec, output=draw(st.sampled_from([Linear(), RatingRange(1, 5)])))
        solver = draw(st.sampled_from(["cholesky", "cg", "subspace"]))
        return spec, {**settings, "optimizer": WALS(draw(st.sampled_from([0.0, 0.5])), solver=solver)}
    objectives = [("squared", 0), ("weighted_squared", 1), ("logistic", 2), ("bpr", 1)]
    if spec.is_inner_product:
        objectives.append(("in_batch_softmax", 0))
    objective, n_negatives = draw(st.sampled_from(objectives))
    if not objective.endswith("squared"):
        # The others work on the score.
        spec = replace(spec, output=draw(st.sampled_from([Linear(), Sigmoid()])))
    return spec, {
        **settings,
        "optimizer": draw(OPTIMIZERS),
        "batch_size": draw(st.sampled_from([2, 3, 100])),
        "objective": objective,
        "n_negatives": n_negatives,
    }


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@given(
    trainings(),
    SEVERAL_IDS,
    SEVERAL_IDS,
    st.data(),
)
def test_a_saved_run_comes_back_whole_and_goes_on_as_if_nothing_had_happened(training, users, items, data):
    spec, settings = training
    # The last item is nobody's, so that everybody has an item that can be a negative.
    pairs = [(user, item) for user in users for item in sorted(items)[:-1]]
    met = data.draw(st.lists(st.sampled_from(pairs), min_size=2, unique=True))
    trained = Interactions.from_columns(*zip(*met, strict=True), item_ids=Vocabulary.build(items)[0])
    whole = fit(spec, trained, epochs=3, **settings)
    begun = fit(spec, trained, epochs=1, **settings)
    with tempfile.TemporaryDirectory() as folder:
        begun.save(Path(folder) / "m.safetensors", optimizer_state=True)
        loaded = load(Path(folder) / "m.safetensors")
    assert (loaded.spec, loaded.training, loaded.history) == (begun.spec, begun.training, begun.history)
    assert_same_bits(loaded.parameters, begun.parameters)
    assert_same_bits(loaded.optimizer_state or {}, begun.optimizer_state or {})
    ended = fit(spec, trained, epochs=3, resume=loaded, **settings)
    assert_same_bits(ended.parameters, whole.parameters)
    assert_same_bits(ended.optimizer_state or {}, whole.optimizer_state or {})
    assert ended.history.columns()["objective"] == whole.history.columns()["objective"]
