"""Saving and loading, for any ids, titles and settings."""

import json
import tempfile
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
    Adam,
    Constant,
    GlorotUniform,
    InBatchSoftmax,
    Interactions,
    Linear,
    NeuMF,
    Normal,
    RatingRange,
    ReLU,
    Schedule,
    Sigmoid,
    TwoTower,
    Uniform,
    fit,
    load,
)
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
