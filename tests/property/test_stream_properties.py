"""The sample stream, for any data, seed and epoch."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mfcore import Interactions
from mfcore.data import Vocabulary
from mfcore.sampling import (
    Grid,
    KeyedShuffle,
    PopularityTable,
    Purpose,
    SamplingPlan,
    bounded,
    epoch,
    philox4x32,
    popular_negatives,
    shuffled_instances,
    uniform_negatives,
    unseen_item,
    words,
)

SEEDS = st.integers(0, 2**63 - 1)
EPOCHS = st.integers(0, 2**32 - 1)
WORD = st.integers(0, 2**32 - 1)


def philox_in_plain_integers(counter, key):
    """Philox4x32-10 as the paper writes it, on Python's unbounded integers."""
    mask = 0xFFFFFFFF
    for _ in range(10):
        product0, product1 = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = (
            (product1 >> 32) ^ counter[1] ^ key[0],
            product1 & mask,
            (product0 >> 32) ^ counter[3] ^ key[1],
            product0 & mask,
        )
        key = ((key[0] + 0x9E3779B9) & mask, (key[1] + 0xBB67AE85) & mask)
    return counter


@given(st.tuples(WORD, WORD, WORD, WORD), st.tuples(WORD, WORD))
def test_wrapping_64_bit_arithmetic_gives_the_words_of_unbounded_integers(counter, key):
    drawn = philox4x32(tuple(np.array([word], dtype=np.int64) for word in counter), key)
    assert tuple(int(word[0]) for word in drawn) == philox_in_plain_integers(counter, key)


@given(WORD, WORD, st.integers(1, 2**31 - 1))
def test_bounded_is_the_exact_share_of_64_bits(high, low, bound):
    drawn = bounded(np.array([high]), np.array([low]), bound)
    assert int(drawn[0]) == (((high << 32) | low) * bound) >> 64


@given(st.integers(1, 3000), SEEDS, EPOCHS, st.sampled_from(Purpose))
def test_the_shuffle_is_a_bijection(n, seed, number, purpose):
    values = KeyedShuffle.make(n, seed, number, purpose)(np.arange(n, dtype=np.int64))
    assert np.array_equal(np.sort(values), np.arange(n))


@given(st.integers(1, 2**40), SEEDS, st.data())
def test_the_shuffle_of_a_huge_range_stays_inside_and_never_collides(n, seed, data):
    start = data.draw(st.integers(0, n - 1))
    positions = np.arange(start, min(n, start + 300), dtype=np.int64)
    values = KeyedShuffle.make(n, seed, 0)(positions)
    assert values.min() >= 0
    assert values.max() < n
    assert len(np.unique(values)) == len(positions)


@st.composite
def interactions(draw):
    """Interactions in which every user has something left to see."""
    n_users, n_items = draw(st.integers(1, 12)), draw(st.integers(2, 12))
    table = draw(st.lists(st.sets(st.integers(0, n_items - 2)), min_size=n_users, max_size=n_users))
    pairs = [(user, item) for user, seen in enumerate(table) for item in sorted(seen)] or [(0, 0)]
    users, items = zip(*pairs, strict=True)
    return Interactions.from_columns(
        users, items, user_ids=Vocabulary.range(n_users), item_ids=Vocabulary.range(n_items)
    )


@given(interactions(), st.integers(0, 4), st.sampled_from(["shuffled", "blocked"]), SEEDS, EPOCHS)
def test_an_epoch_shows_each_interaction_once_with_unseen_negatives(data, n_negatives, order, seed, number):
    shown = epoch(data, SamplingPlan(n_negatives, order), seed=seed, epoch=number)
    assert np.array_equal(np.bincount(shown.interactions), np.full(len(data), 1 + n_negatives))
    assert np.array_equal(np.sort(shown.interactions[shown.positive]), np.arange(len(data)))
    seen = set(zip(data.users.tolist(), data.items.tolist(), strict=True))
    for user, item, positive in zip(
        shown.users.tolist(), shown.items.tolist(), shown.positive.tolist(), strict=True
    ):
        assert ((user, item) in seen) == positive
        assert 0 <= item < data.n_items


@given(interactions(), st.integers(0, 3), SEEDS, EPOCHS, st.data())
def test_any_positions_show_what_the_whole_epoch_shows_there(data, n_negatives, seed, number, draw):
    plan = SamplingPlan(n_negatives)
    whole = epoch(data, plan, seed=seed, epoch=number)
    positions = np.array(draw.draw(st.lists(st.integers(0, len(whole) - 1), max_size=20)), dtype=np.int64)
    part = shuffled_instances(data, plan, seed=seed, epoch=number, positions=positions)
    for name in ("users", "items", "interactions", "positive"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[positions])


@given(
    interactions(),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.booleans(),
    SEEDS,
    EPOCHS,
    st.data(),
)
def test_negatives_are_unseen_and_the_same_one_by_one(
    data, n_negatives, exponent, paired, seed, number, draw
):
    if exponent and (PopularityTable.make(data.seen, data.item_counts, exponent).unseen_weight <= 0).any():
        exponent = 0.0
    plan = SamplingPlan(n_negatives, popularity_exponent=exponent, paired=paired)
    whole = epoch(data, plan, seed=seed, epoch=number)
    negatives = whole.negatives if paired else np.where(whole.positive, -1, whole.items)
    users = whole.users.tolist()
    assert all(item not in data.seen.of(user) for user, item in zip(users, negatives.tolist(), strict=True))
    position = draw.draw(st.integers(0, len(whole) - 1))
    one = shuffled_instances(data, plan, seed=seed, epoch=number, positions=np.array([position]))
    assert one.items[0] == whole.items[position]
    assert not paired or one.negatives[0] == negatives[position]


@given(interactions(), st.data(), SEEDS, EPOCHS)
def test_a_draw_by_weight_is_the_item_under_its_place_for_any_weights(data, draw, seed, number):
    """Small weights, so that positions fall on the ends of spans too."""
    n = data.n_items
    weights = np.array(draw.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    starts = np.concatenate([[0], np.cumsum(weights)])
    unseen = [np.setdiff1d(np.arange(n), data.seen.of(user)) for user in range(data.n_users)]
    table = PopularityTable(
        starts,
        unseen_before=np.array(
            [
                weights[unseen[user]][unseen[user] < item].sum()
                for user, item in zip(*pairs(data), strict=True)
            ]
        ),
        unseen_weight=np.array([weights[items].sum() for items in unseen]),
    )
    users = np.flatnonzero(table.unseen_weight).repeat(9)
    instances = np.arange(len(users), dtype=np.int64)
    found = popular_negatives(table, data.seen, users, seed=seed, epoch=number, instances=instances)
    high, low, *_ = words(seed, Purpose.NEGATIVE, number, instances)
    positions = bounded(high, low, table.unseen_weight[users])
    for user, position, item in zip(users, positions, found, strict=True):
        assert item == np.repeat(unseen[user], weights[unseen[user]])[position]


def pairs(data):
    """Return the distinct (user, item) pairs in the order of `SeenItems`."""
    return np.repeat(np.arange(data.n_users), data.seen.counts), data.seen.indices


def unseen_by(data, user):
    return np.setdiff1d(np.arange(data.n_items), data.seen.of(user))


@given(interactions(), SEEDS, EPOCHS, st.integers(0, 2**40))
def test_a_uniform_draw_is_the_unseen_item_of_the_rank_that_its_words_say(data, seed, number, first):
    users = np.arange(data.n_users).repeat(5)
    instances = first + np.arange(len(users), dtype=np.int64)
    found = uniform_negatives(data.seen, data.n_items, users, seed=seed, epoch=number, instances=instances)
    high, low, *_ = words(seed, Purpose.NEGATIVE, number, instances)
    for user, item, high_word, low_word in zip(users, found, high.tolist(), low.tolist(), strict=True):
        unseen = unseen_by(data, user)
        assert item == unseen[(((high_word << 32) | low_word) * len(unseen)) >> 64]


@settings(max_examples=30)
@given(interactions(), st.sampled_from([0.0, 0.5, 1.0]), SEEDS, EPOCHS, st.data())
def test_unseen_items_are_drawn_as_often_as_their_popularity_says(data, exponent, seed, number, draw):
    user = draw.draw(st.integers(0, data.n_users - 1))
    chances = np.zeros(data.n_items)
    unseen = unseen_by(data, user)
    chances[unseen] = data.item_counts[unseen] ** exponent if exponent else 1.0
    chances[data.item_counts == 0] *= not exponent
    assume(np.count_nonzero(chances) > 1)
    n = 4_000
    users, where = np.full(n, user), {"seed": seed, "epoch": number, "instances": np.arange(n)}
    if exponent:
        table = PopularityTable.make(data.seen, data.item_counts, exponent)
        found = popular_negatives(table, data.seen, users, **where)
    else:
        found = uniform_negatives(data.seen, data.n_items, users, **where)
    counts, possible = np.bincount(found, minlength=data.n_items), chances > 0
    assert counts[possible].sum() == n
    # By chance alone, less than once in ten million runs of this test.
    assert chisquare(counts[possible], n * chances[possible] / chances.sum()).pvalue > 1e-9


@given(interactions())
def test_ranks_of_unseen_items_are_their_numbers(data):
    for user in range(data.n_users):
        unseen = unseen_by(data, user)
        ranks = np.arange(len(unseen), dtype=np.int64)
        assert np.array_equal(unseen_item(data.seen, np.full(len(unseen), user), ranks), unseen)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 12), SEEDS, EPOCHS)
def test_the_grid_visits_every_cell_once_and_strata_share_no_block(n_users, n_items, n_blocks, seed, number):
    n_blocks = min(n_blocks, n_users, n_items)
    grid = Grid.make(n_users, n_items, n_blocks, seed)
    users, items = (array.ravel() for array in np.meshgrid(np.arange(n_users), np.arange(n_items)))
    cells = np.sort(grid.cells(users, items))
    starts = np.searchsorted(cells, np.arange(n_blocks**2 + 1))
    order = grid.visit_order(starts, seed, number)
    assert np.array_equal(np.sort(order), np.arange(len(cells)))
    visited = cells[order]
    pieces = visited[np.flatnonzero(np.diff(visited, prepend=-1))].reshape(n_blocks, n_blocks)
    for stratum in pieces:
        assert len(set(stratum // n_blocks)) == len(set(stratum % n_blocks)) == n_blocks
