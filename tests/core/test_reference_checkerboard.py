"""A known answer for every family: whoever met only items of one colour is recommended that colour."""

from dataclasses import replace

import numpy as np
import pytest

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
    InBatchSoftmax,
    Interactions,
    LazyAdam,
    Logistic,
    NeuMF,
    Normal,
    RatingRange,
    ReLU,
    RMSprop,
    Sigmoid,
    Squared,
    TwoTower,
    WeightedSquared,
    fit,
)

# Two factors can tell the colours apart, and no more: with many, the item held out could be told as well.
SPEC = MF(2, init=Normal(0.1))
ADAM = Adam(0.05, l2=0.02)


@pytest.mark.parametrize(
    ("spec", "objective", "optimizer"),
    [
        pytest.param(SPEC, Logistic(), SGD(0.2, l2=0.02), id="logistic, plain sgd"),
        pytest.param(SPEC, Logistic(), SGD(0.3, l2=0.02, momentum=0.9), id="logistic, momentum"),
        pytest.param(
            SPEC, Logistic(), SGD(0.3, l2=0.02, momentum=0.9, nesterov=True), id="logistic, nesterov"
        ),
        pytest.param(SPEC, Logistic(), Adagrad(0.3, l2=0.02), id="logistic, adagrad"),
        pytest.param(SPEC, Logistic(), RMSprop(0.02, l2=0.02), id="logistic, rmsprop"),
        pytest.param(SPEC, Logistic(), ADAM, id="logistic, adam"),
        pytest.param(SPEC, Logistic(), AdamW(0.05, weight_decay=0.1), id="logistic, adamw"),
        pytest.param(SPEC, Logistic(), LazyAdam(0.05, l2=0.02), id="logistic, lazy adam"),
        pytest.param(SPEC, Squared(), SGD(0.2, l2=0.02), id="squared, plain sgd"),
        pytest.param(SPEC, WeightedSquared(1.0), ADAM, id="weighted squared, adam"),
        pytest.param(replace(SPEC, output=Sigmoid()), Squared(), ADAM, id="squared through sigmoid"),
        pytest.param(
            replace(SPEC, output=ReLU(), init=Normal(0.5)), Squared(), ADAM, id="squared through relu"
        ),
        pytest.param(replace(SPEC, biases=True), Logistic(), ADAM, id="logistic with biases"),
    ],
)
def test_gradient_optimizers_with_negatives_keep_to_the_colour(checkerboard, spec, objective, optimizer):
    plain = isinstance(optimizer, SGD) and not optimizer.momentum
    model = fit(
        spec,
        checkerboard,
        objective=objective,
        optimizer=optimizer,
        n_negatives=1,
        epochs=12 if plain else 30,
        batch_size=1 if plain else 32,
        backend="reference",
    )
    found = model.recommend(range(20), k=1)
    assert [ranking.items.tolist() for ranking in found] == [[user] for user in range(20)]


INIT = Normal(0.1)
NEUMF = NeuMF(2, (4, 4), activation="tanh", init=INIT)


@pytest.mark.parametrize(
    ("spec", "objective", "settings"),
    [
        pytest.param(GMF(2, init=INIT), Logistic(), {"n_negatives": 1}, id="gmf, logistic"),
        pytest.param(
            MLP((4, 8, 4), init=INIT),
            Logistic(),
            {"n_negatives": 1, "optimizer": Adam(0.02, l2=0.02)},
            id="mlp, logistic",
        ),
        pytest.param(NEUMF, Logistic(), {"n_negatives": 1}, id="neumf, logistic"),
        pytest.param(replace(NEUMF, fusion="projected"), BPR(), {"n_negatives": 1}, id="projected, bpr"),
        pytest.param(SPEC, BPR(), {"n_negatives": 1}, id="bpr"),
        pytest.param(SPEC, BPR(), {"n_negatives": 1, "optimizer": SGD(0.5, l2=0.02)}, id="bpr, plain sgd"),
        pytest.param(
            SPEC, BPR(), {"n_negatives": 1, "popularity_exponent": 0.75}, id="bpr, negatives by popularity"
        ),
        pytest.param(GMF(2, init=INIT), InBatchSoftmax(), {}, id="gmf, in-batch softmax"),
        pytest.param(
            TwoTower(2, init=INIT),
            InBatchSoftmax(0.5),
            {"optimizer": Adagrad(0.3, l2=0.02)},
            id="two towers, in-batch softmax",
        ),
        pytest.param(
            TwoTower(2, (4, 2), "tanh", init=INIT), InBatchSoftmax(), {}, id="layers, in-batch softmax"
        ),
        pytest.param(TwoTower(2, (2,), init=INIT), BPR(), {"n_negatives": 1}, id="two towers, bpr"),
    ],
)
def test_neural_models_and_objectives_on_pairs_of_items_keep_to_the_colour(
    checkerboard, spec, objective, settings
):
    settings = {"optimizer": ADAM, "epochs": 30, "batch_size": 32, "backend": "reference", **settings}
    model = fit(spec, checkerboard, objective=objective, **settings)
    found = model.recommend(range(20), k=1)
    assert [ranking.items.tolist() for ranking in found] == [[user] for user in range(20)]


@pytest.mark.parametrize("biases", [False, True], ids=["factors only", "with biases"])
@pytest.mark.parametrize("zero_pairs", ["all", "unobserved"])
@pytest.mark.parametrize("solver", ["cholesky", "cg", "subspace"])
def test_wals_keeps_to_the_colour(checkerboard, solver, zero_pairs, biases):
    model = fit(
        MF(4, biases=biases, init=Normal(0.1)),
        checkerboard,
        optimizer=WALS(0.1, l2=0.01, solver=solver, block_size=2, zero_pairs=zero_pairs),
        epochs=10,
        backend="reference",
    )
    found = model.recommend(range(20), k=1)
    assert [ranking.items.tolist() for ranking in found] == [[user] for user in range(20)]


@pytest.mark.parametrize(
    ("optimizer", "method"),
    [
        pytest.param(SGD(0.05, l2=0.02), "clip", id="plain sgd, clipped"),
        pytest.param(SGD(0.1, l2=0.02), "sigmoid", id="plain sgd, through sigmoid"),
        pytest.param(Adam(0.03), "clip", id="adam, clipped"),
        pytest.param(Adam(0.03), "sigmoid", id="adam, through sigmoid"),
        pytest.param(WALS(l2=0.05, nu=0.0), "clip", id="wals, clipped"),
    ],
)
def test_ratings_of_two_colours_are_predicted_for_the_pairs_held_out(optimizer, method):
    users, items = np.divmod(np.arange(400), 20)
    values = np.where((users + items) % 2 == 0, 5, 1)
    shown = (items - users) % 20 > 1
    data = Interactions.from_columns(users[shown], items[shown], values[shown])
    model = fit(
        MF(2, biases=True, output=RatingRange(1, 5, method), init=Normal(0.3)),
        data,
        optimizer=optimizer,
        epochs=15 if isinstance(optimizer, SGD) else 40,
        batch_size=None if isinstance(optimizer, SGD) else 16,
        backend="reference",
    )
    own, other = model.predict(range(20), range(20)), model.predict(range(20), [*range(1, 20), 0])
    assert own.min() > 4
    assert other.max() < 2
