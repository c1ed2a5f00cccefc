"""`mfcore verify`: whether the installed engines do what the reference engine does, cell by cell."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfcore.cli.choices import choose_all
from mfcore.cli.console import Output, note
from mfcore.cli.help import HelpedCommand, examples
from mfcore.cli.options import BackendsOption, FolderOption, JsonOption, models_option
from mfcore.cli.reports import REPORT, RESULTS, engines_of, require_folder, write_results
from mfcore.errors import InvalidArgumentError, MfcoreError
from mfcore.specs import MODELS
from mfcore.training import available_threads
from mfcore.validation import require_integer

if TYPE_CHECKING:
    from mfcore.report import StyledText
    from mfcore.testing import Finding
    from mfcore.verification import Monitor, Verification

DEFAULT_FOLDER = Path("mfcore-verify")
# The exit status where an engine is not within what is allowed.
OUT_OF_TOLERANCE = 1
# Failures that are printed one by one.
MOST_FAILURES = 30
# Of aspects, for 80 columns.
SHORTER = {
    "initial values": "start",
    "scores by objective": "scores",
    "final metric": "metric",
    "top-k scores": "top-k",
}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "verify",
        cls=HelpedCommand,
        help="Compare the installed engines with the reference engine, cell by cell: samples, initial values,"
        " the mean objective of a batch, one step, a hundred steps, whole runs, and the scores of an engine's"
        " own top-k.\n\nWrites a report and the figures. Exit status 1 where an engine is not within the"
        " tolerances.",
        epilog=examples("mfcore verify", "mfcore verify --backends numba,torch --models mf,gmf"),
    )(verify)


def verify(
    *,
    backends: BackendsOption = None,
    models: Annotated[list[str] | None, models_option("all")] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Each model, objective and optimizer once or twice: a minute or two for an engine that"
            " compiles for long.",
        ),
    ] = False,
    every_cell: Annotated[
        bool,
        typer.Option(
            "--every-cell",
            help="Each model with each objective and each optimizer, which takes several times as long;"
            " otherwise all pairs of them.",
        ),
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            "-j",
            metavar="N",
            show_default=False,
            help="How many work at a time; 1 stays in this one. Default: as many as there are processors.",
        ),
    ] = None,
    out: FolderOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Do what the command's help says."""
    from mfcore import testing, verification

    if quick and every_cell:
        raise InvalidArgumentError("--quick and --every-cell exclude each other; pass one of them")
    engines = engines_of(backends)
    kinds = choose_all("--models", models or MODELS, MODELS)
    n_processes = available_threads() if processes is None else require_integer("--processes", processes, 1)
    require_folder(out)
    selection: testing.Selection = "quick" if quick else "every" if every_cell else "standard"
    subjects = [subject for subject in testing.subjects(selection) if subject.kind in ("", *kinds)]
    start = time.perf_counter()
    with _bars(engines, len(subjects)) as monitor:
        found = verification.verify(engines, subjects, n_processes, monitor)
    if not found.findings:
        reasons = "; ".join(engine.detail for engine in found.engines)
        raise MfcoreError(f"there is no engine to verify{f': {reasons}' if reasons else ''}")
    _write(out, found, time.perf_counter() - start)
    for engine in found.engines:
        if not engine.is_installed:
            note(f"{engine.name} is left out: {engine.detail}")
    _show(Output(as_json), found, out / REPORT, out / RESULTS)
    if found.failures:
        raise typer.Exit(OUT_OF_TOLERANCE)


@contextmanager
def _bars(engines: Sequence[str], n_subjects: int) -> Iterator["Monitor"]:
    """Give a monitor that shows on a terminal how far each engine is, and at once where one fails."""
    from mfcore.testing import format_failure

    if not sys.stderr.isatty():
        yield lambda finding: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[engine]}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True, highlight=False)) as progress:
        tasks = {engine: progress.add_task("", total=n_subjects, engine=engine) for engine in engines}

        def monitor(finding: "Finding") -> None:
            subject = escape(str(finding.subject))
            progress.update(tasks[finding.engine], advance=1, description=subject)
            if not finding.holds:
                said = escape(format_failure(finding))
                progress.console.print(f"[red]{finding.engine}[/red]: {subject}: {said}")

        yield monitor


def _show(out: Output, found: "Verification", report: Path, figures: Path) -> None:
    """Print what was found."""
    from mfcore import verification as tables
    from mfcore.testing import DTYPES

    for engine, dtype in product(found.engines, DTYPES):
        rows = tables.deviation_rows(found, engine, dtype)
        if rows:
            out.heading(f"{engine.name}, {dtype}: the largest deviations from the reference")
            columns = [SHORTER.get(aspect, aspect) for aspect in tables.aspects_of(dtype)]
            out.table(["model", *columns], _texts(rows), right=columns)
    largest = _texts(tables.largest_rows(found))
    if largest:
        out.heading("The largest of all, what they may be, and where they are")
        out.fields(
            [
                [f"{engine}, {SHORTER.get(aspect, aspect)}", f"{off} of {allowed}", where]
                for engine, aspect, off, allowed, where in largest
            ]
        )
        out.text(
            "start: initial values; scores: as the mean objective of a batch shows them, before its step"
        )
        out.text("metric: that of the model after a whole run; top-k: scores by the engine's own then")
    checks = _texts(tables.contract_rows(found))
    if checks:
        out.heading("The contract")
        columns = ["requirements met", "known answers found"]
        out.table(["engine", *columns], checks, right=columns)
    if found.gaps():
        out.heading("Not done, and why")
        for row in _texts(tables.gap_rows(found)):
            out.text(": ".join(row))
    if found.failures:
        out.heading("Out of tolerance")
        failures = _texts(tables.failure_rows(found))
        for row in failures[:MOST_FAILURES]:
            out.text(": ".join(row))
        if len(failures) > MOST_FAILURES:
            out.text(f"and {len(failures) - MOST_FAILURES} more, which the report names")
    out.heading("Done")
    out.text(tables.verdict(found))
    out.text(f"report: {report}")
    out.text(f"figures: {figures}")
    out.document({**found.document(), "report": str(report)})


def _texts(rows: Sequence[Sequence["str | StyledText"]]) -> list[list[str]]:
    return [[cell if isinstance(cell, str) else cell.text for cell in row] for row in rows]


def _write(folder: Path, found: "Verification", seconds: float) -> None:
    """Write the report and the figures."""
    from mfcore.comparison import machine
    from mfcore.report import write_page
    from mfcore.verification import sections_of, verdict

    described = {**machine(), "time taken": f"{seconds:.0f} s"}
    write_results(folder, {**found.document(), "machine": described, "seconds": seconds})
    title = "Not the same answer" if found.failures else "The same answer"
    write_page(folder / REPORT, title, verdict(found), sections_of(found, described))
