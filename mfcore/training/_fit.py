"""fit(): the loop over epochs, with validation, early stopping, checkpoints and callbacks."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mfcore.data import Interactions
from mfcore.engines import Backend, Trainer, TrainingJob, choose_backend
from mfcore.errors import InvalidArgumentError, NonFiniteObjectiveError
from mfcore.metrics import MAE, NDCG, RMSE, HitRate, Metric, RankingProtocol, RatingMetric, evaluate
from mfcore.model import EpochRecord, History, Model, data_fields
from mfcore.objectives import Objective
from mfcore.optimizers import WALS, Optimizer
from mfcore.settings import require_storable, to_dict
from mfcore.specs import Floats, ModelSpec
from mfcore.training._jobs import make_job
from mfcore.training._progress import epoch_bar
from mfcore.validation import require_instance, require_integer


@dataclass(frozen=True, eq=False)
class EpochEnd:
    """What a callback receives after each epoch.

    Attributes
    ----------
    record : EpochRecord
    history : History
        Up to this epoch.
    """

    record: EpochRecord
    history: History
    _model: Callable[[], Model]

    @cached_property
    def model(self) -> Model:
        """The model as it is now; copied from the engine when first accessed."""
        return self._model()


Callback = Callable[[EpochEnd], bool | None]


@dataclass(frozen=True)
class Validation:
    """Held-out interactions and how a model is evaluated on them.

    Attributes
    ----------
    data : Interactions
    metrics : sequence of Metric
    protocol : RankingProtocol or None
    monitor : str
        The name of the metric that decides which epoch is best.
    """

    data: Interactions
    metrics: Sequence[Metric]
    protocol: RankingProtocol | None
    monitor: str

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the monitored metric is better."""
        return next(metric.higher_is_better for metric in self.metrics if metric.name == self.monitor)

    def improves(self, record: EpochRecord, best: EpochRecord | None) -> bool:
        """Return whether an epoch is strictly better than the best one before it."""
        if best is None:
            return True
        new, old = record.metrics[self.monitor], best.metrics[self.monitor]
        return new > old if self.higher_is_better else new < old


def fit(
    spec: ModelSpec,
    data: Interactions,
    *,
    objective: str | Objective | None = None,
    optimizer: str | Optimizer | None = None,
    epochs: int = 20,
    batch_size: int | None = None,
    n_negatives: int = 0,
    popularity_exponent: float = 0.0,
    order: Literal["auto", "shuffled", "blocked"] = "auto",
    backend: str | Backend = "auto",
    device: str = "auto",
    threads: int | None = None,
    dtype: Any = "float32",
    seed: int = 0,
    validation: Interactions | None = None,
    metrics: Sequence[Metric] | None = None,
    protocol: RankingProtocol | None = None,
    monitor: str | None = None,
    patience: int | None = None,
    keep_best: bool = True,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    initial: Model | None = None,
    resume: Model | str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Model:
    """Train a model.

    Parameters
    ----------
    spec : ModelSpec
        What the model is, e.g. ``MF(n_factors=50, biases=True)``.
    data : Interactions
        The training data.
    objective : str or Objective, optional
        "squared" (the default), "weighted_squared" (the default of WALS with an unobserved weight),
        "logistic", "bpr", "in_batch_softmax", or an instance.
    optimizer : str or Optimizer, optional
        By default ``SGD(learning_rate=0.01, l2=0.05)`` for matrix factorisation, else ``Adam()``.
    epochs : int
        Epochs in all; with `resume`, those done before are counted.
    batch_size : int, optional
        By default 1 for matrix factorisation by plain SGD, else 256. WALS has no batches.
    n_negatives : int
        Sampled negatives per interaction: items that the user has not seen in the training data, drawn
        anew in every epoch.
    popularity_exponent : float
        Negatives are drawn with a chance proportional to (number of the item's interactions)^exponent; by
        default uniformly.
    order : "auto", "shuffled" or "blocked"
        See `mfcore.sampling`; "auto" is blocked for matrix factorisation by plain SGD at batch_size 1.
    backend : str or Backend
        An engine's name, "auto", or an engine itself, with settings of its own: e.g.
        ``mfcore_torch.TorchBackend(compile=False)``.
    device : str
        "auto", "cpu", "cuda", "cuda:1".
    threads : int, optional
        By default as many as the process may use. Results do not depend on it but for rounding.
    dtype : "float32" or "float64"
    seed : int
    validation : Interactions, optional
        Evaluated after every epoch. Never trained on.
    metrics : sequence of Metric, optional
        By default RMSE and MAE; for implicit data (sampled negatives, an in-batch softmax or an unobserved
        weight) HR@10 and NDCG@10.
    protocol : RankingProtocol, optional
        For ranking metrics; by default `FullRanking()`.
    monitor : str, optional
        The metric that decides; by default the first.
    patience : int, optional
        Stop after so many epochs without a better one.
    keep_best : bool
        Return the best epoch by `monitor`, of those trained by this call; else, and without validation,
        the last.
    callbacks : sequence of callable
        Each is given an `EpochEnd` after every epoch; one that returns True stops the training.
    checkpoint : path, optional
        After every epoch the model of that epoch, with its optimizer state, is written there, atomically.
    initial : Model, optional
        Start from the parameters of a model of the same spec, users and items, with a new optimizer state;
        e.g. that of `NeuMF.from_pretrained`.
    resume : Model or path, optional
        Continue from a model with its optimizer state, trained on any engine, as if without a break.
    progress : bool, optional
        Show a bar; by default on a terminal only.

    Returns
    -------
    Model

    Raises
    ------
    InvalidArgumentError, InvalidDataError
        Before anything is trained.
    UnsupportedError
        The engine does not do this job.
    NonFiniteObjectiveError
        The objective of an epoch, or a parameter after it, is NaN or infinite. It names the epoch; its
        `model` is the last good one that was kept.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> train, test = mfcore.splits.ratio(data, test=0.2, seed=0)
    >>> model = mfcore.fit(
    ...     mfcore.MF(n_factors=4, biases=True), train, epochs=3, validation=test, backend="reference"
    ... )
    >>> sorted(model.history[0].metrics)
    ['MAE', 'RMSE']
    >>> implicit = mfcore.fit(
    ...     mfcore.MF(4), train, optimizer=mfcore.WALS(unobserved_weight=0.1), epochs=2, backend="reference"
    ... )
    >>> len(implicit.recommend(3, k=5)[0])
    5
    """
    require_integer("epochs", epochs, 1)
    if patience is not None:
        require_integer("patience", patience, 1)
    if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise InvalidArgumentError(f"callbacks is {callbacks!r}; pass a sequence of callables, e.g. [print]")
    if checkpoint is not None:
        _check_writable(Path(checkpoint))
    earlier = _earlier(resume)
    _check_start(initial, resume)
    job = make_job(
        spec,
        data,
        objective=objective,
        optimizer=optimizer,
        batch_size=batch_size,
        n_negatives=n_negatives,
        popularity_exponent=popularity_exponent,
        order=order,
        device=device,
        threads=threads,
        dtype=dtype,
        seed=seed,
        initial=initial,
        resume=earlier,
    )
    # What no file can hold is refused before training; what no program could load, only if one is written.
    check = to_dict if checkpoint is None else require_storable
    for part in (job.spec, job.objective, job.optimizer):
        check(part)
    watch = _validation(
        validation,
        metrics=metrics,
        protocol=protocol,
        monitor=monitor,
        patience=patience,
        implicit=_is_implicit(job),
    )
    engine, reason = choose_backend(backend, job, epochs - (earlier.epochs_trained if earlier else 0))
    run = _Run(
        job,
        engine,
        reason=reason,
        validation=watch,
        keep_best=keep_best,
        patience=patience,
        callbacks=tuple(callbacks),
        checkpoint=checkpoint,
        earlier=earlier,
    )
    return run.train(epochs, progress)


class _Run:
    """One call of `fit`: the trainer, and the state between epochs."""

    def __init__(
        self,
        job: TrainingJob,
        engine: Backend,
        *,
        reason: str,
        validation: Validation | None,
        keep_best: bool,
        patience: int | None,
        callbacks: tuple[Callback, ...],
        checkpoint: str | os.PathLike[str] | None,
        earlier: Model | None,
    ) -> None:
        self.job = job
        self.engine = engine
        self.validation = validation
        self.keep_best = keep_best and validation is not None
        self.patience = patience
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.first = earlier.epochs_trained if earlier else 0
        # The history of a model kept as the best one has the epochs after it too; they are trained anew.
        past = earlier.history if earlier else ()
        self.history = History(tuple(record for record in past if record.epoch < self.first))
        self.epoch = self.first
        self.description = {
            "backend": engine.name,
            "backend_reason": reason,
            **{name: to_dict(getattr(job, name)) for name in ("objective", "optimizer", "sampling")},
            **{name: getattr(job, name) for name in ("batch_size", "seed", "device")},
            "dtype": job.dtype.name,
        }
        self.trainer: Trainer = engine.trainer(job)
        # Where several processes train together, one of them shows progress and writes files.
        self.is_main: bool = getattr(self.trainer, "is_main", True)
        self.best: tuple[EpochRecord, Model] | None = None
        self.last_good = earlier
        self.saved = False
        self.evaluated: Model | None = None

    def train(self, epochs: int, progress: bool | None) -> Model:
        if self.first >= epochs:
            raise InvalidArgumentError(
                f"epochs is {epochs}, but the model to resume has been trained for {self.first} already"
            )
        with epoch_bar(epochs, self.first, progress if self.is_main else False) as watch:
            for epoch in range(self.first, epochs):
                record = self._epoch(epoch)
                watch(record)
                if self._is_last(record):
                    break
        if self.best and self.keep_best:
            return replace(self.best[1], history=self.history)
        return self._model()

    def _epoch(self, epoch: int) -> EpochRecord:
        self.epoch = epoch
        start = time.perf_counter()
        # A divergence is reported below as an error, not by numpy as a warning.
        with np.errstate(over="ignore", invalid="ignore"):
            objective = float(self.trainer.run_epoch(epoch))
        seconds = time.perf_counter() - start
        if not np.isfinite(objective):
            raise self._diverged(f"the objective is {objective} in epoch {epoch}")
        record = EpochRecord(epoch, objective, seconds, self._n_shown() / max(seconds, 1e-9))
        if self.validation is not None:
            self.evaluated = self._model()
            found = evaluate(
                self.evaluated,
                self.validation.data,
                self.validation.metrics,
                protocol=self.validation.protocol,
            )
            record = replace(record, metrics=dict(found))
        self.history = History((*self.history.records, record))
        return record

    def _is_last(self, record: EpochRecord) -> bool:
        end = EpochEnd(record, self.history, self._evaluated_model if self.evaluated else self._model)
        if self.validation is not None and self.validation.improves(record, self.best and self.best[0]):
            self.best = (record, end.model)
        if self.checkpoint is not None and self.is_main:
            end.model.save(self.checkpoint, optimizer_state=True)
            self.last_good, self.saved = end.model, True
        stopped = [callback(end) for callback in self.callbacks]
        waited = self.best is not None and record.epoch - self.best[0].epoch >= (self.patience or np.inf)
        return waited or any(isinstance(answer, bool | np.bool_) and answer for answer in stopped)

    def _n_shown(self) -> int:
        return len(self.job.data) if isinstance(self.job.optimizer, WALS) else self.job.n_instances

    def _model(self) -> Model:
        model = Model(
            spec=self.job.spec,
            parameters=self._finite_parameters(),
            **data_fields(self.job.data),
            training=self.description,
            history=self.history,
            epochs_trained=self.history[-1].epoch + 1 if self.history else self.first,
            optimizer_state=self.trainer.optimizer_state(),
        )
        return replace(model, scorer=self.engine.scorer(model))

    def _evaluated_model(self) -> Model:
        """Return the model that was validated, which now has one more epoch behind it."""
        assert self.evaluated is not None
        return replace(self.evaluated, history=self.history, epochs_trained=self.epoch + 1)

    def _finite_parameters(self) -> dict[str, Floats]:
        """Return the parameters; the objective of an epoch is older than its last steps."""
        parameters = self.trainer.parameters()
        for name, array in parameters.items():
            if not np.isfinite(array).all():
                raise self._diverged(f"{name} is not finite after epoch {self.epoch}")
        return parameters

    def _diverged(self, what: str) -> NonFiniteObjectiveError:
        kept = f"; the checkpoint {self.checkpoint} holds the last good epoch" if self.saved else ""
        error = NonFiniteObjectiveError(
            f"{what}: training diverged; lower the learning rate or raise l2{kept}"
        )
        error.model = self.best[1] if self.best else self.last_good
        return error


def _is_implicit(job: TrainingJob) -> bool:
    if isinstance(job.optimizer, WALS):
        return job.optimizer.unobserved_weight > 0
    return bool(job.sampling.n_negatives) or job.objective.pairing == "in-batch"


def _validation(
    data: Interactions | None,
    *,
    metrics: Sequence[Metric] | None,
    protocol: RankingProtocol | None,
    monitor: str | None,
    patience: int | None,
    implicit: bool,
) -> Validation | None:
    if data is None:
        given = {"metrics": metrics, "protocol": protocol, "monitor": monitor, "patience": patience}
        for name, value in given.items():
            if value is not None:
                raise InvalidArgumentError(f"{name} is given, but there is no validation data to apply it to")
        return None
    if not isinstance(data, Interactions):
        raise InvalidArgumentError(
            f"validation is {data!r}; pass held-out Interactions, e.g. the second part of"
            " mfcore.splits.ratio(data, test=0.2)"
        )
    if len(data) == 0:
        raise InvalidArgumentError("validation is empty; pass None to train without validation")
    if metrics is None:
        metrics = (HitRate(10), NDCG(10)) if implicit else (RMSE(), MAE())
    if not metrics:
        raise InvalidArgumentError("metrics is empty; name at least one, e.g. mfcore.RMSE()")
    for metric in metrics:
        require_instance("metrics", metric, Metric, "mfcore.NDCG(10)")
    if protocol is not None and all(isinstance(metric, RatingMetric) for metric in metrics):
        raise InvalidArgumentError("protocol is given, but every metric is a rating metric, which needs none")
    names = [metric.name for metric in metrics]
    if monitor is not None and monitor not in names:
        raise InvalidArgumentError(f"monitor is {monitor!r}; the metrics are {', '.join(names)}")
    return Validation(data, metrics, protocol, monitor or names[0])


def _check_writable(path: Path) -> None:
    if not path.parent.is_dir():
        raise InvalidArgumentError(f"checkpoint: there is no folder {path.parent}; create it first")
    if path.is_dir():
        raise InvalidArgumentError(
            f"checkpoint: {path} is a folder; name a file, e.g. {path / 'run.safetensors'}"
        )


def _check_start(initial: Any, resume: Any) -> None:
    if initial is None:
        return
    require_instance("initial", initial, Model, "NeuMF.from_pretrained(gmf, mlp)")
    if resume is not None:
        raise InvalidArgumentError(
            "initial and resume are both given; pass initial to start a new run from a model's parameters,"
            " resume to go on with its run"
        )


def _earlier(resume: Model | str | os.PathLike[str] | None) -> Model | None:
    if resume is None or isinstance(resume, Model):
        return resume
    from mfcore.model import load_model

    return load_model(resume)
