"""What `mfcore train` does, step by step, and what it tells of each step."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mfcore.cli.choices import id_of
from mfcore.cli.console import Output, warn, working
from mfcore.cli.defaults import Settings, is_neural
from mfcore.cli.epochs import CHOSEN_ON, Choosing, Watched, default_monitor, watch
from mfcore.cli.pretraining import Pretrained, PretrainedFiles, load_pretrained, require_same_data
from mfcore.cli.quality import default_metrics, default_protocols, show_quality, task_of
from mfcore.cli.recipes import Recipe, make_recipe, resumed_recipe
from mfcore.cli.showcase import default_min_count, showcase
from mfcore.cli.sources import Parts, Reading, Source, describe_data, hold_out, read_source
from mfcore.data import Interactions
from mfcore.errors import InvalidArgumentError
from mfcore.metrics import Metric, evaluate_quality
from mfcore.model import EpochRecord, Model, load_model
from mfcore.training import fit


@dataclass(frozen=True, eq=False)
class Request:
    """What was asked for on the command line; see the options of `train`."""

    data: str
    reading: Reading
    split: str | None
    test: float | None
    choosing: Choosing
    settings: Settings
    pretrained: PretrainedFiles
    backend: str
    device: str
    threads: int | None
    metrics: Sequence[Metric]
    user: str | None
    k: int
    min_count: int | None
    out: Path | None
    resume: Path | None


class Clock:
    """Seconds that the steps took, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add what the body takes to a step."""
        start = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start


def run_training(request: Request, out: Output) -> None:
    """Read, hold out, train, save, judge and recommend.

    Raises
    ------
    MfcoreError
        Whatever is wrong with the request; most of it before anything is trained.
    """
    _require_folder(request.out)
    clock = Clock()
    earlier = None if request.resume is None else _resumable(request.resume)
    pretrained = load_pretrained(request.pretrained, request.settings)
    if earlier is not None and pretrained is not None:
        raise InvalidArgumentError("--resume goes on from one model, so --pretrained-gmf does not apply")
    seed = (request.settings.seed or 0) if earlier is None else int(earlier.training["seed"])
    with clock.timed("reading"):
        source = read_source(request.data, request.reading)
        parts = hold_out(source, request.split, request.test, seed)
    if request.metrics and parts.test is None:
        raise InvalidArgumentError("--metric does not apply: --test 0 holds nothing out to measure it on")
    user = _user(request.user, parts.train)
    recipe = _recipe(request, source, parts, earlier, pretrained)
    task = task_of(recipe.spec, ranks=recipe.is_implicit, negatives=parts.negatives)
    metrics = request.metrics or default_metrics(task)
    watched = watch(
        parts,
        request.choosing.basis(parts, by_default=recipe.chooses_epoch, earlier=earlier),
        request.metrics[0] if request.metrics else default_monitor(task),
        task,
        seed=seed,
        is_neural=is_neural(recipe.spec.short_name),
    )
    _require_same_data(watched.train, earlier, pretrained)
    if watched.basis == "test":
        warn("--choose-on-test keeps the epoch that is best on the held-out part: its figures are optimistic")
    document: dict[str, Any] = {"data": _show_data(out, source, parts, watched)}
    document["settings"] = _show_recipe(out, recipe, request)
    model, records = _fit(recipe, watched, request, earlier, clock)
    document["training"] = _show_training(
        out, model, records, watched, clock.seconds["training"], resumed=earlier is not None
    )
    if request.out is not None:
        model.save(request.out, optimizer_state=True)
    if parts.test is not None:
        with clock.timed("evaluating"), working("Evaluating"):
            quality = evaluate_quality(model, parts.test, metrics, default_protocols(task, parts.negatives))
        show_quality(out, quality)
        document["quality"] = quality.document()
    document["recommendations"] = showcase(
        out,
        model,
        parts.train,
        user=user,
        k=request.k,
        min_count=default_min_count(model.item_counts, recipe.is_implicit, request.k)
        if request.min_count is None
        else request.min_count,
    )
    document["saved"] = _show_saved(out, request.out)
    document["seconds"] = clock.seconds
    out.text(", ".join(f"{seconds:.1f} s {step}" for step, seconds in clock.seconds.items()))
    out.document(document)


def _require_folder(path: Path | None) -> None:
    if path is not None and not path.absolute().parent.is_dir():
        raise InvalidArgumentError(f"--out: there is no folder {path.absolute().parent}; create it first")


def _resumable(path: Path) -> Model:
    model = load_model(path)
    if model.optimizer_state is None or "optimizer" not in model.training:
        raise InvalidArgumentError(
            f"--resume: {path} carries no optimizer state; resume a model that `mfcore train --out` saved, or"
            " a checkpoint of `fit`"
        )
    return model


def _user(text: str | None, data: Interactions) -> int | str | None:
    return None if text is None else id_of(text, data.user_ids, "user")


def _recipe(
    request: Request, source: Source, parts: Parts, earlier: Model | None, pretrained: Pretrained | None
) -> Recipe:
    if earlier is not None:
        return resumed_recipe(request.settings, earlier)
    return make_recipe(
        request.settings, parts.train, data_is_implicit=source.is_implicit, pretrained=pretrained
    )


def _require_same_data(train: Interactions, earlier: Model | None, pretrained: Pretrained | None) -> None:
    if earlier is not None:
        _require_same(train, earlier)
    if pretrained is not None:
        require_same_data(pretrained, train)


def _require_same(data: Interactions, earlier: Model) -> None:
    """Refuse to resume on other data: what was held out before would be trained on now."""
    same = data.user_ids == earlier.user_ids and data.item_ids == earlier.item_ids
    seen = data.seen
    if not (
        same
        and np.array_equal(seen.indptr, earlier.seen.indptr)
        and np.array_equal(seen.indices, earlier.seen.indices)
    ):
        raise InvalidArgumentError(
            "--resume: the training data are not those that the model was trained on; pass the same DATA,"
            " --test, --split and --validation or --patience (or none) as then"
        )


def _fit(
    recipe: Recipe, watched: Watched, request: Request, earlier: Model | None, clock: Clock
) -> tuple[Model, list[EpochRecord]]:
    """Return the model and all epochs of this run, those after the best one too."""
    records: list[EpochRecord] = []
    watches = watched.held_out is not None
    with clock.timed("training"):
        model = fit(
            recipe.spec,
            watched.train,
            objective=recipe.objective,
            optimizer=recipe.optimizer,
            **recipe.arguments,
            backend=request.backend,
            device=request.device,
            threads=request.threads,
            validation=watched.held_out,
            metrics=[watched.metric] if watches else None,
            protocol=watched.protocol if watches else None,
            patience=request.choosing.patience,
            callbacks=[lambda end: records.append(end.record)],
            initial=recipe.initial,
            resume=earlier,
        )
    return replace(model, training={**model.training, **_described(recipe, watched)}), records


def _described(recipe: Recipe, watched: Watched) -> dict[str, Any]:
    """Return what `fit` cannot know of how a model was trained."""
    described: dict[str, Any] = {} if watched.basis == "last" else {CHOSEN_ON: watched.basis}
    if recipe.initial is not None:
        described["initial"] = f"NeuMF.from_pretrained(alpha={recipe.options['alpha']:g})"
    return described


def _show_data(out: Output, source: Source, parts: Parts, watched: Watched) -> dict[str, Any]:
    facts, fields = describe_data(source, parts)
    n_validation = 0
    chosen: list[tuple[str, str]] = []
    if watched.basis == "test":
        chosen = [("to choose the epoch", "the held-out part itself: its figures are optimistic")]
    elif watched.held_out is not None:
        n_validation = len(watched.held_out)
        chosen = [("to choose the epoch", f"{n_validation:,} of the rest")]
    out.heading("Data")
    out.fields([*fields, *chosen])
    return {**facts, "validation": n_validation}


def _show_recipe(out: Output, recipe: Recipe, request: Request) -> dict[str, Any]:
    out.heading("Settings")
    origin = "default" if request.resume is None else "from the file"
    out.fields(
        [
            (name.replace("_", "-"), setting_in_words(value), "" if name in recipe.given else origin)
            for name, value in recipe.options.items()
        ]
    )
    return recipe.options


def setting_in_words(value: Any) -> str:
    """Return the value of an option as it is typed, or yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _show_training(
    out: Output,
    model: Model,
    records: Sequence[EpochRecord],
    watched: Watched,
    seconds: float,
    *,
    resumed: bool,
) -> dict[str, Any]:
    done = model.epochs_trained
    kept = next(record for record in records if record.epoch + 1 == done)
    ran = f"{done} in all" if resumed else str(done)
    judged_on = "held-out" if watched.basis == "test" else "validation"
    out.heading("Training")
    out.fields(
        [
            ("engine", f"{model.training['backend']} ({model.training['backend_reason']})"),
            ("epochs", ran if kept is records[-1] else f"{done}, the best of {records[-1].epoch + 1}"),
            ("objective", f"{kept.objective:.5f}, from {records[0].objective:.5f}"),
            *((f"{judged_on} {name}", value) for name, value in kept.metrics.items()),
            ("time", f"{seconds:.1f} s, {_rate(records)} instances a second"),
        ]
    )
    return {**model.training, CHOSEN_ON: watched.basis, "epochs": done, "epochs_run": len(records)}


def _rate(records: Sequence[EpochRecord]) -> str:
    # The first epoch may include the compilation of kernels.
    rate = max(record.instances_per_second for record in records)
    return f"{rate / 1e6:.1f} M" if rate >= 1e6 else f"{rate / 1e3:.1f} k"


def _show_saved(out: Output, path: Path | None) -> str | None:
    out.heading("Done")
    if path is None:
        out.text("not saved; --out m.safetensors would keep the model")
        return None
    out.text(f"saved to {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return str(path)
