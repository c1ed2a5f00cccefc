"""What a trained model of every spec answers, and that it comes back from its file."""

import numpy as np
import pytest
from scipy.optimize import minimize

from mfcore import BPR, GMF, MF, Adam, InBatchSoftmax, NeuMF, RatingRange, TwoTower, fit, load
from mfcore.errors import UnsupportedError


@pytest.fixture
def model(any_spec, ratings):
    """A model trained for an epoch."""
    return fit(any_spec, ratings, optimizer=Adam(0.01), epochs=1, batch_size=64, backend="reference")


def rows_of(model):
    users, items = np.divmod(np.arange(39 * 24), 24)
    return users, items, model.spec.score_pairs(model.parameters, users, items).reshape(39, 24)


def test_predictions_are_the_scores_of_its_parameters(model):
    users, items, scores = rows_of(model)
    assert model.score(users, items) == pytest.approx(scores.ravel(), rel=1e-5, abs=1e-5)
    assert model.predict(users, items).dtype == np.float32


def test_recommendations_are_the_best_unseen_items_in_order(model, ratings):
    _, _, scores = rows_of(model)
    for user in (0, 7, 38):
        found = model.recommend(user, k=5)[0]
        unseen = np.setdiff1d(np.arange(24), ratings.seen.of(user))
        best = unseen[np.argsort(-scores[user, unseen])][:5]
        known = [item for item in found.items.tolist() if item != 24]
        assert known == best[: len(known)].tolist()
        assert (np.diff(found.scores) <= 0).all()
        assert not set(found.items.tolist()) & set(ratings.seen.of(user).tolist())


def test_similar_items_are_those_of_the_highest_cosine(model):
    vectors = model.spec.item_vectors(model.parameters)[:24].astype(np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit[3]
    found = model.similar_items(3, k=4)[0]
    best = [item for item in np.argsort(-cosines).tolist() if item != 3][:4]
    assert found.items.tolist() == best
    assert found.scores == pytest.approx(cosines[best], rel=1e-4, abs=1e-5)


def test_an_unknown_user_and_an_unknown_item_are_average_ones(model):
    layout = model.spec.parameters(40, 25)
    warm = {"user": 39, "item": 24}
    average = {
        name: array
        if layout[name].side is None
        else array[: warm[layout[name].side]].mean(axis=0, keepdims=True)
        for name, array in model.parameters.items()
    }
    one = np.zeros(1, dtype=np.int64)
    assert model.score(39, 24) == model.score(1000, 1000)
    assert model.score(39, 24) == pytest.approx(model.spec.score_pairs(average, one, one).item(), rel=1e-4)


def test_a_model_comes_back_from_its_file_with_the_bits_of_its_answers(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    loaded = load(tmp_path / "m.safetensors")
    assert loaded.spec == model.spec
    assert set(loaded.parameters) == set(model.parameters)
    users, items, _ = rows_of(model)
    assert np.array_equal(loaded.predict(users, items), model.predict(users, items))
    for one, other in zip(loaded.recommend(range(5)), model.recommend(range(5)), strict=True):
        assert np.array_equal(one.items, other.items)
        assert np.array_equal(one.scores, other.scores)


def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(any_training, ratings, tmp_path):
    spec, objective, n_negatives = any_training
    settings = {"objective": objective, "n_negatives": n_negatives, "batch_size": 128, "seed": 3}
    settings |= {"optimizer": Adam(0.01, l2=0.01, l2_dense=0.01), "backend": "reference"}
    whole = fit(spec, ratings, epochs=2, **settings)
    path = tmp_path / "run.safetensors"
    fit(spec, ratings, epochs=1, checkpoint=path, **settings)
    resumed = fit(spec, ratings, epochs=2, resume=path, **settings)
    assert resumed.history.columns()["objective"] == whole.history.columns()["objective"]
    for name, array in whole.parameters.items():
        assert np.array_equal(resumed.parameters[name], array), name
    assert resumed.training["objective"] == whole.training["objective"]


def test_predictions_of_a_neural_model_go_through_its_output(ratings):
    spec = NeuMF(2, (4, 2), output=RatingRange(1, 5, "sigmoid"))
    model = fit(spec, ratings, epochs=2, backend="reference")
    predictions = model.predict(*rows_of(model)[:2])
    assert 1 < predictions.min() <= predictions.max() < 5


def test_folding_in_is_for_models_whose_score_is_linear_in_the_users_row(model):
    if isinstance(model.spec, MF | GMF) or model.spec == TwoTower(3, init=model.spec.init):
        folded = model.fold_in([1, 2], [4.0, 5.0])
        shapes = {name: row.shape for name, row in folded.parameters.items()}
        layout = model.spec.parameters(40, 25)
        assert shapes == {name: each.shape[1:] for name, each in layout.items() if each.side == "user"}
        assert len(folded.scores()) == 25
        return
    with pytest.raises(
        UnsupportedError,
        match=f"linear in the user's row, and that of {type(model.spec).__name__} is not; train with",
    ):
        model.fold_in([1, 2])


@pytest.mark.parametrize("spec", [GMF(3, biases=True), TwoTower(3)], ids=lambda spec: type(spec).__name__)
def test_a_new_user_of_another_linear_model_minimises_their_share_of_the_objective(ratings, spec):
    model = fit(
        spec, ratings, optimizer=Adam(0.05, l2=0.05), epochs=20, batch_size=32, dtype="float64",
        backend="reference",
    )  # fmt: skip
    items, values = np.arange(6), np.array([5.0, 4.0, 3.0, 2.0, 1.0, 4.0])
    folded = model.fold_in(items, values)
    names, rows = zip(*folded.parameters.items(), strict=True)
    stops = np.cumsum([row.size for row in rows])[:-1]

    def share(row):
        parts = np.split(row, stops)
        table = {
            name: part.reshape(1, *old.shape) for name, part, old in zip(names, parts, rows, strict=True)
        }
        scores = spec.score_pairs({**model.catalogue, **table}, np.zeros(6, dtype=np.int64), items)
        return np.square(scores - values).sum() / 2 + 6 * 0.05 / 2 * row @ row

    found = np.concatenate([row.ravel() for row in rows])
    best = minimize(share, found, method="BFGS", options={"gtol": 1e-9})
    assert share(found) <= best.fun + 1e-9 * abs(best.fun)


@pytest.mark.parametrize(("objective", "n_negatives"), [(BPR(), 1), (InBatchSoftmax(), 0)], ids=str)
def test_folding_in_needs_an_objective_with_a_target_for_each_pair(ratings, objective, n_negatives):
    model = fit(MF(2), ratings, objective=objective, n_negatives=n_negatives, epochs=1, backend="reference")
    with pytest.raises(UnsupportedError, match=f"not for '{objective.short_name}'; train with the new user"):
        model.fold_in([1, 2])
