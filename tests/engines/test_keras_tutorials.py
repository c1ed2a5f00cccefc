"""The Keras tutorials as programs: they run on the engine, draw curves, and come to what they should."""

import pytest

pytest.importorskip("mfcore_keras", reason="TensorFlow is not installed on this Python")
pytest.importorskip("benchmarks.tutorials", reason="the benchmarks are not beside these tests")

from benchmarks.tutorials import biased_sgd, ml100k_adam, relu_or_sigmoid


@pytest.fixture(autouse=True)
def movielens(shared_data, monkeypatch):
    """Let the tutorials find MovieLens; skip where there is none."""
    monkeypatch.setenv("MFCORE_DATA", str(shared_data))


def test_three_factors_by_adam_predict_whole_stars(capsys, tmp_path):
    """A quarter of the epochs; the whole hundred end in a rounded MAE of 0.69."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    picture = tmp_path / "curves.png"
    model, errors = ml100k_adam.main(["--epochs", "25", "--picture", str(picture)])
    assert errors["rounded MAE"] < 0.75
    assert model.parameters["item_factors"].shape[1] == 3
    assert picture.stat().st_size
    printed = capsys.readouterr().out
    assert "rounded MAE" in printed
    assert "Star Wars (1977)" in printed


def test_biases_by_momentum_learn_from_epoch_to_epoch(capsys):
    model, errors = biased_sgd.main(["--data", "100k", "--epochs", "6"])
    validation = [record.metrics["RMSE"] for record in model.history]
    assert validation == sorted(validation, reverse=True)
    assert errors["validation"] < 0.97
    assert errors["train"] < errors["validation"]
    assert "after 6 epochs" in capsys.readouterr().out


def test_a_sigmoid_scaled_to_the_ratings_does_better_than_relu(capsys):
    _, errors = relu_or_sigmoid.main(["--data", "1m", "--epochs", "2"])
    assert errors["sigmoid"] < errors["relu"] < 0.9
    assert "sigmoid" in capsys.readouterr().out


def test_a_tutorial_runs_on_any_engine():
    model, _ = biased_sgd.main(["--data", "100k", "--epochs", "1", "--backend", "reference"])
    assert model.training["backend"] == "reference"
