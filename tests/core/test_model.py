"""A trained model's answers: predictions, recommendations, similar items, new users, cold starts."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from mfcore import (
    MF,
    WALS,
    Adam,
    Interactions,
    Linear,
    Logistic,
    Model,
    Normal,
    RatingRange,
    ReLU,
    Sigmoid,
    Squared,
    WeightedSquared,
    fit,
)
from mfcore.data import Vocabulary
from mfcore.engines import PositiveRanks
from mfcore.engines.reference import backend
from mfcore.errors import InvalidArgumentError, InvalidDataError, UnknownIdError, UnsupportedError
from mfcore.settings import to_dict


def vocabulary(n, ids):
    return Vocabulary.range(n) if ids is None else Vocabulary(np.array(ids, dtype=np.dtypes.StringDType()))


def model_of(spec, user_rows, item_rows, *, seen, user_ids=None, item_ids=None):
    """Return a model with the given factors, whose training data are the given (user row, item row) pairs."""
    users = vocabulary(len(user_rows), user_ids)
    items = vocabulary(len(item_rows), item_ids)
    rows = np.array(seen)
    data = Interactions.from_columns(
        users.ids[rows[:, 0]], items.ids[rows[:, 1]], user_ids=users, item_ids=items
    )
    parameters = {
        "user_factors": np.array(user_rows, dtype=np.float64),
        "item_factors": np.array(item_rows, dtype=np.float64),
    }
    return Model(spec, parameters, users, items, data.seen)


@pytest.fixture
def films():
    """Users ann, bob and cid (cid without training data), films a to e (e without training data)."""
    return model_of(
        MF(2, output=RatingRange(-5, 5)),
        [[1, 0], [0, 1], [9, 9]],
        [[3, 1], [1, 2], [2, 7], [1, 2], [9, 9]],
        seen=[(0, 0), (0, 1), (1, 2), (1, 3)],
        user_ids=["ann", "bob", "cid"],
        item_ids=["a", "b", "c", "d", "e"],
    )


@pytest.fixture(scope="module")
def trained(ratings):
    return fit(MF(3, biases=True, output=RatingRange(1, 5)), ratings, epochs=3, backend="reference")


# Predictions


def test_one_user_and_one_item_give_one_number(films):
    assert films.predict("ann", "a") == 3
    assert np.ndim(films.predict("ann", "a")) == 0


def test_ids_and_lists_of_ids_go_together(films):
    assert films.predict(["ann", "bob"], ["a", "b"]).tolist() == [3, 2]
    assert films.predict("bob", ["a", "b", "d"]).tolist() == [1, 2, 2]
    assert films.predict(["ann", "bob"], "b").tolist() == [1, 2]
    assert films.predict(["ann"], "b").tolist() == [1]
    assert films.predict(np.array(["ann", "bob"]), np.array(["a"])).tolist() == [3, 1]
    assert films.predict([], []).tolist() == []


def test_predictions_go_through_the_output_function_and_scores_do_not(films):
    assert films.predict("bob", "c") == 5
    assert films.score("bob", "c") == 7


def test_lengths_that_differ_are_refused(films):
    with pytest.raises(InvalidArgumentError, match="users has length 2 and items 3; they must be equal"):
        films.predict(["ann", "bob"], ["a", "b", "c"])


def test_predictions_are_of_the_models_dtype(trained):
    assert trained.predict([0, 1], [0, 1]).dtype == np.float32


def test_predictions_are_those_of_the_stated_model(trained, ratings):
    p, q = trained.parameters["user_factors"], trained.parameters["item_factors"]
    score = trained.parameters["global_bias"] + trained.parameters["user_bias"][3]
    score = score + trained.parameters["item_bias"][7] + p[3] @ q[7]
    assert trained.score(3, 7) == pytest.approx(score.item(), rel=1e-6)


# Cold starts


def test_an_unknown_user_is_the_mean_of_the_users_with_training_data(films):
    assert films.predict("zoe", "a") == pytest.approx((3 + 1) / 2)


def test_a_user_known_by_id_alone_is_answered_like_an_unknown_one(films):
    assert films.predict("cid", ["a", "b"]).tolist() == films.predict("zoe", ["a", "b"]).tolist()


def test_an_item_without_training_data_is_the_mean_of_the_items_with_some(films):
    mean = (3 + 1 + 2 + 1) / 4
    assert films.predict("ann", ["e", "unheard of"]).tolist() == [mean, mean]


def test_two_unknown_ids_are_an_average_user_and_an_average_item(films):
    assert films.score("zoe", "unheard of") == pytest.approx(0.5 * 7 / 4 + 0.5 * 12 / 4)


def test_cold_starts_are_means_of_biases_too(trained, ratings):
    warm_users, warm_items = slice(0, 39), slice(0, 24)
    expected = (
        trained.parameters["global_bias"].item()
        + trained.parameters["user_bias"][warm_users].mean()
        + trained.parameters["item_bias"][warm_items].mean()
        + trained.parameters["user_factors"][warm_users].mean(0)
        @ trained.parameters["item_factors"][warm_items].mean(0)
    )
    assert trained.score(39, 24) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("user", "item", "message"),
    [
        ("zoe", "a", "user 'zoe' has no training data"),
        ("cid", "a", "user 'cid' has no training data"),
        ("ann", "e", "item 'e' has no training data"),
        (["ann", "zoe"], ["a", "a"], "user 'zoe' has no training data"),
    ],
    ids=["unknown user", "user known by id alone", "item known by id alone", "second of a list"],
)
def test_unknown_ids_are_an_error_where_asked_for(films, user, item, message):
    with pytest.raises(UnknownIdError, match=message) as caught:
        films.predict(user, item, unknown="error")
    assert isinstance(caught.value, KeyError)


def test_the_rule_for_unknown_ids_is_one_of_two(films):
    with pytest.raises(InvalidArgumentError, match="unknown is 'zero'; it must be 'average' or 'error'"):
        films.predict("ann", "a", unknown="zero")


def test_ids_of_the_wrong_kind_are_refused(films, trained):
    with pytest.raises(InvalidDataError, match="ids of this data are strings, but integers were asked for"):
        films.predict(3, "a")
    with pytest.raises(InvalidDataError, match="ids of this data are integers, but strings were asked for"):
        trained.recommend("ann")


# Recommendations


def test_recommendations_leave_out_what_the_user_has_seen(films):
    found = films.recommend("ann", k=5)[0]
    assert (found.query, found.items.tolist()) == ("ann", ["c", "e", "d"])
    assert found.scores.tolist() == [2, 1.75, 1]


def test_seen_items_can_be_asked_for(films):
    assert films.recommend("ann", k=2, exclude_seen=False)[0].items.tolist() == ["a", "c"]


def test_ties_are_broken_by_ascending_item_row():
    everything = [(1, item) for item in range(5)]
    model = model_of(MF(1), [[1.0], [1.0]], [[1.0], [2.0], [1.0], [2.0], [1.0]], seen=[(0, 1), *everything])
    assert model.recommend(0, k=3)[0].items.tolist() == [3, 0, 2]
    assert model.recommend(0, k=2, exclude_seen=False)[0].items.tolist() == [1, 3]


def test_a_list_is_shorter_where_nothing_is_left_and_never_padded(films):
    found = films.recommend(["ann", "bob"], k=100)
    assert [len(ranking) for ranking in found] == [3, 3]
    assert len(films.recommend("ann", k=100, exclude_seen=False)[0]) == 5


def test_a_user_who_has_seen_everything_gets_an_empty_list():
    model = model_of(MF(1), [[1.0]], [[1.0], [2.0]], seen=[(0, 0), (0, 1)])
    found = model.recommend(0, k=1)[0]
    assert (len(found), found.items.tolist()) == (0, [])
    assert "nothing left to recommend" in repr(found)


def test_a_user_without_training_data_is_recommended_what_an_average_user_would_be(films):
    for user in ("cid", "zoe"):
        assert films.recommend(user, k=2)[0].items.tolist() == ["c", "e"]
    with pytest.raises(UnknownIdError, match="user 'zoe'"):
        films.recommend(["ann", "zoe"], unknown="error")


def test_several_users_are_answered_in_the_order_of_asking(films):
    found = films.recommend(["bob", "zoe", "ann"], k=1)
    assert [ranking.query for ranking in found] == ["bob", "zoe", "ann"]
    assert len(found) == 3
    assert films.recommend([]).rankings == ()


@pytest.mark.parametrize(
    "users",
    [[3, 0], (3, 0), np.array([3, 0]), range(3, -1, -3)],
    ids=["list", "tuple", "array", "range"],
)
def test_users_may_come_in_any_sequence(trained, users):
    found = trained.recommend(users, k=3)
    assert [ranking.query for ranking in found] == [3, 0]
    assert repr(found[0]).startswith("Ranking for 3:")


def test_recommendations_do_not_depend_on_the_company(trained):
    together = trained.recommend(range(40), k=5)
    for user in (0, 17, 39):
        assert together[user].items.tolist() == trained.recommend(user, k=5)[0].items.tolist()


def test_recommendations_are_a_table(films):
    table = films.recommend(["ann", "bob"], k=2).columns()
    assert table["query"].tolist() == ["ann", "ann", "bob", "bob"]
    assert table["rank"].tolist() == [1, 2, 1, 2]
    assert table["item"].tolist() == ["c", "e", "e", "b"]
    assert table["score"].tolist() == [2, 1.75, 3, 2]
    assert films.recommend([]).columns()["rank"].tolist() == []


def test_titles_come_with_the_items():
    data = Interactions.from_columns([1, 1, 2], [10, 20, 10], item_names={10: "Ten", 20: "Zwölf", 30: "?"})
    model = fit(MF(2), data, epochs=1, backend="reference")
    found = model.recommend(2, k=5)
    assert found[0].names.tolist() == ["Zwölf"]
    assert found.columns()["name"].tolist() == ["Zwölf"]
    assert "Zwölf" in repr(found)


def test_an_engines_own_top_k_is_used(films):
    class Scorer:
        def top_k(self, users, k, exclude_seen):
            return np.array([[4, -1]]), np.array([[0.5, -np.inf]])

    object.__setattr__(films, "scorer", Scorer())
    found = films.recommend("ann", k=2)[0]
    assert (found.items.tolist(), found.scores.tolist()) == (["e"], [0.5])
    assert films.score("ann", "a") == 3
    assert films.positive_ranks(np.array([0]), np.array([0]), np.array([2]), exclude_seen=True) is None


def test_an_engines_own_scores_are_used_where_it_has_them(films):
    class Scorer:
        def top_k(self, users, k, exclude_seen):
            raise NotImplementedError

        def score_pairs(self, users, items):
            return 10.0 * users + items

        def score_catalogue(self, users):
            return np.full((len(users), 5), 7.0)

        def positive_ranks(self, users, rows, items, exclude_seen):
            return PositiveRanks(items, items + 1, users)

    object.__setattr__(films, "scorer", Scorer())
    assert films.score(["bob", "dora"], "c").tolist() == [12, -8]
    assert films.predict("bob", "c") == 5
    assert films.score_catalogue(np.array([0, -1])).tolist() == [[7] * 5] * 2
    ranks = films.positive_ranks(np.array([1]), np.array([0]), np.array([2]), exclude_seen=True)
    assert [part.tolist() for part in ranks] == [[2], [3], [1]]


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "3"])
@pytest.mark.parametrize("ask", ["recommend", "similar_items"])
def test_k_must_be_a_number_of_items(films, ask, k):
    with pytest.raises(InvalidArgumentError, match=f"k is {k!r}; it must be an integer of at least 1"):
        getattr(films, ask)("ann" if ask == "recommend" else "a", k=k)


# Similar items


def test_similar_items_have_the_highest_cosine():
    model = model_of(
        MF(2),
        [[1, 0]],
        [[1, 0], [5, 5], [0, 2], [-1, 0], [3, 0.1]],
        seen=[(0, item) for item in range(5)],
    )
    found = model.similar_items(0, k=3)[0]
    assert found.items.tolist() == [4, 1, 2]
    assert found.scores == pytest.approx([3 / np.hypot(3, 0.1), np.sqrt(0.5), 0], abs=1e-12)


def test_an_item_is_not_similar_to_itself_and_cold_items_are_not_given(films):
    found = films.similar_items(["a", "b"], k=10)
    assert [ranking.items.tolist() for ranking in found] == [["b", "d", "c"], ["d", "c", "a"]]


def test_similarity_to_an_item_without_training_data_is_an_error(films):
    for item in ("e", "unheard of"):
        with pytest.raises(UnknownIdError, match=f"item {item!r} has no training data"):
            films.similar_items(item)


def test_an_item_with_a_zero_vector_is_similar_to_nothing():
    model = model_of(MF(1), [[1.0]], [[0.0], [1.0]], seen=[(0, 0), (0, 1)])
    assert model.similar_items(0, k=1)[0].scores.tolist() == [0.0]


# New users


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": WALS(l2=0.2, nu=1.0)},
        {"objective": WeightedSquared(2.0), "optimizer": WALS(0.1, l2=0.05, nu=0.5)},
        {
            "objective": WeightedSquared(2.0),
            "optimizer": WALS(0.5, l2=0.1, nu=0.0, zero_pairs="unobserved"),
        },
    ],
    ids=["ratings", "all pairs", "unobserved pairs"],
)
@pytest.mark.parametrize("output", [Linear(), ReLU(), RatingRange(1, 5)], ids=str)
@pytest.mark.parametrize("biases", [False, True], ids=["factors only", "with biases"])
def test_a_new_user_is_the_half_step_of_wals(ratings, job_of, settings, output, biases):
    spec = MF(3, biases=biases, output=output, init=Normal(0.3))
    model = fit(spec, ratings, epochs=3, dtype="float64", backend="reference", **settings)
    job = job_of(spec, ratings, **settings)
    trainer = backend.trainer(job)
    trainer.values = {name: array.copy() for name, array in model.parameters.items()}
    # The catalogue answers an item without training data with the average item.
    warm = model.item_counts > 0
    for name in ("item_factors", "item_bias"):
        if name in trainer.values:
            trainer.values[name][~warm] = trainer.values[name][warm].mean(axis=0)
    trainer._half("user", "item")
    for user in (0, 11):
        rows = np.flatnonzero(ratings.users == user)
        folded = model.fold_in(ratings.items[rows], ratings.values[rows])
        for name, row in folded.parameters.items():
            assert row == pytest.approx(trainer.values[name][user], rel=1e-7, abs=1e-9), name


@pytest.mark.parametrize(
    ("spec", "objective", "n_negatives"),
    [
        (MF(3, biases=True), Squared(), 0),
        (MF(3, output=ReLU()), Squared(), 0),
        (MF(3, output=RatingRange(1, 5, "sigmoid")), Squared(), 0),
        (MF(3, biases=True), Logistic(), 3),
        (MF(3), WeightedSquared(0.5), 2),
    ],
    ids=["squared", "relu", "sigmoid range", "logistic with negatives", "weighted with negatives"],
)
def test_a_new_user_minimises_their_share_of_the_objective(ratings, spec, objective, n_negatives):
    l2 = 0.05
    model = fit(
        spec,
        ratings,
        objective=objective,
        optimizer=Adam(0.05, l2=l2),
        n_negatives=n_negatives,
        epochs=20,
        batch_size=32,
        dtype="float64",
        backend="reference",
    )
    items, values = np.arange(6), np.array([5.0, 4.0, 3.0, 2.0, 1.0, 4.0])
    folded = model.fold_in(items, values)
    catalogue = model.catalogue
    unseen = np.arange(6, 25)

    def share(row):
        factors, bias = (row[:-1], row[-1]) if spec.biases else (row, 0.0)
        scores = catalogue["item_factors"] @ factors + bias
        if spec.biases:
            scores = scores + model.parameters["global_bias"] + catalogue["item_bias"]
        losses = objective.loss(scores[:6], objective.targets(values, n_negatives), spec.output)[0]
        weights = objective.weights(values)
        total = (losses if weights is None else weights * losses).sum()
        negatives = objective.loss(scores[unseen], np.zeros(19), spec.output)[0]
        total += n_negatives * 6 * negatives.mean()
        return total + 6 * (1 + n_negatives) * l2 / 2 * row @ row

    found = np.concatenate([np.atleast_1d(row) for row in folded.parameters.values()])
    best = minimize(share, found, method="BFGS", options={"gtol": 1e-9})
    assert share(found) <= best.fun + 1e-6 * abs(best.fun)


@pytest.mark.parametrize("l2", [1e-6, 1e-4])
def test_newton_does_not_run_away_where_the_data_can_be_told_apart(checkerboard, l2):
    model = fit(
        MF(2, init=Normal(2.0), output=Sigmoid()),
        checkerboard,
        objective="logistic",
        optimizer=Adam(0.1, l2=l2),
        n_negatives=1,
        epochs=30,
        backend="reference",
    )
    folded = model.fold_in([0, 2, 4])
    assert np.isfinite(folded.scores()).all()
    assert set(folded.recommend(7).items.tolist()) == {6, 8, 10, 12, 14, 16, 18}


def test_a_user_of_the_training_data_folded_in_gets_nearly_their_own_recommendations(ratings):
    model = fit(MF(2), ratings, optimizer=WALS(0.1, l2=0.05), epochs=30, backend="reference")
    agreeing = 0
    for user in range(39):
        items = ratings.items[ratings.users == user]
        folded = model.fold_in(items).recommend(3).items
        agreeing += len(np.intersect1d(folded, model.recommend(user, k=3)[0].items))
    assert agreeing >= 0.95 * 3 * 39


def test_a_new_user_is_recommended_what_is_new_to_them(trained):
    folded = trained.fold_in([3, 5], [5, 1])
    assert not {3, 5} & set(folded.recommend(30).items.tolist())
    assert len(folded.recommend(30)) == 23
    assert len(folded.recommend(30, exclude_seen=False)) == 25
    assert folded.recommend(1).query == "new user"


def test_predictions_for_a_new_user_go_through_the_output_function(trained):
    folded = trained.fold_in([3, 5], [5, 1])
    predictions = folded.predict([*range(25), 999])
    assert predictions.shape == (26,)
    assert 1 <= predictions.min() <= predictions.max() <= 5
    assert predictions[:24] == pytest.approx(np.clip(folded.scores()[:24], 1, 5), rel=1e-6)


def test_folding_in_leaves_the_model_as_it_was(trained):
    before = {name: array.copy() for name, array in trained.parameters.items()}
    trained.fold_in([3], [5])
    assert all(np.array_equal(trained.parameters[name], array) for name, array in before.items())


@pytest.mark.parametrize(
    ("items", "values", "error", "message"),
    [
        ([], None, InvalidDataError, "items is empty: a new user needs at least one interaction"),
        ([3, 3], [1, 2], InvalidDataError, "items holds an item twice; give each item once"),
        ([3], [1, 2], InvalidArgumentError, "items has length 1 and values 2; they must be equal"),
        ([3], [np.nan], InvalidDataError, "values contains nan; they must be finite"),
        ([3, 999], None, UnknownIdError, "item 999 has no training data in this model"),
    ],
    ids=["nothing", "an item twice", "other length", "NaN", "unknown item"],
)
def test_what_no_new_user_can_be_fitted_to_is_refused(trained, items, values, error, message):
    with pytest.raises(error, match=message):
        trained.fold_in(items, values)


@pytest.mark.parametrize("k", [0, -3, 1.5])
def test_k_of_a_new_users_recommendations_is_checked(trained, k):
    with pytest.raises(InvalidArgumentError, match=f"k is {k}; it must be an integer of at least 1"):
        trained.fold_in([3]).recommend(k)


def test_a_model_that_does_not_know_its_objective_folds_nobody_in(films):
    with pytest.raises(UnsupportedError, match="does not say what it was trained with"):
        films.fold_in(["a"])


@pytest.mark.parametrize("key", ["objective", "optimizer", "sampling"])
def test_a_model_that_does_not_know_all_of_its_training_folds_nobody_in(trained, key):
    known = {name: value for name, value in trained.training.items() if name != key}
    with pytest.raises(UnsupportedError, match=rf"does not say what it was trained with \({key} unknown\)"):
        replace(trained, training=known).fold_in([3])


def test_a_model_says_what_it_is(films):
    assert repr(films).startswith("Model(MF(n_factors=2, ")
    assert repr(films).endswith("3 users, 5 items)")
    assert to_dict(films.spec)["kind"] == "MF"
