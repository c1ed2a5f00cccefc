"""`mfcore data` and `mfcore backends`."""

import json
import shutil

import mfcore
from mfcore.data import datasets


def test_the_list_names_every_data_set(command):
    done = command("data", "list")
    assert done.status == 0
    for name in datasets.DATASETS:
        assert name in done.out
    listed = json.loads(command("data", "list", "--json").out)["datasets"]
    assert [one["name"] for one in listed] == list(datasets.DATASETS)
    assert all(one["path"] is None for one in listed)


def test_a_data_set_on_disk_is_not_fetched_again(command, films, tmp_path, monkeypatch):
    shutil.copytree(films, tmp_path / "ml-100k")
    monkeypatch.setenv("MFCORE_DATA", str(tmp_path))
    done = command("data", "fetch", "ml-100k")
    assert done.out.strip() == str(tmp_path / "ml-100k")
    assert "there already" in done.err


def test_an_unknown_name_lists_the_known_ones(command):
    done = command("data", "fetch", "ml-100j")
    assert done.status == 2
    assert "did you mean 'ml-100k'?" in done.err


def test_a_data_set_that_is_not_on_disk_is_described_and_not_fetched(command):
    done = command("data", "info", "ml-25m")
    assert done.status == 0
    assert "mfcore data fetch ml-25m" in done.out


def test_the_content_of_a_folder_is_told(command, films):
    done = command("data", "info", films)
    assert "1997-11-20" in done.out
    document = json.loads(command("data", "info", films, "--json").out)
    data = mfcore.Interactions.read(films)
    assert (document["users"], document["items"], document["interactions"]) == (40, 24, 480)
    assert sum(document["values"]["counts"].values()) == 480
    best = document["most_popular"][0]
    assert best["interactions"] == data.item_counts.max()
    assert best["title"]


def test_the_parts_of_an_ncf_data_set_are_told(command, ncf):
    document = json.loads(command("data", "info", ncf, "--json").out)
    assert (document["interactions"], document["test"], document["negatives"]) == (440, 40, 5)


def test_generated_data_are_told(command):
    assert json.loads(command("data", "info", "synthetic:1k", "--json").out)["interactions"] == 1000


def test_the_engines_are_listed(command):
    done = command("backends")
    assert "reference" in done.out
    listed = json.loads(command("backends", "--json").out)["backends"]
    assert {one["name"] for one in listed} == {one.name for one in mfcore.backends()}
    assert next(one for one in listed if one["name"] == "reference")["available"]
