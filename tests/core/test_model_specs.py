"""What a trained model of every spec answers, and that it comes back from its file."""

import numpy as np
import pytest

from mfcore import BPR, MF, Adam, InBatchSoftmax, NeuMF, RatingRange, fit, load
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


def test_folding_in_is_for_matrix_factorisation_alone(model):
    if isinstance(model.spec, MF):
        assert len(model.fold_in([1, 2], [4.0, 5.0]).scores()) == 25
        return
    with pytest.raises(
        UnsupportedError,
        match=f"fold_in solves for matrix factorisation, not for {type(model.spec).__name__}; train with",
    ):
        model.fold_in([1, 2])


@pytest.mark.parametrize(("objective", "n_negatives"), [(BPR(), 1), (InBatchSoftmax(), 0)], ids=str)
def test_folding_in_needs_an_objective_with_a_target_for_each_pair(ratings, objective, n_negatives):
    model = fit(MF(2), ratings, objective=objective, n_negatives=n_negatives, epochs=1, backend="reference")
    with pytest.raises(UnsupportedError, match=f"not for '{objective.short_name}'; train with the new user"):
        model.fold_in([1, 2])
