"""A comparison as the sections of a report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mfcore.comparison._formatting import (
    UNKNOWN,
    format_agreement,
    format_bytes,
    format_deviation,
    format_difference,
    format_failure,
    format_list,
    format_ratio,
    format_seconds,
    format_speed,
    format_spread,
)
from mfcore.comparison._results import Comparison, Spread
from mfcore.comparison._runs import EngineRun
from mfcore.metrics import format_protocol
from mfcore.report import (
    Block,
    Chart,
    Fact,
    PlottingMissingError,
    Prose,
    Section,
    Series,
    StyledText,
    Table,
    Tone,
    bar_chart,
    line_chart,
    short_number,
)
from mfcore.testing import Deviation

METHOD = (
    "Every engine is given the same job: the same split, initial values, order of samples and negatives. They"
    " take turns, each in a process of its own.",
    "Import: to load the engine and its framework. Compile: getting ready and the first epoch, less a usual"
    " epoch; kernels that lie compiled on the disk from an earlier run take less. Epoch: the median of the"
    " epochs after the first, training alone; the evaluation of an epoch is not counted.",
    "Peak memory: the most that the process held at once until the end of training, with framework, data and"
    " the evaluation of epochs; before training: the most until then.",
    "Deviation: the job in float32 on a part of the data, for about a hundred steps in batches of at most 256"
    " (of WALS three epochs), against the reference engine in float64. Rounding alone: the reference engine"
    " in float32. An engine agrees where its parameters are off by at most 1e-05 of the distance moved, or"
    " twice what rounding alone comes to.",
)


@dataclass(frozen=True)
class ExampleUser:
    """A user with recommendations in the report.

    Attributes
    ----------
    user : int or str
    likes : sequence of str
        Titles of what they rated highest.
    n_seen : int
        How many items they have in the training data.

    Examples
    --------
    >>> from mfcore.comparison import ExampleUser
    >>> ExampleUser("ann", likes=["Alien", "Brazil"], n_seen=12).user
    'ann'
    """

    user: int | str
    likes: Sequence[str]
    n_seen: int


@dataclass(frozen=True)
class ReportContext:
    """What is the same for all models of a report.

    Attributes
    ----------
    data : mapping of str to str
        What is known of the data.
    machine : mapping of str to str
    people : sequence of ExampleUser
        The example users, in order.

    Examples
    --------
    >>> from mfcore.comparison import ExampleUser, ReportContext
    >>> people = [ExampleUser("ann", likes=["Alien"], n_seen=12)]
    >>> ReportContext({"data": "synthetic"}, machine={"system": "Linux"}, people=people).people[0].n_seen
    12
    """

    data: Mapping[str, str]
    machine: Mapping[str, str]
    people: Sequence[ExampleUser]


def sections_of(comparisons: Sequence[Comparison], context: ReportContext) -> list[Section]:
    """Return the sections of a report.

    Parameters
    ----------
    comparisons : sequence of Comparison
        One for each model.
    context : ReportContext

    Returns
    -------
    list of Section

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.comparison import (
    ...     Comparison, EvaluationPlan, ExampleUsers, Failure, Monitor, ReportContext, Task, sections_of,
    ... )
    >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> task = Task(
    ...     mfcore.MF(2), data, {"epochs": 1}, Monitor(mfcore.RMSE(), None),
    ...     EvaluationPlan(data, [mfcore.RMSE()], []), ExampleUsers([3], k=2, min_count=1),
    ... )
    >>> failed = Comparison.of("MF", task, {}, seeds=[0], outcomes=[Failure("mine", "it is slow")])
    >>> context = ReportContext({"data": "synthetic"}, {"system": "Linux"}, people=[])
    >>> [section.title for section in sections_of([failed], context)]
    ['', 'MF, 1 epochs', 'Settings and machine', 'How this was measured']
    """
    trained = [comparison for comparison in comparisons if comparison.runs]
    return [
        Section("", [*(fact for comparison in trained for fact in _facts(comparison)), *_closeness(trained)]),
        *(_of_model(comparison) for comparison in comparisons),
        *([_parity(trained)] if trained else []),
        *(_recommendations(comparison, context.people) for comparison in trained),
        _circumstances(comparisons, context),
        Section("How this was measured", [Prose(text) for text in METHOD]),
    ]


def _facts(comparison: Comparison) -> list[Fact]:
    name, (first, *others) = comparison.name, comparison.runs
    ratios = [
        f"{format_ratio(run.epoch_seconds / max(first.epoch_seconds, 1e-9))} {run.engine}" for run in others
    ]
    speed = f"{short_number(first.instances_per_second)}/s"
    facts = [Fact(speed, f"{name}, on {first.engine}", f"instances: {format_list(ratios)}".rstrip(": "))]
    agreement = comparison.agreement
    quality = comparison.quality(first, comparison.metric)
    beside = "" if agreement is None else f"engines differ by {format_difference(agreement.gap)}"
    if agreement is not None and agreement.range_of_seeds is not None:
        beside += f", seeds by {format_difference(agreement.range_of_seeds)}"
    return [*facts, Fact(f"{quality.mean:.4f}", f"{name}, {comparison.metric}", beside)]


def _closeness(comparisons: Sequence[Comparison]) -> list[Fact]:
    runs = [run for comparison in comparisons for run in comparison.runs]
    measured = [run.short_run for run in runs if run.short_run is not None]
    if not measured:
        return []
    n_agreeing = sum(short.agrees for short in measured)
    worst = max(short.found.whole_parameters for short in measured)
    return [
        Fact(
            f"{n_agreeing} of {len(measured)}",
            "the same answer",
            f"as the reference; off by {worst:.0e} of the distance moved at most",
        )
    ]


def _of_model(comparison: Comparison) -> Section:
    epochs = comparison.task.arguments["epochs"]
    blocks: list[Block] = []
    if comparison.runs:
        blocks += [_quality(comparison), _speed(comparison), Prose(format_speed(comparison))]
        if (agreement := comparison.agreement) is not None:
            blocks.append(Prose(format_agreement(agreement)))
    blocks += [Prose(f"{format_failure(failure)}.") for failure in comparison.failures]
    if comparison.runs:
        blocks += _charts(comparison)
    return Section(f"{comparison.name}, {epochs} epochs", blocks)


def _quality(comparison: Comparison) -> Table:
    """Return every metric of every engine, of rankings by every protocol."""
    n_seeds = len(comparison.seeds)
    first = comparison.runs[0].qualities[0]
    columns = [*first.ratings]
    several = len(first.rankings) > 1
    for protocol, found in first.rankings:
        columns += [f"{name}, {format_protocol(protocol)}" if several else name for name in found]
    rows = [[run.engine, *_figures(comparison, run), format_deviation(run)] for run in comparison.runs]
    rows += [[failure.engine, *[UNKNOWN] * (len(columns) + 1)] for failure in comparison.failures]
    caption = f"Quality on {first.n_interactions:,} held-out interactions of {first.n_users:,} users"
    if n_seeds > 1:
        caption += f"; mean of {n_seeds} seeds ± half of the range between them"
    return Table(["engine", *columns, "deviation from the reference"], rows, caption)


def _figures(comparison: Comparison, run: EngineRun) -> list[str]:
    n_seeds = len(comparison.seeds)
    by_seed = [
        [*quality.ratings.values(), *(value for _, found in quality.rankings for value in found.values())]
        for quality in run.qualities
    ]
    return [format_spread(Spread.of(values), n_seeds=n_seeds) for values in zip(*by_seed, strict=True)]


def _speed(comparison: Comparison) -> Table:
    rows: list[list[str | StyledText]] = []
    for run in comparison.runs:
        tone: Tone = "good" if run is comparison.runs[0] and len(comparison.runs) > 1 else ""
        rows.append(
            [
                run.engine,
                format_seconds(run.import_seconds),
                format_seconds(run.compile_seconds),
                StyledText(format_seconds(run.epoch_seconds), tone),
                StyledText(short_number(run.instances_per_second), tone),
                format_bytes(run.memory.peak),
                format_bytes(run.memory.before),
            ]
        )
    rows += [[failure.engine, *[UNKNOWN] * 6] for failure in comparison.failures]
    columns = ["engine", "import", "compile", "epoch", "instances/s", "peak memory", "before training"]
    return Table(columns, rows, "Speed and memory, each engine in a process of its own")


def _charts(comparison: Comparison) -> list[Block]:
    runs = comparison.runs
    colors = [comparison.engines.index(run.engine) for run in runs]

    def lines(
        x: Callable[[EngineRun], Sequence[float]], y: Callable[[EngineRun], list[float]]
    ) -> list[Series]:
        return [Series(run.engine, x(run), y(run), color) for run, color in zip(runs, colors, strict=True)]

    def epochs(run: EngineRun) -> list[float]:
        return [record.epoch + 1 for record in run.records]

    def objective(run: EngineRun) -> list[float]:
        return [record.objective for record in run.records]

    def metric(run: EngineRun) -> list[float]:
        return [record.metrics[comparison.metric] for record in run.records]

    try:
        return [
            Chart(
                line_chart(lines(epochs, objective), x_label="epoch", y_label="objective"),
                "What training minimises; equal engines coincide.",
            ),
            Chart(
                line_chart(lines(epochs, metric), x_label="epoch", y_label=comparison.metric),
                f"{comparison.metric} on the held-out part, by epoch.",
            ),
            Chart(
                line_chart(
                    lines(lambda run: run.clock, metric),
                    x_label="seconds of training",
                    y_label=comparison.metric,
                    log_x=True,
                ),
                f"Time to quality: {comparison.metric} by seconds of training, compiling included.",
            ),
            Chart(
                bar_chart(
                    [run.engine for run in runs],
                    [run.instances_per_second for run in runs],
                    x_label="instances/s",
                    colors=colors,
                ),
                "Training instances a second, in the median epoch.",
            ),
        ]
    except PlottingMissingError as error:
        return [Prose(f"There are no charts here: {error}.")]


def _parity(comparisons: Sequence[Comparison]) -> Section:
    rows: list[list[str | StyledText]] = []
    for comparison in comparisons:
        rows += [[f"{comparison.name}, {run.engine}", *_deviations(run)] for run in comparison.runs]
        short = next((run.short_run for run in comparison.runs if run.short_run is not None), None)
        if short is not None:
            alone = [f"{comparison.name}, rounding alone", str(short.steps), *_distances(short.rounding)]
            rows.append([StyledText(text, "quiet") for text in (*alone, UNKNOWN)])
    columns = ["model and engine", "steps", "parameters", "worst array", "optimizer", "objective", "verdict"]
    caption = (
        "Distance from the reference engine in float64 after a short run of the same job. Parameters, all"
        " together and of the worst array: as a share of the distance moved; optimizer's state and objective:"
        " relative"
    )
    return Section("The same answer", [Table(columns, rows, caption)])


def _deviations(run: EngineRun) -> list[str | StyledText]:
    short = run.short_run
    if short is None:
        return [*[UNKNOWN] * 5, StyledText(f"not measured: {run.short_run_failure}", "quiet")]
    verdict = (
        StyledText("agrees", "good") if short.agrees else StyledText(f"above {short.allowed:.0e}", "bad")
    )
    return [str(short.steps), *_distances(short.found), verdict]


def _distances(deviation: Deviation) -> list[str]:
    found = (deviation.whole_parameters, deviation.parameters, deviation.whole_state, deviation.objective)
    return [f"{distance:.1e}" if distance else "0" for distance in found]


def _recommendations(comparison: Comparison, people: Sequence[ExampleUser]) -> Section:
    lists = [_lists(comparison, position, person) for position, person in enumerate(people)]
    return Section(f"What {comparison.name} recommends", lists)


def _lists(comparison: Comparison, position: int, person: ExampleUser) -> Table:
    """Return the first engine's list for a user, and where the others' lists have the same items."""
    first, *others = comparison.runs
    ranking = first.rankings[position]
    ranks = [
        {item: str(rank) for rank, item in enumerate(run.rankings[position].items.tolist(), start=1)}
        for run in others
    ]
    shown = ranking.items if ranking.names is None else ranking.names
    rows = [
        [str(title), str(rank), *(of_other.get(item, UNKNOWN) for of_other in ranks)]
        for rank, (item, title) in enumerate(zip(ranking.items.tolist(), shown, strict=True), start=1)
    ]
    caption = f"User {person.user}, {person.n_seen:,} items seen"
    if person.likes:
        caption += f", among them {format_list(list(person.likes))}"
    if others:
        caption += f". {_common(comparison, position, len(ranking))}"
    return Table(["title", *(run.engine for run in comparison.runs)], rows, f"{caption}.")


def _common(comparison: Comparison, position: int, n: int) -> str:
    """Return how many of the first engine's n items the others list too."""
    counts = comparison.in_common(position)
    if all(count == n for count in counts.values()):
        return f"{format_list(list(counts))}: the same {n}"
    counted = format_list([f"{engine} {count}" for engine, count in counts.items()])
    return f"Of {comparison.runs[0].engine}'s {n}: {counted}"


def _circumstances(comparisons: Sequence[Comparison], context: ReportContext) -> Section:
    options = dict.fromkeys(name for comparison in comparisons for name in comparison.options)
    settings = [
        [name, *(str(comparison.options.get(name, UNKNOWN)) for comparison in comparisons)]
        for name in options
    ]
    models = [comparison.name for comparison in comparisons]
    return Section(
        "Settings and machine",
        [
            Table(["option of mfcore train", *models], settings),
            Table(["data", "value"], list(map(list, context.data.items()))),
            Table(["machine", "value"], list(map(list, context.machine.items()))),
        ],
    )
