"""Which engine runs a job: the one requested, or the one that would be done first."""

import os
from bisect import insort
from dataclasses import dataclass, field, replace
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
    by_itself : bool
        Whether the engine estimated its own costs, which were not measured with those of others.
    """

    seconds: float
    name: str = field(compare=False)
    on_cuda: bool = field(compare=False, default=False)
    by_itself: bool = field(compare=False, default=False)

    def __str__(self) -> str:
        return f"{self.name}{' on CUDA' * self.on_cuda}"


def choose_backend(wanted: str | Backend, job: TrainingJob, epochs: int) -> tuple[Backend, str]:
    """Return the engine for a job, and why it was chosen.

    "auto" takes the installed engine that does the job and would be done first, by the measured costs of
    mfcore's own engines (`costs`) and those that others estimate (`CostedBackend`). mfcore's own are loaded
    in that order until one is found, so that the rest are not; the others have to be loaded to be asked. One
    whose costs are unknown is taken where none of known costs does the job, and the reference where no other
    engine does. One that fails is passed over.

    Parameters
    ----------
    wanted : str or Backend
        An engine's name, "auto", or an engine itself.
    job : TrainingJob
    epochs : int
        How many are to be trained.

    Returns
    -------
    engine : Backend
    reason : str
        With the estimates that were compared, and why engines were passed over.

    Raises
    ------
    InvalidArgumentError
        `wanted` is none of these, or names an engine that is not installed.
    BackendUnavailableError
        `wanted` names an engine that is installed but cannot be used.
    UnsupportedError
        The engine does not do the job; the message says why and which ones do.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.engines import choose_backend
    >>> from mfcore.training import make_job
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5])
    >>> engine, reason = choose_backend("reference", make_job(mfcore.MF(2), data), epochs=1)
    >>> engine.name, reason
    ('reference', 'requested by name')
    """
    if not isinstance(wanted, str):
        return _able(_engine_itself(wanted), job), "passed as an instance"
    if wanted != "auto":
        return _able(registry.get(wanted), job), "requested by name"
    return _Choice(job, epochs).made()


class _Choice:
    """The choice of "auto" for a job, and remarks on it."""

    def __init__(self, job: TrainingJob, epochs: int) -> None:
        self.job = job
        self.epochs = epochs
        self.work = costs.Work.of(job)
        self.remarks: list[str] = []

    def made(self) -> tuple[Backend, str]:
        """Return the engine and the reason."""
        names = [name for name in registry.names() if name != registry.REFERENCE]
        table = costs.measured().engines
        measured = [name for name in names if self.work.family in table.get(name, {})]
        others = {name: engine for name in names if name not in table and (engine := self._able(name))}
        estimated = {
            name: one for name, engine in others.items() if (one := self._own_estimate(engine, name))
        }
        waiting = sorted([*map(self._first_estimate, measured), *estimated.values()])
        while waiting:
            best = waiting.pop(0)
            engine = others.get(best.name) or self._able(best.name)
            if engine is None:
                continue
            if best.on_cuda and (reason := _unsupported_on_cuda(engine, self.job)):
                self.remarks.append(f"{best}: {reason}")
                insort(waiting, self._on_cpu(best.name))
                continue
            return engine, "; ".join([_compared(best, waiting), *self.remarks])
        for name in [*others, *(name for name in names if name in table and name not in measured)]:
            if engine := others.get(name) or self._able(name):
                reason = f"{name} rather than the reference: what the job costs it is unknown"
                of_others = [remark for remark in self.remarks if not remark.startswith(f"{name}: ")]
                return engine, "; ".join([reason, *of_others])
        return _reference(self.job, self.remarks)

    def _able(self, name: str) -> Backend | None:
        """Return an engine if it is installed and does the job."""
        try:
            engine = registry.get(name)
            reason = engine.unsupported(self.job)
        except registry.BackendMissingError:
            return None
        except Exception as error:
            reason = registry.in_short(error)
        if reason is None:
            return engine
        self.remarks.append(f"{name}: {reason}")
        return None

    def _own_estimate(self, engine: Backend, name: str) -> Estimate | None:
        """Return the estimate by an engine's own costs."""
        why = "it does not say what the job costs it"
        if isinstance(engine, costs.CostedBackend):
            try:
                found = engine.costs(self.job)
                seconds = None if found is None else found.seconds(self.work, self.epochs, self.job.threads)
                if seconds is not None and seconds >= 0:
                    return Estimate(seconds, name, by_itself=True)
                why = why if seconds is None else f"it says that the job takes {seconds} s"
            except Exception as error:
                why = f"asked for its costs, {registry.in_short(error)}"
        self.remarks.append(f"{name}: {why}, so it comes after those of known costs")
        return None

    def _first_estimate(self, name: str) -> Estimate:
        """Return the estimate of a measured engine: on a CUDA device, if there may be one."""
        device = self.job.device
        may_be_cuda = _has_cuda_driver() if device == "auto" else device != "cpu"
        if not (may_be_cuda and name in costs.measured().on_cuda):
            return self._on_cpu(name)
        seconds = self._measured(name).least_seconds_on_cuda(self.work, self.epochs)
        return Estimate(seconds, name, on_cuda=True)

    def _on_cpu(self, name: str) -> Estimate:
        return Estimate(self._measured(name).seconds(self.work, self.epochs, self.job.threads), name)

    def _measured(self, name: str) -> costs.Costs:
        return costs.measured().engines[name][self.work.family]


def _unsupported_on_cuda(backend: Backend, job: TrainingJob) -> str | None:
    """Return why an engine does not do a job on a CUDA device, or None."""
    return backend.unsupported(replace(job, device="cuda") if job.device == "auto" else job)


def _has_cuda_driver() -> bool:
    """Return whether there seems to be a CUDA device; only an engine that is loaded knows."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(Path(path).exists() for path in CUDA_DRIVERS)


def _compared(best: Estimate, slower: list[Estimate]) -> str:
    """Return why an engine was chosen before those that would take longer."""
    table = costs.measured()
    others = [other for other in slower if registry.has_requirements(other.name)]
    all_of_them = [best, *others]
    reason = ", ".join(
        [
            f"{best}: about {_duration(best.seconds)} for this job",
            *(f"{other} about {_duration(other.seconds)}" for other in others),
        ]
    )
    if not all(each.by_itself for each in all_of_them):
        reason += f", measured on {table.threads} threads of {table.machine}"
    if own := [each.name for each in all_of_them if each.by_itself]:
        reason += f"; by the costs that {' and '.join(own)} stated"
    if any(each.on_cuda for each in all_of_them):
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
    """Return a requested engine, if it does the job."""
    reason = backend.unsupported(job)
    if reason is None:
        return backend
    able = [other for other in registry.names() if _does(other, job)]
    raise UnsupportedError(
        f"backend {backend.name!r} does not do this: {reason}; engines that do:"
        f" {', '.join(sorted(able, key=registry.REFERENCE.__eq__)) or 'none of those installed'}"
    )


def _does(name: str, job: TrainingJob) -> bool:
    try:
        return registry.get(name).unsupported(job) is None
    except Exception:  # a broken engine does not do it
        return False
