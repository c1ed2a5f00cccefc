"""Recommendations, for any scores and any history: what `recommend` promises."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mfcore import GMF, MF, MLP, Interactions, Model, NeuMF, TwoTower
from mfcore.data import Vocabulary
from mfcore.model import top_k_of

# Few distinct values make many ties; infinities stand for what is left out.
SCORE = st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 0.25, 3.0])


@given(
    arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 12)), elements=SCORE), st.integers(1, 15)
)
def test_top_k_is_a_stable_sort_without_what_is_left_out(scores, k):
    columns, found = top_k_of(scores, k)
    for row, chosen, values in zip(scores, columns, found, strict=True):
        expected = [column for column in np.argsort(-row, kind="stable") if row[column] > -np.inf][:k]
        padding = k - len(expected)
        assert chosen.tolist() == expected + [-1] * padding
        assert values.tolist() == row[expected].tolist() + [-np.inf] * padding


@st.composite
def models(draw):
    """A model whose scores are exact, and often tie.

    Factors are whole numbers, and everybody has training data, so that the averages of cold starts are sums
    divided by a power of two. Otherwise the last bit would depend on how many users BLAS scores at a time.
    """
    n_users, n_items = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 2, 4, 8]))
    pairs = draw(st.sets(st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1))))
    pairs |= {(place % n_users, place % n_items) for place in range(max(n_users, n_items))}
    users, items = zip(*sorted(pairs), strict=True)
    data = Interactions.from_columns(
        users, items, user_ids=Vocabulary.range(n_users), item_ids=Vocabulary.range(n_items)
    )
    factor = st.integers(-2, 2).map(float)
    parameters = {
        "user_factors": draw(arrays(np.float64, (n_users, 2), elements=factor)),
        "item_factors": draw(arrays(np.float64, (n_items, 2), elements=factor)),
    }
    return Model(MF(2), parameters, data.user_ids, data.item_ids, data.seen)


@given(models(), st.integers(1, 10), st.booleans(), st.data())
def test_recommendations_keep_their_promises(model, k, exclude_seen, data):
    users = data.draw(st.lists(st.integers(0, model.n_users + 2), min_size=1, max_size=4))
    for user, ranking in zip(users, model.recommend(users, k, exclude_seen=exclude_seen), strict=True):
        known = user < model.n_users
        seen = set(model.seen.of(user).tolist()) if exclude_seen and known else set()
        items = ranking.items.tolist()
        assert ranking.query == user
        assert len(items) == len(set(items)) == min(k, model.n_items - len(seen))
        assert not seen & set(items)
        assert (np.diff(ranking.scores) <= 0).all()
        ties = np.flatnonzero(np.diff(ranking.scores) == 0)
        assert all(items[place] < items[place + 1] for place in ties)
        others = [item for item in range(model.n_items) if item not in seen and item not in items]
        if others and items:
            best_other = model.score_catalogue(np.array([user if known else -1]))[0, others].max()
            assert best_other <= ranking.scores[-1]


SPECS = st.sampled_from(
    [MF(2, biases=True), GMF(2, biases=True), MLP((4, 2)), NeuMF(1, (2, 3)), TwoTower(2), TwoTower(1, (3,))]
)
IDS = st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 20)), st.text("aeé\u030107", min_size=1, max_size=3)


@st.composite
def models_with_titles(draw):
    """A model of any spec and any kind of ids, with titles; of few values, so that many scores tie."""
    spec = draw(SPECS)
    users, items = (
        draw(st.lists(draw(st.sampled_from(IDS)), min_size=1, max_size=9, unique=True)) for _ in range(2)
    )
    pairs = draw(st.lists(st.tuples(st.sampled_from(users), st.sampled_from(items)), min_size=1, unique=True))
    data = Interactions.from_columns(
        *zip(*pairs, strict=True),
        item_names={item: f"title of {item}" for item in items},
        user_ids=Vocabulary.build(users)[0],
        item_ids=Vocabulary.build(items)[0],
    )
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parameters = {
        name: generator.integers(-2, 3, size=shape) / 2
        for name, shape in spec.parameter_shapes(data.n_users, data.n_items).items()
    }
    return Model(spec, parameters, data.user_ids, data.item_ids, data.seen, data.item_names)


@given(models_with_titles(), st.integers(1, 10), st.booleans())
def test_any_model_recommends_its_catalogue_by_falling_score_and_then_by_id(model, k, exclude_seen):
    for row, user in enumerate(model.user_ids):
        scores = model.score_catalogue(np.array([row]))[0]
        open_items = [
            (-score, item)
            for item, score in zip(model.item_ids, scores.tolist(), strict=True)
            if not exclude_seen or model.item_ids.rows(item) not in model.seen.of(row)
        ]
        ranking = model.recommend(user, k, exclude_seen=exclude_seen)[0]
        assert (
            list(zip((-ranking.scores).tolist(), ranking.items.tolist(), strict=True))
            == sorted(open_items)[:k]
        )
        assert ranking.names.tolist() == [f"title of {item}" for item in ranking.items.tolist()]


@given(models(), st.data())
def test_the_answer_to_one_user_does_not_depend_on_the_others(model, data):
    users = data.draw(st.lists(st.integers(0, model.n_users), min_size=1, max_size=5))
    together = model.recommend(users, 4)
    for user, ranking in zip(users, together, strict=True):
        alone = model.recommend(user, 4)[0]
        assert ranking.items.tolist() == alone.items.tolist()
        assert ranking.scores.tolist() == alone.scores.tolist()


@given(models(), st.integers(1, 10))
def test_similar_items_are_never_the_item_itself_and_cosines_stay_in_their_range(model, k):
    warm = np.flatnonzero(model.item_counts > 0)
    for item, ranking in zip(warm.tolist(), model.similar_items(warm, k), strict=True):
        assert item not in ranking.items.tolist()
        assert len(ranking) == min(k, len(warm) - 1)
        assert (np.abs(ranking.scores) <= 1 + 1e-12).all()
