"""The Keras tutorials as programs: they run on the engine, draw curves, and come to what they should."""

import pytest

pytest.importorskip("mfcore_keras", reason="TensorFlow is not installed on this Python")
pytest.importorskip("benchmarks.tutorials", reason="the benchmarks are not beside these tests")

from benchmarks.tutorials import biased_sgd, ml100k_adam, relu_or_sigmoid


@pytest.fixture(autouse=True)
def movielens(shared_data, monkeypatch):
    """Let the tutorials find MovieLens; skip where there is none."""
    monkeypatch.setenv("MFCORE_DATA", str(shared_data))


@pytest.fixture
def drawn(monkeypatch):
    """Return a list that gets the axes of every picture that is saved."""
    figure = pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    save, axes = figure.Figure.savefig, []

    def savefig(self, *arguments, **settings):
        axes.extend(self.axes)
        save(self, *arguments, **settings)

    monkeypatch.setattr(figure.Figure, "savefig", savefig)
    return axes


def curves(axes):
    """Return what is drawn, by the names in the legend: y at the epochs from 1."""
    named = {line.get_label(): line for line in axes.get_lines()}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(named)
    for line in named.values():
        assert line.get_xdata().tolist() == list(range(1, len(line.get_ydata()) + 1))
    return {name: list(line.get_ydata()) for name, line in named.items()}


def test_three_factors_by_adam_predict_whole_stars(capsys, tmp_path, drawn):
    picture = tmp_path / "curves.png"
    model, errors = ml100k_adam.main(["--picture", str(picture)])
    assert model.epochs_trained == 100
    assert errors["rounded MAE"] <= 0.70
    assert picture.stat().st_size
    [axes] = drawn
    assert axes.get_yscale() == "log"
    assert curves(axes) == {"train": [2 * record.objective for record in model.history]}
    printed = capsys.readouterr().out
    assert "20,000 held-out ratings" in printed
    heading, *films = printed.partition("\n\n")[2].splitlines()
    assert heading.split() == ["factor", "1", "factor", "2", "factor", "3"]
    assert len(films) == 10
    assert films[0].startswith("Star Wars (1977)")


def test_biases_by_momentum_learn_from_epoch_to_epoch(capsys, tmp_path, drawn):
    model, errors = biased_sgd.main(["--picture", str(tmp_path / "curves.svg")])
    [axes] = drawn
    found = curves(axes)
    assert found.keys() == {"train", "validation"}
    assert found["validation"] == [record.metrics["RMSE"] for record in model.history]
    for values in found.values():
        assert len(values) == 15
        assert values == sorted(values, reverse=True)
    assert errors == {name: values[-1] for name, values in found.items()}
    assert errors["train"] < errors["validation"] < 0.88
    assert "after 15 epochs" in capsys.readouterr().out


def test_a_sigmoid_scaled_to_the_ratings_does_better_than_relu(capsys, tmp_path, drawn):
    models, errors = relu_or_sigmoid.main(["--epochs", "2", "--picture", str(tmp_path / "curves.pdf")])
    assert errors["sigmoid"] < errors["relu"] < 0.9
    [axes] = drawn
    assert curves(axes) == {
        name: [record.metrics["RMSE"] for record in model.history] for name, model in models.items()
    }
    assert "sigmoid" in capsys.readouterr().out


def test_a_tutorial_runs_on_any_engine():
    model, _ = biased_sgd.main(["--data", "100k", "--epochs", "1", "--backend", "reference"])
    assert model.training["backend"] == "reference"
