"""`mfcore compare`: the same job on every engine, each in a process of its own, side by side."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mfcore.cli import quality
from mfcore.cli.commands import Settings
from mfcore.cli.console import NOTHING, Printer, format_setting, note, warn
from mfcore.cli.epochs import default_monitor, when_ranking
from mfcore.cli.options import (
    DATA_HELP,
    DeviceOption,
    EnginesOption,
    FolderOption,
    JsonOption,
    ThreadsOption,
    at_least,
    models_option,
    opt,
)
from mfcore.cli.recipes import Recipe, make_recipe
from mfcore.cli.recommend import default_min_count, liked_by, user_of_activity
from mfcore.cli.reports import REPORT, RESULTS, engines_of, require_folder, write_results
from mfcore.cli.sources import LoadedData, Parts, Reading, describe_data, hold_out, read_source
from mfcore.data import Interactions, datasets
from mfcore.errors import DatasetUnavailableError, InvalidArgumentError, MfcoreError
from mfcore.metrics import format_protocol
from mfcore.model import EpochRecord
from mfcore.training import epoch_bar

if TYPE_CHECKING:
    from mfcore.comparison import Comparison, EngineRun, ExampleUser, ExampleUsers, Failure, Task

DEFAULT_DATA, WITHOUT_NETWORK = "ml-100k", "synthetic:100k"
DEFAULT_MODELS = ("mf", "neumf")
# Where no data are named: all engines are done within a minute or two.
FEW_EPOCHS = 10
# Something is recommended to the users at these quantiles of activity.
ACTIVITIES = (0.5, 0.25, 0.9)
K = 10
# As many as a terminal of 80 columns has room for.
N_METRICS = 2

SEEDS_HELP = "Train with so many seeds, from 0, to tell the engines' differences from chance."


def compare(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help=DATA_HELP, show_default=False)] = None,
    *,
    model: Annotated[list[str] | None, models_option(" and ".join(DEFAULT_MODELS))] = None,
    backends: EnginesOption = None,
    seeds: Annotated[int, opt(SEEDS_HELP, "N", check=at_least(1), default=True)] = 1,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    reading: Reading,
    settings: Settings,
    out: FolderOption = Path("mfcore-compare"),
    as_json: JsonOption = False,
) -> None:
    """Train the same models on every installed engine, and compare quality, speed and memory.

    Every engine is given the same job, by the recipe of mfcore train, and runs in a process of its own. For
    each model a table is printed; a report with charts goes to a folder, as report.html, with the figures
    beside it, as results.json. Without DATA, mf and neumf are compared on ml-100k, or on synthetic:100k where
    that cannot be had, for 10 epochs. The last epoch is evaluated, also where mfcore train would choose one.

    Examples
    --------
    mfcore compare
    mfcore compare ml-1m-ncf --model neumf --epochs 3
    mfcore compare ratings.csv --model mf,gmf --backends numba,torch --seeds 3 --out report
    """
    if data is None:
        settings.setdefault("epochs", FEW_EPOCHS)
        if reading.arguments:
            raise InvalidArgumentError(
                "--columns, --string-ids and --duplicates tell how to read a file; name it as DATA"
            )
    engines = engines_of(backends)
    require_folder(out)
    printer = Printer(as_json)
    source = _source(data, reading)
    parts = hold_out(source, None, None, 0)
    recipes = [
        make_recipe({"model": name, **settings}, parts.train, source.is_implicit)
        for name in model or DEFAULT_MODELS
    ]
    for recipe in recipes:
        recipe.require_job(parts.train)
    tasks = [_task(recipe, parts, device, threads) for recipe in recipes]
    facts, fields = describe_data(source, parts)
    printer.heading("Data")
    printer.fields(fields)
    comparisons = []
    for recipe, task in zip(recipes, tasks, strict=True):
        comparisons.append(_compared(recipe, task, engines, range(seeds)))
        _show(printer, comparisons[-1])
    people = _people(tasks[0].example_users, parts.train)
    document = {"data": facts, "comparisons": [one.document() for one in comparisons]}
    document = _write(out, document, comparisons, dict(fields), people)
    printer.heading("Done")
    off_by = "off by: from the reference engine after a short run, of the distance moved"
    for text in (off_by, f"report: {out / REPORT}", f"figures: {out / RESULTS}"):
        printer.text(text)
    printer.document(document)
    if not any(one.runs for one in comparisons):
        raise MfcoreError(f"no engine has trained any of the models; {out / REPORT} says why")


def _write(
    folder: Path,
    document: dict[str, Any],
    comparisons: Sequence["Comparison"],
    data: dict[str, str | int],
    people: list["ExampleUser"],
) -> dict[str, Any]:
    """Write the figures and the page; return the figures."""
    from mfcore import comparison
    from mfcore.report import write_page

    document["machine"] = machine = comparison.machine()
    write_results(folder, document)
    shown = {name: f"{value:,}" if isinstance(value, int) else value for name, value in data.items()}
    context = comparison.ReportContext(data=shown, machine=machine, people=people)
    models, engines = [one.name for one in comparisons], list(comparisons[0].engines)
    title = f"{comparison.format_list(models)} on {data['source']}"
    lead = f"The same jobs on {comparison.format_list(engines)}, side by side."
    write_page(folder / REPORT, title, lead, comparison.sections_of(comparisons, context))
    return {**document, "report": str(folder / REPORT)}


def _source(data: str | None, reading: Reading) -> LoadedData:
    if data is not None:
        return read_source(data, reading)
    try:
        datasets.fetch(DEFAULT_DATA)
    except DatasetUnavailableError as error:
        note(f"{error}; comparing on {WITHOUT_NETWORK} instead")
        return read_source(WITHOUT_NETWORK, reading)
    return read_source(DEFAULT_DATA, reading)


def _task(recipe: Recipe, parts: Parts, device: str, threads: int | None) -> "Task":
    """Return what every engine is given: what `mfcore train` does by the recipe, every epoch of it."""
    from mfcore.comparison import EvaluationPlan, ExampleUsers, Monitor, Task

    assert parts.test is not None
    kind = quality.task_of(recipe.spec, ranks=recipe.is_implicit, negatives=parts.negatives)
    metric, protocols = default_monitor(kind), quality.default_protocols(kind, parts.negatives)
    users = dict.fromkeys(user_of_activity(parts.train, quantile) for quantile in ACTIVITIES)
    least = default_min_count(parts.train.item_counts, recipe.is_implicit, K)
    chosen = {"objective": recipe.objective, "optimizer": recipe.optimizer}
    return Task(
        spec=recipe.spec,
        train=parts.train,
        arguments={**chosen, **recipe.arguments, "device": device, "threads": threads},
        monitor=Monitor(metric, when_ranking(metric, protocols[0])),
        evaluation=EvaluationPlan(parts.test, quality.default_metrics(kind), protocols),
        example_users=ExampleUsers(list(users), K, least),
    )


def _people(users: "ExampleUsers", train: Interactions) -> list["ExampleUser"]:
    from mfcore.comparison import ExampleUser

    return [
        ExampleUser(
            user,
            [
                str(entry["item"] if entry["title"] is None else entry["title"])
                for entry in liked_by(train, user)[:3]
            ],
            int(train.seen.counts[int(train.user_ids.rows(user))]),
        )
        for user in users.users
    ]


def _compared(recipe: Recipe, task: "Task", engines: Sequence[str], seeds: Sequence[int]) -> "Comparison":
    """Return what all engines make of a recipe, one after the other."""
    from mfcore.comparison import Comparison

    options = {name.replace("_", "-"): format_setting(value) for name, value in recipe.options.items()}
    # One of the seeds is the option's.
    options["seed"] = ", ".join(map(str, seeds))
    outcomes = [_trained(engine, recipe, task, seeds) for engine in engines]
    return Comparison.of(recipe.spec.short_name, task, options, seeds, outcomes)


def _trained(engine: str, recipe: Recipe, task: "Task", seeds: Sequence[int]) -> "EngineRun | Failure":
    """Return what an engine makes of a recipe; on a terminal, show how far it is."""
    from mfcore import comparison

    name, epochs = recipe.spec.short_name, task.arguments["epochs"]
    if sys.stderr.isatty():
        print(f"{name} on {engine}", file=sys.stderr)
    with epoch_bar(len(seeds) * epochs, 0, None) as show:

        def on_epoch(seed: int, record: EpochRecord) -> None:
            show(replace(record, epoch=list(seeds).index(seed) * epochs + record.epoch))

        outcome = comparison.attempt_in_process(engine, task, seeds, on_epoch)
    if isinstance(outcome, comparison.Failure) and not outcome.refused:
        print(outcome.log, end="", file=sys.stderr)
        warn(f"{name}: {comparison.format_failure(outcome)}")
    return outcome


def _show(printer: Printer, found: "Comparison") -> None:
    """Print the table of a model, and what it comes to."""
    from mfcore import comparison
    from mfcore.report import short_number

    n_seeds = len(found.seeds)
    rankings = found.runs[0].qualities[0].rankings if found.runs else ()
    among = f"; {format_protocol(rankings[0][0])}" if rankings else ""
    printer.heading(f"{found.name}: {found.task.arguments['epochs']} epochs{among}")
    metrics = found.metrics[: 1 if n_seeds > 1 else N_METRICS]
    rows = [
        [
            run.engine,
            *(comparison.format_spread(found.quality(run, name), n_seeds=n_seeds) for name in metrics),
            comparison.format_deviation(run),
            comparison.format_seconds(run.compile_seconds),
            comparison.format_seconds(run.epoch_seconds),
            short_number(run.instances_per_second),
            comparison.format_bytes(run.memory.peak),
        ]
        for run in found.runs
    ]
    columns = ["engine", *metrics, "off by", "compile", "epoch", "inst./s", "memory"]
    rows += [[failure.engine, *[NOTHING] * (len(columns) - 1)] for failure in found.failures]
    printer.table(columns, rows, right=columns[1:])
    for failure in found.failures:
        printer.text(comparison.format_failure(failure))
    if found.runs:
        printer.text(comparison.format_speed(found))
    if (agreement := found.agreement) is not None:
        printer.text(comparison.format_agreement(agreement))
