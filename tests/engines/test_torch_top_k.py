"""Ranking and scoring on the torch engine's device: the core's answers, with ties, exclusions and blocks."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import mfcore
from mfcore.data import Vocabulary
from mfcore.errors import DeviceMemoryError, InvalidArgumentError, InvalidDataError
from mfcore.metrics import AUC, MAP, MRR, NDCG, Coverage, FullRanking, GivenNegatives, HitRate, evaluate
from mfcore.model import data_fields, top_k, top_k_of

torch = pytest.importorskip("torch", reason="torch is not installed on this Python")

from mfcore_torch import catalogue, devices, ranking  # noqa: E402
from mfcore_torch.top_k import BLOCK_BYTES, TopK  # noqa: E402

INIT = mfcore.Normal(0.5)
SPECS = {
    "MF": mfcore.MF(5, init=INIT),
    "MF with biases": mfcore.MF(5, biases=True, init=INIT),
    "GMF": mfcore.GMF(5, init=INIT),
    "GMF with biases": mfcore.GMF(5, biases=True, init=INIT),
    "MLP": mfcore.MLP((6, 7, 3), init=INIT),
    "MLP of tanh": mfcore.MLP((6, 4), activation="tanh", init=INIT),
    "NeuMF": mfcore.NeuMF(4, (6, 5, 3), activation="sigmoid", init=INIT),
    "NeuMF, projected": mfcore.NeuMF(4, (6, 3), fusion="projected", init=INIT),
    "TwoTower": mfcore.TwoTower(5, init=INIT),
    "TwoTower with layers": mfcore.TwoTower(5, (7, 4), activation="tanh", init=INIT),
}
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device here"),
    ),
]
USERS = np.array([7, -1, 0, 59, 33, 7, 58])


@pytest.fixture(scope="module")
def data():
    """60 users and 300 items, of which the last of each, and some items more, have no interactions."""
    generator = np.random.default_rng(11)
    cells = generator.choice(59 * 299, size=2_400, replace=False)
    vocabularies = {"user_ids": Vocabulary.range(60), "item_ids": Vocabulary.range(300)}
    return mfcore.Interactions.from_columns(cells // 299, cells % 299, **vocabularies)


@pytest.fixture(scope="module")
def held_out(data):
    """Held-out interactions: known users and items, unknown ones, and some of the training data again."""
    generator = np.random.default_rng(12)
    users, items = generator.integers(60, size=500), generator.integers(300, size=500)
    users[:40], items[:40] = data.users[:40], data.items[:40]
    users[40:50], items[50:60] = 900, 900
    users[60:160] = 5
    return mfcore.Interactions.from_columns(users, items, duplicates="last")


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@pytest.fixture(params=["float64", "float32"])
def dtype(request):
    return np.dtype(request.param)


def model_of(spec, data, dtype="float64"):
    """Return a model of drawn parameters."""
    parameters = spec.initial_parameters(
        data.n_users, data.n_items, seed=3, dtype=np.dtype(dtype), best_constant=0.5
    )
    generator = np.random.default_rng(5)
    for name, array in parameters.items():
        if name.endswith("bias"):
            array[:] = generator.normal(size=array.shape)
    return mfcore.Model(spec, parameters, **data_fields(data))


def model_of_integers(data):
    """Return a biased MF whose scores are small integers: there are many ties, and every sum is exact."""
    model = model_of(SPECS["MF with biases"], data)
    generator = np.random.default_rng(5)
    layout = model.spec.parameters(data.n_users, data.n_items)
    warm = {"user": data.users, "item": data.items}
    for name, array in model.parameters.items():
        array[:] = generator.integers(-1, 2, size=array.shape)
        if layout[name].side is not None:
            # So that cold rows, the means of the others, are 0.
            known = np.unique(warm[layout[name].side])
            array[known[0]] -= array[known].sum(axis=0)
    return model


def on_device(model, device):
    return replace(model, scorer=TopK(model, device))


def answers(model, users, k, exclude_seen):
    """The core's."""
    kept = min(k, model.n_items)
    seen = model.seen if exclude_seen else None
    return top_k(model.score_catalogue, users, kept, model.n_items, seen)


# Top-k


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_it_ranks_as_the_core_does(spec, data, device, dtype):
    model = model_of(spec, data, dtype)
    items, scores = TopK(model, device).top_k(USERS, 10, exclude_seen=True)
    expected_items, expected_scores = answers(model, USERS, 10, exclude_seen=True)
    assert (items.dtype, scores.dtype) == (np.int64, dtype)
    close = {"rtol": 1e-12, "atol": 1e-12} if dtype == np.float64 else {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(scores, expected_scores, **close)
    if dtype == np.float64:
        np.testing.assert_array_equal(items, expected_items)
    else:
        table = model.score_catalogue(USERS)
        np.testing.assert_allclose(np.take_along_axis(table, items, axis=1), expected_scores, **close)


@pytest.mark.parametrize("k", [1, 3, 60, 299, 300, 1000])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_ties_are_broken_by_ascending_item_wherever_the_list_is_cut(data, device, k, exclude_seen):
    model = model_of_integers(data)
    items, scores = TopK(model, device).top_k(USERS, k, exclude_seen)
    kept = min(k, 300)
    for found, expected in zip((items, scores), answers(model, USERS, k, exclude_seen), strict=True):
        np.testing.assert_array_equal(found[:, :kept], expected)
    assert (items[:, kept:] == -1).all()
    assert (scores[:, kept:] == -np.inf).all()


@pytest.mark.parametrize("distinct", [1, 2, 30, 10_000])
def test_the_best_columns_are_those_of_the_core(device, distinct):
    generator = np.random.default_rng(distinct)
    for n_columns, k in product([1, 7, 64, 300, 1_000, 3_001], [1, 2, 9, 64]):
        table = generator.integers(distinct, size=(20, n_columns)) / 8
        table[generator.random(size=table.shape) < 0.2] = -np.inf
        table[3], table[4, ::2] = -np.inf, np.inf
        kept = min(k, n_columns)
        found = ranking.best_columns(torch.from_numpy(table).to(device), kept)
        for ours, theirs in zip(found, top_k_of(table, kept), strict=True):
            np.testing.assert_array_equal(ours.cpu().numpy(), theirs)


def test_a_user_who_has_seen_everything_gets_an_empty_list(device):
    everything = mfcore.Interactions.from_columns([0, 0, 0, 1], [0, 1, 2, 1])
    items, scores = TopK(model_of(SPECS["MF"], everything), device).top_k(np.array([0, 1]), 2, True)
    assert items[0].tolist() == [-1, -1]
    assert scores[0].tolist() == [-np.inf, -np.inf]
    assert sorted(items[1].tolist()) == [0, 2]


def test_nobody_asked_is_nobody_answered(data, device):
    for spec in (SPECS["MF"], SPECS["NeuMF"]):
        scorer = TopK(model_of(spec, data), device)
        nobody = np.array([], dtype=np.int64)
        assert [part.shape for part in scorer.top_k(nobody, 3, True)] == [(0, 3), (0, 3)]
        assert scorer.score_pairs(nobody, nobody).shape == (0,)
        assert scorer.score_catalogue(nobody).shape == (0, 300)


# Scores


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_scores_are_the_cores_for_cold_rows_too(spec, data, device, dtype):
    plain = model_of(spec, data, dtype)
    model = on_device(plain, device)
    items = np.array([0, 5, -1, 299, 17, -1, 298], dtype=np.int32)
    close = {"rtol": 1e-12, "atol": 1e-12} if dtype == np.float64 else {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(model.score_pairs(USERS, items), plain.score_pairs(USERS, items), **close)
    np.testing.assert_allclose(model.score_catalogue(USERS), plain.score_catalogue(USERS), **close)
    assert model.score_pairs(USERS, items).dtype == model.score_catalogue(USERS).dtype == dtype
    np.testing.assert_allclose(model.predict([1, 2, 12345], 3), plain.predict([1, 2, 12345], 3), **close)


def test_scores_are_the_callers_to_overwrite(data, device):
    model = on_device(model_of(SPECS["TwoTower"], data), device)
    before = model.score_catalogue(USERS)
    model.score_catalogue(USERS)[:] = np.nan
    np.testing.assert_array_equal(model.score_catalogue(USERS), before)


@pytest.mark.parametrize("users_at_once", [1, 2, 5])
@pytest.mark.parametrize("name", ["MF with biases", "NeuMF"])
def test_blocks_change_nothing_but_the_memory(data, held_out, device, name, users_at_once, monkeypatch):
    model = model_of(SPECS[name], data)
    asked = []

    def all_answers():
        scorer = TopK(model, device)
        ranks = scorer.positive_ranks(USERS, np.array([0, 0, 0, 2, 6]), np.array([4, 7, 9, 4, 1]), True)
        return [*scorer.top_k(USERS, 7, True), scorer.score_pairs(USERS, USERS), *ranks]

    def score(self, users, scores):
        asked.append(len(users))
        whole(self, users, scores)

    whole, expected = catalogue.Catalogue.score, all_answers()
    monkeypatch.setattr(catalogue.Catalogue, "score", score)
    monkeypatch.setitem(BLOCK_BYTES, device, users_at_once * 8 * 300 + 1)
    monkeypatch.setitem(catalogue.PAIRS_AT_ONCE, device, 90)
    monkeypatch.setattr(ranking, "WORTH_A_SORT", 2)
    for found, wanted in zip(all_answers(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert max(asked) == users_at_once


# Evaluation

METRICS = [NDCG(10), NDCG(), HitRate(3), MAP(5), MRR(), AUC(), Coverage(3), Coverage(20)]


@pytest.mark.parametrize(
    ("ties", "exclude_seen"), [("pessimistic", True), ("average", True), ("optimistic", False)]
)
@pytest.mark.parametrize("tied", [True, False], ids=["many ties", "no ties"])
def test_full_ranking_finds_what_the_core_finds(data, held_out, device, ties, exclude_seen, tied):
    plain = model_of_integers(data) if tied else model_of(SPECS["MF with biases"], data)
    if not tied:
        # Cold items share one row: whether their scores have the same bits is up to the library of products.
        known = np.isin(held_out.item_ids.ids[held_out.items], np.unique(data.items))
        held_out = held_out.select(np.flatnonzero(known))
    protocol = FullRanking(exclude_seen=exclude_seen, ties=ties)
    expected = evaluate(plain, held_out, METRICS, protocol)
    found = evaluate(on_device(plain, device), held_out, METRICS, protocol)
    assert dict(found) == pytest.approx(dict(expected), rel=1e-12)
    np.testing.assert_allclose(found.per_user("NDCG@10"), expected.per_user("NDCG@10"), rtol=1e-12)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_ranking_among_given_negatives_finds_what_the_core_finds(spec, data, held_out, device):
    plain = model_of(spec, data)
    negatives = np.random.default_rng(2).integers(held_out.n_items, size=(len(held_out), 20))
    protocol = GivenNegatives(negatives)
    expected = evaluate(plain, held_out, [HitRate(5), NDCG(5)], protocol)
    found = evaluate(on_device(plain, device), held_out, [HitRate(5), NDCG(5)], protocol)
    assert dict(found) == pytest.approx(dict(expected), rel=1e-12)


def test_full_ranking_asks_the_device_for_ranks_alone(data, held_out, device, monkeypatch):
    model = on_device(model_of(SPECS["MF"], data), device)
    monkeypatch.setattr(TopK, "score_catalogue", lambda self, users: pytest.fail("all scores were asked for"))
    assert 0 < evaluate(model, held_out, [NDCG(10)])["NDCG@10"] < 1


@pytest.mark.parametrize("worth_a_sort", [1, 3, 24])
def test_ranks_count_ties_and_infinities_and_leave_out_what_is_seen(device, worth_a_sort, monkeypatch):
    monkeypatch.setattr(ranking, "WORTH_A_SORT", worth_a_sort)
    table = [[1.0, 2, 2, -np.inf, np.inf, 0], [3, -np.inf, -np.inf, 1, 1, 1], [5, 5, 5, 5, 5, 5]]
    # What is asked for is a candidate, seen or not; the other two seen are none, and one of them is at -inf.
    seen = (torch.tensor([0, 0, 1], device=device), torch.tensor([5, 2, 1], device=device))
    scores = torch.tensor(table, device=device)
    found = ranking.positive_ranks(scores, np.array([3, 1, 0]), np.array([3, 2, 4, 2]), seen)
    above, size, n_candidates = (part.tolist() for part in found)
    assert above == [4, 1, 0, 4]
    assert size == [1, 2, 1, 1]
    assert n_candidates == [5, 5, 6]


def test_a_score_that_is_nan_is_refused_by_name(data, held_out, device):
    model = model_of(SPECS["MF"], data)
    model.parameters["item_factors"][data.items[0]] = np.nan
    with pytest.raises(InvalidDataError, match=r"the model's score of user \d+ for item \d+ is NaN"):
        evaluate(on_device(model, device), held_out, [NDCG(10)])


# Devices


def test_it_scores_where_the_model_was_trained(data, device):
    model = model_of(SPECS["MF"], data)
    assert TopK(replace(model, training={"device": device})).device.type == device
    assert TopK(model).device.type == devices.device_of("auto").type


def test_a_model_of_a_device_that_is_gone_is_scored_on_the_cpu(data):
    model = replace(model_of(SPECS["MF"], data), training={"device": "cuda:77"})
    assert TopK(model).device.type == "cpu"
    with pytest.raises(InvalidArgumentError, match="device is 'cuda:77'"):
        TopK(model, "cuda:77")


def test_a_lack_of_memory_says_what_to_do(data, device, monkeypatch):
    def score(self, users, scores):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(catalogue.Catalogue, "score", score)
    with pytest.raises(DeviceMemoryError, match=r"parameters .*scorer=None"):
        TopK(model_of(SPECS["MF"], data), device).top_k(USERS, 3, True)


def test_settings_of_torch_are_left_as_they_were(data):
    before = torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.is_inference_mode_enabled()
    TopK(model_of(SPECS["MF"], data), "cpu").top_k(USERS, 3, True)
    after = torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.is_inference_mode_enabled()
    assert before == after
