"""Bad input, through the door that people use: one clear error, before anything is trained or written."""

import numpy as np
import pytest

from mfcore import (
    MF,
    SGD,
    WALS,
    Adam,
    Interactions,
    RatingRange,
    ReLU,
    Sigmoid,
    Squared,
    WeightedSquared,
    fit,
)
from mfcore.data import Vocabulary
from mfcore.errors import InvalidArgumentError, InvalidDataError, MfcoreError, UnsupportedError

USERS, ITEMS, VALUES = [17, 17, 23, 42], ["a", "b", "a", "abc"], [1.0, 2.0, 3.0, 4.0]


def replaced(column, position, entry):
    return [*column[:position], entry, *column[position + 1 :]]


@pytest.fixture(scope="module")
def data():
    return Interactions.from_columns(USERS, ITEMS, VALUES)


# Columns


@pytest.mark.parametrize(
    ("users", "items", "values", "message"),
    [
        pytest.param(
            USERS,
            ITEMS,
            replaced(VALUES, 3, float("nan")),
            r"values contains NaN at position 3 \(user 42, item 'abc'; 1 such rows\); drop or fill such rows",
            id="NaN",
        ),
        pytest.param(
            USERS,
            ITEMS,
            replaced(VALUES, 1, float("-inf")),
            r"values contains -inf at position 1 \(user 17, item 'b'; 1 such rows\); drop such rows",
            id="infinity",
        ),
        pytest.param(
            USERS,
            ITEMS,
            replaced(VALUES, 0, 1e39),
            r"values contains 1e\+39 at position 0 .*too large for float32; rescale them",
            id="too large a value",
        ),
        pytest.param(
            replaced(USERS, 2, -1),
            ITEMS,
            VALUES,
            "users contains -1 at position 2; .* drop such rows, or convert the column to strings",
            id="negative id",
        ),
        pytest.param(
            replaced(USERS, 1, 2**63), ITEMS, VALUES, "users.*9223372036854775808", id="too large an id"
        ),
        pytest.param(
            USERS,
            replaced(ITEMS, 1, ""),
            VALUES,
            "items contains an empty string at position 1; drop such rows, or give them an id",
            id="empty id",
        ),
        pytest.param(
            USERS,
            replaced(ITEMS, 2, None),
            VALUES,
            "items contains a missing id at position 2; drop such rows, or give them an id",
            id="missing id",
        ),
        pytest.param(np.array([1.5, 2, 3, 4]), ITEMS, VALUES, "users", id="floating ids"),
        pytest.param(USERS, ITEMS, ["good", "bad", "good", "bad"], "values", id="values of text"),
        pytest.param(USERS, ITEMS[:3], VALUES, "items has 3 rows, but users has 4", id="fewer items"),
        pytest.param(USERS, ITEMS, [*VALUES, 5.0], "values has 5 rows, but users has 4", id="more values"),
        pytest.param([], [], None, "there are no interactions: users and items are empty", id="empty"),
        pytest.param(
            replaced(USERS, 2, 17),
            ITEMS,
            VALUES,
            "user 17 and item 'a' occur together at positions 0 and 2 .* pass duplicates= one of",
            id="duplicates",
        ),
        pytest.param(np.array([USERS, USERS]), ITEMS, VALUES, "users", id="a table for a column"),
    ],
)
def test_bad_columns_are_refused_with_value_place_and_remedy(users, items, values, message):
    with pytest.raises(InvalidDataError, match=message):
        Interactions.from_columns(users, items, values)


# Arguments of fit


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs is 0; it must be an integer of at least 1"),
        ({"epochs": 2.5}, "epochs is 2.5; it must be an integer"),
        ({"batch_size": 0}, "batch_size is 0; it must be an integer of at least 1"),
        ({"batch_size": "32"}, "batch_size is '32'; it must be an integer"),
        ({"n_negatives": -1}, "n_negatives is -1; it must be an integer of at least 0"),
        ({"seed": -1}, r"seed is -1; it must be an integer in \[0, 9223372036854775807\]"),
        ({"seed": 2**63}, "seed is 9223372036854775808; it must be an integer in"),
        ({"seed": None}, "seed is None; it must be an integer"),
        ({"threads": 0}, "threads is 0; it must be an integer of at least 1"),
        ({"dtype": "float16"}, "dtype is 'float16'; it must be 'float32' or 'float64'"),
        ({"dtype": "double precision"}, "dtype is 'double precision'; it must be 'float32' or 'float64'"),
        ({"dtype": None}, "dtype is None; it must be 'float32' or 'float64'"),
        ({"dtype": int}, "dtype is <class 'int'>; it must be 'float32' or 'float64'"),
        ({"order": "sorted"}, "order is 'sorted'; it must be one of shuffled, blocked"),
        (
            {"objective": "bce"},
            "objective is 'bce'; it must be one of squared, weighted_squared, logistic, bpr,"
            " in_batch_softmax, or an instance",
        ),
        (
            {"objective": Squared},
            r"objective is <class .*Squared'>; pass an instance such as mfcore\.Squared",
        ),
        (
            {"optimizer": "sdg"},
            "optimizer is 'sdg'; it must be one of sgd, adagrad, .*, wals, or an instance",
        ),
        ({"optimizer": Adam}, r"optimizer is <class .*Adam'>; pass an instance such as mfcore\.Adam\(\)"),
        (
            {"optimizer": WALS(), "objective": "logistic"},
            "WALS solves least squares; objective 'logistic' is none",
        ),
        (
            {"optimizer": WALS(), "n_negatives": 4},
            "n_negatives is 4, but WALS samples no negatives.*pass n_negatives=0",
        ),
        ({"patience": 0, "validation": "data"}, "patience is 0; it must be an integer of at least 1"),
        ({"patience": 3}, "patience is given, but there is no validation data to apply it to"),
        ({"metrics": []}, "metrics is given, but there is no validation data"),
        ({"monitor": "RMSE"}, "monitor is given, but there is no validation data"),
        ({"validation": 0.2}, r"validation is 0.2; pass held-out Interactions.*splits\.ratio"),
        ({"callbacks": print}, "callbacks is <built-in function print>; pass a sequence of callables"),
        ({"callbacks": [3]}, r"callbacks is \[3\]; pass a sequence of callables"),
        ({"backend": "refrence"}, "no backend 'refrence' is installed; .*did you mean 'reference'"),
    ],
    ids=lambda value: (
        " ".join(f"{name}={entry!r}" for name, entry in value.items())[:50] if isinstance(value, dict) else ""
    ),
)
def test_arguments_outside_their_domain_are_refused_by_name(data, settings, message):
    with pytest.raises(InvalidArgumentError, match=message):
        fit(MF(2), data, **{"backend": "reference", **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metrics": []}, r"metrics is empty; name at least one, e\.g\. mfcore\.RMSE\(\)"),
        ({"metrics": ["rmse"]}, r"metrics is 'rmse'; pass an instance such as mfcore\.NDCG\(10\)"),
        ({"monitor": "NDCG@10"}, "monitor is 'NDCG@10'; the metrics are RMSE, MAE"),
    ],
    ids=["no metric", "a metric by name", "another metric"],
)
def test_settings_of_the_validation_are_checked_before_training(data, settings, message):
    with pytest.raises(InvalidArgumentError, match=message):
        fit(MF(2), data, validation=data, backend="reference", **settings)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (MF, r"spec is <class .*MF'>, not a model spec; write an instance, e\.g\. MF\(n_factors=50\)"),
        ("mf", "spec is 'mf', not a model spec"),
        (None, "spec is None, not a model spec"),
    ],
    ids=["a class", "a name", "nothing"],
)
def test_only_a_spec_can_be_fitted(data, spec, message):
    with pytest.raises(InvalidArgumentError, match=message):
        fit(spec, data)


@pytest.mark.parametrize("given", [np.eye(3), [(1, 2, 3.0)], None], ids=["array", "list", "nothing"])
def test_only_interactions_can_be_trained_on(given):
    with pytest.raises(
        InvalidArgumentError, match=r"the training data is a \w+; make Interactions of it first"
    ):
        fit(MF(2), given)


def test_a_device_that_the_engine_does_not_have_is_refused(data):
    with pytest.raises(UnsupportedError, match="it runs on the CPU, and device is 'cuda'; pass device='cpu'"):
        fit(MF(2), data, backend="reference", device="cuda")


# Data that do not fit the settings


@pytest.mark.parametrize("ids", [[0, 0, 1], ["x", "x", "y"]], ids=["integer ids", "string ids"])
def test_a_user_who_has_seen_everything_is_refused_where_negatives_are_sampled(ids):
    full = Interactions.from_columns(ids, [5, 6, 5])
    with pytest.raises(
        InvalidDataError,
        match=f"user {ids[0]!r} has seen all 2 items.*or train on ratings with n_negatives=0",
    ):
        fit(MF(2), full, n_negatives=1, backend="reference")
    assert fit(MF(2), full, epochs=1, backend="reference").n_users == 2


def test_a_user_with_one_unseen_item_is_accepted_where_negatives_are_sampled():
    data = Interactions.from_columns([0, 0, 1], [0, 1, 2])
    assert fit(MF(2), data, n_negatives=3, epochs=2, backend="reference").epochs_trained == 2


@pytest.mark.parametrize("optimizer", [Adam(), WALS(0.1)], ids=["adam", "wals"])
def test_values_that_make_a_negative_weight_are_refused(optimizer):
    data = Interactions.from_columns([1, 2], ["a", "b"], [3.0, -2.0])
    with pytest.raises(
        InvalidDataError, match=r"value -2 at position 1 \(user 2, item 'b'\) the weight -3; .*lower alpha"
    ):
        fit(MF(2), data, objective=WeightedSquared(2.0), optimizer=optimizer, backend="reference")


def test_a_weight_beyond_the_numbers_is_refused():
    data = Interactions.from_columns([1, 2], [1, 2], [1.0, 1e38])
    with pytest.raises(InvalidDataError, match="the weight inf; weights must be finite"):
        fit(MF(2), data, objective=WeightedSquared(1e3), optimizer=WALS(0.1), backend="reference")


@pytest.mark.parametrize("output", [Sigmoid(), RatingRange(1, 5, "sigmoid")], ids=str)
def test_wals_refuses_an_output_that_would_distort_its_fit(data, output):
    with pytest.raises(InvalidArgumentError, match="WALS fits the score itself to the target, so the output"):
        fit(MF(2, output=output), data, optimizer=WALS(), backend="reference")


@pytest.mark.parametrize("output", [ReLU(), RatingRange(1, 5)], ids=str)
def test_wals_takes_an_output_that_only_cuts_off(data, output):
    assert (
        fit(MF(2, output=output), data, optimizer=WALS(), epochs=1, backend="reference").spec.output == output
    )


def test_repeated_pairs_are_refused_where_wals_leaves_out_observed_pairs():
    data = Interactions.from_columns([1, 1, 2], [1, 1, 2], duplicates="keep")
    with pytest.raises(
        InvalidDataError, match=r"1 interactions repeat a .user, item. pair.*duplicates='sum'"
    ):
        fit(MF(2), data, optimizer=WALS(1.0, zero_pairs="unobserved"), backend="reference")
    assert fit(MF(2), data, optimizer=WALS(1.0), epochs=1, backend="reference").epochs_trained == 1


def test_the_logistic_objective_refuses_ratings(data):
    with pytest.raises(InvalidDataError, match=r"needs values in \[0, 1\]; value 2 at position 1 is not"):
        fit(MF(2), data, objective="logistic", backend="reference")


@pytest.mark.parametrize(
    ("users", "items"),
    [([7], [9]), ([7, 7, 7], [1, 2, 3]), ([1, 2, 3], [9, 9, 9])],
    ids=["one pair", "one user", "one item"],
)
@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(), WALS(0.1)], ids=lambda o: type(o).__name__)
def test_one_user_or_one_item_is_enough_to_train_on(users, items, optimizer):
    data = Interactions.from_columns(users, items, [2.0] * len(users))
    model = fit(MF(2, biases=True), data, optimizer=optimizer, epochs=2, backend="reference")
    assert np.isfinite(model.predict(users, items)).all()
    assert len(model.recommend(users[0], k=5)[0]) == 0


def test_users_and_items_without_training_data_do_no_harm():
    data = Interactions.from_columns(
        [3], [4], [2.0], user_ids=Vocabulary.range(10), item_ids=Vocabulary.range(10)
    )
    for optimizer in (SGD(0.1), Adam(), WALS(0.1)):
        model = fit(MF(2), data, optimizer=optimizer, epochs=2, backend="reference")
        assert len(model.recommend(3, k=20)[0]) == 9


# Nothing is half-written


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ("nowhere/run.safetensors", "checkpoint: there is no folder .*nowhere; create it first"),
        (".", "is a folder; name a file"),
    ],
    ids=["no such folder", "a folder"],
)
def test_a_checkpoint_that_cannot_be_written_is_refused_before_training(data, tmp_path, checkpoint, message):
    called = []
    with pytest.raises(InvalidArgumentError, match=message):
        fit(MF(2), data, backend="reference", checkpoint=tmp_path / checkpoint, callbacks=[called.append])
    assert not called


def test_an_error_before_training_leaves_the_old_checkpoint_alone(data, tmp_path):
    path = tmp_path / "run.safetensors"
    fit(MF(2), data, epochs=1, backend="reference", checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(MfcoreError):
        fit(MF(2), data, epochs=0, backend="reference", checkpoint=path)
    assert path.read_bytes() == before
