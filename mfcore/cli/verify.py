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
from mfcore.cli.options import EnginesOption, FolderOption, JsonOption, at_least, opt
from mfcore.cli.reports import REPORT, RESULTS, engines_of, models_option, require_folder, write_results
from mfcore.cli.settings import kinds_of
from mfcore.training import available_threads

if TYPE_CHECKING:
    from mfcore.verification import Finding, Said, Verification, Watch

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


def verify(
    *,
    backends: EnginesOption = None,
    models: Annotated[list[str] | None, models_option("all")] = None,
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
    out: FolderOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Compare the installed engines with the reference engine, cell by cell.

    Compared are samples, initial values, the mean objective of a batch, one step, a hundred steps, whole runs, and
    the scores of an engine's own top-k. Writes a report and the figures. Exit status 1 where an engine is not
    within the tolerances.

    Examples
    --------
    mfcore verify
    mfcore verify --backends numba,torch --models mf,gmf
    """
    from mfcore.verification import _verification as verification
    from mfcore.verification import _workers as workers

    engines = engines_of(backends)
    kinds = models or list(kinds_of("model"))
    n_processes = available_threads() if processes is None else processes
    require_folder(out)
    subjects = verification.subjects(kinds, every=every_cell)
    start = time.perf_counter()
    with _bars(engines, len(subjects)) as watch:
        found = workers.verify(engines, subjects, n_processes, watch)
    _write(out, found, time.perf_counter() - start)
    for engine in found.engines:
        if not engine.is_installed:
            note(f"{engine.name} is left out: {engine.detail}")
    _show(Printer(as_json), found, out / REPORT, out / RESULTS)
    if found.failures:
        raise typer.Exit(OUT_OF_TOLERANCE)


@contextmanager
def _bars(engines: Sequence[str], n_subjects: int) -> Iterator["Watch"]:
    """Give what shows on a terminal how far each engine is, and tells at once where one fails."""
    from mfcore.verification import failure_in_words

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

        def watch(finding: "Finding") -> None:
            subject = escape(str(finding.subject))
            progress.update(tasks[finding.engine], advance=1, description=subject)
            if not finding.holds:
                said = escape(failure_in_words(finding))
                progress.console.print(f"[red]{finding.engine}[/red]: {subject}: {said}")

        yield watch


def _show(printer: Printer, found: "Verification", report: Path, figures: Path) -> None:
    """Print what was found."""
    from mfcore.testing import DTYPES
    from mfcore.verification import _formatting as words

    for engine, dtype in product(found.engines, DTYPES):
        rows = words.deviation_rows(found, engine, dtype)
        if rows:
            printer.heading(f"{engine.name}, {dtype}: the largest deviations from the reference")
            columns = [SHORTER.get(aspect, aspect) for aspect in words.aspects_of(dtype)]
            printer.table(["model", *columns], _texts(rows), right=columns)
    printer.heading("The largest of all, what they may be, and where they are")
    printer.fields(
        [
            [f"{engine}, {SHORTER.get(aspect, aspect)}", f"{off} of {allowed}", where]
            for engine, aspect, off, allowed, where in _texts(words.largest_rows(found))
        ]
    )
    printer.text(
        "start: initial values; scores: as the mean objective of a batch shows them, before its step"
    )
    printer.text("metric: that of the model after a whole run; top-k: scores by the engine's own then")
    printer.heading("The contract")
    printer.table(
        ["engine", "requirements met", "known answers found"],
        _texts(words.contract_rows(found)),
        right=["requirements met", "known answers found"],
    )
    if found.gaps():
        printer.heading("Not done, and why")
        for row in _texts(words.gap_rows(found)):
            printer.text(": ".join(row))
    if found.failures:
        printer.heading("Out of tolerance")
        failures = _texts(words.failure_rows(found))
        for row in failures[:MOST_FAILURES]:
            printer.text(": ".join(row))
        if len(failures) > MOST_FAILURES:
            printer.text(f"and {len(failures) - MOST_FAILURES} more, which the report names")
    printer.heading("Done")
    printer.text(words.verdict(found))
    printer.text(f"report: {report}")
    printer.text(f"figures: {figures}")
    printer.document({**found.document(), "report": str(report)})


def _texts(rows: Sequence[Sequence["Said"]]) -> list[list[str]]:
    return [[said.text for said in row] for row in rows]


def _write(folder: Path, found: "Verification", seconds: float) -> None:
    """Write the report and the figures."""
    from mfcore.comparison import machine
    from mfcore.report import write_page
    from mfcore.verification import sections_of, verdict

    described = {**machine(), "time taken": f"{seconds:.0f} s"}
    write_results(folder, {**found.document(), "machine": described, "seconds": seconds})
    title = "Not the same answer" if found.failures else "The same answer"
    write_page(folder / REPORT, title, verdict(found), sections_of(found, described))
