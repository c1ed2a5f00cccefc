"""The kit for the authors of engines, and of specs, objectives and optimizers.

`conformance.BackendConformance` is a pytest class that every engine passes: subclass it, name your engine,
and run pytest. `verify_job` holds any engine to the reference with a spec, an objective or an optimizer of
your own. All is compared with the reference engine in float64; `cells` says on what.
"""

from mfcore.testing._arrays import ConformanceError
from mfcore.testing._cells import DTYPES, Cell, Selection, cells
from mfcore.testing._deviations import Deviation, Outcome, in_float64
from mfcore.testing._evaluation import Finding, Subject, compare_with_reference, evaluate, measure, subjects
from mfcore.testing._formatting import EXACT, format_failure, format_measured
from mfcore.testing._gaps import Refusal, refusal
from mfcore.testing._known_answers import KNOWN_ANSWERS, KnownAnswer
from mfcore.testing._measures import ASPECTS, INITIAL, METRIC, STREAM, TOP_K, Measured, Measures
from mfcore.testing._references import References
from mfcore.testing._requirements import Requirement
from mfcore.testing._runs import RUNS, Run
from mfcore.testing._verify_job import JobVerification, verify_job

__all__ = [
    "ASPECTS",
    "DTYPES",
    "EXACT",
    "INITIAL",
    "KNOWN_ANSWERS",
    "METRIC",
    "RUNS",
    "STREAM",
    "TOP_K",
    "Cell",
    "ConformanceError",
    "Deviation",
    "Finding",
    "JobVerification",
    "KnownAnswer",
    "Measured",
    "Measures",
    "Outcome",
    "References",
    "Refusal",
    "Requirement",
    "Run",
    "Selection",
    "Subject",
    "cells",
    "compare_with_reference",
    "evaluate",
    "format_failure",
    "format_measured",
    "in_float64",
    "measure",
    "refusal",
    "subjects",
    "verify_job",
]
