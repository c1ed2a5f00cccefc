"""The results of all engines."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from mfcore.testing import Finding, KnownAnswer, Measured, Requirement, Subject


@dataclass(frozen=True)
class Engine:
    """An engine to be verified.

    Attributes
    ----------
    name : str
    detail : str
        What it does, on which version of its framework; or why it is not available.
    is_installed : bool

    Examples
    --------
    >>> from mfcore.verification import Engine
    >>> Engine("mine", "numpy, one thread").is_installed
    True
    """

    name: str
    detail: str
    is_installed: bool = True


@dataclass(frozen=True)
class Verification:
    """The findings of all engines.

    Attributes
    ----------
    engines : sequence of Engine
    findings : sequence of Finding

    Examples
    --------
    >>> from mfcore.testing import Cell, Finding, Measured, Refusal, Requirement
    >>> from mfcore.verification import Engine, Verification
    >>> by_adam, by_wals = (
    ...     Cell("mf", "squared", "adam", "float64"), Cell("mf", "ratings", "wals by cg", "float64")
    ... )
    >>> findings = [
    ...     Finding("mine", by_adam, {"1 step": Measured(2e-9, allowed=1e-9)}),
    ...     Finding("mine", by_wals, refusal=Refusal("it follows gradients", "it follows gradients")),
    ...     Finding("mine", Requirement("it says who it is")),
    ... ]
    >>> verification = Verification([Engine("mine", "an engine")], findings)
    >>> len(verification.failures), len(verification.done)
    (1, 2)
    >>> verification.worst("1 step", "mine", "float64")[0].value
    2e-09
    >>> len(verification.of("mine", "float64", "mf")), len(verification.checks("mine", Requirement))
    (1, 1)
    >>> [(engine, reason) for engine, reason, _ in verification.gaps()]
    [('mine', 'it follows gradients')]
    >>> verification.document()["holds"]
    False
    """

    engines: Sequence[Engine]
    findings: Sequence[Finding]

    @cached_property
    def failures(self) -> list[Finding]:
        """The findings that do not hold."""
        return [finding for finding in self.findings if not finding.holds]

    @cached_property
    def done(self) -> list[Finding]:
        """The findings of what engines do, well or badly."""
        return [finding for finding in self.findings if finding.refusal is None]

    def worst(
        self, aspect: str, engine: str, dtype: str, kind: str | None = None
    ) -> tuple[Measured, Finding] | None:
        """Return the deviation that is largest relative to what is allowed, and where it is.

        Parameters
        ----------
        aspect, engine, dtype : str
        kind : str, optional
            A model, by its name on the command line; otherwise all.

        Returns
        -------
        tuple of Measured and Finding, or None
            None where nothing was measured.
        """
        found = [
            (finding.measures[aspect], finding)
            for finding in self.of(engine, dtype, kind)
            if aspect in finding.measures
        ]
        return max(found, key=lambda pair: (pair[0].share, pair[0].value), default=None)

    def of(self, engine: str, dtype: str, kind: str | None = None) -> list[Finding]:
        """Return an engine's findings in a dtype, refusals aside.

        Parameters
        ----------
        engine, dtype : str
        kind : str, optional
            A model, by its name on the command line; otherwise all.

        Returns
        -------
        list of Finding
        """
        return [
            finding
            for finding in self.done
            if finding.engine == engine
            and finding.subject.dtype == dtype
            and kind in (None, finding.subject.kind)
        ]

    def checks(self, engine: str, sort: type[Requirement] | type[KnownAnswer]) -> list[Finding]:
        """Return an engine's findings of one sort of checks, refusals aside.

        Parameters
        ----------
        engine : str
        sort : class
            `Requirement` or `KnownAnswer`.

        Returns
        -------
        list of Finding
        """
        return [
            finding for finding in self.done if finding.engine == engine and isinstance(finding.subject, sort)
        ]

    def gaps(self) -> list[tuple[str, str, list[Subject]]]:
        """Return what engines do not do; of a kind of reasons, the first stands for all.

        Returns
        -------
        list of tuples (engine, reason, list of Subject)
        """
        found: dict[tuple[str, str], tuple[str, str, list[Subject]]] = {}
        for finding in self.findings:
            if (refusal := finding.refusal) is not None:
                key = (finding.engine, refusal.kind)
                found.setdefault(key, (finding.engine, refusal.reason, []))[2].append(finding.subject)
        return list(found.values())

    def document(self) -> dict[str, Any]:
        """Return all findings, for JSON.

        Returns
        -------
        dict
            "engines", "holds" and "findings".
        """
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
