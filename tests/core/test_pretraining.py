"""NeuMF.from_pretrained, and training that starts from a model: fit(initial=...)."""

import numpy as np
import pytest

from mfcore import GMF, MF, MLP, SGD, Interactions, NeuMF, Normal, Sigmoid, TwoTower, fit, load
from mfcore.data import Vocabulary
from mfcore.errors import InvalidArgumentError

SETTINGS = {
    "objective": "logistic",
    "n_negatives": 2,
    "batch_size": 64,
    "backend": "reference",
    "dtype": "float64",
}
GMF_SPEC = GMF(3, output=Sigmoid(), init=Normal(0.3))
MLP_SPEC = MLP((6, 4, 2), activation="tanh", output=Sigmoid(), init=Normal(0.3))


@pytest.fixture(scope="module")
def gmf(ratings):
    return fit(GMF_SPEC, ratings, epochs=3, **SETTINGS)


@pytest.fixture(scope="module")
def mlp(ratings):
    return fit(MLP_SPEC, ratings, epochs=3, seed=1, **SETTINGS)


def pairs(model):
    """Return every pair of rows."""
    users, items = np.divmod(np.arange(model.n_users * model.n_items), model.n_items)
    return users, items


def objective_of(model, data):
    """Return the objective of one epoch from the model's parameters, hardly moved."""
    still = fit(model.spec, data, epochs=1, initial=model, optimizer=SGD(1e-12), **SETTINGS)
    return still.history[0].objective


# GMF.from_mf


@pytest.mark.parametrize("biases", [False, True])
def test_a_gmf_of_an_mf_scores_as_that_does(ratings, biases):
    mf = fit(MF(3, biases=biases, output=Sigmoid(), init=Normal(0.3)), ratings, epochs=2, **SETTINGS)
    gmf = GMF.from_mf(mf)
    users, items = pairs(mf)
    assert gmf.spec == GMF(3, biases=biases, output=Sigmoid(), init=Normal(0.3))
    expected = mf.spec.score_pairs(mf.parameters, users, items)
    assert gmf.spec.score_pairs(gmf.parameters, users, items) == pytest.approx(expected, rel=1e-13, abs=1e-15)
    assert list(gmf.parameters) == list(gmf.spec.parameters(mf.n_users, mf.n_items))
    assert (gmf.epochs_trained, gmf.training, gmf.optimizer_state) == (0, {}, None)
    assert gmf.recommend(3, k=4)[0].items.tolist() == mf.recommend(3, k=4)[0].items.tolist()


def test_a_gmf_of_an_mf_can_be_one_arm_of_neumf_and_trained_further(ratings, mlp):
    mf = fit(MF(3, output=Sigmoid(), init=Normal(0.3)), ratings, epochs=2, **SETTINGS)
    start = NeuMF.from_pretrained(GMF.from_mf(mf), mlp, alpha=0.7)
    assert fit(start.spec, ratings, epochs=1, initial=start, **SETTINGS).epochs_trained == 1


def test_only_an_mf_makes_such_a_gmf(gmf):
    with pytest.raises(InvalidArgumentError, match="mf is a model of GMF; pass a trained model of MF"):
        GMF.from_mf(gmf)
    with pytest.raises(InvalidArgumentError, match="mf is None; pass a trained model of MF"):
        GMF.from_mf(None)


# from_pretrained


@pytest.mark.parametrize("alpha", [0, 0.3, 0.5, 1])
def test_the_score_is_the_weighed_sum_of_both_scores(gmf, mlp, alpha):
    model = NeuMF.from_pretrained(gmf, mlp, alpha)
    users, items = pairs(model)
    of_gmf, of_mlp = (part.spec.score_pairs(part.parameters, users, items) for part in (gmf, mlp))
    score = model.spec.score_pairs(model.parameters, users, items)
    assert score == pytest.approx(alpha * of_gmf + (1 - alpha) * of_mlp, rel=1e-12, abs=1e-14)


def test_by_default_both_count_alike(gmf, mlp):
    one, other = NeuMF.from_pretrained(gmf, mlp), NeuMF.from_pretrained(gmf, mlp, alpha=0.5)
    assert np.array_equal(one.parameters["output/kernel"], other.parameters["output/kernel"])


def test_the_model_has_the_settings_and_the_shapes_of_both(gmf, mlp):
    model = NeuMF.from_pretrained(gmf, mlp)
    assert model.spec == NeuMF(3, (6, 4, 2), "tanh", output=Sigmoid(), init=Normal(0.3))
    shapes = {name: array.shape for name, array in model.parameters.items()}
    assert list(shapes.items()) == list(model.spec.parameter_shapes(40, 25).items())
    assert {array.dtype for array in model.parameters.values()} == {np.dtype(np.float64)}


def test_the_model_knows_the_users_and_items_and_has_not_been_trained(gmf, mlp):
    model = NeuMF.from_pretrained(gmf, mlp)
    assert (model.user_ids, model.item_ids, model.seen) == (gmf.user_ids, gmf.item_ids, gmf.seen)
    assert (model.epochs_trained, len(model.history), model.training) == (0, 0, {})
    assert model.optimizer_state is None
    assert repr(model).endswith("40 users, 25 items)")


def test_the_model_answers_and_comes_back_from_its_file(gmf, mlp, tmp_path):
    model = NeuMF.from_pretrained(gmf, mlp, 0.7)
    model.save(tmp_path / "m.safetensors")
    loaded = load(tmp_path / "m.safetensors")
    assert loaded.spec == model.spec
    assert np.array_equal(loaded.predict([0, 3], [1, 2]), model.predict([0, 3], [1, 2]))
    assert loaded.recommend(3, k=4)[0].items.tolist() == model.recommend(3, k=4)[0].items.tolist()


def test_the_two_models_are_left_as_they_were(gmf, mlp):
    model = NeuMF.from_pretrained(gmf, mlp)
    for array in model.parameters.values():
        array[:] = 0
    assert all(array.any() for part in (gmf, mlp) for array in part.parameters.values())


def test_models_of_two_dtypes_give_one_of_the_first_s(gmf, ratings):
    single = fit(MLP_SPEC, ratings, epochs=1, **{**SETTINGS, "dtype": "float32"})
    model = NeuMF.from_pretrained(gmf, single)
    assert {array.dtype for array in model.parameters.values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan"), "half", None, True], ids=str)
def test_alpha_is_a_number_from_0_to_1(gmf, mlp, alpha):
    with pytest.raises(InvalidArgumentError, match=r"NeuMF\.from_pretrained: alpha is"):
        NeuMF.from_pretrained(gmf, mlp, alpha)


def test_models_of_other_specs_are_refused_by_name(gmf, mlp, ratings):
    other = fit(TwoTower(3), ratings, epochs=1, **SETTINGS)
    for arguments, message in (
        ((mlp, gmf), "gmf is a model of MLP; pass a trained model of GMF"),
        ((gmf, other), "mlp is a model of TwoTower; pass a trained model of MLP"),
        ((GMF_SPEC, mlp), r"gmf is GMF\(n_factors=3.*; pass a trained model of GMF"),
        ((gmf, "mlp.safetensors"), "mlp is 'mlp.safetensors'; pass a trained model of MLP"),
    ):
        with pytest.raises(InvalidArgumentError, match=rf"NeuMF\.from_pretrained: {message}"):
            NeuMF.from_pretrained(*arguments)


def test_a_gmf_with_biases_is_refused(mlp, ratings):
    biased = fit(GMF(3, biases=True), ratings, epochs=1, **SETTINGS)
    with pytest.raises(InvalidArgumentError, match=r"the GMF has biases.*train it without"):
        NeuMF.from_pretrained(biased, mlp)


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        (41, 25, "the GMF knows 40 users and the MLP 41, not the same ones; train both on the same data"),
        (40, 26, "the GMF knows 25 items and the MLP 26, not the same ones; train both on the same data"),
    ],
    ids=["users", "items"],
)
def test_models_of_other_users_or_items_are_refused(gmf, ratings, users, items, message):
    data = Interactions.from_columns(
        ratings.users, ratings.items, user_ids=Vocabulary.range(users), item_ids=Vocabulary.range(items)
    )
    other = fit(MLP_SPEC, data, epochs=1, **SETTINGS)
    with pytest.raises(InvalidArgumentError, match=message):
        NeuMF.from_pretrained(gmf, other)


# fit(initial=...)


def test_models_of_another_split_of_the_same_users_and_items_are_refused(gmf, ratings):
    other = fit(MLP_SPEC, ratings.select(np.arange(len(ratings) - 5)), epochs=1, **SETTINGS)
    with pytest.raises(InvalidArgumentError, match="other interactions of these users and items"):
        NeuMF.from_pretrained(gmf, other)


def test_training_goes_on_from_the_pretrained_parameters(gmf, mlp, ratings):
    model = NeuMF.from_pretrained(gmf, mlp)
    still = fit(model.spec, ratings, epochs=1, initial=model, optimizer=SGD(1e-12), **SETTINGS)
    for name, array in model.parameters.items():
        assert still.parameters[name] == pytest.approx(array, abs=1e-9), name


def test_a_pretrained_start_is_ahead_of_a_fresh_one_and_learns_on(gmf, mlp, ratings):
    model = NeuMF.from_pretrained(gmf, mlp)
    settings = {**SETTINGS, "optimizer": SGD(0.1), "epochs": 4}
    pretrained = fit(model.spec, ratings, initial=model, **settings)
    fresh = fit(model.spec, ratings, **settings)
    assert pretrained.history[0].objective < fresh.history[0].objective
    assert pretrained.history[3].objective < pretrained.history[0].objective
    assert not np.array_equal(pretrained.parameters["user_factors"], fresh.parameters["user_factors"])


def test_a_start_from_a_model_is_a_new_run(gmf, ratings):
    begun = fit(GMF_SPEC, ratings, epochs=2, initial=gmf, **SETTINGS)
    assert (begun.epochs_trained, begun.history.columns()["epoch"]) == (2, [0, 1])
    assert begun.optimizer_state["step"] == 2 * -(-3 * len(ratings) // 64)
    resumed = fit(GMF_SPEC, ratings, epochs=4, resume=begun, **SETTINGS)
    whole = fit(GMF_SPEC, ratings, epochs=4, initial=gmf, **SETTINGS)
    assert np.array_equal(resumed.parameters["item_factors"], whole.parameters["item_factors"])


def test_the_model_to_start_from_is_not_changed(gmf, ratings):
    before = {name: array.copy() for name, array in gmf.parameters.items()}
    fit(GMF_SPEC, ratings, epochs=1, initial=gmf, **SETTINGS)
    assert all(np.array_equal(gmf.parameters[name], array) for name, array in before.items())


def test_a_start_may_change_objective_optimizer_and_dtype(gmf, ratings):
    settings = {"objective": "in_batch_softmax", "optimizer": "adagrad", "backend": "reference"}
    model = fit(GMF_SPEC, ratings, epochs=1, initial=gmf, **settings)
    assert model.parameters["item_factors"].dtype == np.float32
    assert model.training["objective"]["kind"] == "InBatchSoftmax"


def test_a_start_may_be_on_other_interactions_of_the_same_users_and_items(gmf, ratings):
    fewer = ratings.select(np.arange(200))
    assert fit(GMF_SPEC, fewer, epochs=1, initial=gmf, **SETTINGS).epochs_trained == 1


def test_a_biased_model_keeps_the_constant_that_it_was_trained_with(ratings):
    spec, settings = MF(2, biases=True), {"epochs": 1, "backend": "reference"}
    model = fit(spec, ratings, **settings)
    fewer = ratings.select(np.flatnonzero(ratings.values > 3))
    begun = fit(spec, fewer, initial=model, **settings)
    assert begun.parameters["global_bias"] == model.parameters["global_bias"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"spec": GMF(4)}, r"initial: the model's spec is GMF\(n_factors=3.*not GMF\(n_factors=4"),
        (
            {"data": Interactions.from_columns([0, 1], [0, 1])},
            "initial: the model was trained on other users or items",
        ),
        ({"initial": "gmf.safetensors"}, "initial is 'gmf.safetensors'; pass an instance such as NeuMF"),
        ({"initial": GMF_SPEC}, r"initial is GMF\(.*pass an instance such as NeuMF\.from_pretrained"),
    ],
    ids=["another spec", "other data", "a path", "a spec"],
)
def test_a_start_that_does_not_fit_is_refused(gmf, ratings, changed, message):
    arguments = {"spec": GMF_SPEC, "data": ratings, "initial": gmf, **changed}
    with pytest.raises(InvalidArgumentError, match=message):
        fit(arguments.pop("spec"), arguments.pop("data"), **arguments, **SETTINGS)


def test_a_start_and_a_run_to_go_on_with_are_not_both_taken(gmf, ratings):
    with pytest.raises(InvalidArgumentError, match="initial and resume are both given; pass initial to"):
        fit(GMF_SPEC, ratings, epochs=5, initial=gmf, resume=gmf, **SETTINGS)
