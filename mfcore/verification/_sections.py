"""The report of a verification."""

from collections.abc import Mapping, Sequence

from mfcore.report import Fact, Prose, Section, StyledText, Table
from mfcore.testing import DTYPES
from mfcore.verification import _formatting as formatting
from mfcore.verification._results import Verification

HOW = (
    "Every engine trains the same small jobs as the reference engine, which is plain numpy in float64: with"
    " repeated ids, an uneven last batch, a learning rate that falls, and regularisation. A deviation is the"
    " largest distance from the reference, of the distance that parameters have moved (or of the size of the"
    " optimizer's state), over all jobs of a model. Samples and initial values are compared bit for bit."
    " Training does not expose scores: the mean objective of one batch, before its step, stands for them."
    " Where an engine has a top-k of its own, its scores after whole runs are compared with those of the core"
    " in float64, and their deviation is of the largest score."
)

CAPTIONS = {
    "float64": "In float64. Of each single array, 1e-9 is allowed.",
    "float32": "In float32. Of all arrays of a model together 1e-5 is allowed, for WALS by conjugate gradient"
    " 1e-4, and of a batch's mean objective and of top-k scores 1e-6.",
}


def sections_of(verification: Verification, machine: Mapping[str, str]) -> list[Section]:
    """Return the parts of the report.

    Parameters
    ----------
    verification : Verification
    machine : mapping of str to str
        As `mfcore.comparison.machine` returns it.

    Returns
    -------
    list of Section

    Examples
    --------
    >>> from mfcore.testing import Finding, Requirement
    >>> from mfcore.verification import Engine, Verification, sections_of
    >>> finding = Finding("mine", Requirement("it says who it is"))
    >>> verification = Verification([Engine("mine", "an engine")], [finding])
    >>> [section.title for section in sections_of(verification, {"system": "Linux"})]
    ['', 'Deviations', 'The largest of all', 'The contract', 'Made on']
    """
    failures = formatting.failure_rows(verification)
    gaps = formatting.gap_rows(verification)
    return [
        Section("", _facts(verification)),
        *([_section("Out of tolerance", ["engine", "where", "what"], failures)] if failures else []),
        Section("Deviations", [Prose(HOW), *_deviations(verification)]),
        _section(
            "The largest of all",
            ["engine", "of", "off by", "may be", "in"],
            formatting.largest_rows(verification),
        ),
        _section(
            "The contract",
            ["engine", "requirements met", "known answers found"],
            formatting.contract_rows(verification),
        ),
        *([_section("Not done, and why", ["engine", "cells", "why"], gaps)] if gaps else []),
        Section("Made on", [Table(["", ""], [*_engines(verification), *machine.items()])]),
    ]


def _facts(verification: Verification) -> list[Fact]:
    return [
        Fact(f"{len(verification.done):,}", "comparisons and checks"),
        Fact(f"{len(verification.failures):,}", "failed"),
        Fact(f"{sum(engine.is_installed for engine in verification.engines)}", "engines"),
    ]


def _deviations(verification: Verification) -> list[Table]:
    return [
        Table(["engine", "model", *formatting.aspects_of(dtype)], rows, caption=CAPTIONS[dtype])
        for dtype in DTYPES
        if (
            rows := [
                [engine.name, *row]
                for engine in verification.engines
                for row in formatting.deviation_rows(verification, engine, dtype)
            ]
        )
    ]


def _engines(verification: Verification) -> list[tuple[str, str]]:
    return [(engine.name, engine.detail) for engine in verification.engines]


def _section(title: str, columns: Sequence[str], rows: Sequence[Sequence[str | StyledText]]) -> Section:
    return Section(title, [Table(columns, rows)])
