"""Philox4x32-10: the words themselves, and what is made of them."""

import numpy as np
import pytest

from mfcore.sampling import Purpose, bounded, philox4x32, words
from mfcore.sampling.philox import uniforms

ALL_ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        pytest.param(
            (0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8), id="all bits zero"
        ),
        pytest.param(
            (ALL_ONES,) * 4,
            (ALL_ONES,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
            id="all bits one",
        ),
        pytest.param(
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
            id="digits of pi",
        ),
    ],
)
def test_words_are_those_of_the_random123_known_answers(counter, key, expected):
    drawn = philox4x32(tuple(np.array([word], dtype=np.int64) for word in counter), key)
    assert tuple(int(word[0]) for word in drawn) == expected


def test_the_counter_names_position_epoch_and_purpose_and_the_key_is_the_seed():
    seed, epoch, position = (7 << 32) | 5, 3, (2 << 32) | 9
    counter = tuple(np.array([word], dtype=np.int64) for word in (9, 2, 3, int(Purpose.NEGATIVE)))
    expected = philox4x32(counter, (5, 7))
    assert np.array_equal(words(seed, Purpose.NEGATIVE, epoch, np.array([position])), expected)


@pytest.mark.parametrize("changed", ["seed", "purpose", "epoch", "positions"])
def test_words_change_with_every_part_of_their_name(changed):
    name = {"seed": 1, "purpose": 1, "epoch": 1, "positions": np.arange(50)}
    other = {**name, changed: name[changed] + 1 if changed != "positions" else np.arange(50, 100)}
    assert not np.any(np.equal(words(**name), words(**other)))


def test_words_of_a_slice_are_a_slice_of_the_words():
    whole = np.array(words(3, Purpose.SHUFFLE, 0, np.arange(1000)))
    assert np.array_equal(words(3, Purpose.SHUFFLE, 0, np.arange(400, 600)), whole[:, 400:600])


def test_words_stay_within_32_bits_for_extreme_names():
    drawn = np.array(words(2**64 - 1, 2**32 - 1, 2**32 - 1, np.array([0, 2**62])))
    assert drawn.min() >= 0
    assert drawn.max() < 2**32


@pytest.mark.parametrize("bound", [1, 2, 3, 1000, 2**31 - 1])
def test_bounded_maps_64_bits_to_their_share_of_the_bound(bound):
    generator = np.random.default_rng(0)
    high, low = generator.integers(0, 2**32, size=(2, 200))
    high[:2], low[:2] = (0, ALL_ONES), (0, ALL_ONES)
    exact = [((int(upper) << 32 | int(lower)) * bound) >> 64 for upper, lower in zip(high, low, strict=True)]
    assert bounded(high, low, bound).tolist() == exact


def test_bounded_takes_a_bound_for_each_draw():
    assert bounded(np.array([ALL_ONES, ALL_ONES]), np.array([0, 0]), np.array([10, 1])).tolist() == [9, 0]


def test_uniforms_lie_strictly_between_zero_and_one():
    ends = uniforms(np.array([0, ALL_ONES]))
    assert 0 < ends[0] < ends[1] < 1


def test_uniforms_have_the_moments_of_the_uniform_distribution():
    drawn = uniforms(np.concatenate(words(1, Purpose.INITIAL_VALUES, 0, np.arange(25_000))))
    assert drawn.mean() == pytest.approx(1 / 2, abs=3e-3)
    assert drawn.var() == pytest.approx(1 / 12, abs=1e-3)
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.01
