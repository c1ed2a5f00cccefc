"""What an epoch shows: every instance once, in an order that is pinned."""

import numpy as np
import pytest

from mfcore import Interactions
from mfcore.errors import InvalidArgumentError
from mfcore.sampling import (
    Grid,
    KeyedShuffle,
    SamplingPlan,
    choose_n_blocks,
    epoch,
    shuffled_instances,
    slices,
    uniform_negatives,
)


@pytest.fixture(scope="module")
def large():
    """Enough interactions for a grid of 4 x 4 blocks: distinct pairs, because 7919 is prime."""
    cells = np.arange(20_000) * 7919 % (300 * 200)
    return Interactions.from_columns(cells // 200, cells % 200)


def as_rows(instances):
    """Return the instances as a sorted table, to compare epochs as multisets."""
    columns = (instances.users, instances.items, instances.interactions, instances.positive)
    return np.array(sorted(zip(*(column.tolist() for column in columns), strict=True)))


@pytest.mark.parametrize("order", ["shuffled", "blocked"])
def test_without_negatives_every_interaction_appears_once(ratings, order):
    shown = epoch(ratings, SamplingPlan(0, order), seed=3, epoch=2)
    assert np.array_equal(np.sort(shown.interactions), np.arange(400))
    assert shown.positive.all()
    assert np.array_equal(shown.users, ratings.users[shown.interactions])
    assert np.array_equal(shown.items, ratings.items[shown.interactions])


@pytest.mark.parametrize("order", ["shuffled", "blocked"])
def test_every_interaction_appears_once_with_its_negatives(ratings, order):
    shown = epoch(ratings, SamplingPlan(4, order), seed=3, epoch=2)
    assert len(shown) == 400 * 5
    assert np.array_equal(np.bincount(shown.interactions), np.full(400, 5))
    assert np.array_equal(np.sort(shown.interactions[shown.positive]), np.arange(400))
    assert np.array_equal(shown.users, ratings.users[shown.interactions])
    positive = shown.take(np.flatnonzero(shown.positive))
    assert np.array_equal(positive.items, ratings.items[positive.interactions])


PLANS = [
    pytest.param(SamplingPlan(4, "shuffled"), id="uniform, shuffled"),
    pytest.param(SamplingPlan(4, "blocked"), id="uniform, blocked"),
    pytest.param(SamplingPlan(4, paired=True), id="uniform, paired"),
    pytest.param(SamplingPlan(4, "shuffled", 0.75), id="by popularity, shuffled"),
    pytest.param(SamplingPlan(4, "blocked", 0.75), id="by popularity, blocked"),
    pytest.param(SamplingPlan(4, "shuffled", 0.75, paired=True), id="by popularity, paired"),
]


def negatives_of(shown):
    """Return the users and the items of an epoch's negatives."""
    if shown.negatives is not None:
        return shown.users, shown.negatives
    return shown.users[~shown.positive], shown.items[~shown.positive]


@pytest.mark.parametrize("plan", PLANS)
def test_no_negative_of_an_epoch_is_a_seen_item(ratings, plan):
    users, items = negatives_of(epoch(ratings, plan, seed=3, epoch=2))
    table = np.zeros((ratings.n_users, ratings.n_items), dtype=bool)
    table[ratings.users, ratings.items] = True
    assert len(users) == 4 * len(ratings)
    assert np.count_nonzero(table[users, items]) == 0


@pytest.mark.parametrize("plan", PLANS)
def test_items_of_a_test_set_may_be_drawn_as_negatives(ratings, plan):
    train = ratings.select(np.arange(300))
    held_out = ratings.select(np.arange(300, 400))
    users, items = negatives_of(epoch(train, plan, seed=0, epoch=0))
    drawn = set(zip(users.tolist(), items.tolist(), strict=True))
    assert drawn.intersection(zip(held_out.users.tolist(), held_out.items.tolist(), strict=True))


# Paired epochs


@pytest.mark.parametrize("exponent", [0.0, 0.75], ids=["uniform", "by popularity"])
def test_a_paired_epoch_shows_each_interaction_with_the_negatives_of_the_pointwise_epoch(ratings, exponent):
    pointwise = epoch(ratings, SamplingPlan(3, popularity_exponent=exponent), seed=5, epoch=1)
    paired = epoch(ratings, SamplingPlan(3, popularity_exponent=exponent, paired=True), seed=5, epoch=1)
    assert len(paired) == 3 * len(ratings)
    assert paired.positive.all()
    assert np.array_equal(paired.users, ratings.users[paired.interactions])
    assert np.array_equal(paired.items, ratings.items[paired.interactions])
    negative = pointwise.take(np.flatnonzero(~pointwise.positive))
    listed, found = (
        sorted(zip(interactions.tolist(), items.tolist(), strict=True))
        for interactions, items in (
            (negative.interactions, negative.items),
            (paired.interactions, paired.negatives),
        )
    )
    assert found == listed


def test_a_paired_instance_has_the_negative_of_its_slot(ratings):
    shown = epoch(ratings, SamplingPlan(3, paired=True), seed=5, epoch=1)
    positions = KeyedShuffle.make(3 * len(ratings), 5, 1)(np.arange(3 * len(ratings), dtype=np.int64))
    interactions, slots = np.divmod(positions, 3)
    expected = uniform_negatives(
        ratings.seen, ratings.n_items, shown.users, seed=5, epoch=1, instances=4 * interactions + 1 + slots
    )
    assert np.array_equal(shown.interactions, interactions)
    assert np.array_equal(shown.negatives, expected)


def test_batches_of_a_paired_epoch_keep_items_and_negatives_together(ratings):
    shown = epoch(ratings, SamplingPlan(2, paired=True), seed=0, epoch=0)
    batches = list(shown.batches(300))
    assert [len(batch) for batch in batches] == [300, 300, 200]
    for name in ("items", "negatives"):
        together = np.concatenate([getattr(batch, name) for batch in batches])
        assert np.array_equal(together, getattr(shown, name))


def test_a_pointwise_epoch_has_no_negatives_beside_its_items(ratings):
    assert epoch(ratings, SamplingPlan(2), seed=0, epoch=0).negatives is None


@pytest.mark.parametrize("paired", [False, True], ids=["pointwise", "paired"])
@pytest.mark.parametrize("exponent", [0.0, 0.75], ids=["uniform", "by popularity"])
def test_slices_of_positions_are_slices_of_the_epoch(ratings, exponent, paired):
    plan = SamplingPlan(3, popularity_exponent=exponent, paired=paired)
    whole = epoch(ratings, plan, seed=5, epoch=1)
    pieces = [
        shuffled_instances(ratings, plan, seed=5, epoch=1, positions=positions)
        for positions in np.array_split(np.arange(len(whole)), 4)
    ]
    names = ["users", "items", "interactions", "positive", *(["negatives"] if paired else [])]
    for name in names:
        together = np.concatenate([getattr(piece, name) for piece in pieces])
        assert np.array_equal(together, getattr(whole, name))


def assert_same_instances(pieces, whole):
    for name in ("users", "items", "interactions", "positive", "negatives"):
        if getattr(whole, name) is not None:
            together = np.concatenate([getattr(piece, name) for piece in pieces])
            assert np.array_equal(together, getattr(whole, name))


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("size", [1 << 20, 20_000, 7_919])
def test_an_epoch_in_slices_is_the_epoch(large, plan, size, monkeypatch):
    whole = epoch(large, plan, seed=5, epoch=1)
    monkeypatch.setattr("mfcore.sampling._stream.INSTANCES_PER_PASS", 9_973)
    pieces = list(slices(large, plan, seed=5, epoch=1, size=size))
    assert len(pieces) == -(-len(whole) // size)
    assert {len(piece) for piece in pieces[:-1]} <= {size}
    assert_same_instances(pieces, whole)


@pytest.mark.parametrize("plan", PLANS)
def test_slices_between_two_positions_are_that_part_of_the_epoch(large, plan):
    whole = epoch(large, plan, seed=5, epoch=1)
    pieces = list(slices(large, plan, seed=5, epoch=1, size=3_000, start=11_111, stop=22_222))
    assert [len(piece) for piece in pieces] == [3_000, 3_000, 3_000, 2_111]
    assert_same_instances(pieces, whole.take(slice(11_111, 22_222)))


@pytest.mark.parametrize("plan", PLANS)
def test_a_popularity_table_that_is_passed_is_the_one_that_negatives_are_drawn_from(ratings, plan):
    table = plan.popularity_table(ratings)
    assert (table is None) == (plan.popularity_exponent == 0)
    passed = epoch(ratings, plan, seed=5, epoch=1, popularity=table)
    assert_same_instances([passed], epoch(ratings, plan, seed=5, epoch=1))
    if table is not None:
        other = SamplingPlan(4, popularity_exponent=8.0).popularity_table(ratings)
        drawn = epoch(ratings, plan, seed=5, epoch=1, popularity=other)
        assert np.mean(negatives_of(drawn)[1]) != np.mean(negatives_of(passed)[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, r"size is 0; it must be an integer of at least 1"),
        ({"size": 5, "stop": 401}, r"stop is 401; it must be an integer in \[0, 400\]"),
        ({"size": 5, "start": 9, "stop": 8}, r"start is 9; it must be an integer in \[0, 8\]"),
    ],
    ids=["empty slices", "beyond the epoch", "backwards"],
)
def test_slices_outside_the_epoch_are_refused_when_asked_for(ratings, settings, message):
    with pytest.raises(InvalidArgumentError, match=message):
        slices(ratings, SamplingPlan(), seed=0, epoch=0, **settings)


@pytest.mark.parametrize("order", ["shuffled", "blocked"])
@pytest.mark.parametrize("name", [{"seed": 1}, {"epoch": 1}], ids=["seed", "epoch"])
def test_another_seed_or_epoch_shows_another_order(large, order, name):
    plan = SamplingPlan(0, order)
    one = epoch(large, plan, seed=0, epoch=0)
    other = epoch(large, plan, **{"seed": 0, "epoch": 0, **name})
    assert np.mean(one.interactions == other.interactions) < 0.05


@pytest.mark.parametrize("n_negatives", [0, 2])
def test_blocked_and_shuffled_orders_show_the_same_instances(large, n_negatives):
    shuffled = epoch(large, SamplingPlan(n_negatives), seed=2, epoch=3)
    blocked = epoch(large, SamplingPlan(n_negatives, "blocked"), seed=2, epoch=3)
    assert np.array_equal(as_rows(shuffled), as_rows(blocked))
    assert not np.array_equal(shuffled.interactions, blocked.interactions)


@pytest.mark.parametrize("n_negatives", [0, 2])
def test_cells_of_a_stratum_share_no_user_and_no_item(large, n_negatives):
    shown = epoch(large, SamplingPlan(n_negatives, "blocked"), seed=2, epoch=3)
    grid = Grid.make(large.n_users, large.n_items, choose_n_blocks(len(shown), 300, 200), 2)
    assert grid.n_blocks == 4
    cells = grid.cells(shown.users, shown.items)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(cells)) + 1, [len(cells)]])
    visited = cells[starts[:-1]]
    assert len(visited) == len(set(visited.tolist())) == 16, "each cell is visited once, in one piece"
    for stratum in range(4):
        pieces = [slice(*starts[first : first + 2]) for first in range(4 * stratum, 4 * stratum + 4)]
        for rows in (shown.users, shown.items):
            assert sum(len(set(rows[piece].tolist())) for piece in pieces) == len(
                set(np.concatenate([rows[piece] for piece in pieces]).tolist())
            )


def test_blocks_are_of_equal_size():
    grid = Grid.make(103, 50, 4, seed=0)
    assert set(np.bincount(grid.user_block).tolist()) <= {25, 26}
    assert set(np.bincount(grid.item_block).tolist()) <= {12, 13}


@pytest.mark.parametrize(
    ("n_instances", "n_users", "n_items", "expected"),
    [
        pytest.param(16_383, 1000, 1000, 1, id="little data are not cut"),
        pytest.param(16_384, 1000, 1000, 4, id="the smallest grid"),
        pytest.param(20_000_000, 138_000, 27_000, 17, id="65,536 instances a cell"),
        pytest.param(2**40, 10**6, 10**6, 32, id="the largest grid"),
        pytest.param(10**6, 2, 1000, 2, id="no more blocks than users"),
        pytest.param(10**6, 1000, 1, 1, id="no more blocks than items"),
    ],
)
def test_the_grid_depends_on_the_size_of_the_data_alone(n_instances, n_users, n_items, expected):
    assert choose_n_blocks(n_instances, n_users, n_items) == expected


def test_without_negatives_cells_keep_their_order_and_are_rotated(large):
    plan = SamplingPlan(0, "blocked")
    grid = Grid.make(300, 200, 4, 0)
    in_first_cell = []
    for number in (0, 1):
        shown = epoch(large, plan, seed=0, epoch=number)
        in_first_cell.append(shown.interactions[grid.cells(shown.users, shown.items) == 0])
    one, other = in_first_cell
    start = int(np.flatnonzero(other == one[0])[0])
    assert start != 0
    assert np.array_equal(np.roll(other, -start), one)


def test_empty_cells_do_no_harm():
    items = np.arange(20_000) % 4
    data = Interactions.from_columns(np.arange(20_000), items)
    shown = epoch(data, SamplingPlan(0, "blocked"), seed=0, epoch=0)
    assert np.array_equal(np.sort(shown.interactions), np.arange(20_000))


def test_batches_cover_the_epoch_and_the_last_one_may_be_shorter(ratings):
    shown = epoch(ratings, SamplingPlan(), seed=0, epoch=0)
    batches = list(shown.batches(150))
    assert [len(batch) for batch in batches] == [150, 150, 100]
    assert np.array_equal(np.concatenate([batch.items for batch in batches]), shown.items)


def test_the_shuffled_stream_is_pinned(large):
    shown = epoch(large, SamplingPlan(2), seed=11, epoch=3)
    assert shown.interactions[:8].tolist() == [14597, 16173, 15537, 6496, 14933, 7908, 7095, 18826]
    assert shown.items[:8].tolist() == [7, 180, 129, 117, 72, 52, 105, 87]
    assert shown.positive[:8].astype(int).tolist() == [0, 0, 0, 0, 0, 1, 1, 0]


def test_the_paired_stream_is_pinned(large):
    shown = epoch(large, SamplingPlan(2, popularity_exponent=0.75, paired=True), seed=11, epoch=3)
    assert shown.interactions[:8].tolist() == [15916, 18638, 18882, 9744, 6775, 11862, 10642, 3062]
    assert shown.negatives[:8].tolist() == [105, 161, 18, 30, 8, 185, 35, 189]


@pytest.mark.parametrize(
    ("n_negatives", "expected"),
    [(0, [14152, 8135, 7830, 12754, 3241]), (1, [14767, 12732, 8927, 18356, 7461])],
    ids=["without negatives", "with negatives"],
)
def test_the_blocked_stream_is_pinned(large, n_negatives, expected):
    shown = epoch(large, SamplingPlan(n_negatives, "blocked"), seed=11, epoch=3)
    assert shown.interactions[[0, 1, 5000, 12_000, 19_999]].tolist() == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_negatives": -1}, "n_negatives is -1; it must be 0 or more"),
        ({"order": "sorted"}, "order is 'sorted'; it must be one of shuffled, blocked"),
        (
            {"n_negatives": 1, "popularity_exponent": -0.5},
            "popularity_exponent is -0.5; it must be a finite number of at least 0",
        ),
        ({"n_negatives": 1, "popularity_exponent": float("nan")}, "popularity_exponent is nan; it must be"),
        (
            {"popularity_exponent": 0.75},
            "popularity_exponent is 0.75, but no negatives are sampled; pass n_negatives too",
        ),
        ({"paired": True}, "a paired epoch needs negatives; pass n_negatives=1 or more"),
        (
            {"n_negatives": 1, "paired": True, "order": "blocked"},
            "those of a paired epoch have two items; pass order='shuffled'",
        ),
    ],
    ids=[
        "negative number",
        "unknown order",
        "negative exponent",
        "no exponent",
        "exponent without negatives",
        "pairs without negatives",
        "blocked pairs",
    ],
)
def test_a_plan_refuses_what_it_does_not_know(settings, message):
    with pytest.raises(InvalidArgumentError, match=message):
        SamplingPlan(**settings)
