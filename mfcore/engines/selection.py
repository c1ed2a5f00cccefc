"""Which engine runs a job: the one asked for, or the one that would be done first."""

import os
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mfcore.engines import costs, registry
from mfcore.engines.contract import Backend, TrainingJob
from mfcore.errors import InvalidArgumentError, UnsupportedError

# What a driver for CUDA devices leaves behind, on Linux, in WSL and on Windows.
CUDA_DRIVERS = ("/proc/driver/nvidia/version", "/dev/dxg", r"C:\Windows\System32\nvcuda.dll")


@dataclass(frozen=True, order=True)
class Estimate:
    """How long a job would take on an engine.

    Attributes
    ----------
    seconds : float
    name : str
        Of the engine.
    on_cuda : bool
        Whether that is the least that it would take on a CUDA device.
    """

    seconds: float
    name: str = field(compare=False)
    on_cuda: bool = field(compare=False, default=False)

    def __str__(self) -> str:
        return f"{self.name}{' on CUDA' * self.on_cuda}"


def choose_backend(wanted: str | Backend, job: TrainingJob, epochs: int) -> tuple[Backend, str]:
    """Return the engine for a job, and why it was chosen.

    "auto" takes the installed engine that does the job and would be done first, by the costs that were
    measured (`costs`). Engines are loaded in that order until one is found, so that the others are
    not. One whose costs are unknown is never taken, and the reference only where no other engine does the
    job.

    Parameters
    ----------
    wanted : str or Backend
        An engine's name, "auto", or an engine itself.
    job : TrainingJob
    epochs : int
        How many are to be trained.

    Raises
    ------
    InvalidArgumentError
        `wanted` is none of these, or names an engine that is not installed.
    UnsupportedError
        The engine does not do the job; the message says why and which ones do.
    """
    if not isinstance(wanted, str):
        return _able(_engine_itself(wanted), job), "passed as an instance"
    if wanted != "auto":
        return _able(registry.get(wanted), job), "asked for by name"
    names = [name for name in registry.names() if name != registry.REFERENCE and registry.has_framework(name)]
    unknown = [name for name in names if name not in costs.measured().engines]
    remarks = [f"{name}: never measured, so it has to be asked for by name" for name in unknown]
    estimator = _Estimator(job, epochs)
    waiting = estimator.all_of(names)
    while waiting:
        best = waiting.pop(0)
        backend = registry.get(best.name)
        if reason := backend.unsupported(job):
            remarks.append(f"{best.name}: {reason}")
        elif best.on_cuda and (reason := _unsupported_on_cuda(backend, job)):
            remarks.append(f"{best}: {reason}")
            insort(waiting, estimator.on_cpu(best.name))
        else:
            return backend, "; ".join([_in_words(best, waiting), *remarks])
    return _reference(job, remarks)


@dataclass(frozen=True)
class _Estimator:
    """Says how long a job would take."""

    job: TrainingJob
    epochs: int

    def all_of(self, names: list[str]) -> list[Estimate]:
        """Return the estimates of those engines whose costs are known for such a job, quickest first."""
        table, family = costs.measured(), self._work.family
        known = [name for name in names if family in table.engines.get(name, {})]
        device = self.job.device
        may_be_cuda = _has_cuda_driver() if device == "auto" else device != "cpu"
        return sorted(
            self.on_cuda(name) if may_be_cuda and name in table.on_cuda else self.on_cpu(name)
            for name in known
        )

    def on_cpu(self, name: str) -> Estimate:
        return Estimate(self._costs(name).seconds(self._work, self.epochs, self.job.threads), name)

    def on_cuda(self, name: str) -> Estimate:
        return Estimate(self._costs(name).least_seconds_on_cuda(self._work, self.epochs), name, on_cuda=True)

    def _costs(self, name: str) -> costs.Costs:
        return costs.measured().engines[name][self._work.family]

    @cached_property
    def _work(self) -> costs.Work:
        return costs.Work.of(self.job)


def _unsupported_on_cuda(backend: Backend, job: TrainingJob) -> str | None:
    """Return why an engine does not do a job on a CUDA device, or None."""
    return backend.unsupported(replace(job, device="cuda") if job.device == "auto" else job)


def _has_cuda_driver() -> bool:
    """Return whether there seems to be a CUDA device; only an engine that is loaded knows."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(Path(path).exists() for path in CUDA_DRIVERS)


def _in_words(best: Estimate, others: list[Estimate]) -> str:
    """Return why an engine was chosen."""
    table = costs.measured()
    found = [f"{best}: about {_duration(best.seconds)} for this job"]
    found += [f"{other} about {_duration(other.seconds)}" for other in others]
    reason = f"{', '.join(found)}, measured on {table.threads} threads of {table.machine}"
    if best.on_cuda or any(other.on_cuda for other in others):
        reason += "; no GPU was measured: of CUDA, the start and the calls of the steps are counted"
    return reason


def _duration(seconds: float) -> str:
    if seconds < 0.95:
        return f"{max(seconds, 0.1):.1f} s"
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _reference(job: TrainingJob, remarks: list[str]) -> tuple[Backend, str]:
    reference = registry.get(registry.REFERENCE)
    reason = reference.unsupported(job)
    if reason:
        raise UnsupportedError(
            f"no installed engine does this: {'; '.join([f'reference: {reason}', *remarks])}"
        )
    why = "; ".join(remarks) or "no other engine is installed: pip install 'mfcore[numba]'"
    return reference, f"reference, slowly: {why}"


def _engine_itself(wanted: Any) -> Backend:
    # A class has all the attributes of its instances, too.
    if isinstance(wanted, Backend) and not isinstance(wanted, type):
        return registry.of_this_contract(wanted, repr(wanted))
    hint = f"; write an instance, {wanted.__name__}()" if isinstance(wanted, type) else ""
    raise InvalidArgumentError(
        f"backend is {wanted!r}; it must be 'auto', the name of an engine ({', '.join(registry.names())}), or"
        f" an engine itself, such as mfcore_torch.TorchBackend(compile=False){hint}"
    )


def _able(backend: Backend, job: TrainingJob) -> Backend:
    """Return an engine that somebody asked for, if it does the job."""
    reason = backend.unsupported(job)
    if reason is None:
        return backend
    able = [other.name for other in _loadable() if other.unsupported(job) is None]
    raise UnsupportedError(
        f"backend {backend.name!r} does not do this: {reason}; engines that do:"
        f" {', '.join(able) or 'none of those installed'}"
    )


def _loadable() -> Iterator[Backend]:
    """Give the installed engines, the reference last."""
    for name in sorted(registry.names(), key=lambda name: name == registry.REFERENCE):
        try:
            yield registry.get(name)
        except registry.BackendMissingError:
            continue
