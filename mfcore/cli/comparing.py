"""What `mfcore compare` does, step by step, and what it tells of each step."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mfcore.cli.console import NOTHING, Output, note, warn
from mfcore.cli.defaults import Settings
from mfcore.cli.epochs import default_monitor, when_ranking
from mfcore.cli.quality import default_metrics, default_protocols, task_of
from mfcore.cli.recipes import Recipe, make_recipe
from mfcore.cli.reports import REPORT, RESULTS, require_folder, write_results
from mfcore.cli.run import setting_in_words
from mfcore.cli.showcase import default_min_count, liked_by, user_of_activity
from mfcore.cli.sources import Parts, Reading, Source, describe_data, hold_out, read_source
from mfcore.comparison import (
    Comparison,
    EngineRun,
    EvaluationPlan,
    ExampleUser,
    ExampleUsers,
    Failure,
    Monitor,
    ReportContext,
    Task,
    attempt_in_process,
    format_agreement,
    format_bytes,
    format_deviation,
    format_failure,
    format_list,
    format_seconds,
    format_speed,
    format_spread,
    machine,
    sections_of,
)
from mfcore.data import Interactions, datasets
from mfcore.errors import DatasetUnavailableError, MfcoreError
from mfcore.metrics import format_protocol
from mfcore.model import EpochRecord
from mfcore.report import short_number, write_page
from mfcore.training import epoch_bar

DEFAULT_DATA, WITHOUT_NETWORK = "ml-100k", "synthetic:100k"
DEFAULT_MODELS = ("mf", "neumf")
# Where no data are named: all engines are done within a minute or two.
FEW_EPOCHS = 10

# Of the users that something is recommended to: how large a share of all is less active.
ACTIVITIES = (0.5, 0.25, 0.9)
K = 10
# As many as a terminal of 80 columns has room for.
N_METRICS = 2


@dataclass(frozen=True, eq=False)
class Request:
    """What was asked for on the command line; see the options of `compare`.

    Attributes
    ----------
    data : str or None
    reading : Reading
    recipes : sequence of Settings
        One for each model.
    engines : sequence of str
    seeds : sequence of int
    device : str
    threads : int or None
    folder : Path
    """

    data: str | None
    reading: Reading
    recipes: Sequence[Settings]
    engines: Sequence[str]
    seeds: Sequence[int]
    device: str
    threads: int | None
    folder: Path


def run_comparison(request: Request, out: Output) -> None:
    """Read, hold out, train on every engine, and report.

    Raises
    ------
    MfcoreError
        What is wrong with the request, before anything is trained; and where no engine has trained anything.
    """
    require_folder(request.folder)
    source = _source(request)
    parts = hold_out(source, None, None, request.seeds[0])
    recipes = [
        make_recipe(settings, parts.train, data_is_implicit=source.is_implicit)
        for settings in request.recipes
    ]
    tasks = [_task(recipe, parts, request) for recipe in recipes]
    facts, fields = describe_data(source, parts)
    out.heading("Data")
    out.fields(fields)
    comparisons = []
    for recipe, task in zip(recipes, tasks, strict=True):
        comparisons.append(_compared(recipe, task, request.engines, request.seeds))
        _show(out, comparisons[-1])
    context = ReportContext(
        data={name: f"{value:,}" if isinstance(value, int) else value for name, value in fields},
        machine=machine(),
        people=_people(tasks[0].example_users, parts.train),
    )
    document = {
        "data": facts,
        "machine": context.machine,
        "comparisons": [comparison.document() for comparison in comparisons],
    }
    write_results(request.folder, document)
    report = _write_report(request.folder / REPORT, source.name, comparisons, context)
    out.heading("Done")
    out.text("off by: from the reference engine after a short run, of the distance moved")
    out.text(f"report: {report}")
    out.text(f"figures: {request.folder / RESULTS}")
    out.document({**document, "report": str(report)})
    if not any(comparison.runs for comparison in comparisons):
        raise MfcoreError(f"no engine has trained any of the models; {report} says why")


def _source(request: Request) -> Source:
    if request.data is not None:
        return read_source(request.data, request.reading)
    try:
        datasets.fetch(DEFAULT_DATA)
    except DatasetUnavailableError as error:
        note(f"{error}; comparing on {WITHOUT_NETWORK} instead")
        return read_source(WITHOUT_NETWORK, request.reading)
    return read_source(DEFAULT_DATA, request.reading)


def _task(recipe: Recipe, parts: Parts, request: Request) -> Task:
    """Return what every engine is given: what `mfcore train` does by the recipe, every epoch of it."""
    assert parts.test is not None
    kind = task_of(recipe.spec, ranks=recipe.is_implicit, negatives=parts.negatives)
    metric, protocols = default_monitor(kind), default_protocols(kind, parts.negatives)
    return Task(
        spec=recipe.spec,
        train=parts.train,
        arguments={
            "objective": recipe.objective,
            "optimizer": recipe.optimizer,
            **recipe.arguments,
            "device": request.device,
            "threads": request.threads,
        },
        monitor=Monitor(metric, when_ranking(metric, protocols[0])),
        evaluation=EvaluationPlan(parts.test, default_metrics(kind), protocols),
        example_users=_example_users(parts.train, recipe.is_implicit),
    )


def _example_users(train: Interactions, is_implicit: bool) -> ExampleUsers:
    users = dict.fromkeys(user_of_activity(train, share) for share in ACTIVITIES)
    return ExampleUsers(list(users), K, default_min_count(train.item_counts, is_implicit, K))


def _people(example_users: ExampleUsers, train: Interactions) -> list[ExampleUser]:
    return [
        ExampleUser(
            user,
            [str(item if title is None else title) for item, title, _ in liked_by(train, user)[:3]],
            int(train.seen.counts[int(train.user_ids.rows(user))]),
        )
        for user in example_users.users
    ]


def _compared(recipe: Recipe, task: Task, engines: Sequence[str], seeds: Sequence[int]) -> Comparison:
    """Return what all engines make of a recipe, one after the other."""
    options = {name.replace("_", "-"): setting_in_words(value) for name, value in recipe.options.items()}
    return Comparison.of(
        recipe.spec.short_name,
        task,
        # One of the seeds is the option's.
        {**options, "seed": ", ".join(map(str, seeds))},
        seeds,
        [_trained(engine, recipe, task, seeds) for engine in engines],
    )


def _trained(engine: str, recipe: Recipe, task: Task, seeds: Sequence[int]) -> EngineRun | Failure:
    """Return what an engine makes of a recipe; on a terminal, show how far it is."""
    name, epochs = recipe.spec.short_name, task.arguments["epochs"]
    if sys.stderr.isatty():
        print(f"{name} on {engine}", file=sys.stderr)
    with epoch_bar(len(seeds) * epochs, 0, None) as show:

        def on_epoch(seed: int, record: EpochRecord) -> None:
            done = list(seeds).index(seed) * epochs
            show(replace(record, epoch=done + record.epoch))

        outcome = attempt_in_process(engine, task, seeds, on_epoch)
    if isinstance(outcome, Failure) and not outcome.refused:
        print(outcome.log, end="", file=sys.stderr)
        warn(f"{name}: {format_failure(outcome)}")
    return outcome


def _show(out: Output, comparison: Comparison) -> None:
    """Print the table of a model, and what it comes to."""
    n_seeds = len(comparison.seeds)
    rankings = comparison.runs[0].qualities[0].rankings if comparison.runs else ()
    among = f"; {format_protocol(rankings[0][0])}" if rankings else ""
    out.heading(f"{comparison.name}: {comparison.task.arguments['epochs']} epochs{among}")
    metrics = comparison.metrics[: 1 if n_seeds > 1 else N_METRICS]
    rows = [
        [
            run.engine,
            *(format_spread(comparison.quality(run, name), n_seeds=n_seeds) for name in metrics),
            format_deviation(run),
            format_seconds(run.compile_seconds),
            format_seconds(run.epoch_seconds),
            short_number(run.instances_per_second),
            format_bytes(run.memory.peak),
        ]
        for run in comparison.runs
    ]
    columns = ["engine", *metrics, "off by", "compile", "epoch", "inst./s", "memory"]
    rows += [[failure.engine, *[NOTHING] * (len(columns) - 1)] for failure in comparison.failures]
    out.table(columns, rows, right=columns[1:])
    for failure in comparison.failures:
        out.text(format_failure(failure))
    if comparison.runs:
        out.text(format_speed(comparison))
    if (agreement := comparison.agreement) is not None:
        out.text(format_agreement(agreement))


def _write_report(path: Path, data: str, comparisons: Sequence[Comparison], context: ReportContext) -> Path:
    models = format_list([comparison.name for comparison in comparisons])
    engines = format_list(list(comparisons[0].engines))
    return write_page(
        path,
        f"{models} on {data}",
        f"The same jobs on {engines}, side by side.",
        sections_of(comparisons, context),
    )
