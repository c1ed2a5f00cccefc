"""A spec, an objective or an optimizer of one's own, held to the reference engine on any engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mfcore.data import Interactions, splits
from mfcore.engines import Backend, registry
from mfcore.metrics import NDCG, RMSE, Metric
from mfcore.specs import ModelSpec
from mfcore.testing._arrays import ConformanceError
from mfcore.testing._cells import BATCH, DTYPES
from mfcore.testing._evaluation import Finding, evaluate
from mfcore.testing._formatting import format_failure, format_measured
from mfcore.testing._measures import Measured
from mfcore.testing._own_jobs import OwnJob
from mfcore.testing._references import References
from mfcore.testing._runs import planted
from mfcore.training import make_job

# How far an engine may be off, as a multiple of what rounding does to the reference engine in float32.
ALLOWED_ROUNDING = 2.0


@dataclass(frozen=True)
class JobVerification:
    """How far engines are from the reference engine in one job; as a string, a table.

    Attributes
    ----------
    findings : sequence of Finding
        One for each engine and dtype; `measures` has what was measured, and what is allowed.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.testing import verify_job
    >>> found = verify_job(
    ...     mfcore.MF(4), optimizer=mfcore.SGD(0.02), backends=["reference"], dtypes=["float64"]
    ... )
    >>> found.holds
    True
    >>> print(found)
    reference: MF, Squared, SGD, float64: holds
        scores by objective 0 of 1e-09
        1 step              0 of 1e-09
        100 steps           0 of 1e-09
        final metric        0 of 0.001
    """

    findings: Sequence[Finding]

    @property
    def holds(self) -> bool:
        """Whether every engine trains the job within what is allowed."""
        return all(finding.holds for finding in self.findings)

    def __str__(self) -> str:
        lines = []
        for finding in self.findings:
            verdict = "holds" if finding.holds else f"deviates: {format_failure(finding)}"
            lines.append(f"{finding.engine}: {finding.subject}: {verdict}")
            lines += [
                f"    {aspect:<19} {format_measured(found)} of {found.allowed:g}"
                for aspect, found in finding.measures.items()
                if found.allowed
            ]
        return "\n".join(lines)


def verify_job(
    spec: ModelSpec,
    data: Interactions | None = None,
    *,
    backends: Sequence[str | Backend],
    metric: Metric | None = None,
    epochs: int = 2,
    dtypes: Sequence[str] = DTYPES,
    device: str = "cpu",
    strict: bool = True,
    **settings: Any,
) -> JobVerification:
    """Train one job on engines and on the reference engine in float64, and compare them.

    Initial values are compared bit for bit, then the mean objective of the first batch, what its step moves,
    what all steps of some epochs move, and the metric of the model on a fifth of the data that is held out.
    In float32 an engine may be off by what cells may, or by twice what rounding alone does to the reference
    engine, where that is more.

    Parameters
    ----------
    spec : ModelSpec
        Of mfcore, or a class of one's own.
    data : Interactions, optional
        By default 1,200 planted ones: ratings of 1 to 5, or, where negatives are sampled or items compared,
        values of 1.
    backends : sequence of str or Backend
        Engines by name, or themselves.
    metric : Metric, optional
        By default `RMSE()` of ratings, otherwise `NDCG(10)`.
    epochs : int
        By default two, about a hundred steps.
    dtypes : sequence of str
        "float64", "float32" or both.
    device : str
        Where the engines train.
    strict : bool
        Whether a deviation is an error; otherwise the result says so.
    **settings : object
        Further arguments of `mfcore.fit` that say what the job is: objective, optimizer, n_negatives and so
        on. Rules that divide a gradient by its size, as Adam does, make whole steps of gradients that cancel
        but for rounding: give them an epsilon of 1e-4, as the cells do.

    Returns
    -------
    JobVerification

    Raises
    ------
    ConformanceError
        An engine deviates, refuses the job or fails; the message is the table. It is an AssertionError.
    MfcoreError
        The job itself makes no sense.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.testing import verify_job
    >>> class Bolder(mfcore.SGD):
    ...     def learning_rate_at(self, epoch):
    ...         return 2 * super().learning_rate_at(epoch)
    >>> found = verify_job(mfcore.MF(4), optimizer=Bolder(0.02), backends=["reference"])
    >>> print(found.findings[0].subject)
    MF, Squared, Bolder, float64
    """
    # Likes fit every objective; the job made of them shows whether it needs ratings.
    train, held_out = planted(ratings=False) if data is None else splits.ratio(data, seed=0)
    job = make_job(spec, train, **settings)
    of_ratings = job.objective.pairing == "pointwise" and not job.sampling.n_negatives
    if data is None and of_ratings:
        train, held_out = planted(ratings=True)
    settings = {"batch_size": BATCH * job.n_instances // len(job.data), "threads": 2, **settings}
    metric = metric or (RMSE() if of_ratings else NDCG(10))
    references, findings = References(), []
    for dtype in dtypes:
        subject = OwnJob(spec, train, held_out, settings, metric, epochs, dtype)
        rounding: Mapping[str, Measured] = {}
        if dtype == "float32":
            rounding = evaluate(registry.get(registry.REFERENCE), subject, references).measures
        for backend in backends:
            engine = registry.get(backend) if isinstance(backend, str) else backend
            findings.append(_allowing_for(rounding, evaluate(engine, subject, references, device)))
    found = JobVerification(findings)
    if strict and not found.holds:
        raise ConformanceError(f"engines deviate from the reference engine\n{found}")
    return found


def _allowing_for(rounding: Mapping[str, Measured], finding: Finding) -> Finding:
    """Return a finding whose bounds allow for rounding."""
    measures = {
        aspect: replace(found, allowed=max(found.allowed, ALLOWED_ROUNDING * rounding[aspect].value))
        if aspect in rounding
        else found
        for aspect, found in finding.measures.items()
    }
    return replace(finding, measures=measures)
