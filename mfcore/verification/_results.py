"""What was found of all engines."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from mfcore.testing import Finding, KnownAnswer, Measured, Requirement, Subject


@dataclass(frozen=True)
class Engine:
    """An engine that was asked for.

    Attributes
    ----------
    name : str
    detail : str
        What it does, on which version of its framework; or why it is not here.
    is_installed : bool
    """

    name: str
    detail: str
    is_installed: bool = True


@dataclass(frozen=True)
class Verification:
    """All that was found.

    Attributes
    ----------
    engines : sequence of Engine
    findings : sequence of Finding
    """

    engines: Sequence[Engine]
    findings: Sequence[Finding]

    @cached_property
    def failures(self) -> list[Finding]:
        """What is not as it should be."""
        return [finding for finding in self.findings if not finding.holds]

    @cached_property
    def done(self) -> list[Finding]:
        """What engines do, well or badly."""
        return [finding for finding in self.findings if finding.refusal is None]

    def worst(
        self, aspect: str, engine: str, dtype: str, kind: str | None = None
    ) -> tuple[Measured, Finding] | None:
        """Return what is largest beside what it may be, and where; None where nothing was measured.

        Parameters
        ----------
        aspect, engine, dtype : str
        kind : str, optional
            A model, by its name on the command line; otherwise all.
        """
        found = [
            (finding.measures[aspect], finding)
            for finding in self.of(engine, dtype, kind)
            if aspect in finding.measures
        ]
        return max(found, key=lambda pair: (pair[0].share, pair[0].value), default=None)

    def of(self, engine: str, dtype: str, kind: str | None = None) -> list[Finding]:
        """Return what was found of an engine in a dtype, of a model or of all, but for what it refuses."""
        return [
            finding
            for finding in self.done
            if finding.engine == engine
            and finding.subject.dtype == dtype
            and kind in (None, finding.subject.kind)
        ]

    def checks(self, engine: str, sort: type[Requirement] | type[KnownAnswer]) -> list[Finding]:
        """Return what was found of an engine by checks of one sort, but for what it refuses."""
        return [
            finding for finding in self.done if finding.engine == engine and isinstance(finding.subject, sort)
        ]

    def gaps(self) -> list[tuple[str, str, list[Subject]]]:
        """Return engines, reasons and what they do not do; of a kind of reasons, the first stands for all."""
        found: dict[tuple[str, str], tuple[str, str, list[Subject]]] = {}
        for finding in self.findings:
            if (refusal := finding.refusal) is not None:
                key = (finding.engine, refusal.kind)
                found.setdefault(key, (finding.engine, refusal.reason, []))[2].append(finding.subject)
        return list(found.values())

    def document(self) -> dict[str, Any]:
        """Return all that was found, for JSON."""
        return {
            "engines": [asdict(engine) for engine in self.engines],
            "holds": not self.failures,
            "findings": [
                {
                    "engine": finding.engine,
                    "subject": str(finding.subject),
                    "model": finding.subject.kind,
                    "dtype": finding.subject.dtype,
                    "measures": {
                        aspect: {"value": found.value, "allowed": found.allowed}
                        for aspect, found in finding.measures.items()
                    },
                    "gap": finding.refusal.reason if finding.refusal else "",
                    "failure": finding.failure,
                    "holds": finding.holds,
                }
                for finding in self.findings
            ],
        }
