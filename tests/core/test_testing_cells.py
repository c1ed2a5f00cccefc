"""The cells on which engines are compared: what each of them has, and what they cover together."""

import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

import mfcore
from mfcore.engines import TrainingJob, reference
from mfcore.specs import _dense as dense
from mfcore.testing import Cell, References, cells, evaluate
from mfcore.testing._cells import (
    AT_ZERO,
    BATCHES,
    CUT_FROM,
    MODELS,
    OBJECTIVES,
    ONE_BY_ONE,
    OUTPUTS,
    SOLVERS,
    small_data_cut,
)

GRADIENT = [cell for cell in cells() if cell.optimizer not in SOLVERS]


def names(cell):
    return (cell.model, cell.objective, cell.optimizer)


def pairs(chosen):
    """The pairs of names in float64, but for an output, which stands behind the score, and a rule."""
    return {
        (first, second)
        for cell in chosen
        if cell.dtype == "float64"
        for first, second in combinations(names(cell), 2)
        if not (first in OUTPUTS and second in BATCHES)
    }


def test_in_float64_all_pairs_of_the_whole_product_occur():
    assert pairs(cells()) == pairs(cells("every"))
    assert set(cells()) <= set(cells("every"))
    assert len(cells()) < len(cells("every")) / 4


def test_in_float32_every_kind_of_model_objective_and_optimizer_occurs():
    rounded = [cell for cell in cells() if cell.dtype == "float32"]
    assert {cell.kind for cell in rounded} == {spec.short_name for spec in MODELS.values()}
    assert {cell.objective for cell in rounded} == set(OBJECTIVES)
    assert {cell.optimizer for cell in rounded} == {*BATCHES, *ONE_BY_ONE, *SOLVERS}


def test_every_model_objective_and_optimizer_of_mfcore_is_in_a_cell():
    jobs = [cell.job() for cell in cells()]
    assert {type(job.spec) for job in jobs} == set(mfcore.specs.MODELS.values())
    assert {type(job.objective) for job in jobs} == set(mfcore.objectives.OBJECTIVES.values())
    assert {type(job.optimizer) for job in jobs} == set(mfcore.optimizers.OPTIMIZERS.values())


@pytest.mark.parametrize("cell", GRADIENT, ids=str)
def test_a_cell_has_repeated_ids_an_uneven_last_batch_a_falling_rate_and_regularisation(cell):
    job = cell.job()
    per_step = job.data.users[: job.batch_size]
    assert job.batch_size == 1 or len(np.unique(per_step)) < len(per_step)
    assert job.batch_size == 1 or job.n_instances % job.batch_size > 0
    rates = [job.optimizer.learning_rate_at(epoch) for epoch in range(cell.epochs)]
    assert rates[1] == rates[0] / 2
    assert job.optimizer.l2 or job.optimizer.weight_decay
    assert 100 <= cell.epochs * -(-job.n_instances // job.batch_size) <= 600


def test_both_dtypes_start_from_the_same_numbers():
    narrow, wide = (Cell("neumf", "bpr", "adagrad", dtype).job() for dtype in ("float32", "float64"))
    for name, array in narrow.parameters.items():
        np.testing.assert_array_equal(array, wide.parameters[name])
        assert (array.dtype, wide.parameters[name].dtype) == (np.float32, np.float64)
    for name, array in narrow.optimizer_state.items():
        np.testing.assert_array_equal(array, wide.optimizer_state[name])


@pytest.mark.parametrize("cell", GRADIENT, ids=str)
def test_a_first_step_is_one_batch(cell):
    job = cell.first_step()
    assert isinstance(job, TrainingJob)
    assert job.n_instances <= max(job.batch_size, 2)


def test_small_data_are_cut_into_blocks_only_where_that_is_asked_for():
    from mfcore.sampling import choose_n_blocks

    assert choose_n_blocks(CUT_FROM, 60, 50) == 1
    with small_data_cut():
        assert choose_n_blocks(CUT_FROM, 60, 50) > 1
    assert choose_n_blocks(CUT_FROM, 60, 50) == 1


def test_all_but_the_pytest_class_is_imported_without_pytest():
    program = (
        "import sys; sys.modules['pytest'] = None\n"
        "import mfcore.testing, mfcore.verification\n"
        "assert not {'torch', 'tensorflow', 'numba'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


class AlmostReLU(mfcore.ReLU):
    """Has a slope of 1 at exactly 0."""

    def forward(self, xp):
        relu = super().forward(xp)

        def almost(score, c):
            prediction, derivative = relu(score, c)
            return prediction, xp.where(score == c[0], c[1], derivative)

        return almost


class Wrong:
    """The reference engine with another output."""

    name = "wrong"

    def unsupported(self, job):
        return None

    def trainer(self, job):
        return reference.backend.trainer(replace(job, spec=replace(job.spec, output=AlmostReLU())))


def test_a_wrong_slope_of_relu_at_a_score_of_0_shows_in_the_cells_at_zero_alone():
    for selection in ("quick", "standard"):
        of_relu = [cell for cell in cells(selection) if cell.objective == "squared of relu"]
        wrong = [cell for cell in of_relu if not evaluate(Wrong(), cell, References()).holds]
        assert wrong == [cell for cell in of_relu if cell.model.endswith(AT_ZERO)]
        assert len(wrong) == 2


def test_a_wrong_slope_of_relu_in_a_layer_shows_at_zero(monkeypatch):
    references, cell = References(), Cell("mlp of relu at zero", "squared", "sgd", "float64")
    assert evaluate(reference.backend, cell, references).holds
    relu = dense.ACTIVATIONS["relu"]
    wrong = replace(relu, slope=lambda a: (a >= 0).astype(a.dtype))
    monkeypatch.setitem(dense.ACTIVATIONS, "relu", wrong)
    assert not evaluate(reference.backend, cell, references).holds


def test_a_quick_selection_has_each_model_objective_and_optimizer_in_few_cells():
    quick, standard = cells("quick"), cells()
    assert set(quick) <= set(cells("every"))
    for part in ("model", "objective", "optimizer", "dtype"):
        assert {getattr(cell, part) for cell in quick} == {getattr(cell, part) for cell in standard}
    assert {cell.kind for cell in quick if cell.dtype == "float32"} == {cell.kind for cell in standard}
    assert len(quick) < 30
