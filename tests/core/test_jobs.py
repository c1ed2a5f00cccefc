"""From the arguments of fit to a job: defaults by model and objective, and what does not go together."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from mfcore import (
    BPR,
    GMF,
    MF,
    MLP,
    SGD,
    WALS,
    Adam,
    InBatchSoftmax,
    Interactions,
    NeuMF,
    RatingRange,
    TwoTower,
    fit,
    load,
)
from mfcore.errors import InvalidArgumentError
from mfcore.training import make_job

NEURAL = [GMF(2), MLP((4, 2)), NeuMF(2, (4, 2)), TwoTower(2), TwoTower(2, (2,))]


# Defaults


@pytest.mark.parametrize("spec", NEURAL, ids=str)
def test_neural_models_are_trained_by_adam_in_shuffled_batches_unless_told_otherwise(ratings, job_of, spec):
    job = job_of(spec, ratings)
    assert (job.optimizer, job.batch_size, job.sampling.order) == (Adam(), 256, "shuffled")


def test_matrix_factorisation_is_trained_by_plain_sgd_unless_told_otherwise(ratings, job_of):
    job = job_of(MF(2), ratings)
    assert (job.optimizer, job.batch_size) == (SGD(learning_rate=0.01, l2=0.05), 1)


@pytest.mark.parametrize(("objective", "n_negatives"), [("bpr", 2), ("in_batch_softmax", 0)])
def test_objectives_that_compare_items_take_batches_by_default(ratings, job_of, objective, n_negatives):
    job = job_of(MF(2), ratings, objective=objective, n_negatives=n_negatives)
    assert isinstance(job.optimizer, SGD)
    assert (job.batch_size, job.sampling.order) == (256, "shuffled")


def test_bpr_with_batches_of_one_keeps_the_shuffled_order(ratings, job_of):
    job = job_of(MF(2), ratings, objective="bpr", n_negatives=1, batch_size=1)
    assert (job.batch_size, job.sampling.order) == (1, "shuffled")


def test_a_job_of_bpr_shows_pairs(ratings, job_of):
    job = job_of(MF(2), ratings, objective=BPR(), n_negatives=3)
    assert job.sampling.paired
    assert job.n_instances == 3 * len(ratings)
    assert job_of(MF(2), ratings, n_negatives=3).n_instances == 4 * len(ratings)


def test_the_constant_of_biases_is_zero_where_items_are_compared(ratings, job_of):
    for objective, n_negatives in (("bpr", 1), ("in_batch_softmax", 0)):
        job = job_of(MF(2, biases=True), ratings, objective=objective, n_negatives=n_negatives)
        assert job.parameters["global_bias"] == 0


def test_the_constant_of_gmf_is_the_mean_of_the_ratings(ratings, job_of):
    job = job_of(GMF(2, biases=True), ratings)
    assert job.parameters["global_bias"] == pytest.approx([ratings.values.mean()], rel=1e-6)


def test_state_is_kept_for_the_parameters_that_training_moves(ratings, job_of):
    spec = NeuMF(2, (4, 2), fusion="projected")
    pointwise = job_of(spec, ratings, optimizer=Adam())
    assert pointwise.trained == list(spec.parameter_shapes(1, 1))
    pairwise = job_of(spec, ratings, optimizer=Adam(), objective="bpr", n_negatives=1)
    assert set(pointwise.trained) - set(pairwise.trained) == {"projection/bias", "output/bias"}
    for job in (pointwise, pairwise):
        slots = {f"{name}/{slot}" for name in job.trained for slot in Adam().slot_names}
        assert set(job.optimizer_state) == {"step", *slots}


# What does not go together


@pytest.mark.parametrize("spec", [MLP((4, 2)), NeuMF(2, (4, 2))], ids=lambda spec: type(spec).__name__)
def test_the_in_batch_softmax_is_refused_for_models_that_are_no_inner_product(ratings, job_of, spec):
    with pytest.raises(
        InvalidArgumentError,
        match=rf"a {type(spec).__name__} would run its layers once for each .*\(mf, gmf, two-tower\)",
    ):
        job_of(spec, ratings, objective="in_batch_softmax")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"objective": "in_batch_softmax", "n_negatives": 4},
            "n_negatives is 4, but the in-batch softmax takes the other items.*pass n_negatives=0",
        ),
        (
            {"objective": InBatchSoftmax(), "batch_size": 1},
            "batch_size is 1, or the training data.*nothing to compare its item with; pass batch_size=1024",
        ),
        (
            {"objective": InBatchSoftmax(), "order": "blocked"},
            "the blocked order .* pass order='shuffled' for the in-batch softmax",
        ),
        (
            {"objective": InBatchSoftmax(), "popularity_exponent": 0.75},
            "popularity_exponent is 0.75, but no negatives are sampled",
        ),
        ({"objective": "bpr"}, "sampled negatives; pass n_negatives=1 or more"),
        (
            {"objective": "bpr", "n_negatives": 1, "order": "blocked"},
            "a paired epoch have two items; pass order='shuffled'",
        ),
        ({"objective": "bpr", "n_negatives": 1, "optimizer": "wals"}, "objective 'bpr' is none"),
        ({"objective": "in_batch_softmax", "optimizer": "wals"}, "objective 'in_batch_softmax' is none"),
        ({"objective": BPR}, r"objective is <class .*BPR'>; pass an instance"),
        ({"popularity_exponent": "0.75", "n_negatives": 1}, "popularity_exponent is '0.75'; it must be"),
        (
            {"optimizer": "wals", "popularity_exponent": 0.75, "n_negatives": 1},
            "WALS samples no negatives.*pass n_negatives=0",
        ),
    ],
    ids=[
        "in-batch, negatives",
        "in-batch, single steps",
        "in-batch, blocked",
        "in-batch, popularity",
        "bpr, no negatives",
        "bpr, blocked",
        "bpr by wals",
        "in-batch by wals",
        "a class",
        "exponent of text",
        "wals by popularity",
    ],
)
def test_settings_that_do_not_go_together_are_refused(ratings, job_of, settings, message):
    with pytest.raises(InvalidArgumentError, match=message):
        job_of(MF(2), ratings, **settings)


def test_a_single_interaction_is_no_batch_for_the_in_batch_softmax(job_of):
    data = Interactions.from_columns([1], [1])
    with pytest.raises(InvalidArgumentError, match="nothing to compare its item with"):
        job_of(MF(2), data, objective=InBatchSoftmax())


@pytest.mark.parametrize("spec", NEURAL, ids=str)
def test_wals_is_refused_for_neural_models(ratings, job_of, spec):
    with pytest.raises(
        InvalidArgumentError,
        match=rf"WALS solves for matrix factorisation, not for {type(spec).__name__}; use an optimizer",
    ):
        job_of(spec, ratings, optimizer=WALS())


@pytest.mark.parametrize("objective", ["bpr", "logistic"])
def test_outputs_that_are_no_probability_are_refused_on_scores(ratings, job_of, objective):
    with pytest.raises(InvalidArgumentError, match=r"RatingRange\(.*does not fit it"):
        job_of(NeuMF(2, (4, 2), output=RatingRange(1, 5)), ratings, objective=objective, n_negatives=1)


def test_a_paired_epoch_of_more_than_2_to_the_40_instances_is_refused(ratings, job_of):
    with pytest.raises(InvalidArgumentError, match="more than 2\\^40 instances"):
        job_of(MF(2), ratings, objective="bpr", n_negatives=2**40)


# Going on


def test_a_run_by_popularity_is_not_resumed_without(ratings):
    settings = {"optimizer": "adam", "n_negatives": 1, "backend": "reference"}
    begun = fit(MF(2), ratings, epochs=1, popularity_exponent=0.5, **settings)
    with pytest.raises(InvalidArgumentError, match="resume: the model was trained with sampling"):
        fit(MF(2), ratings, epochs=2, resume=begun, **settings)


def test_parameters_to_go_on_with_are_in_the_order_of_the_spec(ratings, job_of, tmp_path):
    path = tmp_path / "run.safetensors"
    spec = NeuMF(2, (4, 2))
    fit(spec, ratings, epochs=1, backend="reference", dtype="float64", checkpoint=path)
    for start in ("resume", "initial"):
        job = job_of(spec, ratings, **{start: load(path)})
        assert list(job.parameters) == list(spec.parameter_shapes(40, 25))


def test_a_model_written_before_there_were_pairs_can_be_resumed(ratings):
    settings = {"optimizer": "adam", "n_negatives": 1, "backend": "reference", "dtype": "float64"}
    begun = fit(MF(2), ratings, epochs=1, **settings)
    for name in ("paired", "popularity_exponent"):
        del begun.training["sampling"][name]
    resumed, whole = (fit(MF(2), ratings, epochs=2, resume=start, **settings) for start in (begun, None))
    assert np.array_equal(resumed.parameters["item_factors"], whole.parameters["item_factors"])


def test_momentum_is_not_resumed_from_a_state_without_its_slots(ratings):
    settings = {"batch_size": 64, "backend": "reference"}
    begun = fit(MF(2), ratings, optimizer=SGD(0.01), epochs=1, **settings)
    with pytest.raises(
        InvalidArgumentError,
        match=r"optimizer state holds step, but this optimizer keeps item_factors/velocity, step, user_fac",
    ):
        fit(MF(2), ratings, optimizer=SGD(0.01, momentum=0.9), epochs=2, resume=begun, **settings)


@pytest.mark.parametrize("key", ["objective", "optimizer", "sampling", "batch_size", "seed", "backend"])
def test_a_file_that_does_not_tell_a_setting_is_resumed_with_what_is_given(ratings, tmp_path, key):
    path = tmp_path / "run.safetensors"
    settings = {"optimizer": "adam", "n_negatives": 1, "backend": "reference", "dtype": "float64"}
    begun = fit(MF(2), ratings, epochs=1, **settings)
    del begun.training[key]
    begun.save(path, optimizer_state=True)
    resumed, whole = (fit(MF(2), ratings, epochs=2, resume=start, **settings) for start in (path, None))
    assert np.array_equal(resumed.parameters["item_factors"], whole.parameters["item_factors"])


def test_a_name_whose_class_needs_settings_says_so(ratings, registry_kept):
    @dataclass(frozen=True)
    class Needy(SGD):
        short_name = "needy"
        need: int = field(kw_only=True)

    with pytest.raises(InvalidArgumentError, match=r"optimizer is 'needy', which needs settings: .*'need'"):
        fit(MF(2), ratings, optimizer="needy")


def test_a_table_of_rows_that_is_not_trained_is_refused(ratings):
    class Fixed(MF):
        def parameters(self, n_users, n_items):
            layout = super().parameters(n_users, n_items)
            return {**layout, "item_factors": replace(layout["item_factors"], trained=False)}

    with pytest.raises(
        InvalidArgumentError, match="'item_factors' has a row for each item and is not trained"
    ):
        make_job(Fixed(2), ratings)
