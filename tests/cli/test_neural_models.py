"""`mfcore train` with the models of neural collaborative filtering, and `mfcore evaluate` on them."""

import json

import numpy as np
import pytest

import mfcore
from mfcore.cli.epochs import CHOSEN_ON
from mfcore.data import read_ncf

REFERENCE = ("--backend", "reference")
QUICK = (*REFERENCE, "--epochs", "3")
PAPER = {
    "objective": "logistic",
    "optimizer": "adam",
    "learning_rate": 0.001,
    "n_negatives": 4,
    "batch_size": 256,
    "epochs": 20,
    "output": "sigmoid",
    "init_std": 0.01,
}


def trained(command, *arguments):
    done = command("train", *arguments, "--json")
    assert done.status == 0, done.err
    return json.loads(done.out)


@pytest.fixture(scope="module")
def pretrained(ncf, tmp_path_factory):
    """Return the files of a GMF and an MLP, trained on all but the last training film of each user."""
    folder = tmp_path_factory.mktemp("pretrained")
    train, _ = mfcore.splits.leave_one_out(read_ncf(ncf).train)
    specs = {
        "gmf": mfcore.GMF(n_factors=2, output=mfcore.Sigmoid()),
        "mlp": mfcore.MLP(layers=(4, 2), output=mfcore.Sigmoid()),
    }
    for name, spec in specs.items():
        model = mfcore.fit(
            spec, train, objective="logistic", n_negatives=2, epochs=2, backend="reference", progress=False
        )
        model.save(folder / f"{name}.safetensors")
    return [folder / f"{name}.safetensors" for name in specs]


# The recipe


@pytest.mark.parametrize(
    ("model", "architecture"),
    [
        ("gmf", {"n_factors": 8, "biases": False}),
        ("mlp", {"layers": [64, 32, 16, 8], "activation": "relu"}),
        ("neumf", {"n_factors": 8, "layers": [64, 32, 16, 8], "activation": "relu", "fusion": "concat"}),
    ],
)
def test_the_defaults_on_implicit_data_are_the_papers(command, ncf, model, architecture):
    settings = trained(command, ncf, "--model", model, *REFERENCE)["settings"]
    rest = {"model": model, "l2": 0, "l2_dense": 0, "seed": 0, "dtype": "float32"}
    assert settings == {**PAPER, **architecture, **rest}


def test_the_tower_ends_as_wide_as_the_product(command, ncf):
    settings = trained(command, ncf, "--model", "neumf", "--n-factors", 4, *QUICK)["settings"]
    assert settings["layers"] == [32, 16, 8, 4]


@pytest.mark.parametrize("model", ["gmf", "mlp", "neumf"])
def test_ratings_are_predicted_within_their_range(command, films, model, tmp_path):
    path = tmp_path / "m.safetensors"
    document = trained(command, films, "--model", model, *QUICK, "--out", path)
    assert document["settings"]["objective"] == "squared"
    assert set(document["quality"]["ratings"]) == {"RMSE", "MAE"}
    assert document["training"][CHOSEN_ON] == "last"
    assert mfcore.load(path).spec.output == mfcore.RatingRange(1, 5)
    assert document["settings"].get("biases") == (True if model == "gmf" else None)


def test_every_option_reaches_the_core(command, ncf, tmp_path):
    path = tmp_path / "m.safetensors"
    options = (
        *("--model", "neumf", "--n-factors", 3, "--layers", "6, 4", "--activation", "tanh"),
        *("--fusion", "projected", "--init-std", 0.1, "--objective", "bpr", "--n-negatives", 2),
        *("--popularity-exponent", 0.75, "--l2", 0.01, "--l2-dense", 0.02, "--epsilon", 1e-6),
    )
    trained(command, ncf, *options, *QUICK, "--out", path)
    model = mfcore.load(path)
    init = mfcore.Normal(std=0.1)
    assert model.spec == mfcore.NeuMF(
        n_factors=3, layers=(6, 4), activation="tanh", fusion="projected", init=init
    )
    training = model.training
    assert training["objective"] == {"kind": "BPR"}
    assert (training["sampling"]["n_negatives"], training["sampling"]["popularity_exponent"]) == (2, 0.75)
    optimizer = training["optimizer"]
    assert (optimizer["l2"], optimizer["l2_dense"], optimizer["epsilon"]) == (0.01, 0.02, 1e-6)


@pytest.mark.parametrize(
    ("arguments", "optimizer", "objective"),
    [
        (("--model", "mf", "--objective", "bpr"), "adam", "bpr"),
        (("--model", "mf", "--popularity-exponent", "0.5"), "sgd", "logistic"),
        (("--model", "mf", "--objective", "in-batch-softmax"), "adagrad", "in-batch-softmax"),
        (("--model", "gmf", "--temperature", "0.5"), "adagrad", "in-batch-softmax"),
        (("--model", "gmf", "--momentum", "0.9"), "sgd", "logistic"),
        (("--model", "mlp", "--initial-accumulator", "0.5"), "adagrad", "logistic"),
    ],
)
def test_options_say_which_optimizer_and_objective_are_meant(command, ncf, arguments, optimizer, objective):
    settings = trained(command, ncf, *arguments, *QUICK)["settings"]
    assert (settings["optimizer"], settings["objective"]) == (optimizer, objective)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mlp", "--n-factors", "8"], ["--n-factors applies to --model mf or gmf", "first of --layers"]),
        (["mlp", "--biases"], ["--biases applies to --model mf or gmf, not to mlp"]),
        (["gmf", "--layers", "8,4"], ["--layers applies to --model mlp or neumf or two-tower, not to gmf"]),
        (["gmf", "--activation", "tanh"], ["--activation applies to --model mlp"]),
        (["mlp", "--fusion", "concat"], ["--fusion applies to --model neumf, not to mlp"]),
        (["mf", "--layers", "8,4"], ["--layers applies to", "not to mf"]),
        (["mf", "--l2-dense", "0.1"], ["--l2-dense", "--model mf has none"]),
        (["two-tower", "--activation", "tanh"], ["add --layers"]),
        (["neumf", "--layers", "8,,4"], ["--layers is '8,,4'", "such as 64,32,16,8"]),
        (["neumf", "--layers", "7,4"], ["must be even"]),
        (["neumf", "--activation", "rely"], ["did you mean 'relu'?"]),
        (["neumf", "--fusion", "concate"], ["did you mean 'concat'?"]),
        (["neumf", "--optimizer", "wals"], ["WALS solves for matrix factorisation", "e.g. --optimizer adam"]),
        (["two-tower", "--optimizer", "wals"], ["WALS solves for matrix factorisation, not for TwoTower"]),
        (["gmf", "--nu", "1"], ["WALS solves for matrix factorisation", "not for GMF"]),
        (["neumf", "--temperature", "2"], ["use a model whose score is an inner product", "a NeuMF would"]),
        (["gmf", "--objective", "bpr", "--logq"], ["--logq applies to --objective in-batch-softmax"]),
        (
            ["gmf", "--objective", "bpr", "--n-negatives", "0"],
            ["compares interactions with sampled", "--n-negatives 1 or more"],
        ),
        (["two-tower", "--logq", "--n-negatives", "2"], ["--n-negatives does not apply"]),
        (
            ["mf", "--logq", "--popularity-exponent", "1"],
            ["--popularity-exponent does not apply", "leave it out"],
        ),
        (
            ["gmf", "--objective", "squared", "--n-negatives", "0", "--popularity-exponent", "1"],
            ["--popularity-exponent is 1, but no negatives are sampled; pass --n-negatives too"],
        ),
        (["gmf", "--epsilon", "1e-8", "--optimizer", "sgd"], ["--epsilon applies to --optimizer adagrad"]),
        (["gmf", "--alpha", "0.5"], ["--alpha weighs pre-trained models"]),
        (["gmf", "--choose-on-test", "--no-validation"], ["contradict each other"]),
        (["gmf", "--patience", "2", "--no-validation"], ["--patience needs something to judge"]),
        (["gmf", "--choose-on-test", "--test", "0"], ["--choose-on-test does not apply"]),
    ],
)
def test_what_does_not_fit_is_one_line_with_the_remedy(command, films, arguments, says):
    done = command("train", films, "--model", *arguments)
    assert done.status == 2
    assert done.out == ""
    [line] = done.err.splitlines()
    for words in says:
        assert words in line


# Which epoch is kept


def test_the_best_epoch_on_the_last_training_items_is_kept(command, ncf, tmp_path):
    path = tmp_path / "m.safetensors"
    options = ("--model", "gmf", "--n-factors", 4, "--epochs", 8, "--learning-rate", 0.05)
    document = trained(command, ncf, *options, *REFERENCE, "--metric", "hr@1", "--out", path)
    split = read_ncf(ncf)
    train, validation = mfcore.splits.leave_one_out(split.train)
    model = mfcore.fit(
        mfcore.GMF(n_factors=4, output=mfcore.Sigmoid()),
        train,
        objective="logistic",
        n_negatives=4,
        optimizer=mfcore.Adam(learning_rate=0.05),
        epochs=8,
        batch_size=256,
        backend="reference",
        validation=validation,
        metrics=[mfcore.HitRate(1)],
        protocol=mfcore.SampledRanking(5),
    )
    assert document["data"]["validation"] == 40
    assert document["training"][CHOSEN_ON] == "validation"
    assert document["training"]["epochs_run"] == 8
    found = mfcore.load(path)
    assert found.epochs_trained == model.epochs_trained
    assert found.history.columns()["HR@1"] == model.history.columns()["HR@1"]
    np.testing.assert_array_equal(found.parameters["user_factors"], model.parameters["user_factors"])
    assert not any(
        item in found.seen.of(user) for user, item in zip(split.test.users, split.test.items, strict=True)
    )


def test_it_is_chosen_on_the_test_part_on_request_with_a_warning(command, ncf, tmp_path):
    path = tmp_path / "m.safetensors"
    options = ("--model", "gmf", "--epochs", 6, "--learning-rate", 0.05, "--metric", "hr@1", *REFERENCE)
    done = command("train", ncf, *options, "--choose-on-test", "--out", path, "--json")
    document = json.loads(done.out)
    [line] = done.err.splitlines()
    assert line.startswith("mfcore: warning: --choose-on-test")
    assert "optimistic" in line
    assert document["data"]["validation"] == 0
    assert document["training"][CHOSEN_ON] == "test"
    model = mfcore.load(path)
    assert model.training[CHOSEN_ON] == "test"
    assert len(model.seen.indices) == len(read_ncf(ncf).train)
    # The figure is that of the best epoch, by the given negatives.
    given = document["quality"]["rankings"][0]
    assert given["metrics"]["HR@1"] == max(model.history.columns()["HR@1"])
    assert "optimistic" in command("train", ncf, *options, "--choose-on-test").out
    assert "optimistic" in command("evaluate", path, ncf).err


@pytest.mark.parametrize("option", [("--no-validation",), ("--test", 0)])
def test_without_validation_the_last_epoch_is_kept(command, clicks, option):
    document = trained(command, clicks, "--model", "gmf", *QUICK, *option)
    assert document["data"]["validation"] == 0
    assert (document["training"]["epochs"], document["training"][CHOSEN_ON]) == (3, "last")


def test_matrix_factorisation_keeps_the_best_epoch_when_asked(command, ncf):
    options = ("--n-factors", 4, *QUICK)
    assert trained(command, ncf, *options)["training"][CHOSEN_ON] == "last"
    assert trained(command, ncf, *options, "--validation")["data"]["validation"] == 40


def test_patience_may_judge_on_the_test_part(command, ncf):
    options = ("--model", "gmf", "--epochs", 30, "--patience", 2, "--choose-on-test", "--metric", "hr@1")
    training = trained(command, ncf, *options, *REFERENCE)["training"]
    assert training["epochs_run"] == min(training["epochs"] + 2, 30)


def test_data_without_negatives_of_their_own_are_ranked_whole_where_99_are_too_many(command, clicks):
    document = trained(command, clicks, "--model", "mlp", "--layers", "4,2", *QUICK)
    assert document["data"]["validation"] == 40
    assert [ranking["protocol"] for ranking in document["quality"]["rankings"]] == ["full"]


def test_a_resumed_run_chooses_as_before_and_goes_on_as_an_unbroken_one_does(command, ncf, tmp_path):
    half, whole, unbroken = (tmp_path / f"{name}.safetensors" for name in ("half", "whole", "unbroken"))
    options = ("--model", "neumf", "--layers", "4,2", "--popularity-exponent", 0.5, *REFERENCE)
    trained(command, ncf, *options, "--epochs", 2, "--out", half)
    trained(command, ncf, *options, "--epochs", 5, "--out", unbroken)
    resume = ("--resume", half, *REFERENCE, "--epochs", 5)
    document = trained(command, ncf, *resume, "--out", whole)
    assert document["training"][CHOSEN_ON] == "validation"
    objectives = [mfcore.load(path).history.columns()["objective"] for path in (whole, unbroken)]
    assert len(objectives[0]) == 5
    assert objectives[0] == objectives[1]
    refused = command("train", ncf, *resume, "--no-validation")
    assert "other interactions of these users and items" in refused.err


def test_evaluate_finds_the_figures_of_the_test_part_again(command, ncf, tmp_path):
    path = tmp_path / "m.safetensors"
    document = trained(command, ncf, "--model", "neumf", *QUICK, "--out", path)
    judged = json.loads(command("evaluate", path, ncf, "--json").out)
    assert judged["rankings"] == document["quality"]["rankings"]
    assert [ranking["protocol"] for ranking in judged["rankings"]] == ["given", "full"]
    assert set(judged["rankings"][0]["metrics"]) == {"HR@10", "NDCG@10"}


@pytest.mark.parametrize("model", ["gmf", "mlp", "neumf", "two-tower"])
def test_saved_models_are_recommended_from_and_explored(command, films, model, tmp_path):
    path = tmp_path / "m.safetensors"
    trained(command, films, "--model", model, *QUICK, "--out", path)
    assert command("recommend", path, "--user", 3, "-k", 4).status == 0
    for options in ((), ("--item", "alien (1979)"), ("--user", 3), ("--factors",)):
        assert command("explore", path, *options).status == 0


# Pre-training


def files(pretrained):
    gmf, mlp = pretrained
    return ("--pretrained-gmf", gmf, "--pretrained-mlp", mlp)


def test_neumf_starts_from_pretrained_models(command, ncf, pretrained, tmp_path):
    path = tmp_path / "m.safetensors"
    options = (*files(pretrained), "--alpha", 0.3, "--epochs", 2, "--validation", *REFERENCE)
    document = trained(command, ncf, *options, "--learning-rate", 0.5, "--out", path)
    train, validation = mfcore.splits.leave_one_out(read_ncf(ncf).train)
    start = mfcore.NeuMF.from_pretrained(*map(mfcore.load, pretrained), alpha=0.3)
    model = mfcore.fit(
        start.spec,
        train,
        objective="logistic",
        n_negatives=4,
        optimizer=mfcore.SGD(learning_rate=0.5),
        epochs=2,
        batch_size=256,
        backend="reference",
        validation=validation,
        metrics=[mfcore.HitRate(10)],
        protocol=mfcore.SampledRanking(5),
        initial=start,
    )
    found = mfcore.load(path)
    for name, array in model.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], array)
    assert document["settings"]["alpha"] == 0.3
    assert document["settings"]["model"] == "neumf"
    assert found.training["initial"] == "NeuMF.from_pretrained(alpha=0.3)"


def test_pretrained_models_are_trained_on_by_plain_sgd(command, ncf, pretrained):
    settings = trained(command, ncf, *files(pretrained), *QUICK)["settings"]
    assert (settings["optimizer"], settings["learning_rate"], settings["alpha"]) == ("sgd", 0.001, 0.5)
    settings = trained(command, ncf, *files(pretrained), *QUICK, "--optimizer", "adam")["settings"]
    assert (settings["optimizer"], settings["learning_rate"]) == ("adam", 0.001)


def test_the_product_may_come_from_matrix_factorisation(command, ncf, pretrained, tmp_path):
    mf = tmp_path / "mf.safetensors"
    trained(
        command,
        ncf,
        "--model",
        "mf",
        "--n-factors",
        "4",
        "--objective",
        "logistic",
        "--validation",
        *QUICK,
        "--out",
        mf,
    )
    settings = trained(command, ncf, "--pretrained-gmf", mf, "--pretrained-mlp", pretrained[1], *QUICK)[
        "settings"
    ]
    assert settings["pretrained_gmf"] == str(mf)


def test_pretrained_models_say_what_training_is_for(command, films, pretrained):
    # The last film of each user is held out, as in the NCF data set; the stars are not looked at.
    options = ("--split", "leave-one-out", "--validation", *QUICK)
    document = trained(command, films, *files(pretrained), *options)
    assert document["settings"]["objective"] == "logistic"
    assert document["quality"]["rankings"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "gmf"], "apply to --model neumf, not to gmf"),
        (["--n-factors", "4"], "--n-factors does not apply: the pre-trained models settle it"),
        (["--layers", "4,2"], "--layers does not apply"),
        (["--alpha", "2"], "alpha is 2"),
        (["--resume", "{gmf}"], "carries no optimizer state"),
    ],
)
def test_what_pretrained_models_settle_is_refused(command, ncf, pretrained, arguments, says):
    arguments = [argument.format(gmf=pretrained[0]) for argument in arguments]
    done = command("train", ncf, *files(pretrained), *arguments)
    assert done.status == 2
    assert done.out == ""
    assert says in done.err


def test_pretrained_models_of_another_kind_or_other_data_are_refused(command, ncf, clicks, pretrained):
    gmf, mlp = pretrained
    assert "--pretrained-gmf needs --pretrained-mlp" in command("train", ncf, "--pretrained-gmf", gmf).err
    done = command("train", ncf, "--pretrained-gmf", mlp, "--pretrained-mlp", mlp)
    assert "is a MLP; pass a model that `mfcore train --model gmf or mf --out` saved" in done.err
    done = command("train", clicks, *files(pretrained))
    assert done.status == 2
    assert done.out == ""
    assert "--pretrained-gmf: the model was trained on other users or items" in done.err


def test_pretrained_models_that_know_what_is_held_out_are_refused(command, ncf, pretrained, tmp_path):
    whole = tmp_path / "gmf.safetensors", tmp_path / "mlp.safetensors"
    for model, file in zip(("gmf", "mlp"), whole, strict=True):
        size = ("--n-factors", 2) if model == "gmf" else ("--layers", "8,4,2")
        trained(command, ncf, "--model", model, *size, *QUICK, "--no-validation", "--out", file)
    mixed = command("train", ncf, *files((whole[0], pretrained[1])), *QUICK)
    assert "other interactions of these users and items" in mixed.err
    options = (*files(whole), *QUICK)
    done = command("train", ncf, *options)
    assert done.status == 2
    assert done.out == ""
    assert "40 interactions that are held out now" in done.err
    assert command("train", ncf, *options, "--no-validation").status == 0
