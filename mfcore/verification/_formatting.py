"""What verification has found, as people read it, in a terminal and in a report alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mfcore.specs import MODELS
from mfcore.testing import ASPECTS, DTYPES, INITIAL, METRIC, STREAM, TOP_K, Board, Measured
from mfcore.verification._verification import Engine, Finding, Requirement, Subject, Verification

# What is the same bit for bit, or is not.
EXACT = (STREAM, INITIAL)
NOTHING = "-"


@dataclass(frozen=True)
class Said:
    """A text, and how it is to be taken.

    Attributes
    ----------
    text : str
    tone : "", "good", "bad" or "quiet"
    """

    text: str
    tone: Literal["", "good", "bad", "quiet"] = ""


def aspects_of(dtype: str) -> list[str]:
    """Return what is measured of every engine in a dtype: whole runs are in float32, and few have a top-k."""
    left_out = {TOP_K} if dtype == "float32" else {TOP_K, METRIC}
    return [aspect for aspect in ASPECTS if aspect not in left_out]


def deviation_rows(verification: Verification, engine: Engine, dtype: str) -> list[list[Said]]:
    """Return a row for each model: an engine's largest deviation of each aspect in a dtype."""
    return [
        [
            Said(kind),
            *(_deviation(verification, engine.name, kind, dtype, aspect) for aspect in aspects_of(dtype)),
        ]
        for kind in MODELS
        if any(not finding.gap for finding in verification.of(engine.name, dtype, kind))
    ]


def largest_rows(verification: Verification) -> list[list[Said]]:
    """Return a row for each engine, dtype and aspect: the largest deviation, its bound, and where it is."""
    rows = []
    for engine in verification.engines:
        for dtype in DTYPES:
            for aspect in (*aspects_of(dtype), TOP_K):
                found = verification.worst(aspect, engine.name, dtype)
                if aspect in EXACT or found is None:
                    continue
                measured, finding = found
                rows.append(
                    [
                        Said(engine.name),
                        Said(aspect),
                        _number(measured),
                        Said(f"{measured.allowed:g}"),
                        Said(str(finding.subject), "quiet"),
                    ]
                )
    return rows


def contract_rows(verification: Verification) -> list[list[Said]]:
    """Return a row for each engine: how many requirements it meets, and how many known answers it finds."""
    return [
        [
            Said(engine.name),
            _of_all(verification.checks(engine.name, Requirement)),
            _of_all(verification.checks(engine.name, Board)),
        ]
        for engine in verification.engines
        if engine.is_installed
    ]


def gap_rows(verification: Verification) -> list[list[Said]]:
    """Return a row for each engine and reason: what it does not do."""
    return [
        [Said(engine), Said(_in_common(cells)), Said(reason)]
        for (engine, reason), cells in verification.gaps().items()
    ]


def failure_rows(verification: Verification) -> list[list[Said]]:
    """Return a row for each thing that is not as it should be: on which engine, where, and what."""
    return [
        [Said(finding.engine), Said(str(finding.subject)), Said(failure_in_words(finding), "bad")]
        for finding in verification.failures
    ]


def failure_in_words(finding: Finding) -> str:
    """Return what is wrong in a finding."""
    beyond = [
        f"{aspect}: {_number(found).text}"
        + ("" if aspect in EXACT else f", where {found.allowed:g} is allowed")
        for aspect, found in finding.beyond.items()
    ]
    return "; ".join([*filter(None, [finding.failure]), *beyond])


def verdict(verification: Verification) -> str:
    """Return what it comes to, in a sentence or two."""
    looked_at = [finding for finding in verification.findings if not finding.gap]
    failures = verification.failures
    engines = [engine.name for engine in verification.engines if engine.is_installed]
    what = f"{len(looked_at):,} comparisons and checks of {_listed(engines)}"
    if failures:
        return f"{len(failures):,} of {what} failed."
    gaps = len(verification.findings) - len(looked_at)
    left_out = f"; {gaps} are not done, for reasons that are known" if gaps else ""
    return f"All {what} hold{left_out}."


def _deviation(verification: Verification, engine: str, kind: str, dtype: str, aspect: str) -> Said:
    found = verification.worst(aspect, engine, dtype, kind)
    if found is not None:
        return _number(found[0]) if aspect not in EXACT else _exact(found[0])
    return Said("not told" if aspect == STREAM else NOTHING, "quiet")


def _exact(measured: Measured) -> Said:
    return Said("same", "good") if measured.is_within else _number(measured)


def _number(measured: Measured) -> Said:
    if measured.allowed == 0:
        return Said(f"{measured.value:.0f} differ", "bad")
    text = f"{measured.value:.1e}" if measured.value else "0"
    return Said(text, "" if measured.is_within else "bad")


def _of_all(findings: Sequence[Finding]) -> Said:
    if not findings:
        return Said(NOTHING, "quiet")
    held = sum(finding.holds for finding in findings)
    return Said(f"{held} of {len(findings)}", "" if held == len(findings) else "bad")


def _in_common(cells: Sequence[Subject]) -> str:
    """Return what stands for some cells: the first one, and how many others there are."""
    return f"{cells[0]}{f' and {len(cells) - 1} more' if len(cells) > 1 else ''}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]])) or "nothing"
