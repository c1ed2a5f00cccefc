"""Optimizers: each rule against its textbook formula, written out step by step on plain numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mfcore import SGD, WALS, Adagrad, Adam, AdamW, LazyAdam, RMSprop, Schedule
from mfcore.engines import initial_optimizer_state
from mfcore.errors import InvalidArgumentError
from mfcore.operators import NUMPY
from mfcore.optimizers import OPTIMIZERS, GradientOptimizer

GRADIENTS = [0.5, -2.0, 0.0, 1e-4, 3.0, -0.7]
START = 1.5


def follow(optimizer, gradients=GRADIENTS, start=START, dtype=np.float64):
    """Return the parameter after each gradient, moved by the optimizer's own rule."""
    rule = optimizer.rule(NUMPY)
    parameter = np.array([start], dtype=dtype)
    slots = [np.full(1, optimizer.initial_slot(name), dtype=dtype) for name in optimizer.slot_names]
    slots += [dtype(0)] * (2 - len(slots))
    path = []
    for step, gradient in enumerate(gradients, start=1):
        coefficients = np.array(optimizer.coefficients(step, optimizer.learning_rate_at(0)), dtype=dtype)
        parameter, *slots = rule(parameter, np.array([gradient], dtype=dtype), *slots, coefficients)
        path.append(parameter.item())
    return path


def sgd_path():
    x, path = START, []
    for g in GRADIENTS:
        x -= 0.1 * g
        path.append(x)
    return path


def momentum_path(nesterov):
    x, v, path = START, 0.0, []
    for g in GRADIENTS:
        v = 0.9 * v + g
        x -= 0.1 * ((g + 0.9 * v) if nesterov else v)
        path.append(x)
    return path


def adagrad_path():
    x, a, path = START, 0.1, []
    for g in GRADIENTS:
        a += g**2
        x -= 0.1 * g / (math.sqrt(a) + 1e-7)
        path.append(x)
    return path


def rmsprop_path():
    x, a, path = START, 0.0, []
    for g in GRADIENTS:
        a = 0.9 * a + 0.1 * g**2
        x -= 0.1 * g / (math.sqrt(a) + 1e-7)
        path.append(x)
    return path


def adam_path(decay=0.0):
    x, m, v, path = START, 0.0, 0.0, []
    for t, g in enumerate(GRADIENTS, start=1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        corrected_m, corrected_v = m / (1 - 0.9**t), v / (1 - 0.999**t)
        x -= 0.1 * decay * x
        x -= 0.1 * corrected_m / (math.sqrt(corrected_v) + 1e-8)
        path.append(x)
    return path


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        pytest.param(SGD(0.1), sgd_path(), id="sgd"),
        pytest.param(SGD(0.1, momentum=0.9), momentum_path(nesterov=False), id="momentum"),
        pytest.param(SGD(0.1, momentum=0.9, nesterov=True), momentum_path(nesterov=True), id="nesterov"),
        pytest.param(Adagrad(0.1), adagrad_path(), id="adagrad"),
        pytest.param(RMSprop(0.1), rmsprop_path(), id="rmsprop"),
        pytest.param(Adam(0.1), adam_path(), id="adam"),
        pytest.param(AdamW(0.1, weight_decay=0.3), adam_path(decay=0.3), id="adamw"),
        pytest.param(LazyAdam(0.1), adam_path(), id="lazy adam"),
    ],
)
def test_the_rule_follows_its_textbook_formula(optimizer, expected):
    assert follow(optimizer) == pytest.approx(expected, rel=1e-12)
    assert follow(optimizer, dtype=np.float32) == pytest.approx(expected, rel=1e-5)


def test_the_first_step_of_adam_is_the_learning_rate_whatever_the_gradient():
    for gradient in (1e-3, 1.0, -1e3):
        moved = follow(Adam(0.01), [gradient], start=0.0)[0]
        assert moved == pytest.approx(-math.copysign(0.01, gradient), rel=1e-4)


def test_adamw_without_decay_is_adam():
    assert follow(AdamW(0.1, weight_decay=0.0)) == follow(Adam(0.1))


@pytest.mark.parametrize(
    "optimizer", [SGD(0.1), Adagrad(0.1), Adagrad(0.1, initial_accumulator=0.0)], ids=str
)
def test_where_a_rule_is_sparse_without_being_lazy_a_zero_gradient_moves_nothing(optimizer):
    assert optimizer.sparse
    before, after = follow(optimizer, [0.7, 0.0])
    assert after == before


@pytest.mark.parametrize(
    "optimizer", [SGD(0.1, momentum=0.9), RMSprop(0.1), Adam(0.1), AdamW(0.1)], ids=lambda o: type(o).__name__
)
def test_rules_with_memory_apply_to_every_row_in_every_step(optimizer):
    assert not optimizer.sparse


def test_a_zero_gradient_still_moves_a_row_under_adam_and_momentum():
    for optimizer in (Adam(0.1), SGD(0.1, momentum=0.9)):
        before, after = follow(optimizer, [0.7, 0.0])
        assert after < before


def test_adamw_decays_a_row_that_never_had_a_gradient():
    assert follow(AdamW(0.1, weight_decay=0.5), [0.0, 0.0], start=2.0) == pytest.approx([1.9, 1.805])


def test_a_schedule_multiplies_the_rate_every_so_many_epochs():
    schedule = Schedule(0.8, factor=0.5, every=2)
    assert [schedule.at(epoch) for epoch in range(5)] == [0.8, 0.8, 0.4, 0.4, 0.2]
    optimizer = SGD(schedule)
    assert [optimizer.learning_rate_at(epoch) for epoch in (0, 4)] == [0.8, 0.2]


def test_a_constant_rate_is_the_same_in_every_epoch():
    assert [Adam(0.01).learning_rate_at(epoch) for epoch in (0, 100)] == [0.01, 0.01]


@pytest.mark.parametrize(
    "kind", [kind for kind in OPTIMIZERS.values() if issubclass(kind, GradientOptimizer)]
)
def test_the_state_holds_each_slot_of_each_trained_parameter_and_the_step(kind):
    optimizer = kind()
    parameters = {"a": np.ones((2, 3), dtype=np.float32), "b": np.ones(4, dtype=np.float32)}
    state = initial_optimizer_state(optimizer, parameters, ["a"])
    assert state.pop("step").tolist() == [0]
    assert set(state) == {f"a/{slot}" for slot in optimizer.slot_names}
    assert all(array.shape == (2, 3) and array.dtype == np.float32 for array in state.values())


def test_the_accumulator_of_adagrad_starts_where_it_is_told():
    state = initial_optimizer_state(Adagrad(initial_accumulator=0.25), {"a": np.zeros(2)}, ["a"])
    assert state["a/accumulator"].tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    "kind", [kind for kind in OPTIMIZERS.values() if issubclass(kind, GradientOptimizer)]
)
def test_a_rule_always_has_the_same_number_of_coefficients(kind):
    optimizer = kind()
    assert len(optimizer.coefficients(1, 0.1)) == len(optimizer.coefficients(10**6, 1e-9))
    assert np.isfinite(optimizer.coefficients(10**6, 0.1)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0), "SGD: learning_rate is 0; it must be a finite number above 0"),
        (lambda: SGD("fast"), "SGD: learning_rate is 'fast'; it must be a finite number above 0"),
        (lambda: Adam(float("nan")), "Adam: learning_rate is nan; it must be a finite number above 0"),
        (lambda: SGD(l2=-1), "SGD: l2 is -1; it must be a finite number of at least 0"),
        (lambda: SGD(momentum=1), "SGD: momentum is 1; it must be .* of at least 0 and below 1"),
        (lambda: SGD(nesterov=True), "SGD: nesterov=True needs a momentum above 0, e.g. momentum=0.9"),
        (lambda: Adagrad(initial_accumulator=-1), "Adagrad: initial_accumulator is -1"),
        (lambda: RMSprop(rho=1), "RMSprop: rho is 1"),
        (lambda: Adam(beta_2=1.5), "Adam: beta_2 is 1.5; it must be .* of at least 0 and below 1"),
        (lambda: LazyAdam(epsilon=0), "LazyAdam: epsilon is 0; it must be a finite number above 0"),
        (lambda: AdamW(weight_decay=-0.1), "AdamW: weight_decay is -0.1"),
        (
            lambda: Schedule(0.1, factor=1.5),
            "Schedule: factor is 1.5; it must be .* above 0 and of at most 1",
        ),
        (lambda: Schedule(0.1, every=0), "Schedule: every is 0; it must be an integer of at least 1"),
        (lambda: WALS(l2=0), "WALS: l2 is 0; it must be a finite number above 0"),
        (lambda: WALS(unobserved_weight=-1), "WALS: unobserved_weight is -1"),
        (lambda: WALS(steps=1.5), "WALS: steps is 1.5; it must be an integer of at least 1"),
        (lambda: WALS(solver="lu"), "WALS: solver is 'lu'; it must be one of cholesky, cg, subspace"),
        (lambda: WALS(zero_pairs="none"), "WALS: zero_pairs is 'none'; it must be one of all, unobserved"),
    ],
)
def test_an_optimizer_refuses_settings_outside_their_domain(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()


# The parts of WALS that need no data


def test_observed_terms_are_added_to_those_of_all_pairs():
    targets, weights = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    a, b = WALS(unobserved_weight=0.5).terms(targets, weights)
    assert (a.tolist(), b.tolist()) == ([3.0, 5.0], [3.0, 10.0])
    a, b = WALS(unobserved_weight=0.5, zero_pairs="unobserved").terms(targets, weights)
    assert (a.tolist(), b.tolist()) == ([2.5, 4.5], [3.0, 10.0])


def test_observed_terms_have_weight_one_where_none_is_given():
    a, b = WALS().terms(np.array([2.0], dtype=np.float32), None)
    assert (a.tolist(), b.tolist(), a.dtype) == ([1.0], [2.0], np.float32)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({"nu": 0.0}, [0.1, 0.1, 0.1], id="nu 0: plain lambda"),
        pytest.param({"nu": 1.0}, [0.1, 0.2, 0.8], id="Spark: lambda times the number of ratings"),
        pytest.param({"nu": 1.0, "unobserved_weight": 0.5}, [0.5, 0.7, 1.3], id="iALS: all pairs count"),
        pytest.param(
            {"nu": 1.0, "unobserved_weight": 0.5, "zero_pairs": "unobserved"},
            [0.5, 0.6, 0.9],
            id="unobserved pairs count",
        ),
        pytest.param({"nu": 0.5}, [0.1, 0.1 * math.sqrt(2), 0.1 * math.sqrt(8)], id="nu in between"),
    ],
)
def test_the_ridge_of_a_row_grows_with_its_pairs(settings, expected):
    assert WALS(l2=0.1, **settings).ridge([0, 2, 8], 10) == pytest.approx(expected)


def test_optimizers_are_values_that_can_be_changed_by_replace():
    assert replace(Adam(0.1), epsilon=1e-3) == Adam(0.1, epsilon=1e-3)
    assert Adam(0.1) != LazyAdam(0.1)
