"""``python -m benchmarks.report FILE.json [--html FILE.html]``: the results of a run, as table and as page.

FILE.json is what ``--benchmark-json`` wrote. The table is Markdown, on the standard output; the page has the
same with charts: a line for each engine where results form a series, bars where they do not.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.results import COLUMNS, Result, cells, in_order, markdown, results_of
from mfcore.report import (
    Chart,
    PlottingMissingError,
    Prose,
    Section,
    Series,
    StyledText,
    Table,
    bar_chart,
    line_chart,
    write_page,
)

LEAD = (
    "Engines and other libraries on the same work, in one run on one machine: compare them with one another;"
    " the seconds are the machine's. 'First' is an epoch or call with all that precedes it, such as"
    " compiling; seconds are of those after it. In charts, mfcore's engines go by their names: numba, torch,"
    " keras; all others are other libraries."
)
# Of charts: from here on the values of an axis are spaced by powers.
LOGARITHMIC_FROM = 8


def report(run: Mapping[str, Any]) -> str:
    """Return a run as Markdown: the machine in one line, then the table.

    Parameters
    ----------
    run : dict
        The document of pytest-benchmark.

    Raises
    ------
    ValueError
        It holds no result of these benchmarks.
    """
    return f"{machine(run)}\n\n{markdown(results_of(run))}"


def machine(run: Mapping[str, Any]) -> str:
    """Return where and when a run was made, in one line."""
    info = run["machine_info"]
    parts = [
        info.get("cpu", {}).get("brand_raw") or info.get("machine", "unknown processor"),
        f"{info.get('threads', '?')} threads",
        f"Python {info.get('python_version', '?')}",
        *(f"{name} {version}" for name, version in info.get("versions", {}).items()),
        run.get("datetime", "")[:10],
    ]
    return ", ".join(filter(None, parts))


def sections(results: Iterable[Result]) -> list[Section]:
    """Return a section for each task: its charts, then its table."""
    results = in_order(results)
    # An engine has one colour on the whole page, ours the first ones.
    engines = sorted({(result.is_peer, result.engine) for result in results})
    colours = {engine: number for number, (_, engine) in enumerate(engines)}
    return [
        Section(task[0].upper() + task[1:], _blocks(list(of_task), colours))
        for task, of_task in groupby(results, key=lambda result: result.task)
    ]


def _blocks(results: Sequence[Result], colours: Mapping[str, int]) -> list[Any]:
    """Return the charts and the table of one task."""
    table = Table(COLUMNS[1:], [_row(result, results) for result in results])
    in_series = [result for result in results if result.along is not None]
    alone = [result for result in results if result.along is None]
    charts = [_lines(in_series, colours)] if in_series else []
    for setting, competing in groupby(alone, key=lambda result: result.setting):
        found = list(competing)
        if len(found) > 1:
            charts.append(_bars(setting, found, colours))
    return [*charts, table]


def _row(result: Result, results: Sequence[Result]) -> list[str | StyledText]:
    ratio = COLUMNS.index("against best peer")
    row: list[str | StyledText] = list(cells(result, results))
    if row[ratio] and not result.is_peer:
        row[ratio] = StyledText(str(row[ratio]), "good" if float(str(row[ratio])) >= 1 else "bad")
    return row[1:]


def _lines(results: Sequence[Result], colours: Mapping[str, int]) -> Chart:
    """Return the seconds of each engine along what a series goes along."""
    assert results[0].along is not None
    axis = results[0].along[0]
    points: dict[str, list[tuple[float, float]]] = {}
    for result in results:
        assert result.along is not None
        points.setdefault(result.engine, []).append((float(result.along[1]), result.seconds))
    series = []
    for engine, found in points.items():
        x, y = zip(*sorted(found), strict=True)
        series.append(Series(_label(engine), x, y, colours[engine]))
    values = [value for line in series for value in line.x]
    wide = max(values) >= LOGARITHMIC_FROM * min(values)
    svg = line_chart(series, x_label=axis, y_label=f"seconds per {results[0].per}", log_x=wide, log_y=True)
    return Chart(svg, f"Seconds by {axis}; less is better.")


def _label(engine: str) -> str:
    """Return a name that leaves room for others: mfcore's engines go by their own."""
    return engine.removeprefix("mfcore (").removesuffix(")") if engine.startswith("mfcore (") else engine


def _bars(setting: str, results: Sequence[Result], colours: Mapping[str, int]) -> Chart:
    """Return the seconds of those who did the same work, quickest first."""
    quickest = sorted(results, key=lambda result: result.seconds)
    svg = bar_chart(
        [_label(result.engine) for result in quickest],
        [result.seconds for result in quickest],
        x_label=f"seconds per {results[0].per}",
        colors=[colours[result.engine] for result in quickest],
    )
    return Chart(svg, f"{setting}; less is better.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report of the file that the command line names, and write the page where one is wanted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("file", type=Path, help="what --benchmark-json wrote")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with charts there, too")
    told = parser.parse_args(arguments)
    try:
        run = json.loads(told.file.read_text(encoding="utf-8"))
        print(report(run))
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"{told.file}: {error}")
    if told.html is None:
        return
    try:
        where = Section("", [Prose(machine(run))])
        write_page(told.html, "mfcore benchmarks", LEAD, [where, *sections(results_of(run))])
    except (OSError, PlottingMissingError) as error:
        parser.error(f"{told.html}: {error}")


if __name__ == "__main__":
    main()
