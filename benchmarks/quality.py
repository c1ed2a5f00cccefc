"""Published tables of quality, and ours beside them: ``python -m benchmarks.quality``.

Trains each recipe of `benchmarks.recipes` on each engine. Quality does not depend on how busy the machine is;
the seconds do. The exit status is 1 where a figure falls short of what mfcore is held to.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import stdev
from typing import Any

from benchmarks import data
from benchmarks.recipes import RECIPES, TABLES, Found, Recipe, mean_of
from mfcore import datasets
from mfcore.cli import Printer
from mfcore.engines import registry
from mfcore.errors import UnsupportedError
from mfcore.files import replacing

COLUMNS = ("recipe", "engine", "metric", "ours", "spread", "published", "difference", "time")
# In a terminal these are said beside the table, which is to fit into 80 columns.
BESIDE = ("engine", "spread")
# The number of an epoch is no quality.
OTHERS = ("epoch",)


@dataclass(frozen=True)
class Line:
    """A recipe on an engine.

    Attributes
    ----------
    recipe : Recipe
    engine : str
    runs : sequence of Found
        One for each seed, from 0.
    """

    recipe: Recipe
    engine: str
    runs: Sequence[Found]

    @property
    def mean(self) -> Found:
        """The mean over the seeds."""
        return mean_of(self.runs)

    @property
    def spread(self) -> dict[str, float]:
        """The standard deviation of each metric over the seeds; nothing for one seed."""
        if len(self.runs) < 2:
            return {}
        return {
            name: stdev([run.metrics[name] for run in self.runs])
            for name in self.runs[0].metrics
            if name not in OTHERS
        }

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield a row under `COLUMNS` for each metric."""
        found, published = self.mean, self.recipe.published
        names = [name for name in found.metrics if name not in OTHERS]
        for place, name in enumerate(names):
            ours, theirs = found.metrics[name], published.get(name)
            yield (
                self.recipe.name if place == 0 else "",
                self.engine if place == 0 else "",
                name,
                ours,
                self.spread.get(name),
                theirs,
                None if theirs is None else ours - theirs,
                f"{found.seconds:.0f} s" if place == 0 else "",
            )

    def document(self) -> dict[str, Any]:
        """Return it as plain values."""
        recipe = {name: getattr(self.recipe, name) for name in ("table", "name", "setting", "source")}
        return {
            **recipe,
            "engine": self.engine,
            "published": dict(self.recipe.published),
            "ours": dict(self.mean.metrics),
            "runs": [asdict(run) for run in self.runs],
            "missed": self.missed,
        }

    @property
    def missed(self) -> list[str]:
        """What falls short of what mfcore is held to; judged with as many seeds as the bound is for."""
        if len(self.runs) < self.recipe.n_seeds:
            return []
        return [f"{what} ({self.engine})" for what in self.recipe.missed(self.mean.metrics)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the module's documentation says; return the exit status."""
    told = _parser().parse_args(arguments)
    data.look_beside()
    recipes = _selected(told)
    if told.list:
        _list(recipes, told.backends[0])
        return 0
    out = Printer(as_json=False)
    lines: list[Line] = []
    for table in TABLES:
        of_table = [recipe for recipe in recipes if recipe.table == table]
        found = [line for recipe in of_table for line in _lines(recipe, told)]
        if found:
            _show(out, table, found)
            lines += found
            # After each table, so that a long run that is broken off leaves what it has.
            _write(told, lines)
    missed = [what for line in lines for what in line.missed]
    for what in missed:
        print(f"below what mfcore is held to: {what}", file=sys.stderr)
    return 1 if missed else 0


def markdown(lines: Sequence[Line]) -> str:
    """Return the lines as a Markdown table for each published one, with its sources."""
    parts = []
    for table, title in TABLES.items():
        of_table = [line for line in lines if line.recipe.table == table]
        if not of_table:
            continue
        rows = [_texts(row) for line in of_table for row in line.rows()]
        parts += [f"## {title}", "", f"| {' | '.join(COLUMNS)} |", "|---|---|---|" + "---:|" * 5]
        parts += [f"| {' | '.join(row)} |" for row in rows]
        parts += ["", *(f"- {text}" for text in _sources(of_table)), ""]
    return "\n".join(parts)


def _show(out: Printer, table: str, lines: Sequence[Line]) -> None:
    """Print a table for each engine, and the sources once."""
    places = [place for place, name in enumerate(COLUMNS) if name not in BESIDE]
    for engine in dict.fromkeys(line.engine for line in lines):
        of_engine = [line for line in lines if line.engine == engine]
        rows = [[row[place] for place in places] for line in of_engine for row in line.rows()]
        out.heading(f"{TABLES[table]} ({engine})")
        out.table([COLUMNS[place] for place in places], rows)
        for line in of_engine:
            if line.spread:
                found = ", ".join(f"{name} {value:.4f}" for name, value in line.spread.items())
                out.text(f"{line.recipe.name}: {len(line.runs)} seeds, standard deviation {found}")
    for text in _sources(lines):
        out.text(text)


def _sources(lines: Sequence[Line]) -> list[str]:
    recipes = {line.recipe.name: line.recipe for line in lines}
    return [f"{name}: {recipe.setting}. {_source(recipe)}" for name, recipe in recipes.items()]


def _source(recipe: Recipe) -> str:
    return f"Published: {recipe.source}" if recipe.source else "Nothing is published."


def _texts(row: Sequence[Any]) -> list[str]:
    return ["" if cell is None else f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row]


def _lines(recipe: Recipe, told: argparse.Namespace) -> Iterator[Line]:
    """Train a recipe on each engine that can be had and does such jobs."""
    n_seeds = told.seeds or recipe.n_seeds
    engines = [engine for engine in told.backends if recipe.is_quick(engine) or not told.quick]
    if datasets.find(recipe.data) is None:
        _note(f"{recipe.name} is left out: {recipe.data} is not on disk (see `mfcore data fetch`)")
        return
    for engine in engines:
        try:
            registry.get(engine)
            runs = []
            for seed in range(n_seeds):
                _note(f"{recipe.name} on {engine}, seed {seed} (about {_duration(recipe, engine)}) ...")
                runs.append(recipe.run(engine, seed))
        except (registry.BackendMissingError, UnsupportedError) as error:
            _note(f"{recipe.name} is left out on {engine}: {error}")
        else:
            yield Line(recipe, engine, runs)


def _duration(recipe: Recipe, engine: str) -> str:
    minutes = recipe.minutes_on(engine)
    return f"{minutes * 60:.0f} s" if minutes < 1 else f"{minutes:.0f} min"


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _write(told: argparse.Namespace, lines: Sequence[Line]) -> None:
    texts = {}
    if told.markdown is not None:
        texts[told.markdown] = markdown(lines)
    if told.json is not None:
        texts[told.json] = json.dumps([line.document() for line in lines], indent=2)
    for path, text in texts.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _selected(told: argparse.Namespace) -> list[Recipe]:
    return [recipe for recipe in RECIPES if recipe.table in told.tables]


def _list(recipes: Sequence[Recipe], engine: str) -> None:
    Printer(as_json=False).table(
        ["table", "recipe", "data", "seeds", "a seed takes", "quick"],
        [
            [r.table, r.name, r.data, r.n_seeds, _duration(r, engine), "yes" if r.is_quick(engine) else "no"]
            for r in recipes
        ],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument(
        "--tables", nargs="+", choices=list(TABLES), default=list(TABLES), help="which ones (all)"
    )
    parser.add_argument(
        "--backends", nargs="+", default=["numba"], choices=registry.names(), help="engines (numba)"
    )
    parser.add_argument("--quick", action="store_true", help="leave out what takes more than two minutes")
    parser.add_argument(
        "--seeds", type=int, help="train from so many seeds; by default one, or as many as the figure needs"
    )
    parser.add_argument("--list", action="store_true", help="list the recipes and how long they take")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all runs there, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
