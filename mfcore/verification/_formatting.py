"""The results of a verification as text, in a terminal and in a report alike."""

from collections.abc import Sequence
from typing import TypeAlias

from mfcore.report import StyledText
from mfcore.specs import MODELS
from mfcore.testing import (
    ASPECTS,
    DTYPES,
    EXACT,
    METRIC,
    STREAM,
    TOP_K,
    Finding,
    KnownAnswer,
    Measured,
    Requirement,
    Subject,
    format_failure,
    format_measured,
)
from mfcore.verification._results import Engine, Verification

Row: TypeAlias = list[str | StyledText]

NOTHING = "-"


def aspects_of(dtype: str) -> list[str]:
    """Return what is measured of every engine in a dtype: whole runs are in float32, and few have a top-k.

    Parameters
    ----------
    dtype : "float64" or "float32"

    Returns
    -------
    list of str
        Of `mfcore.testing.ASPECTS`.

    Examples
    --------
    >>> from mfcore.verification import aspects_of
    >>> aspects_of("float64")
    ['stream', 'initial values', 'scores by objective', '1 step', '100 steps']
    """
    left_out = {TOP_K} if dtype == "float32" else {TOP_K, METRIC}
    return [aspect for aspect in ASPECTS if aspect not in left_out]


def deviation_rows(verification: Verification, engine: Engine, dtype: str) -> list[Row]:
    """Return a row for each model: an engine's largest deviation of each aspect in a dtype.

    Parameters
    ----------
    verification : Verification
    engine : Engine
    dtype : "float64" or "float32"

    Returns
    -------
    list of rows
        The model, then a cell for each of `aspects_of`.

    Examples
    --------
    >>> from mfcore.testing import Cell, Finding, Measured
    >>> from mfcore.verification import Engine, Verification, deviation_rows
    >>> cell, engine = Cell("mf", "squared", "adam", "float64"), Engine("mine", "an engine")
    >>> finding = Finding("mine", cell, {"1 step": Measured(2e-10, allowed=1e-9)})
    >>> [row] = deviation_rows(Verification([engine], [finding]), engine, "float64")
    >>> [getattr(text, "text", text) for text in row]
    ['mf', 'not exposed', '-', '-', '2.0e-10', '-']
    """
    return [
        [
            kind,
            *(_deviation(verification, engine.name, kind, dtype, aspect) for aspect in aspects_of(dtype)),
        ]
        for kind in MODELS
        if verification.of(engine.name, dtype, kind)
    ]


def largest_rows(verification: Verification) -> list[Row]:
    """Return a row for each engine, dtype and aspect: the largest deviation, its bound, and where it is.

    Parameters
    ----------
    verification : Verification

    Returns
    -------
    list of rows
        Engine, aspect, deviation, bound, subject.

    Examples
    --------
    >>> from mfcore.testing import Cell, Finding, Measured
    >>> from mfcore.verification import Engine, Verification, largest_rows
    >>> cell = Cell("mf", "squared", "adam", "float64")
    >>> finding = Finding("mine", cell, {"1 step": Measured(2e-10, allowed=1e-9)})
    >>> [row] = largest_rows(Verification([Engine("mine", "an engine")], [finding]))
    >>> [getattr(text, "text", text) for text in row]
    ['mine', '1 step', '2.0e-10', '1e-09', 'mf, squared, adam, float64']
    """
    rows: list[Row] = []
    for engine in verification.engines:
        for dtype in DTYPES:
            for aspect in (*aspects_of(dtype), TOP_K):
                found = verification.worst(aspect, engine.name, dtype)
                if aspect in EXACT or found is None:
                    continue
                measured, finding = found
                where = StyledText(str(finding.subject), "quiet")
                rows.append([engine.name, aspect, _number(measured), f"{measured.allowed:g}", where])
    return rows


def contract_rows(verification: Verification) -> list[Row]:
    """Return a row for each engine: how many requirements it meets, and how many known answers it finds.

    Parameters
    ----------
    verification : Verification

    Returns
    -------
    list of rows
        Engine, requirements, known answers.

    Examples
    --------
    >>> from mfcore.testing import Finding, Requirement
    >>> from mfcore.verification import Engine, Verification, contract_rows
    >>> finding = Finding("mine", Requirement("it says who it is"))
    >>> [row] = contract_rows(Verification([Engine("mine", "an engine")], [finding]))
    >>> [getattr(text, "text", text) for text in row]
    ['mine', '1 of 1', '-']
    """
    return [
        [
            engine.name,
            _of_all(verification.checks(engine.name, Requirement)),
            _of_all(verification.checks(engine.name, KnownAnswer)),
        ]
        for engine in verification.engines
        if engine.is_installed
    ]


def gap_rows(verification: Verification) -> list[Row]:
    """Return a row for each engine and reason: what it does not do.

    Parameters
    ----------
    verification : Verification

    Returns
    -------
    list of rows
        Engine, subjects, reason.

    Examples
    --------
    >>> from mfcore.testing import Cell, Finding, Refusal
    >>> from mfcore.verification import Engine, Verification, gap_rows
    >>> cell = Cell("mf", "ratings", "wals by cg", "float64")
    >>> finding = Finding("mine", cell, refusal=Refusal("it follows gradients", "it follows gradients"))
    >>> gap_rows(Verification([Engine("mine", "an engine")], [finding]))
    [['mine', 'mf, ratings, wals by cg, float64', 'it follows gradients']]
    """
    return [[engine, _first_of(subjects), reason] for engine, reason, subjects in verification.gaps()]


def failure_rows(verification: Verification) -> list[Row]:
    """Return a row for each failure: on which engine, where, and what.

    Parameters
    ----------
    verification : Verification

    Returns
    -------
    list of rows
        Engine, subject, failure.

    Examples
    --------
    >>> from mfcore.testing import Finding, Requirement
    >>> from mfcore.verification import Engine, Verification, failure_rows
    >>> finding = Finding("mine", Requirement("it says who it is"), failure="it has no description")
    >>> failure_rows(Verification([Engine("mine", "an engine")], [finding]))[0][2].text
    'it has no description'
    """
    return [
        [finding.engine, str(finding.subject), StyledText(format_failure(finding), "bad")]
        for finding in verification.failures
    ]


def verdict(verification: Verification) -> str:
    """Return the result in a sentence or two.

    Parameters
    ----------
    verification : Verification

    Returns
    -------
    str

    Examples
    --------
    >>> from mfcore.testing import Finding, Requirement
    >>> from mfcore.verification import Engine, Verification, verdict
    >>> finding = Finding("mine", Requirement("it says who it is"))
    >>> verdict(Verification([Engine("mine", "an engine")], [finding]))
    'All 1 comparisons and checks of mine hold.'
    """
    failures = verification.failures
    engines = [engine.name for engine in verification.engines if engine.is_installed]
    what = f"{len(verification.done):,} comparisons and checks of {_listed(engines)}"
    if failures:
        return f"{len(failures):,} of {what} failed."
    gaps = len(verification.findings) - len(verification.done)
    left_out = f"; {gaps} are not done, for reasons that are known" if gaps else ""
    return f"All {what} hold{left_out}."


def _deviation(verification: Verification, engine: str, kind: str, dtype: str, aspect: str) -> StyledText:
    found = verification.worst(aspect, engine, dtype, kind)
    if found is not None:
        return _number(found[0]) if aspect not in EXACT else _exact(found[0])
    return StyledText("not exposed" if aspect == STREAM else NOTHING, "quiet")


def _exact(measured: Measured) -> StyledText:
    return StyledText("same", "good") if measured.is_within else _number(measured)


def _number(measured: Measured) -> StyledText:
    return StyledText(format_measured(measured), "" if measured.is_within else "bad")


def _of_all(findings: Sequence[Finding]) -> StyledText:
    if not findings:
        return StyledText(NOTHING, "quiet")
    held = sum(finding.holds for finding in findings)
    return StyledText(f"{held} of {len(findings)}", "" if held == len(findings) else "bad")


def _first_of(subjects: Sequence[Subject]) -> str:
    """Return the first of some subjects as text, with the number of the others."""
    return f"{subjects[0]}{f' and {len(subjects) - 1} more' if len(subjects) > 1 else ''}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]])) or "nothing"
