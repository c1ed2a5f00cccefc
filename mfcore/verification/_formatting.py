"""What verification has found, as people read it, in a terminal and in a report alike."""

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
    """Return what is measured of every engine in a dtype: whole runs are in float32, and few have a top-k."""
    left_out = {TOP_K} if dtype == "float32" else {TOP_K, METRIC}
    return [aspect for aspect in ASPECTS if aspect not in left_out]


def deviation_rows(verification: Verification, engine: Engine, dtype: str) -> list[Row]:
    """Return a row for each model: an engine's largest deviation of each aspect in a dtype."""
    return [
        [
            kind,
            *(_deviation(verification, engine.name, kind, dtype, aspect) for aspect in aspects_of(dtype)),
        ]
        for kind in MODELS
        if verification.of(engine.name, dtype, kind)
    ]


def largest_rows(verification: Verification) -> list[Row]:
    """Return a row for each engine, dtype and aspect: the largest deviation, its bound, and where it is."""
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
    """Return a row for each engine: how many requirements it meets, and how many known answers it finds."""
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
    """Return a row for each engine and reason: what it does not do."""
    return [[engine, _first_of(subjects), reason] for engine, reason, subjects in verification.gaps()]


def failure_rows(verification: Verification) -> list[Row]:
    """Return a row for each thing that is not as it should be: on which engine, where, and what."""
    return [
        [finding.engine, str(finding.subject), StyledText(format_failure(finding), "bad")]
        for finding in verification.failures
    ]


def verdict(verification: Verification) -> str:
    """Return the result in a sentence or two."""
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
    """Return what stands for some subjects: the first one, and how many others there are."""
    return f"{subjects[0]}{f' and {len(subjects) - 1} more' if len(subjects) > 1 else ''}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]])) or "nothing"
