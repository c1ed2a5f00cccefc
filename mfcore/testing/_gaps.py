"""What an engine does not do, declared beforehand and with the reason: nothing is left out silently."""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import TypeAlias

from mfcore.engines import Backend, TrainingJob
from mfcore.testing._arrays import ConformanceError
from mfcore.testing._cells import Cell
from mfcore.testing._known_answers import Board
from mfcore.testing._runs import Run
from mfcore.testing._streams import Plan

# What may be a gap: all have the names of a model, an objective, an optimizer and a dtype.
Subject: TypeAlias = Cell | Run | Board | Plan

ALL = ("*",)


@dataclass(frozen=True)
class Gap:
    """Cells that an engine does not do.

    Attributes
    ----------
    reason : str
        Why, for somebody who wonders.
    models, objectives, optimizers, dtypes : sequence of str
        Names as in `mfcore.testing.cells`, "*" standing for any text. The cells that match all four are
        meant.
    """

    reason: str
    models: Sequence[str] = ALL
    objectives: Sequence[str] = ALL
    optimizers: Sequence[str] = ALL
    dtypes: Sequence[str] = ALL

    def covers(self, cell: Subject) -> bool:
        """Return whether a cell is meant."""
        return all(
            any(fnmatchcase(name, pattern) for pattern in patterns)
            for name, patterns in (
                (cell.model, self.models),
                (cell.objective, self.objectives),
                (cell.optimizer, self.optimizers),
                (cell.dtype, self.dtypes),
            )
        )


def gaps_of(engine: str) -> tuple[Gap, ...] | None:
    """Return the gaps of one of mfcore's engines, or None for an engine that is not in the table."""
    table = tomllib.loads((files("mfcore.testing") / "gaps.toml").read_text(encoding="utf-8"))
    return tuple(Gap(**entry) for entry in table[engine]) if engine in table else None


def refusal(backend: Backend, cell: Subject, job: TrainingJob, gaps: Iterable[Gap] | None) -> str | None:
    """Return why an engine does not do a cell, or None where it does.

    Parameters
    ----------
    backend : Backend
    cell : Cell, Run, Board or Plan
    job : TrainingJob
        Of the cell.
    gaps : iterable of Gap, or None
        What the engine is known not to do; None where nothing is known, and its own reason is taken.

    Raises
    ------
    ConformanceError
        It refuses what is no gap, or does what is said to be one.
    """
    said = backend.unsupported(job)
    if gaps is None:
        return said
    known = next((gap for gap in gaps if gap.covers(cell)), None)
    if said is not None and known is None:
        raise ConformanceError(
            f"{backend.name} refuses {cell}, and no gap says so; it says: {said}. Declare the gap, with the"
            " reason, or do the job"
        )
    if said is None and known is not None:
        raise ConformanceError(
            f"{backend.name} does {cell}, which is declared a gap ({known.reason}); remove it from the gaps"
        )
    return None if known is None else known.reason
