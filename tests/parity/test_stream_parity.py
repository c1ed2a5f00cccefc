"""The engines show the instances that `mfcore.sampling` defines, bit for bit."""

from typing import Any, NamedTuple

import numpy as np
import pytest

import mfcore
from mfcore import sampling
from mfcore.contract import TrainingJob
from mfcore.sampling import PopularityTable
from mfcore.sampling.stream import shuffled_instances


class Shown(NamedTuple):
    """What an engine shows at some positions; negatives are None in an epoch that is not paired."""

    users: Any
    items: Any
    positive: Any
    negatives: Any


def shown_by_numba(job):
    if job.sampling.order == "blocked":
        return visited_by_numba(job)
    stream = pytest.importorskip("mfcore_numba.stream", reason="numba is not installed on this Python")
    source = stream.source(job)

    def show(epoch, start, stop):
        listing = stream.empty_listing(job, stop - start)
        stream.list_instances(source, stream.shuffle_of(job, epoch), epoch, start, stop, listing, 0)
        if not job.sampling.paired:
            return Shown(listing.users, listing.items, listing.targets > 0, None)
        pairs = listing.items.reshape(-1, 2)
        np.testing.assert_array_equal(listing.users[::2], listing.users[1::2])
        return Shown(listing.users[::2], pairs[:, 0], np.ones(len(pairs), dtype=bool), pairs[:, 1])

    return show


def visited_by_numba(job):
    """The trainer's own list, sorted by cell; which cells follow one another, the core tells the trainer."""
    blocked = pytest.importorskip("mfcore_numba.blocked", reason="numba is not installed on this Python")
    trainer = blocked.BlockedTrainer(job)

    def show(epoch, start, stop):
        trainer.run_epoch(epoch)
        visited = trainer.grid.visit_order(trainer.starts, job.seed, epoch)[start:stop]
        listing = trainer.listing
        return Shown(listing.users[visited], listing.items[visited], listing.targets[visited] > 0, None)

    return show


def shown_by_torch(job, device="cpu", is_compiled=False):
    torch = pytest.importorskip("torch", reason="torch is not installed on this Python")
    from mfcore_torch.compiling import compiled_for_any_length, has_compiler, left_alone
    from mfcore_torch.stream import Stream

    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("PyTorch finds no CUDA device here")
    if is_compiled and not has_compiler():
        pytest.skip("torch.compile needs a C++ compiler, and none was found")
    stream = Stream(job, torch.device(device), compiled_for_any_length if is_compiled else left_alone)

    def show(epoch, start, stop):
        with torch.no_grad():
            found = stream.instances(epoch, start, stop)
        columns = (found.users, found.items, found.positive, found.negatives)
        return Shown(*(None if column is None else column.cpu().numpy() for column in columns))

    return show


SHOWN_BY = {
    "numba": shown_by_numba,
    "torch": shown_by_torch,
    "torch, compiled": lambda job: shown_by_torch(job, is_compiled=True),
    "torch on CUDA": lambda job: shown_by_torch(job, device="cuda"),
}


@pytest.fixture(params=SHOWN_BY)
def shown_by(request):
    """A function that returns, of a job, a function of (epoch, start, stop): what an engine shows there."""
    return SHOWN_BY[request.param]


@pytest.fixture(scope="module")
def uneven():
    """200 users of whom each has seen between 1 and 39 of 41 items, some far more popular than others."""
    generator = np.random.default_rng(5)
    sizes = np.concatenate([[1, 1, 2, 39, 38], generator.integers(1, 40, size=195)])
    chances = 1 / np.arange(1, 42)
    seen = [generator.choice(41, size=size, replace=False, p=chances / chances.sum()) for size in sizes]
    data = mfcore.Interactions.from_columns(np.repeat(np.arange(200), sizes), np.concatenate(seen))
    assert data.item_counts.min() > 0
    return data


PLANS = {
    "plain": {},
    "one negative": {"objective": "logistic", "n_negatives": 1},
    "negatives": {"objective": "logistic", "n_negatives": 5},
    "popular": {"objective": "logistic", "n_negatives": 3, "popularity_exponent": 0.75},
    "paired": {"objective": "bpr", "n_negatives": 3},
    "paired, popular": {"objective": "bpr", "n_negatives": 3, "popularity_exponent": 0.75},
}
SLICES = {"the first": (0, 1), "some": (1_234, 3_456), "the last": (-1, None)}


def job_for(job_of, data, plan, **settings):
    return job_of(mfcore.MF(4), data, **{"optimizer": "adam", **PLANS[plan], **settings})


def assert_shown(found, job, epoch, start, stop):
    """Assert that exactly what the core defines is shown."""
    expected = sampling.epoch(job.data, job.sampling, seed=job.seed, epoch=epoch).take(slice(start, stop))
    assert_same(found, expected)


def assert_same(found, expected):
    for name in Shown._fields:
        column, of_core = getattr(found, name), getattr(expected, name)
        assert (column is None) == (of_core is None)
        if of_core is not None:
            np.testing.assert_array_equal(column, of_core)


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
@pytest.mark.parametrize("plan", PLANS)
def test_an_epoch_is_the_core_s(uneven, job_of, shown_by, plan, seed):
    job = job_for(job_of, uneven, plan, seed=seed)
    show = shown_by(job)
    for epoch in (0, 7):
        assert_shown(show(epoch, 0, job.n_instances), job, epoch, 0, job.n_instances)


@pytest.mark.parametrize("part", SLICES)
@pytest.mark.parametrize("plan", PLANS)
def test_any_slice_can_be_had_alone(uneven, job_of, shown_by, plan, part):
    job = job_for(job_of, uneven, plan, seed=11)
    start, stop, _ = slice(*SLICES[part]).indices(job.n_instances)
    assert_shown(shown_by(job)(3, start, stop), job, 3, start, stop)


@pytest.mark.parametrize("n", [1, 2, 15, 17, 1_023, 1_024, 1_025])
def test_any_number_of_instances_is_shuffled_within_itself(uneven, job_of, shown_by, n):
    """The shuffle's domain is a power of two: of just above one, every other value is mapped again."""
    data = uneven.select(np.arange(n))
    job = job_for(job_of, data, "plain", batch_size=1)
    shown = shown_by(job)(0, 0, n)
    assert_shown(shown, job, 0, 0, n)
    assert sorted(zip(shown.users, shown.items, strict=True)) == sorted(
        zip(data.users, data.items, strict=True)
    )


@pytest.mark.parametrize("objective", ["logistic", "bpr"])
def test_an_epoch_may_have_more_instances_than_32_bits_can_count(uneven, job_of, shown_by, objective):
    data = uneven.select(np.arange(1, len(uneven), 20))
    job = job_of(mfcore.MF(4), data, optimizer="adam", objective=objective, n_negatives=2**32, seed=5)
    assert 2**39 < job.n_instances < 2**40
    show = shown_by(job)
    for start in (2**31 - 100, 2**32 - 100, job.n_instances - 200):
        expected = shuffled_instances(
            data, job.sampling, seed=5, epoch=1, positions=np.arange(start, start + 200)
        )
        assert_same(show(1, start, start + 200), expected)


@pytest.mark.parametrize("n_negatives", [0, 2])
@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_the_blocked_order_is_the_core_s_in_every_epoch(
    uneven, job_of, shown_by, monkeypatch, n_negatives, seed
):
    monkeypatch.setattr("mfcore.sampling.grid.WORTH_CUTTING", 100)
    job = job_of(
        mfcore.MF(4),
        uneven,
        objective="weighted_squared",
        optimizer=mfcore.SGD(0.01),
        batch_size=1,
        n_negatives=n_negatives,
        seed=seed,
    )
    assert job.sampling.order == "blocked"
    show = shown_by(job)
    for epoch in (0, 1, 2):
        assert_shown(show(epoch, 0, job.n_instances), job, epoch, 0, job.n_instances)
    assert_shown(show(1, 777, 1_777), job, 1, 777, 1_777)


def unseen_by_numba(job, users, ranks, monkeypatch):
    stream = pytest.importorskip("mfcore_numba.stream", reason="numba is not installed on this Python")
    source, items = stream.source(job), ranks.copy()
    if job.popularity is None:
        stream.find_unseen(source.seen_indptr, source.seen_indices, users, items)
    else:
        stream.find_popular(source, users, items)
    return items


def unseen_by_torch(job, users, ranks, monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed on this Python")
    from mfcore_torch import stream
    from mfcore_torch.compiling import left_alone

    monkeypatch.setattr(stream, "drawn_below", lambda bounds, numbers, key: numbers)
    data = stream.Stream(job, torch.device("cpu"), left_alone).data
    find = stream.uniform_negatives if job.popularity is None else stream.popular_negatives
    return find(data, torch.as_tensor(users), torch.as_tensor(ranks), torch.zeros(3)).numpy()


@pytest.mark.parametrize("unseen_by", [unseen_by_numba, unseen_by_torch])
def test_every_rank_and_every_place_on_the_line_is_an_item_of_its_own(uneven, job_of, monkeypatch, unseen_by):
    """All of them are looked up, ends of stretches included, which draws hardly ever hit."""
    seen, weights = uneven.seen, 1 + np.arange(41) % 3
    unseen = [np.setdiff1d(np.arange(41), seen.of(user)) for user in range(200)]
    users = np.repeat(np.arange(200), [len(items) for items in unseen])
    ranks = np.concatenate([np.arange(len(items)) for items in unseen])
    found = unseen_by(job_for(job_of, uneven, "negatives"), users, ranks, monkeypatch)
    np.testing.assert_array_equal(found, np.concatenate(unseen))

    starts = np.concatenate([[0], np.cumsum(weights)])
    light = PopularityTable(
        starts=starts,
        # Of each seen item, the weight before it that its user has not seen.
        unseen_before=np.concatenate(
            [starts[own] - np.cumsum(weights[own]) + weights[own] for own in map(seen.of, range(200))]
        ),
        unseen_weight=np.array([weights[items].sum() for items in unseen]),
    )
    monkeypatch.setattr(TrainingJob, "popularity", light)
    job = job_for(job_of, uneven, "popular")
    users = np.repeat(np.arange(200), light.unseen_weight)
    places = np.concatenate([np.arange(weight) for weight in light.unseen_weight])
    found = unseen_by(job, users, places, monkeypatch)
    np.testing.assert_array_equal(found, np.concatenate([np.repeat(own, weights[own]) for own in unseen]))


def test_a_listing_of_numba_is_written_where_it_is_wanted_and_nowhere_else(uneven, job_of):
    stream = pytest.importorskip("mfcore_numba.stream", reason="numba is not installed on this Python")
    job = job_for(job_of, uneven, "paired")
    listing = stream.empty_listing(job, 50)
    listing.items.fill(-7)
    stream.list_instances(stream.source(job), stream.shuffle_of(job, 0), 0, 20, 40, listing, 10)
    expected = sampling.epoch(uneven, job.sampling, seed=job.seed, epoch=0)
    np.testing.assert_array_equal(listing.items[10:50:2], expected.items[20:40])
    np.testing.assert_array_equal(listing.items[11:50:2], expected.negatives[20:40])
    assert set(listing.items[:10]) == set(listing.items[50:]) == {-7}
