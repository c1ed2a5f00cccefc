"""`mfcore train`: from data to a model, its quality and some recommendations, in one go."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from mfcore.cli import quality
from mfcore.cli.commands import Settings
from mfcore.cli.console import Printer, format_setting, warn, working
from mfcore.cli.epochs import CHOSEN_ON, HoldingOut, Watched, default_monitor, watch
from mfcore.cli.options import (
    DataArgument,
    DeviceOption,
    JsonOption,
    ThreadsOption,
    at_least,
    count_option,
    opt,
)
from mfcore.cli.pretraining import PretrainedFiles, load_pretrained, require_same_data
from mfcore.cli.quality import MetricOption
from mfcore.cli.recipes import Recipe, make_recipe
from mfcore.cli.recommend import default_min_count, id_of, showcase
from mfcore.cli.sources import LoadedData, Parts, Reading, describe_data, hold_out, read_source
from mfcore.data import Interactions
from mfcore.engines import names as engine_names
from mfcore.errors import InvalidArgumentError
from mfcore.metrics import evaluate_quality
from mfcore.model import EpochRecord, Model, load_model
from mfcore.training import fit


@dataclass(frozen=True)
class Machine:
    """What trains."""

    panel: ClassVar[str] = "Training"

    backend: Annotated[
        str,
        opt("Engine; see mfcore backends. Default: auto", "NAME", names=lambda: ["auto", *engine_names()]),
    ] = "auto"
    device: DeviceOption = "auto"
    threads: ThreadsOption = None


@dataclass(frozen=True)
class Results:
    """What is done with the model, and where it comes from."""

    panel: ClassVar[str] = "Results"

    metric: MetricOption = None
    recommend_for: Annotated[
        str | None, opt("Show recommendations for this user. Default: one of middling activity.", "USER")
    ] = None
    k: Annotated[int, opt("Length of the lists.", "N", "--k", "-k", check=at_least(1), default=True)] = 10
    min_count: Annotated[int | None, count_option("20 for ratings")] = None
    out: Annotated[Path | None, opt("Save the model there, ready to be resumed.", "FILE")] = None
    resume: Annotated[
        Path | None, opt("Go on training a saved model on the same data, up to --epochs in all.", "FILE")
    ] = None

    def require_folder(self) -> None:
        """Raise InvalidArgumentError where the model could not be saved."""
        if self.out is not None and not self.out.absolute().parent.is_dir():
            raise InvalidArgumentError(
                f"--out: there is no folder {self.out.absolute().parent}; create it first"
            )

    def resumable(self) -> Model | None:
        """Return the model to go on with."""
        model = None if self.resume is None else load_model(self.resume)
        if model is not None and (model.optimizer_state is None or "optimizer" not in model.training):
            raise InvalidArgumentError(
                f"--resume: {self.resume} carries no optimizer state; resume a model that"
                " `mfcore train --out` saved, or a checkpoint of `fit`"
            )
        return model

    def user(self, data: Interactions) -> int | str | None:
        """Return the id of the user that something is to be recommended to."""
        return None if self.recommend_for is None else id_of(self.recommend_for, data.user_ids, "user")

    def show_saved(self, printer: Printer) -> str | None:
        """Print, and return, where the model was saved."""
        printer.heading("Done")
        if self.out is None:
            printer.text("not saved; --out m.safetensors would keep the model")
            return None
        printer.text(f"saved to {self.out} ({self.out.stat().st_size / 1e6:.1f} MB)")
        return str(self.out)


def train(
    data: DataArgument,
    *,
    holding_out: HoldingOut,
    reading: Reading,
    settings: Settings,
    machine: Machine,
    files: PretrainedFiles,
    results: Results,
    as_json: JsonOption = False,
) -> None:
    """Train a model on DATA, judge it on a held-out part, and recommend something.

    {defaults}

    Examples
    --------
    mfcore train ml-100k
    mfcore train ml-1m-ncf --n-factors 192 --out m.safetensors
    mfcore train ml-100k --optimizer adam --epochs 100 --n-factors 3 --no-biases --l2 0.05
    mfcore train ml-1m --n-negatives 8 --patience 5 --metric ndcg@10
    mfcore train ml-1m-ncf --model neumf --out neumf.safetensors
    mfcore train ml-1m-ncf --model neumf --pretrained-gmf gmf.safetensors --pretrained-mlp mlp.safetensors
    mfcore train ml-100k --model two-tower
    mfcore train ml-100k --resume m.safetensors --epochs 200 --out m.safetensors
    mfcore train ml-100k --plugin my_models --model my-model
    """
    printer, seconds = Printer(as_json), _Seconds()
    metrics = quality.metrics_of(results.metric or ())
    results.require_folder()
    earlier = results.resumable()
    pretrained = load_pretrained(files, settings)
    if earlier is not None and pretrained is not None:
        raise InvalidArgumentError("--resume goes on from one model, so --pretrained-gmf does not apply")
    seed = settings.get("seed", 0) if earlier is None else int(earlier.training["seed"])
    with seconds.of("reading"):
        source = read_source(data, reading)
        parts = hold_out(source, holding_out.split, holding_out.test, seed)
    if metrics and parts.test is None:
        raise InvalidArgumentError("--metric does not apply: --test 0 holds nothing out to measure it on")
    user = results.user(parts.train)
    recipe = make_recipe(settings, parts.train, source.is_implicit, pretrained=pretrained, earlier=earlier)
    task = quality.task_of(recipe.spec, ranks=recipe.is_implicit, negatives=parts.negatives)
    basis = holding_out.basis(parts, by_default=recipe.is_neural and recipe.is_implicit, earlier=earlier)
    monitor = metrics[0] if metrics else default_monitor(task)
    watched = watch(parts, basis, monitor, task, seed=seed, is_neural=recipe.is_neural)
    if pretrained is not None:
        require_same_data(pretrained, watched.train)
    recipe.require_job(watched.train, earlier)
    if basis == "test":
        warn("--choose-on-test keeps the epoch that is best on the held-out part: its figures are optimistic")
    document = _show_data(printer, source, parts, watched) | _show_recipe(printer, recipe, earlier)
    with seconds.of("training"):
        model, records = _fit(recipe, watched, machine, patience=holding_out.patience, earlier=earlier)
    document |= _show_training(printer, model, records, watched, f"{seconds['training']:.1f} s")
    if results.out is not None:
        model.save(results.out, optimizer_state=True)
    if parts.test is not None:
        with seconds.of("evaluating"), working("Evaluating"):
            protocols = quality.default_protocols(task, parts.negatives)
            found = evaluate_quality(model, parts.test, metrics or quality.default_metrics(task), protocols)
        quality.show_quality(printer, found)
        document["quality"] = found.document()
    least = results.min_count
    if least is None:
        least = default_min_count(model.item_counts, recipe.is_implicit, results.k)
    shown = showcase(printer, model, parts.train, user=user, k=results.k, min_count=least)
    document |= {"recommendations": shown, "saved": results.show_saved(printer), "seconds": seconds}
    printer.text(", ".join(f"{took:.1f} s {step}" for step, took in seconds.items()))
    printer.document(document)


class _Seconds(dict[str, float]):
    """Seconds that the steps took, by name."""

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self[step] = time.perf_counter() - start


def _fit(
    recipe: Recipe, watched: Watched, machine: Machine, *, patience: int | None, earlier: Model | None
) -> tuple[Model, list[EpochRecord]]:
    """Return the model and all epochs of this run, those after the best one too."""
    records: list[EpochRecord] = []
    model = fit(
        recipe.spec,
        watched.train,
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        **recipe.arguments,
        backend=machine.backend,
        device=machine.device,
        threads=machine.threads,
        validation=watched.held_out,
        metrics=None if watched.held_out is None else [watched.metric],
        protocol=None if watched.held_out is None else watched.protocol,
        patience=patience,
        callbacks=[lambda end: records.append(end.record)],
        initial=recipe.initial,
        resume=earlier,
    )
    # What `fit` cannot know.
    described: dict[str, Any] = {} if watched.basis == "last" else {CHOSEN_ON: watched.basis}
    if recipe.initial is not None:
        described["initial"] = f"NeuMF.from_pretrained(alpha={recipe.options['alpha']:g})"
    return replace(model, training={**model.training, **described}), records


def _show_data(printer: Printer, source: LoadedData, parts: Parts, watched: Watched) -> dict[str, Any]:
    facts, fields = describe_data(source, parts)
    n_validation = 0
    if watched.basis == "test":
        fields.append(("to choose the epoch", "the held-out part itself: its figures are optimistic"))
    elif watched.held_out is not None:
        n_validation = len(watched.held_out)
        fields.append(("to choose the epoch", f"{n_validation:,} of the rest"))
    printer.heading("Data")
    printer.fields(fields)
    return {"data": {**facts, "validation": n_validation}}


def _show_recipe(printer: Printer, recipe: Recipe, earlier: Model | None) -> dict[str, Any]:
    origin = "default" if earlier is None else "from the file"
    printer.heading("Settings")
    printer.fields(
        [
            (name.replace("_", "-"), format_setting(value), "" if name in recipe.given else origin)
            for name, value in recipe.options.items()
        ]
    )
    return {"settings": recipe.options}


def _show_training(
    printer: Printer, model: Model, records: list[EpochRecord], watched: Watched, took: str
) -> dict[str, Any]:
    done = model.epochs_trained
    kept = next(record for record in records if record.epoch + 1 == done)
    ran = f"{done} in all" if records[0].epoch else str(done)
    judged_on = "held-out" if watched.basis == "test" else "validation"
    # The first epoch may include the compilation of kernels.
    rate = max(record.instances_per_second for record in records)
    speed = f"{rate / 1e6:.1f} M" if rate >= 1e6 else f"{rate / 1e3:.1f} k"
    printer.heading("Training")
    printer.fields(
        [
            ("engine", f"{model.training['backend']} ({model.training['backend_reason']})"),
            ("epochs", ran if kept is records[-1] else f"{done}, the best of {records[-1].epoch + 1}"),
            ("objective", f"{kept.objective:.5f}, from {records[0].objective:.5f}"),
            *((f"{judged_on} {name}", value) for name, value in kept.metrics.items()),
            ("time", f"{took}, {speed} instances a second"),
        ]
    )
    ran_on = {CHOSEN_ON: watched.basis, "epochs": done, "epochs_run": len(records)}
    return {"training": {**model.training, **ran_on}}
