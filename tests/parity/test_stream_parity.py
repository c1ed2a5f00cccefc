"""The engines show the instances that `mfcore.sampling` defines, bit for bit.

Engines as they are pass `StreamConformance` in `test_model_parity`; here are their other settings and their
parts.
"""

import numpy as np
import pytest

from mfcore import sampling
from mfcore.engines import StreamBackend, TrainingJob, registry
from mfcore.sampling import PopularityTable
from mfcore.testing._streams import STREAM_CASES, n_differences, uneven
from mfcore.testing.conformance import StreamConformance


class TestCompiledTorch(StreamConformance):
    @pytest.fixture
    def engine(self):
        compiling = pytest.importorskip("mfcore_torch.compiling", reason="torch is not installed")
        if not compiling.has_compiler():
            pytest.skip("torch.compile needs a C++ compiler, and none was found")
        return pytest.importorskip("mfcore_torch").TorchBackend(compile=True)


@pytest.mark.parametrize("name", ["numba", "torch", "keras"])
def test_mfcore_s_own_engines_tell_their_stream(name):
    try:
        backend = registry.get(name)
    except registry.BackendMissingError as error:
        pytest.skip(str(error))
    # Where one does not, the suite skips its stream.
    assert isinstance(backend, StreamBackend)


def job_for(plan):
    return STREAM_CASES[plan].job(uneven(), seed=0)


@pytest.mark.parametrize("plan", ["popular negatives", "pairs"])
def test_compiled_by_xla_they_are_the_same(plan):
    engine = pytest.importorskip("mfcore_keras", reason="keras is not installed").KerasBackend(compile=True)
    assert n_differences(engine, job_for(plan), 7, 0, 3_000) == 0


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
def test_every_rank_and_every_place_on_the_line_is_an_item_of_its_own(monkeypatch, unseen_by):
    """All of them are looked up, ends of stretches included, which draws hardly ever hit."""
    seen, weights = uneven().seen, 1 + np.arange(41) % 3
    unseen = [np.setdiff1d(np.arange(41), seen.of(user)) for user in range(200)]
    users = np.repeat(np.arange(200), [len(items) for items in unseen])
    ranks = np.concatenate([np.arange(len(items)) for items in unseen])
    found = unseen_by(job_for("negatives"), users, ranks, monkeypatch)
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
    job = job_for("popular negatives")
    users = np.repeat(np.arange(200), light.unseen_weight)
    places = np.concatenate([np.arange(weight) for weight in light.unseen_weight])
    found = unseen_by(job, users, places, monkeypatch)
    np.testing.assert_array_equal(found, np.concatenate([np.repeat(own, weights[own]) for own in unseen]))


def test_a_listing_of_numba_is_written_where_it_is_wanted_and_nowhere_else():
    stream = pytest.importorskip("mfcore_numba.stream", reason="numba is not installed on this Python")
    job = job_for("pairs")
    listing = stream.empty_listing(job, 50)
    listing.items.fill(-7)
    stream.list_instances(stream.source(job), stream.shuffle_of(job, 0), 0, 20, 40, listing, 10)
    expected = sampling.epoch(uneven(), job.sampling, seed=job.seed, epoch=0)
    np.testing.assert_array_equal(listing.items[10:50:2], expected.items[20:40])
    np.testing.assert_array_equal(listing.items[11:50:2], expected.negatives[20:40])
    assert set(listing.items[:10]) == set(listing.items[50:]) == {-7}
