"""The keyed shuffle: a bijection that looks random and is pinned."""

import numpy as np
import pytest
from scipy.stats import chisquare

from mfcore.sampling import KeyedShuffle, Purpose


def whole(n, seed=0, epoch=0):
    return KeyedShuffle.make(n, seed, epoch)(np.arange(n, dtype=np.int64))


@pytest.mark.parametrize("n", range(1, 71))
def test_every_value_appears_once(n):
    assert np.array_equal(np.sort(whole(n)), np.arange(n))


def test_a_slice_of_positions_gives_a_slice_of_the_values():
    shuffle = KeyedShuffle.make(1000, 5, 2)
    assert np.array_equal(shuffle(np.arange(300, 310)), whole(1000, 5, 2)[300:310])


def test_the_positions_given_are_not_written_to():
    positions = np.arange(10)
    KeyedShuffle.make(10, 0, 0)(positions)
    assert np.array_equal(positions, np.arange(10))


@pytest.mark.parametrize(
    "name", [{"seed": 1}, {"epoch": 1}, {"purpose": Purpose.USER_GRID}], ids=["seed", "epoch", "purpose"]
)
def test_another_name_gives_another_permutation(name):
    n = 1000
    one = KeyedShuffle.make(n, 0, 0)(np.arange(n))
    other = KeyedShuffle.make(n, **{"seed": 0, "epoch": 0, **name})(np.arange(n))
    # Two random permutations agree in one place on average.
    assert np.count_nonzero(one == other) < 10


def test_the_permutation_is_pinned():
    assert whole(10).tolist() == [4, 3, 7, 1, 0, 6, 5, 8, 9, 2]
    assert KeyedShuffle.make(10**9, 42, 7)(np.arange(4)).tolist() == [
        893198015,
        307911695,
        540722946,
        865009294,
    ]


@pytest.mark.parametrize("n", [3, 5, 8])
def test_every_value_is_as_likely_at_every_position(n):
    counts = np.zeros((n, n))
    for seed in range(700):
        counts[np.arange(n), whole(n, seed)] += 1
    assert chisquare(counts, axis=None, ddof=2 * (n - 1)).pvalue > 1e-3


def test_neighbours_are_scattered():
    n = 5000
    steps = np.abs(np.diff(whole(n)))
    # The distance of two random values of [0, n) is n/3 on average.
    assert steps.mean() == pytest.approx(n / 3, rel=0.05)
