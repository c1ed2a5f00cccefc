"""`mfcore evaluate`, `mfcore recommend` and `mfcore explore`."""

import json
import sys

import numpy as np
import pytest

import mfcore


def test_evaluate_finds_the_figures_of_the_held_out_part_again(command, films, model_file):
    done = command("evaluate", model_file, films, "--json")
    _, test = mfcore.splits.ratio(mfcore.Interactions.read(films), 0.2, seed=0)
    expected = mfcore.evaluate(mfcore.load(model_file), test, [mfcore.RMSE(), mfcore.MAE()])
    assert json.loads(done.out)["ratings"] == pytest.approx(dict(expected))
    assert "384 of the 480 interactions" in done.err


def test_evaluate_refuses_data_that_the_model_was_trained_on(command, films, model_file, tmp_path):
    train, _ = mfcore.splits.ratio(mfcore.Interactions.read(films), 0.2, seed=0)
    path = tmp_path / "train.csv"
    rows = zip(train.user_ids[train.users], train.item_ids[train.items], train.values, strict=True)
    path.write_text("\n".join(["user,item,rating", *(f"{u},{i},{v}" for u, i, v in rows)]) + "\n")
    done = command("evaluate", model_file, path)
    assert done.status == 2
    assert "trained on every interaction" in done.err


def test_evaluate_ranks_among_drawn_negatives_when_asked(command, films, model_file):
    options = (
        "--metric",
        "ndcg@5",
        "--protocol",
        "sampled",
        "--n-negatives",
        4,
        "--seed",
        2,
        "--ties",
        "average",
    )
    done = command("evaluate", model_file, films, *options, "--json")
    _, test = mfcore.splits.ratio(mfcore.Interactions.read(films), 0.2, seed=0)
    protocol = mfcore.SampledRanking(4, seed=2, ties="average")
    expected = mfcore.evaluate(mfcore.load(model_file), test, [mfcore.NDCG(5)], protocol)
    [ranking] = json.loads(done.out)["rankings"]
    assert ranking["metrics"] == pytest.approx(dict(expected))
    assert ranking["ties"] == "average"


def test_evaluate_takes_the_test_part_of_an_ncf_data_set(command, ncf, tmp_path):
    path = tmp_path / "m.safetensors"
    trained = command("train", ncf, "--backend", "reference", "--n-factors", 4, "--out", path, "--json")
    judged = command("evaluate", path, ncf, "--json")
    assert json.loads(judged.out)["rankings"] == json.loads(trained.out)["quality"]["rankings"]
    assert judged.err == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--n-negatives", "9", "--metric", "mrr"], "--n-negatives applies to --protocol sampled"),
        (["--seed", "9", "--metric", "mrr", "--protocol", "full"], "--seed applies to --protocol sampled"),
        (["--protocol", "given", "--metric", "mrr"], "needs an NCF data set's negatives"),
        (["--protocol", "ful", "--metric", "mrr"], "did you mean 'full'?"),
        (["--ties", "worst", "--metric", "mrr"], "--ties is 'worst'"),
        (["--protocol", "full"], "--protocol does not apply"),
        (["--ties", "average"], "--ties does not apply"),
    ],
)
def test_evaluate_refuses_what_does_not_fit(command, films, model_file, arguments, says):
    done = command("evaluate", model_file, films, *arguments)
    assert done.status == 2
    [line] = done.err.splitlines()
    assert says in line


def test_recommend_gives_the_lists_of_the_library(command, model_file):
    done = command("recommend", model_file, "--user", 3, "--user", 4, "-k", 5, "--json")
    lists = json.loads(done.out)["recommendations"]
    for ranking, shown in zip(mfcore.load(model_file).recommend([3, 4], 5), lists, strict=True):
        assert [entry["item"] for entry in shown["items"]] == ranking.items.tolist()
        assert [entry["title"] for entry in shown["items"]] == ranking.names.tolist()
        assert shown["known"]


def test_recommend_can_leave_seen_items_in_and_little_known_ones_out(command, model_file):
    model = mfcore.load(model_file)
    done = command("recommend", model_file, "--user", 3, "-k", 24, "--include-seen", "--json")
    assert len(json.loads(done.out)["recommendations"][0]["items"]) == 24
    least = int(np.median(model.item_counts))
    done = command("recommend", model_file, "--user", 3, "-k", 24, "--min-count", least, "--json")
    items = [entry["item"] for entry in json.loads(done.out)["recommendations"][0]["items"]]
    assert items
    assert (model.item_counts[model.item_ids.rows(items)] >= least).all()


def test_recommend_says_when_a_user_is_unknown(command, model_file):
    done = command("recommend", model_file, "--user", 999, "-k", 2, "--json")
    [answer] = json.loads(done.out)["recommendations"]
    assert not answer["known"]
    assert len(answer["items"]) == 2
    assert "user 999 has no training data" in done.err


def test_recommend_asks_for_ids_of_the_models_kind(command, model_file, clicks, tmp_path):
    assert "integers" in command("recommend", model_file, "--user", "u3").err
    path = tmp_path / "m.safetensors"
    command("train", clicks, "--backend", "reference", "--epochs", 2, "--out", path)
    done = command("recommend", path, "--user", "u3", "-k", 1, "--json")
    assert json.loads(done.out)["recommendations"][0]["user"] == "u3"


@pytest.mark.parametrize("name", ["recommend", "explore", "evaluate"])
def test_a_foreign_file_is_one_line(command, films, tmp_path, name):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"no model")
    rest = {"recommend": ["--user", 1], "explore": [], "evaluate": [films]}[name]
    done = command(name, path, *rest)
    assert done.status == 2
    assert "safetensors" in done.err
    assert len(done.err.splitlines()) == 1


def test_explore_shows_spec_training_and_history(command, model_file):
    done = command("explore", model_file)
    for words in ("MF(n_factors=3", "WALS(", "History"):
        assert words in done.out
    document = json.loads(command("explore", model_file, "--json").out)
    assert len(document["history"]["objective"]) == 5


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("6", "Star Wars (1977)"),
        ("star wars (1977)", "Star Wars (1977)"),
        ("STAR", "Star Wars (1977)"),
        ("rec]", "[REC] (2007)"),
        ("Casblanca (1942)", "Casablanca (1942)"),
        ("alien (1979)", "Alien (1979)"),
    ],
)
def test_explore_finds_an_item_by_id_or_roughly_by_title(command, model_file, text, title):
    done = command("explore", model_file, "--item", text, "-k", 3, "--json")
    similar = json.loads(done.out)["similar"]
    assert similar["title"] == title
    expected = mfcore.load(model_file).similar_items(similar["item"], 3)[0]
    assert [entry["item"] for entry in similar["items"]] == expected.items.tolist()


def test_explore_says_when_no_item_is_alike(command, model_file):
    done = command("explore", model_file, "--item", "zzzzzzzz")
    assert done.status == 2
    assert "zzzzzzzz" in done.err


def test_explore_shows_what_a_user_has_seen_and_gets(command, model_file):
    user = json.loads(command("explore", model_file, "--user", 3, "-k", 4, "--json").out)["user"]
    model = mfcore.load(model_file)
    seen = model.item_ids[model.seen.of(int(model.user_ids.rows(3)))]
    assert {int(entry["item"]) for entry in user["seen"]} == set(seen.tolist())
    assert len(user["items"]) == 4


def test_explore_shows_the_factors_as_a_table(command, model_file):
    done = command("explore", model_file, "--factors", "-k", 5)
    assert "Star Wars" in done.out or "Film" in done.out
    document = json.loads(command("explore", model_file, "--factors", "-k", 5, "--json").out)
    model = mfcore.load(model_file)
    assert len(document["factors"]) == 10
    for entry in document["factors"]:
        row = int(model.item_ids.rows(entry["item"]))
        np.testing.assert_allclose(entry["factors"], model.parameters["item_factors"][row])
    assert [ends["factor"] for ends in document["extremes"]] == [1, 2, 3]
    for ends in document["extremes"]:
        assert ends["lowest"][0]["value"] <= ends["highest"][0]["value"]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_explore_draws_a_picture(command, model_file, tmp_path, ending):
    pytest.importorskip("matplotlib", reason="pictures need the extra mfcore[plot]")
    path = tmp_path / f"m.{ending}"
    done = command("explore", model_file, "--plot", path, "--json")
    assert json.loads(done.out)["plot"] == str(path)
    assert path.read_bytes()[:4] in (b"\x89PNG", b"<?xm")
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_of_no_known_format_is_refused(command, model_file, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need the extra mfcore[plot]")
    done = command("explore", model_file, "--plot", tmp_path / "m.docx")
    assert done.status == 2
    assert "png" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_picture_without_matplotlib_says_how_to_get_it(command, model_file, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = command("explore", model_file, "--plot", tmp_path / "m.png")
    assert done.status == 2
    assert done.err.splitlines()[-1].endswith("pip install 'mfcore[plot]'")
