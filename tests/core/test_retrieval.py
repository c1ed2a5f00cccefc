"""Exact top-k: against plain sorting, with ties, exclusions and blocks."""

import numpy as np
import pytest

from mfcore.data import Interactions, Vocabulary
from mfcore.model import _top_k as retrieval
from mfcore.model import top_k, top_k_of


def plainly(row, k):
    """The k best columns of one row by sorting: ties by ascending column, -inf left out."""
    order = sorted(
        (column for column in range(len(row)) if row[column] > -np.inf), key=lambda c: (-row[c], c)
    )
    return order[:k]


@pytest.mark.parametrize("k", [1, 3, 10, 25])
@pytest.mark.parametrize("distinct", [2, 5, 10_000], ids=["mostly ties", "some ties", "no ties"])
def test_the_k_best_are_those_of_plain_sorting(k, distinct):
    generator = np.random.default_rng(k)
    scores = generator.integers(distinct, size=(40, 20)) / 4
    scores[generator.random(size=scores.shape) < 0.3] = -np.inf
    columns, found = top_k_of(scores, k)
    assert columns.shape == found.shape == (40, k)
    for row, chosen, values in zip(scores, columns, found, strict=True):
        expected = plainly(row, k)
        assert chosen[chosen >= 0].tolist() == expected
        assert values[: len(expected)].tolist() == row[expected].tolist()
        assert (chosen[len(expected) :] == -1).all()
        assert (values[len(expected) :] == -np.inf).all()


def test_scores_keep_their_dtype_and_are_left_as_they_were():
    scores = np.array([[1.0, 3.0, 2.0]], dtype=np.float32)
    columns, found = top_k_of(scores, 2)
    assert (columns.tolist(), columns.dtype, found.dtype) == ([[1, 2]], np.int64, np.float32)
    assert scores.tolist() == [[1, 3, 2]]


def test_a_constant_model_ranks_by_ascending_row():
    assert top_k_of(np.zeros((1, 6)), 4)[0].tolist() == [[0, 1, 2, 3]]


def test_infinite_scores_come_first():
    assert top_k_of(np.array([[0.0, np.inf, 1.0]]), 2)[0].tolist() == [[1, 2]]


@pytest.fixture
def seen():
    return Interactions.from_columns(
        [0, 0, 2], [1, 3, 0], user_ids=Vocabulary.range(4), item_ids=Vocabulary.range(5)
    ).seen


def test_seen_items_are_left_out_for_each_user(seen):
    columns, _ = top_k(
        lambda users: np.tile(np.arange(5.0), (len(users), 1)), np.array([2, 0, 1]), 5, 5, seen
    )
    assert columns.tolist() == [[4, 3, 2, 1, -1], [4, 2, 0, -1, -1], [4, 3, 2, 1, 0]]


def test_a_user_without_a_row_has_seen_nothing(seen):
    columns, _ = top_k(lambda users: np.tile(np.arange(5.0), (len(users), 1)), np.array([-1]), 5, 5, seen)
    assert columns.tolist() == [[4, 3, 2, 1, 0]]


@pytest.mark.parametrize("rows_per_block", [1, 2, 1000])
def test_blocks_change_nothing_but_the_memory(seen, monkeypatch, rows_per_block):
    monkeypatch.setattr(retrieval, "BLOCK_BYTES", rows_per_block * 8 * 5)
    table = np.random.default_rng(0).normal(size=(5, 5))
    asked = []

    def score_catalogue(users):
        asked.append(len(users))
        return table[users]

    users = np.array([0, 2, 2, 1, 3, 0])
    columns, found = top_k(score_catalogue, users, 2, 5, seen)
    assert max(asked) == min(rows_per_block, 6)
    for user, chosen, values in zip(users, columns, found, strict=True):
        row = table[user].copy()
        row[seen.of(user)] = -np.inf
        assert chosen.tolist() == plainly(row, 2)
        assert values.tolist() == row[chosen].tolist()


def test_nobody_asked_is_nobody_answered(seen):
    columns, found = top_k(lambda users: np.zeros((len(users), 5)), np.array([], dtype=np.int64), 3, 5, seen)
    assert columns.shape == found.shape == (0, 3)
