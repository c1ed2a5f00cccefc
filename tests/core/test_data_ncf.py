"""The three files of the NCF paper."""

import numpy as np
import pytest

from mfcore.data import read, read_ncf
from mfcore.errors import InvalidDataError

FILES = {
    "toy.train.rating": "0\t1\t5\t10\n1\t0\t3\t20\n",
    "toy.test.rating": "0\t4\t2\t30\n1\t1\t1\t40\n",
    "toy.test.negative": "(0,4)\t0\t7\n(1,1)\t4\t1\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("ending", ["", "toy"])
def test_folder_and_prefix_give_one_split_with_common_vocabularies(folder, ending):
    split = read_ncf(folder / ending)
    assert split.train.item_ids.ids.tolist() == [0, 1, 4, 7]
    assert split.train.item_ids is split.test.item_ids
    assert split.train.user_ids is split.test.user_ids
    assert split.test.timestamps.tolist() == [30, 40]
    assert split.negatives.dtype == np.int32
    assert split.train.item_ids[split.negatives].tolist() == [[0, 7], [4, 1]]


def test_a_held_out_item_among_its_own_negatives_stays_there(folder):
    split = read_ncf(folder)
    assert split.negatives[1, 1] == split.test.items[1]


def test_read_gives_the_training_part_alone(folder):
    assert len(read(folder)) == len(read(folder / "toy")) == 2


def test_titles_are_attached(folder):
    split = read_ncf(folder, titles={4: "Four"})
    assert split.test.item_names.tolist() == ["0", "1", "Four", "7"]
    assert repr(split) == (
        "NcfSplit(2 training and 2 test interactions, 2 negatives each, 2 users × 4 items)"
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("toy.train.rating", "0\t1\t5\t10\n1\t0\n", "toy.train.rating: .*line 2"),
        ("toy.train.rating", "0\t1\t5\t10\n0\t1\t5\t10\n", "toy.train.rating: .*occur together"),
        ("toy.test.rating", "0\tx\t2\t30\n1\t1\t1\t40\n", "toy.test.rating: .*line 1.*'x'"),
        ("toy.test.negative", "(0,4)\t0\t7\n(1,1)\t4\n", "toy.test.negative: .*line 2"),
        ("toy.test.negative", "(0,4)\t0\t7\n", "has 1 lines, but the test file has 2"),
        ("toy.test.negative", "(0,4)\t0\t7\n(1,0)\t4\t7\n", r"line 2 belongs to \(1,0\).*is \(1,1\)"),
    ],
)
def test_malformed_lines_are_refused_by_number(folder, name, text, message):
    (folder / name).write_text(text)
    with pytest.raises(InvalidDataError, match=message):
        read_ncf(folder)


def test_a_missing_file_is_refused(folder, tmp_path):
    (folder / "toy.test.negative").unlink()
    with pytest.raises(InvalidDataError, match=r"toy\.test\.negative does not exist"):
        read_ncf(folder)
    with pytest.raises(InvalidDataError, match="no NCF data set"):
        read_ncf(tmp_path / "none")


def test_the_split_of_the_paper_reads_as_published(shared_data):
    split = read_ncf(shared_data / "ml-1m-ncf")
    assert (len(split.train), len(split.test), split.negatives.shape) == (994_169, 6040, (6040, 99))
    assert (split.train.n_users, split.train.n_items) == (6040, 3706)
    own = (split.negatives == split.test.items[:, None]).any(axis=1)
    assert own.sum() == 156
    assert (split.train.item_counts[split.test.items] == 0).sum() == 2
    assert split.train.item_names[0] == "One Flew Over the Cuckoo's Nest (1975)"
