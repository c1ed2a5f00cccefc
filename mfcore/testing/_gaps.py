"""What an engine does not do: declared beforehand, with the reason; nothing is left out silently."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeAlias

from mfcore.engines import Backend, Gap, TrainingJob
from mfcore.testing._arrays import ConformanceError
from mfcore.testing._cells import Cell
from mfcore.testing._known_answers import KnownAnswer
from mfcore.testing._runs import Run
from mfcore.testing._streams import StreamCase

# What may be a gap: all have the names of a model, an objective, an optimizer and a dtype.
Named: TypeAlias = Cell | Run | KnownAnswer | StreamCase


@dataclass(frozen=True)
class Refusal:
    """Why an engine does not do a job.

    Attributes
    ----------
    reason : str
    kind : str
        The same for reasons that differ in nothing but the jobs' settings.

    Examples
    --------
    >>> from mfcore.testing import Refusal
    >>> Refusal("MF(4) has too few factors", kind="... has too few factors").kind
    '... has too few factors'
    """

    reason: str
    kind: str


def covers(gap: Gap, subject: Named) -> bool:
    """Return whether a gap means a cell, a run, a known answer or a stream."""
    return all(
        any(fnmatchcase(name, pattern) for pattern in patterns)
        for name, patterns in (
            (subject.model, gap.models),
            (subject.objective, gap.objectives),
            (subject.optimizer, gap.optimizers),
            (subject.dtype, gap.dtypes),
        )
    )


def refusal(backend: Backend, subject: Named, job: TrainingJob, gaps: Sequence[Gap] | None) -> Refusal | None:
    """Return why an engine does not do a job, or None where it does.

    Parameters
    ----------
    backend : Backend
    subject : Cell, Run, KnownAnswer or StreamCase
    job : TrainingJob
        Of the subject.
    gaps : sequence of Gap, or None
        What the engine is known not to do; None where nothing is known, and its own reason is taken.

    Returns
    -------
    Refusal or None

    Raises
    ------
    ConformanceError
        It refuses what no gap declares, or does what a gap declares.

    Examples
    --------
    >>> from mfcore.engines.reference import backend
    >>> from mfcore.testing import Cell, refusal
    >>> cell = Cell("mf", "squared", "adam", "float64")
    >>> refusal(backend, cell, cell.job(), backend.gaps) is None
    True
    """
    reason = backend.unsupported(job)
    if gaps is None:
        return None if reason is None else Refusal(reason, _kind(reason, job))
    known = next((gap for gap in gaps if covers(gap, subject)), None)
    if reason is not None and known is None:
        raise ConformanceError(
            f"{backend.name} refuses {subject}, and no gap declares it; its reason: {reason}. Declare the"
            " gap, with the reason, or do the job"
        )
    if reason is None and known is not None:
        raise ConformanceError(
            f"{backend.name} does {subject}, which is declared a gap ({known.reason}); remove it from the"
            " gaps"
        )
    return None if known is None else Refusal(known.reason, known.reason)


def _kind(reason: str, job: TrainingJob) -> str:
    """Return a reason without the settings and the names of the job's parts."""
    parts = (job.spec, job.spec.output, job.objective, job.optimizer)
    for text in (*map(repr, parts), *(type(part).__name__ for part in parts), job.dtype.name):
        reason = re.sub(rf"(?<!\w){re.escape(text)}(?!\w)", "...", reason)
    return reason
