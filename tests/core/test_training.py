"""fit(): the loop over epochs, what it keeps, when it stops, how it goes on."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import mfcore
from mfcore import MF, NDCG, RMSE, SGD, WALS, Adam, HitRate, Interactions, SampledRanking, Schedule, fit, load
from mfcore.engines import API_VERSION
from mfcore.errors import InvalidArgumentError, NonFiniteObjectiveError, UnsupportedError

TARGET = 3.0


@dataclass
class ScriptedBackend:
    """An engine whose model predicts, after epoch e, TARGET plus errors[e] for every pair."""

    errors: list[float]
    objectives: dict[int, float] = field(default_factory=dict)
    name: str = "scripted"
    api_version: int = API_VERSION
    refusal: str | None = None

    def unsupported(self, job):
        return self.refusal

    def scorer(self, model):
        return None

    def trainer(self, job):
        return ScriptedTrainer(self, job)


class ScriptedTrainer:
    def __init__(self, backend, job):
        self.backend, self.job, self.trained = backend, job, []

    def run_epoch(self, epoch):
        self.trained.append(epoch)
        return self.backend.objectives.get(epoch, 1.0)

    def parameters(self):
        parameters = {name: np.ones_like(array) for name, array in self.job.parameters.items()}
        parameters["user_factors"] *= TARGET + self.backend.errors[self.trained[-1]]
        return parameters

    def optimizer_state(self):
        return {name: array + len(self.trained) for name, array in self.job.optimizer_state.items()}


@pytest.fixture(scope="module")
def held_out():
    return Interactions.from_columns([0, 1, 2], [0, 1, 2], [TARGET] * 3)


@pytest.fixture
def scripted(install_backend, ratings):
    """A function that trains by script."""

    def train(errors, *, objectives=None, **settings):
        backend = install_backend("scripted", ScriptedBackend(errors, objectives or {}))
        return fit(MF(1), ratings, backend=backend, **{"epochs": len(errors), **settings})

    return train


def error_of(model):
    return model.parameters["user_factors"][0, 0].item() - TARGET


# Which epoch is kept


def test_without_validation_the_last_epoch_is_kept(scripted):
    model = scripted([0.5, 0.25, 2.0])
    assert (error_of(model), model.epochs_trained, len(model.history)) == (2.0, 3, 3)


def test_with_validation_the_best_epoch_is_kept(scripted, held_out):
    model = scripted([1.0, 0.25, 0.5, 2.0], validation=held_out)
    assert (error_of(model), model.epochs_trained) == (0.25, 2)


def test_of_equally_good_epochs_the_first_is_kept(scripted, held_out):
    assert scripted([1.0, 0.5, -0.5], validation=held_out).epochs_trained == 2


def test_the_last_epoch_is_kept_where_the_best_is_not_asked_for(scripted, held_out):
    assert error_of(scripted([0.25, 2.0], validation=held_out, keep_best=False)) == 2.0


def test_the_history_tells_of_every_epoch_also_of_those_after_the_best(scripted, held_out):
    model = scripted([1.0, 0.25, 0.5], validation=held_out, objectives={0: 3.0, 1: 2.0, 2: 1.5})
    table = model.history.columns()
    assert set(table) == {"epoch", "objective", "seconds", "instances_per_second", "RMSE", "MAE"}
    assert table["epoch"] == [0, 1, 2]
    assert table["objective"] == [3.0, 2.0, 1.5]
    assert table["RMSE"] == pytest.approx([1.0, 0.25, 0.5])
    assert all(seconds >= 0 for seconds in table["seconds"])
    assert all(rate > 0 for rate in table["instances_per_second"])
    assert repr(model.history) == "History: 3 epochs, last objective 1.50000, RMSE 0.5000, MAE 0.5000"


def test_the_metric_that_decides_can_be_chosen(ratings, checkerboard):
    settings = {"epochs": 3, "optimizer": WALS(0.1, l2=0.01), "backend": "reference"}
    validation = Interactions.from_columns(range(20), range(20))
    metrics = [RMSE(), NDCG(10)]
    for monitor, better in (("RMSE", min), ("NDCG@10", max)):
        model = fit(MF(2), checkerboard, validation=validation, metrics=metrics, monitor=monitor, **settings)
        column = model.history.columns()[monitor]
        assert model.epochs_trained == column.index(better(column)) + 1


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"optimizer": Adam()}, ["RMSE", "MAE"]),
        ({"optimizer": Adam(), "n_negatives": 2}, ["HR@10", "NDCG@10"]),
        ({"optimizer": WALS(0.1)}, ["HR@10", "NDCG@10"]),
        ({"objective": "bpr", "n_negatives": 1}, ["HR@10", "NDCG@10"]),
        ({"objective": "in_batch_softmax"}, ["HR@10", "NDCG@10"]),
        ({"optimizer": WALS()}, ["RMSE", "MAE"]),
        ({"optimizer": Adam(), "metrics": [HitRate(5)]}, ["HR@5"]),
    ],
    ids=[
        "ratings",
        "sampled negatives",
        "unobserved weight",
        "pairs of items",
        "negatives of the batch",
        "wals on ratings",
        "asked for",
    ],
)
def test_metrics_fit_the_kind_of_data(ratings, held_out, settings, names):
    model = fit(MF(2), ratings, epochs=1, validation=held_out, backend="reference", **settings)
    assert list(model.history[0].metrics) == names


def test_ranking_metrics_follow_the_protocol(ratings, held_out):
    model = fit(
        MF(2),
        ratings,
        epochs=1,
        validation=held_out,
        metrics=[HitRate(10)],
        protocol=SampledRanking(5),
        backend="reference",
    )
    # One positive among six candidates is always among the first ten.
    assert model.history[0].metrics == {"HR@10": 1.0}


# When training stops


def test_training_stops_when_patience_runs_out(scripted, held_out):
    model = scripted([1.0, 0.5, 0.6, 0.7, 0.1], validation=held_out, patience=2)
    assert (len(model.history), model.epochs_trained, error_of(model)) == (4, 2, 0.5)


def test_a_better_epoch_renews_the_patience(scripted, held_out):
    model = scripted([1.0, 1.1, 0.9, 1.1, 0.8], validation=held_out, patience=2)
    assert (len(model.history), model.epochs_trained) == (5, 5)


def test_callbacks_are_given_every_epoch_with_its_model(scripted):
    seen = []
    scripted([1.0, 0.5], callbacks=[lambda end: seen.append((end.record.epoch, error_of(end.model)))])
    assert seen == [(0, 1.0), (1, 0.5)]


def test_a_callback_that_returns_true_stops_the_training(scripted):
    model = scripted([1.0, 0.5, 0.25], callbacks=[lambda end: end.record.epoch == 1, lambda end: "more"])
    assert (len(model.history), error_of(model)) == (2, 0.5)


def test_every_callback_is_called_even_where_the_first_stops(scripted):
    called = []
    scripted([1.0, 0.5], callbacks=[lambda end: True, called.append])
    assert [end.record.epoch for end in called] == [0]
    assert len(called[0].history) == 1


# Divergence


@pytest.mark.parametrize("objective", [float("nan"), float("inf")])
def test_a_non_finite_objective_names_the_epoch_and_the_remedy(scripted, objective):
    with pytest.raises(
        NonFiniteObjectiveError, match=rf"{objective} in epoch 1: .*lower the learning rate"
    ) as caught:
        scripted([1.0, 0.5], objectives={1: objective})
    assert caught.value.model is None


def test_a_divergence_leaves_the_best_epoch_in_the_error(scripted, held_out):
    with pytest.raises(NonFiniteObjectiveError) as caught:
        scripted([0.5, 1.0, 2.0], objectives={2: float("nan")}, validation=held_out)
    assert error_of(caught.value.model) == 0.5


def test_a_divergence_leaves_the_last_good_checkpoint(scripted, tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(
        NonFiniteObjectiveError, match=r"run\.safetensors holds the last good epoch"
    ) as caught:
        scripted([0.5, 0.25, 2.0], objectives={2: float("nan")}, checkpoint=path)
    assert error_of(load(path)) == error_of(caught.value.model) == 0.25


def test_a_divergence_in_the_first_epoch_does_not_speak_of_a_checkpoint(scripted, tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(NonFiniteObjectiveError) as caught:
        scripted([0.5], objectives={0: float("nan")}, checkpoint=path)
    assert "checkpoint" not in str(caught.value)
    assert not path.exists()


def test_parameters_that_diverge_after_the_objective_was_taken_do_not_replace_the_checkpoint(
    scripted, tmp_path
):
    path = tmp_path / "run.safetensors"
    with pytest.raises(NonFiniteObjectiveError, match="user_factors is not finite after epoch 1"):
        scripted([0.5, float("nan")], checkpoint=path)
    assert error_of(load(path)) == 0.5


def test_too_large_a_learning_rate_is_a_clear_error_without_a_warning(ratings):
    with pytest.raises(
        NonFiniteObjectiveError, match="training diverged; lower the learning rate or raise l2"
    ):
        fit(MF(2), ratings, optimizer=SGD(1e10), epochs=20, backend="reference")


# Checkpoints and going on


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": SGD(0.02, l2=0.05)},
        {"optimizer": SGD(Schedule(0.05, 0.5), momentum=0.9), "batch_size": 32},
        {"optimizer": Adam(0.01), "batch_size": 32, "n_negatives": 2, "objective": "logistic"},
        {"optimizer": WALS(0.1, l2=0.05, solver="cg")},
    ],
    ids=["plain sgd, blocked", "momentum, schedule", "adam, negatives", "wals"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(ratings, tmp_path, settings, dtype):
    settings = {**settings, "backend": "reference", "dtype": dtype, "seed": 3}
    spec, path = MF(3, biases=True), tmp_path / "run.safetensors"
    whole = fit(spec, ratings, epochs=4, **settings)
    half = fit(spec, ratings, epochs=2, checkpoint=path, **settings)
    for start in (half, path, str(path)):
        resumed = fit(spec, ratings, epochs=4, resume=start, **settings)
        assert resumed.epochs_trained == 4
        assert resumed.history.columns()["objective"] == whole.history.columns()["objective"]
        for name, array in whole.parameters.items():
            assert np.array_equal(resumed.parameters[name], array), name
        for name, array in whole.optimizer_state.items():
            assert np.array_equal(resumed.optimizer_state[name], array), name


def test_the_checkpoint_holds_the_last_epoch_and_the_model_the_best(scripted, held_out, tmp_path):
    path = tmp_path / "run.safetensors"
    model = scripted([0.5, 2.0], validation=held_out, checkpoint=path)
    kept = load(path)
    assert (error_of(model), error_of(kept), kept.epochs_trained) == (0.5, 2.0, 2)
    assert kept.history.columns()["RMSE"] == pytest.approx([0.5, 2.0])


def test_going_on_from_the_best_epoch_trains_the_later_ones_anew(scripted, held_out):
    best = scripted([0.5, 2.0, 3.0], validation=held_out)
    resumed = scripted([0.5, 0.25, 0.125], resume=best, validation=held_out)
    assert resumed.history.columns()["epoch"] == [0, 1, 2]
    assert resumed.history.columns()["RMSE"] == pytest.approx([0.5, 0.25, 0.125])


def test_a_checkpoint_is_complete_at_any_time(ratings, tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    fit(MF(2), ratings, epochs=1, backend="reference", checkpoint=path)
    before = path.read_bytes()

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(MF(2), ratings, epochs=1, backend="reference", checkpoint=path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 2}, "epochs is 2, but the model to resume has been trained for 2 already"),
        ({"spec": MF(4)}, r"resume: the model's spec is MF\(n_factors=2.*not MF\(n_factors=4"),
        ({"optimizer": SGD(0.1)}, "trained with optimizer Adam, not SGD; pass what it was trained with"),
        (
            {"data": Interactions.from_columns([0], [0])},
            "resume: the model was trained on other users or items",
        ),
    ],
    ids=["nothing left to do", "another spec", "another optimizer", "other data"],
)
def test_going_on_with_what_does_not_fit_is_refused(ratings, changed, message):
    model = fit(MF(2), ratings, optimizer=Adam(), epochs=2, backend="reference")
    settings = {"spec": MF(2), "data": ratings, "optimizer": Adam(), "epochs": 4, **changed}
    with pytest.raises(InvalidArgumentError, match=message):
        fit(settings.pop("spec"), settings.pop("data"), resume=model, backend="reference", **settings)


def test_going_on_without_optimizer_state_is_refused(ratings, tmp_path):
    fit(MF(2), ratings, epochs=1, backend="reference").save(tmp_path / "m.safetensors")
    with pytest.raises(InvalidArgumentError, match="carries no optimizer state; resume from a checkpoint"):
        fit(MF(2), ratings, epochs=2, backend="reference", resume=tmp_path / "m.safetensors")


# Choices


def test_a_run_is_a_function_of_its_seed(ratings):
    runs = [
        fit(MF(2), ratings, epochs=2, seed=seed, backend="reference").parameters["user_factors"]
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize(
    ("settings", "order", "batch_size"),
    [
        ({}, "blocked", 1),
        ({"batch_size": 1}, "blocked", 1),
        ({"batch_size": 64}, "shuffled", 64),
        ({"optimizer": SGD(0.01, momentum=0.5)}, "shuffled", 256),
        ({"optimizer": "adam"}, "shuffled", 256),
        ({"order": "shuffled"}, "shuffled", 1),
        ({"optimizer": "adam", "order": "blocked"}, "blocked", 256),
    ],
    ids=str,
)
def test_order_and_batch_size_follow_the_optimizer_unless_given(ratings, settings, order, batch_size):
    training = fit(MF(2), ratings, epochs=1, backend="reference", **settings).training
    assert (training["sampling"]["order"], training["batch_size"]) == (order, batch_size)


@pytest.mark.parametrize("order", ["shuffled", "blocked"])
def test_both_orders_learn_the_ratings(ratings, order):
    settings = {"optimizer": SGD(0.05, l2=0.02), "epochs": 12, "backend": "reference"}
    model = fit(MF(3, biases=True), ratings, order=order, **settings)
    objectives = model.history.columns()["objective"]
    assert objectives[-1] < 0.6 * objectives[0]


@pytest.mark.parametrize(
    ("optimizer", "objective"),
    [
        (None, "Squared"),
        ("adam", "Squared"),
        (WALS(), "Squared"),
        (WALS(unobserved_weight=0.1), "WeightedSquared"),
    ],
    ids=["default", "adam", "wals on ratings", "wals with unobserved weight"],
)
def test_the_objective_follows_the_optimizer_unless_given(ratings, optimizer, objective):
    model = fit(MF(2), ratings, optimizer=optimizer, epochs=1, backend="reference")
    assert model.training["objective"]["kind"] == objective


def test_a_model_says_how_it_was_trained(ratings):
    model = fit(MF(2), ratings, epochs=1, seed=5, backend="reference", dtype="float64")
    assert model.training["backend"] == "reference"
    assert model.training["backend_reason"] == "requested by name"
    assert (model.training["seed"], model.training["dtype"]) == (5, "float64")
    assert model.training["optimizer"]["kind"] == "SGD"
    assert "trained for 1 epochs on reference" in repr(model)


def test_auto_says_why_it_takes_an_engine(ratings, install_backend):
    install_backend("scripted", ScriptedBackend([0.0]))
    model = fit(MF(1), ratings, epochs=1, backend="auto")
    assert model.training["backend"] == "scripted"
    assert model.training["backend_reason"] == (
        "scripted rather than the reference: what the job costs it is unknown"
    )
    install_backend("scripted", ScriptedBackend([0.0], refusal="it rests"))
    model = fit(MF(1), ratings, epochs=1, backend="auto")
    assert model.training["backend"] == "reference"
    assert model.training["backend_reason"] == "reference, slowly: scripted: it rests"


def test_an_engine_that_cannot_do_the_job_is_refused_with_those_that_can(ratings, install_backend):
    name = install_backend("scripted", ScriptedBackend([0.0], refusal="it is on strike"))
    with pytest.raises(UnsupportedError, match="it is on strike; engines that do: reference"):
        fit(MF(1), ratings, epochs=1, backend=name)


def test_progress_is_shown_where_asked_for_and_nowhere_else(scripted, capsys):
    scripted([1.0, 0.5], progress=True)
    shown = capsys.readouterr()
    assert "objective 1.00000" in shown.err
    scripted([1.0, 0.5], progress=None)
    quiet = capsys.readouterr()
    assert (shown.out, quiet.out, quiet.err) == ("", "", "")


def test_the_rate_counts_sampled_negatives(ratings):
    model = fit(MF(2), ratings, optimizer="adam", n_negatives=3, epochs=1, backend="reference")
    record = model.history[0]
    assert record.instances_per_second * record.seconds == pytest.approx(4 * len(ratings))


def test_public_names_are_there():
    assert set(mfcore.__all__) <= set(dir(mfcore))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, "trained with seed 0, not 1"),
        ({"optimizer": mfcore.WALS()}, "trained with optimizer SGD, not WALS"),
        ({"objective": mfcore.WeightedSquared(alpha=2.0)}, "trained with objective"),
        ({"n_negatives": 1, "objective": "squared"}, "trained with sampling"),
        ({"batch_size": 2, "order": "blocked"}, "trained with batch_size 1, not 2"),
    ],
    ids=["seed", "optimizer", "objective", "negatives", "batch size"],
)
def test_a_run_is_not_resumed_under_other_settings(ratings, changed, message):
    begun = mfcore.fit(mfcore.MF(2), ratings, epochs=1, backend="reference")
    with pytest.raises(InvalidArgumentError, match=message):
        mfcore.fit(mfcore.MF(2), ratings, epochs=2, backend="reference", resume=begun, **changed)


def test_a_run_is_not_resumed_on_other_interactions(ratings):
    first, second = (mfcore.splits.ratio(ratings, test=0.2, seed=seed)[0] for seed in (0, 1))
    begun = mfcore.fit(mfcore.MF(2), first, epochs=1, backend="reference")
    with pytest.raises(InvalidArgumentError, match="another split"):
        mfcore.fit(mfcore.MF(2), second, epochs=2, backend="reference", resume=begun)


def test_a_batch_larger_than_an_epoch_is_the_whole_epoch(ratings):
    settings = {"optimizer": "adam", "epochs": 1, "backend": "reference"}
    huge, whole = (
        mfcore.fit(mfcore.MF(2), ratings, batch_size=size, **settings) for size in (2**40, len(ratings))
    )
    np.testing.assert_array_equal(huge.parameters["user_factors"], whole.parameters["user_factors"])
