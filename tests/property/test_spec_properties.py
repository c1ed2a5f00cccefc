"""Scores and their derivatives, for any spec and any parameters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfcore import GMF, MF, MLP, NeuMF, TwoTower

FACTORS = st.integers(1, 4)
WIDTHS = st.lists(st.integers(1, 4), max_size=3).map(tuple)
TOWERS = st.builds(lambda half, between, last: (2 * half, *between, last), FACTORS, WIDTHS, FACTORS)
# Of one piece everywhere, so that differences are derivatives.
SMOOTH = st.sampled_from(["tanh", "sigmoid"])
SPECS = st.one_of(
    st.builds(MF, FACTORS, st.booleans()),
    st.builds(GMF, FACTORS, st.booleans()),
    st.builds(MLP, TOWERS, SMOOTH),
    st.builds(NeuMF, FACTORS, TOWERS, SMOOTH, st.sampled_from(["concat", "projected"])),
    st.builds(TwoTower, FACTORS, WIDTHS, SMOOTH),
)
SIZES = st.integers(1, 6)


def drawn(spec, n_users, n_items, generator):
    shapes = spec.parameter_shapes(n_users, n_items)
    return {name: generator.normal(size=shape) for name, shape in shapes.items()}


@given(SPECS, SIZES, SIZES, st.integers(0, 2**32 - 1))
def test_the_catalogue_holds_the_scores_of_all_pairs(spec, n_users, n_items, seed):
    parameters = drawn(spec, n_users, n_items, np.random.default_rng(seed))
    users, items = np.divmod(np.arange(n_users * n_items), n_items)
    scores = spec.score_pairs(parameters, users, items).reshape(n_users, n_items)
    assert spec.score_catalogue(parameters, np.arange(n_users)) == pytest.approx(scores, rel=1e-9, abs=1e-12)


@given(SPECS, SIZES, SIZES, st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_the_derivative_along_any_direction_is_that_of_the_gradient(spec, n_users, n_items, n, seed):
    generator = np.random.default_rng(seed)
    parameters = drawn(spec, n_users, n_items, generator)
    users, items = generator.integers(n_users, size=n), generator.integers(n_items, size=n)
    upstream = generator.normal(size=n)
    layout, direction = spec.parameters(n_users, n_items), drawn(spec, n_users, n_items, generator)
    rows = {"user": users, "item": items, None: ...}
    gradients = spec.score_gradients(parameters, users, items, upstream)
    slope = sum(
        (gradient * direction[name][rows[layout[name].side]]).sum() for name, gradient in gradients.items()
    )

    def along(step):
        there = {name: array + step * direction[name] for name, array in parameters.items()}
        constants = {name: parameters[name] for name in parameters if not layout[name].trained}
        return upstream @ spec.score_pairs({**there, **constants}, users, items)

    numeric = (along(1e-5) - along(-1e-5)) / 2e-5
    assert slope == pytest.approx(numeric, rel=1e-6, abs=1e-6)
