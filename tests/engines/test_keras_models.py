"""Models as Keras models: exported, saved, trained by Keras, and imported; indexes of items."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import warnings
from dataclasses import dataclass, field

import numpy as np
import pytest

import mfcore
from mfcore.errors import InvalidArgumentError, InvalidDataError, UnsupportedError
from mfcore.model import Model, data_fields
from mfcore.operators import NUMPY
from mfcore.specs import Embeddings, InnerProduct, Output, Parameter

pytest.importorskip("mfcore_keras", reason="TensorFlow is not installed on this Python")

import keras
import tensorflow as tf
from mfcore_keras import backend
from mfcore_keras.models import build_model
from mfcore_keras.serving import export_top_k

INIT = mfcore.Normal(0.7)
SPECS = {
    "MF": mfcore.MF(3, init=INIT),
    "MF with biases": mfcore.MF(3, biases=True, init=INIT),
    "GMF": mfcore.GMF(3, init=INIT),
    "GMF with biases": mfcore.GMF(3, biases=True, init=INIT),
    "MLP of relu": mfcore.MLP((4, 5, 3), init=INIT),
    "MLP of sigmoid": mfcore.MLP((6, 2), "sigmoid", init=INIT),
    "NeuMF": mfcore.NeuMF(2, (4, 3, 2), "tanh", init=INIT),
    "NeuMF, projected": mfcore.NeuMF(3, (4, 2), "tanh", fusion="projected", init=INIT),
    "TwoTower": mfcore.TwoTower(3, init=INIT),
    "TwoTower with layers": mfcore.TwoTower(3, (4, 5, 2), "relu", init=INIT),
}
OUTPUTS = {
    "linear": mfcore.Linear(),
    "relu": mfcore.ReLU(),
    "sigmoid": mfcore.Sigmoid(),
    "clipped": mfcore.RatingRange(1, 5),
    "scaled": mfcore.RatingRange(1, 5, method="sigmoid"),
}
TOLERANCES = {"float32": 1e-5, "float64": 1e-13}
# The last user and the last item of the ratings have no training data.
USERS, ITEMS = np.divmod(np.arange(39 * 24), 24)


@pytest.fixture
def model_of(ratings):
    """Return a maker of models whose parameters, biases too, are random numbers."""

    def make(spec, dtype="float32", data=ratings):
        rng = np.random.default_rng(2)
        shapes = spec.parameter_shapes(data.n_users, data.n_items)
        parameters = {name: rng.normal(0, 0.7, shape).astype(dtype) for name, shape in shapes.items()}
        return Model(spec=spec, parameters=parameters, **data_fields(data))

    return make


@pytest.fixture(params=SPECS.values(), ids=SPECS.keys())
def spec(request):
    return request.param


@pytest.fixture(params=TOLERANCES)
def dtype(request):
    return request.param


def predictions(keras_model, users=USERS, items=ITEMS):
    return np.asarray(keras_model([tf.constant(users), tf.constant(items)]))[:, 0]


def assert_same_bits(found, expected):
    assert found.spec == expected.spec
    assert list(found.parameters) == list(expected.parameters)
    for name, array in expected.parameters.items():
        assert found.parameters[name].dtype == array.dtype
        np.testing.assert_array_equal(found.parameters[name], array)


# Exported


def test_a_keras_model_predicts_what_the_model_does(model_of, spec, dtype):
    model = model_of(spec, dtype)
    found = predictions(model.to_keras())
    assert found.dtype == dtype
    np.testing.assert_allclose(
        found, model.predict_pairs(USERS, ITEMS), rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype]
    )


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_so_it_does_for_every_output(model_of, output, dtype):
    model = model_of(mfcore.MF(3, biases=True, output=output), dtype)
    keras_model = model.to_keras()
    np.testing.assert_allclose(
        predictions(keras_model), model.predict_pairs(USERS, ITEMS), rtol=TOLERANCES[dtype]
    )
    to_scores = keras.Model(keras_model.inputs, keras_model.get_layer("score").output)
    np.testing.assert_allclose(
        predictions(to_scores), model.score_pairs(USERS, ITEMS), rtol=TOLERANCES[dtype], atol=1e-6
    )


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_in_training_it_gives_what_a_squared_loss_compares_with_ratings(model_of, output):
    model = model_of(mfcore.MF(3, output=output))
    found = model.to_keras()([tf.constant(USERS), tf.constant(ITEMS)], training=True)
    expected, _ = output.forward(NUMPY)(model.score_pairs(USERS, ITEMS), output.constants())
    np.testing.assert_allclose(np.asarray(found)[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_rows_may_be_given_by_name(model_of):
    keras_model = model_of(SPECS["NeuMF"]).to_keras()
    by_name = keras_model.predict({"item": ITEMS, "user": USERS}, verbose=0)
    np.testing.assert_allclose(by_name[:, 0], predictions(keras_model), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        (
            mfcore.MF(3, biases=True),
            {
                "user_embedding": [(40, 3)],
                "item_embedding": [(25, 3)],
                "user_bias": [(40, 1)],
                "item_bias": [(25, 1)],
            },
        ),
        (
            mfcore.NeuMF(3, (4, 5, 2), fusion="projected"),
            {
                "user_embedding": [(40, 3)],
                "item_embedding": [(25, 3)],
                "mlp_user_embedding": [(40, 2)],
                "mlp_item_embedding": [(25, 2)],
                "dense_0": [(4, 5), (5,)],
                "dense_1": [(5, 2), (2,)],
                "projection": [(2, 3), (3,)],
                "output": [(6, 1), (1,)],
            },
        ),
        (
            mfcore.TwoTower(3, (4,)),
            {
                "user_embedding": [(40, 3)],
                "item_embedding": [(25, 3)],
                "user_dense_0": [(3, 4), (4,)],
                "item_dense_0": [(3, 4), (4,)],
            },
        ),
    ],
    ids=["MF", "NeuMF", "TwoTower"],
)
def test_its_layers_are_found_by_name(model_of, spec, shapes):
    keras_model = model_of(spec).to_keras()
    found = {layer.name: [array.shape for array in layer.get_weights()] for layer in keras_model.layers}
    assert {name: arrays for name, arrays in found.items() if arrays} == shapes
    assert [each.name for each in keras_model.inputs] == ["user", "item"]


def test_it_has_a_summary_and_the_item_factors_by_the_name_of_their_layer(model_of):
    model = model_of(SPECS["MF with biases"])
    keras_model, lines = model.to_keras(), []
    keras_model.summary(print_fn=lines.append)
    assert "item_embedding" in "\n".join(lines)
    (factors,) = keras_model.get_layer("item_embedding").get_weights()
    np.testing.assert_array_equal(factors, model.parameters["item_factors"])


def test_it_can_be_drawn(model_of, tmp_path):
    keras_model = model_of(SPECS["NeuMF"]).to_keras()
    # plot_model has Graphviz draw this, where its programs are installed.
    drawn = keras.utils.model_to_dot(keras_model).to_string()
    assert {"user", "item", "output"} <= set(re.findall(r"\w+", drawn))
    if shutil.which("dot"):
        keras.utils.plot_model(keras_model, tmp_path / "model.png")
        assert (tmp_path / "model.png").stat().st_size


def test_a_keras_model_has_parameters_of_its_own(model_of):
    model = model_of(mfcore.MF(3))
    before = model.parameters["user_factors"].copy()
    model.to_keras().get_layer("user_embedding").set_weights([np.full((40, 3), 7.0)])
    np.testing.assert_array_equal(model.parameters["user_factors"], before)


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_a_saved_keras_model_is_loaded_and_taken_back(model_of, tmp_path, output):
    model = model_of(mfcore.GMF(3, biases=True, output=output))
    keras_model = model.to_keras()
    with warnings.catch_warnings():
        # Keras 3.15's own variables do not know numpy 2's copy=False yet.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        keras_model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(predictions(loaded), predictions(keras_model))
    assert_same_bits(Model.from_keras(loaded, model.spec, model), model)


def test_an_exported_keras_model_gives_the_same(model_of, tmp_path, spec):
    keras_model = model_of(spec).to_keras()
    keras_model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "exported")
    served = loaded.serve([tf.constant(rows, tf.int32) for rows in (USERS, ITEMS)])
    np.testing.assert_allclose(np.asarray(served)[:, 0], predictions(keras_model), rtol=1e-5, atol=1e-6)


# Made from a spec


def test_a_keras_model_begins_where_fit_does(ratings, spec, dtype):
    keras_model = build_model(spec, 40, 25, dtype, seed=5, best_constant=3.5)
    taken = Model.from_keras(keras_model, spec, ratings)
    expected = spec.initial_parameters(40, 25, seed=5, dtype=np.dtype(dtype), best_constant=3.5)
    assert taken.parameters.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(taken.parameters[name], array)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((40, 25, "bfloat16"), "dtype is 'bfloat16'; it must be one of float32, float64"),
        ((0, 25), "n_users is 0; it must be an integer of at least 1"),
        ((40, 2.5), "n_items is 2.5"),
    ],
)
def test_a_keras_model_of_another_dtype_or_of_no_rows_is_refused(arguments, error):
    with pytest.raises(InvalidArgumentError, match=error):
        build_model(mfcore.MF(3), *arguments)


# A spec and an output of one's own


@dataclass(frozen=True)
class Softplus(Output):
    """Predictions log(1 + exp(score))."""

    def forward(self, xp):
        return lambda score, c: (xp.log1p(xp.exp(score)), xp.sigmoid(score))


@dataclass(frozen=True)
class Subspaces(InnerProduct):
    """Two factors in each of three subspaces, which learnt weights, a dense layer and a temperature mix."""

    output: Output = field(default_factory=Softplus)

    def parameters(self, n_users, n_items):
        return {
            "user_factors": Parameter((n_users, 3, 2), INIT, side="user"),
            "user_bias": Parameter((n_users,), INIT, side="user", shared_by_items=True),
            "item_factors": Parameter((n_items, 2), INIT, side="item"),
            "mixing/kernel": Parameter((3,), INIT),
            "temperature": Parameter((1,), mfcore.Constant(1.0)),
            "global_bias": Parameter((1,), mfcore.Constant(0.0), trained=False, decayed=False),
        }

    def user_embeddings(self, xp, rows, dense):
        mixed = xp.sum(rows["user_factors"] * dense["mixing/kernel"][:, None], axis=1)
        return Embeddings(mixed * dense["temperature"], rows["user_bias"] + dense["global_bias"])

    def item_embeddings(self, xp, rows, dense):
        return Embeddings(rows["item_factors"])


def test_a_spec_and_an_output_of_one_s_own_have_a_keras_model(model_of, ratings, dtype, tmp_path):
    model = model_of(Subspaces(), dtype)
    keras_model = model.to_keras()
    expected = model.predict_pairs(USERS, ITEMS)
    np.testing.assert_allclose(
        predictions(keras_model), expected, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype]
    )
    assert_same_bits(Model.from_keras(keras_model, model.spec, model), model)
    keras_model.export(tmp_path, verbose=False)
    loaded = tf.saved_model.load(tmp_path)
    served = loaded.serve([tf.constant(rows, tf.int32) for rows in (USERS, ITEMS)])
    np.testing.assert_allclose(np.asarray(served)[:, 0], expected, rtol=1e-5, atol=1e-6)
    keras_model.compile("adam", loss="mse")
    keras_model.fit([ratings.users, ratings.items], ratings.values, verbose=0)
    trained = Model.from_keras(keras_model, model.spec, model)
    moved = {name for name, array in trained.parameters.items() if np.any(array != model.parameters[name])}
    assert moved == set(model.parameters) - {"global_bias"}


def test_what_keras_cannot_put_in_a_file_is_refused_with_what_to_do(model_of, tmp_path):
    for spec in (Subspaces(output=mfcore.Linear()), mfcore.MF(3, output=Softplus())):
        with pytest.raises(
            UnsupportedError, match=r"cannot hold: export the model, keras_model.export\(path\)"
        ):
            model_of(spec).to_keras().save(tmp_path / "model.keras")


# Trained by Keras, and imported


@pytest.mark.parametrize("known_by", ["model", "data"])
def test_a_model_comes_back_bit_for_bit(model_of, spec, dtype, known_by, ratings):
    model = model_of(spec, dtype)
    ids = model if known_by == "model" else ratings
    taken = Model.from_keras(model.to_keras(), spec, ids)
    assert_same_bits(taken, model)
    assert taken.user_ids is ids.user_ids
    assert taken.seen is ids.seen
    assert (taken.epochs_trained, len(taken.history), taken.training) == (0, 0, {})


def test_keras_goes_on_with_compile_and_fit_and_callbacks(ratings):
    spec = mfcore.MF(3, biases=True, output=mfcore.RatingRange(1, 5))
    begun = mfcore.fit(spec, ratings, optimizer=mfcore.Adam(0.01), batch_size=32, epochs=2, backend="keras")
    keras_model = begun.to_keras()
    keras_model.compile(keras.optimizers.Adam(0.01), loss="mse", metrics=["mae"])
    rows = {"user": ratings.users, "item": ratings.items}
    history = keras_model.fit(
        rows,
        ratings.values,
        batch_size=32,
        epochs=30,
        verbose=0,
        callbacks=[keras.callbacks.EarlyStopping("loss", patience=5)],
    ).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    taken = Model.from_keras(keras_model, spec, begun)
    # A constant is no weight that Keras trains.
    np.testing.assert_array_equal(taken.parameters["global_bias"], begun.parameters["global_bias"])
    found = mfcore.evaluate(taken, ratings, [mfcore.RMSE()])
    assert found["RMSE"] == pytest.approx(np.sqrt(history["loss"][-1]), rel=0.2)
    ended = mfcore.fit(spec, ratings, optimizer="adam", epochs=1, backend="keras", initial=taken)
    assert ended.history[0].objective < begun.history[0].objective


# Keras 3.15's own variables do not know numpy 2's copy=False yet.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_tensorboard_is_told_what_keras_does(ratings, model_of, tmp_path):
    keras_model = model_of(mfcore.MF(3)).to_keras()
    keras_model.compile("adam", loss="mse")
    board = keras.callbacks.TensorBoard(tmp_path)
    keras_model.fit([ratings.users, ratings.items], ratings.values, verbose=0, callbacks=[board])
    assert list(tmp_path.rglob("events.out.*"))


def test_a_keras_model_within_another_is_understood(model_of):
    model = model_of(SPECS["TwoTower with layers"])
    inner = model.to_keras()
    user, item = (keras.Input((), dtype="int32", name=name) for name in ("who", "what"))
    outer = keras.Model([user, item], inner([user, item]))
    assert_same_bits(Model.from_keras(outer, model.spec, model), model)


def test_what_the_spec_needs_must_be_there_and_nothing_else(model_of):
    small, large = model_of(SPECS["MF"]), model_of(SPECS["MF with biases"])
    with pytest.raises(
        InvalidArgumentError, match=r"lacks the layers 'user_bias' \(embeddings\).*has weights in"
    ):
        Model.from_keras(small.to_keras(), large.spec, large)
    with pytest.raises(
        InvalidArgumentError, match=r"has 'user_bias' \(embeddings\) \(40, 1\), .* has no place"
    ):
        Model.from_keras(large.to_keras(), small.spec, small)


def test_shapes_must_be_those_of_the_spec(model_of):
    model = model_of(mfcore.MF(4))
    with pytest.raises(
        InvalidArgumentError, match=r"'user_embedding' have shape \(40, 4\), but .* needs \(40, 3\)"
    ):
        Model.from_keras(model.to_keras(), mfcore.MF(3), model)


def test_weights_must_be_finite(model_of):
    model = model_of(mfcore.MF(3))
    keras_model, broken = model.to_keras(), model.parameters["item_factors"].copy()
    broken[2, 1] = np.nan
    keras_model.get_layer("item_embedding").set_weights([broken])
    with pytest.raises(InvalidDataError, match=r"'item_embedding' hold nan at \(2, 1\); go back"):
        Model.from_keras(keras_model, model.spec, model)


def test_what_is_no_keras_model_is_refused(model_of, ratings):
    with pytest.raises(InvalidArgumentError, match=r"keras_model is 'model\.keras'"):
        Model.from_keras("model.keras", mfcore.MF(3), ratings)
    with pytest.raises(InvalidArgumentError, match="from_keras: ids is of type int"):
        Model.from_keras(model_of(mfcore.MF(3)).to_keras(), mfcore.MF(3), 40)


# Indexes of items


@pytest.fixture(scope="module")
def meetings():
    """Interactions of users and films that are known by name; one user has seen nearly all of the films."""
    rng = np.random.default_rng(7)
    pairs = np.unique(np.append(rng.choice(30 * 20, size=200, replace=False), np.arange(18)))
    users, films = np.divmod(pairs, 20)
    return mfcore.Interactions.from_columns([f"user {u}" for u in users], [f"film {i}" for i in films])


def queried(path, query):
    """Return what a SavedModel answers in a process that has neither this package nor Keras on its path."""
    source = f"""
        import json, sys
        sys.modules["mfcore"] = sys.modules["mfcore_keras"] = None
        import tensorflow as tf
        signature = tf.saved_model.load({str(path)!r}).signatures["serving_default"]
        found = signature(user_ids=tf.constant({query!r}))
        items = found["item_ids"].numpy()
        if items.dtype == object:
            items = [[item.decode() for item in row] for row in items]
        else:
            items = items.tolist()
        print(json.dumps([items, found["scores"].numpy().tolist()]))
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    return json.loads(done.stdout)


def test_an_index_recommends_by_itself_what_the_model_does(meetings, model_of, tmp_path):
    model = model_of(SPECS["TwoTower with layers"], data=meetings)
    backend.export_top_k(model, tmp_path / "index", k=5)
    asked = ["user 3", "somebody else", "user 0"]
    items, scores = queried(tmp_path / "index", asked)
    for ranking, found, found_scores in zip(model.recommend(asked, k=5), items, scores, strict=True):
        n = len(ranking.items)
        assert found == [*ranking.items.tolist(), *[""] * (5 - n)]
        np.testing.assert_allclose(found_scores[:n], ranking.scores, rtol=1e-5)
        assert found_scores[n:] == [-np.inf] * (5 - n)
    # The user who has seen 18 of the 20 films.
    assert len(model.recommend(["user 0"], k=5)[0].items) <= 2


@pytest.mark.parametrize("name", ["MF with biases", "GMF with biases", "TwoTower", "own"])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_so_does_that_of_every_inner_product(ratings, model_of, tmp_path, name, exclude_seen):
    model = model_of(SPECS.get(name, Subspaces()))
    backend.export_top_k(model, tmp_path, k=25, exclude_seen=exclude_seen)
    signature = tf.saved_model.load(tmp_path).signatures["serving_default"]
    users = [0, 7, 39, 99]
    found = signature(user_ids=tf.constant(users, tf.int64))
    for row, ranking in enumerate(model.recommend(users, k=25, exclude_seen=exclude_seen)):
        n = len(ranking.items)
        assert np.all(found["item_ids"][row, n:] == -1)
        np.testing.assert_allclose(found["scores"][row, :n], ranking.scores, rtol=1e-4, atol=1e-5)
        assert set(found["item_ids"][row, :n].numpy()) == set(ranking.items.tolist())


def test_an_index_of_what_is_no_inner_product_is_refused_with_what_to_do(model_of, tmp_path):
    with pytest.raises(
        UnsupportedError, match=r"that of MLP is not; export .*model.to_keras\(\).export\(path\)"
    ):
        export_top_k(model_of(SPECS["MLP of relu"]), tmp_path)
    with pytest.raises(InvalidArgumentError, match="k is 26; it must be an integer in "):
        export_top_k(model_of(SPECS["MF"]), tmp_path, k=26)
