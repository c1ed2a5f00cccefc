"""`mfcore verify`: whether the installed engines do what the reference engine does, cell by cell."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfcore.cli.console import Printer, note
from mfcore.cli.options import EnginesOption, FolderOption, JsonOption, at_least, kinds_of, models_option, opt
from mfcore.cli.reports import REPORT, RESULTS, engines_of, require_folder, write_results
from mfcore.errors import InvalidArgumentError, MfcoreError
from mfcore.training import available_threads

if TYPE_CHECKING:
    from mfcore.report import StyledText
    from mfcore.testing import Finding, Selection
    from mfcore.verification import Monitor, Verification

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


def verify(
    *,
    backends: EnginesOption = None,
    models: Annotated[list[str] | None, models_option("all")] = None,
    quick: Annotated[
        bool,
        opt(
            "Each model, objective and optimizer once or twice: a minute or two for an engine that compiles."
        ),
    ] = False,
    every_cell: Annotated[
        bool,
        opt(
            "Each model with each objective and each optimizer, which takes several times as long; otherwise"
            " all pairs of them."
        ),
    ] = False,
    processes: Annotated[
        int | None,
        opt(
            "How many work at a time; 1 stays in this one. Default: as many as there are processors.",
            "N",
            "--processes",
            "-j",
            check=at_least(1),
        ),
    ] = None,
    out: FolderOption = Path("mfcore-verify"),
    as_json: JsonOption = False,
) -> None:
    """Compare the installed engines with the reference engine, cell by cell.

    That is samples, initial values, the mean objective of a batch, one step, a hundred steps, whole runs, and
    the scores of an engine's own top-k. Writes a report and the figures. Exit status 1 where an engine is
    not within the tolerances.

    Examples
    --------
    mfcore verify
    mfcore verify --backends numba,torch --models mf,gmf
    """
    from mfcore import testing, verification

    if quick and every_cell:
        raise InvalidArgumentError("--quick and --every-cell exclude each other; pass one of them")
    engines = engines_of(backends)
    kinds = ("", *(models or kinds_of("model")))
    require_folder(out)
    selection: Selection = "quick" if quick else "every" if every_cell else "standard"
    subjects = [subject for subject in testing.subjects(selection) if subject.kind in kinds]
    start = time.perf_counter()
    with _bars(engines, len(subjects)) as monitor:
        found = verification.verify(engines, subjects, processes or available_threads(), monitor)
    if not found.findings:
        reasons = "; ".join(engine.detail for engine in found.engines)
        raise MfcoreError(f"there is no engine to verify{f': {reasons}' if reasons else ''}")
    _write(out, found, time.perf_counter() - start)
    for engine in found.engines:
        if not engine.is_installed:
            note(f"{engine.name} is left out: {engine.detail}")
    _show(Printer(as_json), found, out / REPORT, out / RESULTS)
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

    counts = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
    columns = (TextColumn("{task.fields[engine]}"), *counts, TextColumn("{task.description}", style="dim"))
    with Progress(*columns, console=Console(stderr=True, highlight=False)) as progress:
        tasks = {engine: progress.add_task("", total=n_subjects, engine=engine) for engine in engines}

        def monitor(finding: "Finding") -> None:
            subject = escape(str(finding.subject))
            progress.update(tasks[finding.engine], advance=1, description=subject)
            if not finding.holds:
                said = escape(format_failure(finding))
                progress.console.print(f"[red]{finding.engine}[/red]: {subject}: {said}")

        yield monitor


def _show(printer: Printer, found: "Verification", report: Path, figures: Path) -> None:
    """Print what was found."""
    from mfcore import verification as tables
    from mfcore.testing import DTYPES

    for engine, dtype in product(found.engines, DTYPES):
        if rows := tables.deviation_rows(found, engine, dtype):
            printer.heading(f"{engine.name}, {dtype}: the largest deviations from the reference")
            columns = [SHORTER.get(aspect, aspect) for aspect in tables.aspects_of(dtype)]
            printer.table(["model", *columns], _texts(rows), right=columns)
    if largest := _texts(tables.largest_rows(found)):
        printer.heading("The largest of all, what they may be, and where they are")
        printer.fields(
            [
                [f"{engine}, {SHORTER.get(aspect, aspect)}", f"{off} of {allowed}", where]
                for engine, aspect, off, allowed, where in largest
            ]
        )
        printer.text("start: initial values; scores: as the objective of a batch shows them, before its step")
        printer.text("metric: that of the model after a whole run; top-k: scores by the engine's own then")
    if checks := _texts(tables.contract_rows(found)):
        printer.heading("The contract")
        columns = ["requirements met", "known answers found"]
        printer.table(["engine", *columns], checks, right=columns)
    failures = _texts(tables.failure_rows(found)) if found.failures else []
    gaps = _texts(tables.gap_rows(found)) if found.gaps() else []
    for heading, rows_of_texts in (
        ("Not done, and why", gaps),
        ("Out of tolerance", failures[:MOST_FAILURES]),
    ):
        if rows_of_texts:
            printer.heading(heading)
        for row in rows_of_texts:
            printer.text(": ".join(row))
    if len(failures) > MOST_FAILURES:
        printer.text(f"and {len(failures) - MOST_FAILURES} more, which the report names")
    printer.heading("Done")
    for text in (tables.verdict(found), f"report: {report}", f"figures: {figures}"):
        printer.text(text)
    printer.document({**found.document(), "report": str(report)})


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
