"""`mfcore train`."""

import json
from pathlib import Path

import numpy as np
import pytest

import mfcore

QUICK = ("--backend", "reference", "--epochs", "3")


def test_ratings_are_trained_judged_and_shown_with_titles(command, films):
    done = command("train", films, *QUICK, "--recommend-for", 7, "-k", 4)
    assert done.status == 0
    for heading in (
        "Data",
        "Settings",
        "Training",
        "Quality on 96 held-out interactions",
        "Recommended to user 7",
    ):
        assert heading in done.out
    assert "RMSE" in done.out
    assert "(1990)" in done.out
    assert done.err == ""


def test_the_settings_say_which_are_defaults(command, films):
    lines = command("train", films, *QUICK, "--n-factors", 2).out.splitlines()
    settings = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("  ") and line.split()}
    assert settings["n-factors"] == ["2"]
    assert settings["learning-rate"] == ["0.01", "default"]
    assert settings["optimizer"] == ["sgd", "default"]


def test_json_is_one_document_that_agrees_with_the_library(command, films):
    done = command("train", films, *QUICK, "--seed", 3, "--n-factors", 2, "--dtype", "float64", "--json")
    document = json.loads(done.out)
    train, test = mfcore.splits.ratio(mfcore.Interactions.read(films), 0.2, seed=3)
    model = mfcore.fit(
        mfcore.MF(n_factors=2, biases=True, output=mfcore.RatingRange(1, 5), init=mfcore.Normal(std=0.001)),
        train,
        optimizer=mfcore.SGD(learning_rate=0.01, l2=0.07),
        epochs=3,
        seed=3,
        dtype="float64",
        backend="reference",
    )
    expected = mfcore.evaluate(model, test, [mfcore.RMSE(), mfcore.MAE()])
    assert document["quality"]["ratings"] == pytest.approx(dict(expected))
    assert document["data"]["held_out"] == 96
    assert document["settings"]["learning_rate"] == 0.01


def test_data_without_ratings_are_ranked_by_wals_on_the_last_item_of_each_user(command, clicks):
    document = json.loads(command("train", clicks, "--backend", "reference", "--json").out)
    assert document["settings"]["optimizer"] == "wals"
    assert document["data"]["split"] == "leave-one-out"
    assert document["data"]["held_out"] == 40
    [ranking] = document["quality"]["rankings"]
    assert ranking["protocol"] == "full"
    assert set(ranking["metrics"]) == {"HR@10", "NDCG@10"}


def test_an_ncf_data_set_is_judged_by_its_negatives_and_beside_them_by_full_ranking(command, ncf):
    document = json.loads(command("train", ncf, "--backend", "reference", "--n-factors", 4, "--json").out)
    given, full = document["quality"]["rankings"]
    split = mfcore.data.read_ncf(ncf)
    model = mfcore.fit(
        mfcore.MF(n_factors=4, init=mfcore.Normal(std=0.05)),
        split.train,
        optimizer=mfcore.WALS(unobserved_weight=0.3, l2=0.007, nu=1),
        epochs=12,
        backend="reference",
    )
    protocol = mfcore.GivenNegatives(split.negatives)
    expected = mfcore.evaluate(model, split.test, [mfcore.HitRate(10), mfcore.NDCG(10)], protocol)
    assert (given["protocol"], given["n_negatives"]) == ("given", 5)
    assert given["metrics"] == pytest.approx(dict(expected))
    assert full["protocol"] == "full"
    assert full["metrics"]["NDCG@10"] <= given["metrics"]["NDCG@10"]


@pytest.mark.parametrize("option", [("--n-negatives", "2"), ("--objective", "logistic")])
def test_an_option_of_implicit_feedback_makes_ratings_implicit(command, films, option):
    document = json.loads(command("train", films, *QUICK, *option, "--n-factors", 2, "--json").out)
    assert document["settings"]["objective"] == "logistic"
    assert document["settings"]["optimizer"] == "sgd"
    assert document["quality"]["rankings"]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        # In batches the rate is that of the mean of a batch, and momentum sums up 1 / (1 - momentum) of them.
        (("--batch-size", 64), {"learning_rate": 1.0, "batch_size": 64, "l2": 0.1}),
        (("--momentum", 0.9), {"learning_rate": pytest.approx(0.1), "batch_size": 256, "momentum": 0.9}),
        (("--batch-size", 1), {"learning_rate": 0.01, "batch_size": 1, "l2": 0.07}),
        (("--n-negatives", 0), {"learning_rate": 0.01, "objective": "squared", "output": "range"}),
        (("--model", "gmf", "--optimizer", "sgd"), {"learning_rate": 0.2, "batch_size": 256, "n_factors": 8}),
        (
            ("--model", "neumf", "--activation", "tanh"),
            {"optimizer": "adam", "activation": "tanh", "layers": [64, 32, 16, 8], "fusion": "concat"},
        ),
    ],
)
def test_defaults_follow_what_is_given_on_ratings(command, films, options, chosen):
    document = json.loads(command("train", films, *QUICK, *options, "--json").out)
    assert {name: document["settings"][name] for name in chosen} == chosen
    assert document["quality"]["ratings"]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (
            ("--batch-size", 64),
            {"optimizer": "sgd", "learning_rate": 10.0, "batch_size": 64, "n_negatives": 4},
        ),
        (("--momentum", 0.9), {"optimizer": "sgd", "learning_rate": pytest.approx(1.0), "batch_size": 256}),
        (("--learning-rate", 0.03), {"optimizer": "sgd", "batch_size": 1, "n_negatives": 8, "l2": 0.005}),
        (
            ("--model", "gmf", "--optimizer", "sgd"),
            {"learning_rate": 1.0, "batch_size": 256, "n_negatives": 4},
        ),
        (
            ("--model", "neumf", "--activation", "tanh"),
            {"optimizer": "adam", "activation": "tanh", "objective": "logistic", "n_negatives": 4},
        ),
    ],
)
def test_defaults_follow_what_is_given_on_implicit_data(command, clicks, options, chosen):
    settings = json.loads(command("train", clicks, *QUICK, *options, "--json").out)["settings"]
    assert {name: settings[name] for name in chosen} == chosen


def test_implicit_data_without_negatives_have_nothing_to_tell_apart(command, clicks):
    done = command("train", clicks, *QUICK, "--n-negatives", 0)
    assert (done.status, done.out) == (2, "")
    assert "pass --n-negatives 4, say" in done.err


@pytest.mark.parametrize(
    ("options", "part", "chosen"),
    [
        (("--nesterov", "--momentum", 0.9), "optimizer", {"kind": "SGD", "nesterov": True}),
        (("--beta-1", 0.8, "--optimizer", "lazyadam"), "optimizer", {"kind": "LazyAdam", "beta_1": 0.8}),
        (("--weight-decay", 0.1), "optimizer", {"kind": "AdamW", "weight_decay": 0.1}),
        (("--rho", 0.8), "optimizer", {"kind": "RMSprop", "rho": 0.8}),
        (("--solver", "cg", "--steps", 5), "optimizer", {"kind": "WALS", "steps": 5}),
        (("--zero-pairs", "unobserved"), "optimizer", {"kind": "WALS", "zero_pairs": "unobserved"}),
        (("--weighted-squared-alpha", 2), "objective", {"kind": "WeightedSquared", "alpha": 2.0}),
    ],
)
def test_every_field_of_an_objective_and_an_optimizer_is_an_option(
    command, films, tmp_path, options, part, chosen
):
    path = tmp_path / "m.safetensors"
    done = command("train", films, *QUICK, *options, "--out", path)
    assert done.status == 0, done.err
    assert mfcore.load(path).training[part].items() >= chosen.items()


def test_an_option_of_wals_chooses_wals(command, films):
    document = json.loads(command("train", films, *QUICK, "--nu", 1, "--json").out)
    assert document["settings"]["optimizer"] == "wals"
    assert "RMSE" in document["quality"]["ratings"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("rounded-mae", "rounded MAE"),
        ("hr@5", "HR@5"),
        ("precision@3", "Precision@3"),
        ("recall@3", "Recall@3"),
        ("map@3", "MAP@3"),
        ("mrr", "MRR"),
        ("AUC", "AUC"),
        ("coverage@3", "Coverage@3"),
    ],
)
def test_metrics_go_by_their_short_names(command, films, name, key):
    quality = json.loads(command("train", films, *QUICK, "--metric", name, "--json").out)["quality"]
    found = {**quality["ratings"], **(quality["rankings"][0]["metrics"] if quality["rankings"] else {})}
    assert list(found) == [key]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "mff"], ["--model is 'mff'", "mf", "did you mean 'mf'?"]),
        (["--optimizer", "adm"], ["--optimizer is 'adm'", "adagrad, rmsprop, adam", "did you mean 'adam'?"]),
        (["--objective", "squard"], ["--objective is 'squard'", "did you mean 'squared'?"]),
        (["--output", "range-sigmod"], ["did you mean 'range-sigmoid'?"]),
        (["--split", "temporel"], ["--split is 'temporel'", "did you mean 'temporal'?"]),
        (["--backend", "referense"], ["--backend is 'referense'", "did you mean 'reference'?"]),
        (["--metric", "ndgc@10"], ["--metric is 'ndgc@10'", "rmse, mae", "did you mean 'ndcg@10'?"]),
        (["--metric", "hr"], ["hr takes a cutoff", "hr@10"]),
        (["--metric", "hr@0"], ["cutoff of at least 1"]),
        (["--metric", "rmse@10"], ["rmse takes no cutoff"]),
        (["--optimizer", "wals", "--momentum", "0.9"], ["--momentum applies to --optimizer sgd"]),
        (["--optimizer", "adam", "--momentum", "0.9"], ["--momentum applies to --optimizer sgd"]),
        (["--optimizer", "wals", "--n-negatives", "4"], ["--n-negatives does not apply"]),
        (["--optimizer", "wals", "--batch-size", "4"], ["--batch-size does not apply"]),
        (["--optimizer", "sgd", "--solver", "cg"], ["--solver applies to --optimizer wals"]),
        (["--nu", "1", "--learning-rate", "0.1"], ["--learning-rate does not apply"]),
        (["--split", "leave-one-out", "--test", "0.1"], ["--test does not apply"]),
        (["--test", "0", "--metric", "rmse"], ["--metric does not apply"]),
        (["--test", "1.5"], ["--test 1.5 must be a share between 0 and 1"]),
        (["--columns", "user,item"], ["--columns tells how to read a file"]),
        (["--out", "no/such/folder/m.safetensors"], ["--out", "no/such/folder", "create it first"]),
        (["--resume", "missing.safetensors"], ["no model file missing.safetensors"]),
        (["--seed", "-1"], ["--seed is -1; it must be an integer of at least 0"]),
        (
            ["--output", "sigmoid", "--optimizer", "wals"],
            ["so the --output sigmoid would distort it: use --output"],
        ),
        (["--epochs", "many"], ["--epochs", "integer", "mfcore train --help"]),
        (["--recommend-for", "alice"], ["user is 'alice'", "integers"]),
    ],
)
def test_what_does_not_fit_is_one_line_with_the_remedy(command, films, arguments, says):
    done = command("train", films, *arguments)
    assert done.status == 2
    assert done.out == ""
    [line] = done.err.splitlines()
    assert line.startswith("mfcore: error: ")
    for words in says:
        assert words in line


def test_an_ncf_data_set_is_not_split_again(command, ncf):
    done = command("train", ncf, "--test", "0.2")
    assert done.status == 2
    assert "brings its own test part" in done.err


def test_a_name_is_checked_before_data_are_read(command):
    assert "--optimizer is 'adm'" in command("train", "no-such-file.csv", "--optimizer", "adm").err


def test_the_saved_model_is_the_trained_one(command, films, tmp_path):
    path = tmp_path / "m.safetensors"
    done = command("train", films, *QUICK, "--out", path, "--json", "--recommend-for", 7, "--min-count", 0)
    document = json.loads(done.out)
    shown = [entry["item"] for entry in document["recommendations"]["items"]]
    assert mfcore.load(path).recommend(7, 10)[0].items.tolist() == shown
    assert document["saved"] == str(path)


def test_a_resumed_run_ends_where_an_unbroken_one_does(command, films, tmp_path):
    half, whole, unbroken = (tmp_path / f"{name}.safetensors" for name in ("half", "whole", "unbroken"))
    options = ("--backend", "reference", "--optimizer", "adam", "--n-factors", 2, "--seed", 5)
    assert command("train", films, *options, "--epochs", 2, "--out", half).status == 0
    resumed = command(
        "train", films, "--backend", "reference", "--resume", half, "--epochs", 4, "--out", whole
    )
    assert resumed.status == 0
    assert "from the file" in resumed.out
    assert command("train", films, *options, "--epochs", 4, "--out", unbroken).status == 0
    expected = mfcore.load(unbroken).parameters
    for name, array in mfcore.load(whole).parameters.items():
        np.testing.assert_array_equal(array, expected[name])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--epochs", "9", "--test", "0.4"], "other interactions of these users and items (another split?)"),
        (["--epochs", "9", "--test", "0.4"], "pass the same DATA, --test, --split and --validation"),
        (["--epochs", "9", "--n-factors", "4"], "--n-factors cannot change"),
        (["--epochs", "9", "--learning-rate", "0.1"], "trained by wals"),
        (["--epochs", "5"], "trained for 5 already"),
        ([], "--resume needs --epochs"),
    ],
)
def test_what_a_resumed_run_cannot_change_is_refused(command, films, model_file, arguments, says):
    done = command("train", films, "--resume", model_file, "--backend", "reference", *arguments)
    assert done.status == 2
    assert says in done.err


def test_patience_judges_on_training_data_and_leaves_the_held_out_part_alone(command, films, tmp_path):
    path = tmp_path / "m.safetensors"
    options = (
        "--backend",
        "reference",
        "--epochs",
        40,
        "--optimizer",
        "wals",
        "--l2",
        0.001,
        "--n-factors",
        8,
    )
    done = command("train", films, *options, "--patience", 2, "--out", path, "--json")
    document = json.loads(done.out)
    train, test = mfcore.splits.ratio(mfcore.Interactions.read(films), 0.2, seed=0)
    model = mfcore.load(path)
    assert document["data"]["held_out"] == len(test)
    assert document["data"]["validation"] == round(0.1 * len(train))
    assert len(model.seen.indices) == len(train) - document["data"]["validation"]
    assert document["training"]["epochs_run"] == document["training"]["epochs"] + 2
    assert not any(item in model.seen.of(user) for user, item in zip(test.users, test.items, strict=True))


def test_nothing_held_out_means_nothing_judged(command, films):
    document = json.loads(command("train", films, *QUICK, "--test", 0, "--json").out)
    assert "quality" not in document
    assert document["data"]["held_out"] == 0


def test_a_user_without_training_data_gets_an_answer_and_a_note(command, films):
    done = command("train", films, *QUICK, "--recommend-for", 999)
    assert done.status == 0
    assert "user 999 has no training data" in done.err
    assert "Recommended to user 999" in done.out


def test_titles_are_printed_as_they_are(command, films):
    done = command("train", films, *QUICK, "-k", 24, "--recommend-for", 999)
    assert "[REC] (2007)" in done.out


def test_a_file_is_read_as_told(command, tmp_path):
    path = tmp_path / "own.csv"
    rows = [
        f"{stars};{item:02};{user:02}" for user in range(9) for item in range(8) for stars in [1 + item % 5]
    ]
    path.write_text("\n".join(["stars;film;person", *rows, rows[0]]) + "\n")
    reading = ("--columns", "person, film, stars", "--string-ids")
    refused = command("train", path, *QUICK, *reading)
    assert refused.status == 2
    assert "duplicates" in refused.err
    done = command("train", path, *QUICK, *reading, "--duplicates", "last", "--recommend-for", "03", "--json")
    assert json.loads(done.out)["recommendations"]["user"] == "03"


def test_a_diverging_run_is_one_line_and_leaves_no_file(command, films, tmp_path: Path):
    path = tmp_path / "m.safetensors"
    done = command(
        "train", films, "--backend", "reference", "--epochs", 30, "--learning-rate", 50, "--out", path
    )
    assert done.status == 2
    assert "lower the learning rate" in done.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--k", "--epochs", "--threads", "--patience"])
def test_counts_below_one_are_refused_before_anything_is_read_or_printed(command, option):
    done = command("train", "no-such-file.csv", option, 0)
    assert done.status == 2
    assert done.out == ""
    assert f"{option} is 0; it must be an integer of at least 1" in done.err


def test_a_device_that_the_engine_does_not_have_is_refused_with_the_remedy(command, films):
    done = command("train", films, "--backend", "reference", "--device", "cuda", "--epochs", "1")
    assert done.status == 2
    assert "it runs on the CPU, and --device is 'cuda'; pass --device cpu" in done.err
