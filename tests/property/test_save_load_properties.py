"""Saving and loading, for any ids, titles and settings."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mfcore import (
    MF,
    SGD,
    WALS,
    Adam,
    Constant,
    Interactions,
    Linear,
    Normal,
    RatingRange,
    ReLU,
    Schedule,
    Sigmoid,
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
)
RATES = st.one_of(POSITIVE, st.builds(Schedule, POSITIVE, st.floats(0.1, 1), st.integers(1, 100)))


@given(st.one_of(INTEGER_IDS, STRING_IDS), st.one_of(INTEGER_IDS, STRING_IDS), st.data())
@settings(deadline=None, max_examples=30)
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
        st.builds(MF, st.integers(1, 1000), st.booleans(), OUTPUTS, INITIALIZERS),
        st.builds(SGD, RATES, POSITIVE, momentum=st.floats(0, 0.99)),
        st.builds(Adam, RATES, beta_1=st.floats(0, 0.99)),
        st.builds(WALS, st.floats(0, 10), POSITIVE, solver=st.sampled_from(["cholesky", "cg", "subspace"])),
    )
)
def test_settings_survive_a_plain_dictionary(settings):
    assert from_dict(to_dict(settings)) == settings
