"""`mfcore train --model two-tower`: retrieval from the whole catalogue, and `mfcore evaluate` on it."""

import json

import pytest

import mfcore

QUICK = ("--model", "two-tower", "--backend", "reference", "--epochs", "2")
CUTOFFS = (1, 5, 10, 50, 100)


def trained(command, *arguments):
    done = command("train", *arguments, "--json")
    assert done.status == 0, done.err
    return json.loads(done.out)


def test_the_defaults_are_the_tutorials_with_the_corrections_of_the_paper(command, films, tmp_path):
    path = tmp_path / "m.safetensors"
    options = ("--model", "two-tower", "--backend", "reference")
    settings = trained(command, films, *options, "--out", path)["settings"]
    # Of 384 interactions: what 0.1 and 1e-7 are for the sum over a batch.
    accumulator, epsilon = 0.1 / 384**2, 1e-7 / 384
    assert settings == {
        "model": "two-tower",
        "n_factors": 32,
        "output": "linear",
        "objective": "in-batch-softmax",
        "temperature": 1,
        "logq": True,
        "remove_accidental_hits": True,
        "optimizer": "adagrad",
        "learning_rate": 0.1,
        "l2": 0,
        "initial_accumulator": pytest.approx(accumulator),
        "epsilon": pytest.approx(epsilon),
        "batch_size": 8192,
        "epochs": 3,
        "seed": 0,
        "dtype": "float32",
    }
    assert mfcore.load(path).spec == mfcore.TwoTower(n_factors=32, init=mfcore.Uniform(-0.05, 0.05))


def test_top_k_accuracies_are_given_with_and_without_items_of_the_training_data(command, films):
    document = trained(command, films, *QUICK)
    train, test = mfcore.splits.ratio(mfcore.Interactions.read(films), 0.2, seed=0)
    optimizer = mfcore.Adagrad(
        learning_rate=0.1, initial_accumulator=0.1 / len(train) ** 2, epsilon=1e-7 / len(train)
    )
    model = mfcore.fit(
        mfcore.TwoTower(),
        train,
        objective="in_batch_softmax",
        optimizer=optimizer,
        epochs=2,
        batch_size=8192,
        backend="reference",
    )
    assert document["data"]["split"] == "ratio"
    metrics = [mfcore.TopKAccuracy(k) for k in CUTOFFS]
    with_seen, without = document["quality"]["rankings"]
    for ranking, exclude_seen in ((with_seen, False), (without, True)):
        protocol = mfcore.FullRanking(exclude_seen=exclude_seen)
        expected = mfcore.evaluate(model, test, metrics, protocol)
        assert (ranking["protocol"], ranking["exclude_seen"]) == ("full", exclude_seen)
        assert list(ranking["metrics"]) == [f"TopK@{k}" for k in CUTOFFS]
        assert ranking["metrics"] == pytest.approx(dict(expected))
    assert without["metrics"]["TopK@1"] > with_seen["metrics"]["TopK@1"]


def test_films_are_recommended_by_title(command, films):
    done = command("train", films, *QUICK, "--recommend-for", 7, "-k", 4)
    assert "full ranking, seen items too" in done.out
    assert "Recommended to user 7" in done.out
    assert "(1990)" in done.out


def test_ids_may_be_strings(command, clicks, tmp_path):
    path = tmp_path / "m.safetensors"
    document = trained(command, clicks, *QUICK, "--split", "ratio", "--out", path)
    assert document["recommendations"]["items"][0]["item"].startswith("i")
    assert command("recommend", path, "--user", "u3").status == 0


def test_the_softmax_is_as_asked_for(command, films, tmp_path):
    path = tmp_path / "m.safetensors"
    options = ("--no-logq", "--keep-accidental-hits", "--temperature", 0.5, "--batch-size", 100)
    trained(command, films, *QUICK, *options, "--layers", "8,4", "--n-factors", 6, "--out", path)
    model = mfcore.load(path)
    assert model.spec == mfcore.TwoTower(n_factors=6, layers=(8, 4))
    assert model.training["objective"] == {
        "kind": "InBatchSoftmax",
        "temperature": 0.5,
        "logq": False,
        "remove_accidental_hits": False,
    }
    assert model.training["optimizer"]["initial_accumulator"] == pytest.approx(0.1 / 100**2)


def test_negatives_make_it_a_ranking_model_and_the_squared_loss_one_of_ratings(command, films):
    settings = trained(command, films, *QUICK, "--n-negatives", 2)["settings"]
    assert (settings["objective"], settings["optimizer"]) == ("logistic", "adam")
    document = trained(command, films, *QUICK, "--objective", "squared")
    assert document["settings"]["output"] == "range"
    assert set(document["quality"]["ratings"]) == {"RMSE", "MAE"}


def test_the_epoch_is_chosen_by_the_widest_top_k_when_asked(command, films, tmp_path):
    path = tmp_path / "m.safetensors"
    document = trained(command, films, *QUICK, "--validation", "--out", path)
    assert document["data"]["validation"] == 38
    assert "TopK@100" in mfcore.load(path).history.columns()


def test_on_an_ncf_data_set_it_is_judged_as_its_other_models_are(command, ncf, tmp_path):
    path = tmp_path / "m.safetensors"
    rankings = trained(command, ncf, *QUICK, "--out", path)["quality"]["rankings"]
    assert [ranking["protocol"] for ranking in rankings] == ["given", "full"]
    assert set(rankings[0]["metrics"]) == {"HR@10", "NDCG@10"}
    assert json.loads(command("evaluate", path, ncf, "--json").out)["rankings"] == rankings


def test_evaluate_finds_the_figures_again(command, films, tmp_path):
    path = tmp_path / "m.safetensors"
    rankings = trained(command, films, *QUICK, "--out", path)["quality"]["rankings"]
    assert json.loads(command("evaluate", path, films, "--json").out)["rankings"] == rankings
    judged = json.loads(command("evaluate", path, films, "--protocol", "full", "--json").out)
    assert judged["rankings"] == rankings[1:]
