"""What this engine does, and which trainer does it."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from mfcore.engines import API_VERSION, Gap, Scorer, StreamSlice, Trainer, TrainingJob
from mfcore.errors import InvalidArgumentError
from mfcore.model import Model
from mfcore.optimizers import WALS
from mfcore.specs import Floats, ModelSpec
from mfcore_torch import devices, modules
from mfcore_torch.limits import Limits


@dataclass(frozen=True)
class TorchBackend:
    """The engine, with settings of its own: pass an instance as `fit`'s backend to choose others.

    Results do not depend on the number of threads but for rounding, and are the same from run to run. Under
    `torchrun`, every process trains its share of each batch, with the result of one process but for rounding;
    WALS, which has no batches, is solved by each of them as a whole. Models, losses, outputs and rules of
    somebody's own train as mfcore's do.

    Attributes
    ----------
    compile : "auto", True or False
        Whether steps are compiled by `torch.compile`, which takes some 20 seconds once; "auto" does so where
        an epoch is long enough for that to pay. Where several processes train together, only what draws the
        instances and compares those of a batch is compiled, not the steps: True is refused there.
    matmul : "highest", "tf32" or "bfloat16"
        In what precision the inputs of dense layers are multiplied: float32, TensorFloat-32 (on CUDA devices
        that have it) or bfloat16; sums and parameters are float32 all the same. Both leave scores good to
        about 1e-2 of the largest, so a run is the same as the exact one in its metrics, not in its weights.
    cut_tables : "auto", True or False
        Whether, in a run of several processes, the rows of users and items are cut over them, for tables that
        are too large for one device; "auto" does so where they are.
    limits : Limits, optional
        How much of batches is worked out at a time; by default what suits the device.
    """

    name: ClassVar[str] = "torch"
    api_version: ClassVar[int] = API_VERSION
    gaps: ClassVar[tuple[Gap, ...]] = ()

    compile: Literal["auto"] | bool = "auto"
    matmul: devices.MatmulPrecision = "highest"
    cut_tables: Literal["auto"] | bool = "auto"
    limits: Limits | None = None

    def __post_init__(self) -> None:
        if self.matmul not in devices.MATMUL_PRECISIONS:
            valid = ", ".join(devices.MATMUL_PRECISIONS)
            raise InvalidArgumentError(f"TorchBackend: matmul is {self.matmul!r}; it must be one of {valid}")
        for name in ("compile", "cut_tables"):
            value = getattr(self, name)
            if value not in ("auto", True, False):
                raise InvalidArgumentError(
                    f"TorchBackend: {name} is {value!r}; it must be 'auto', True or False"
                )

    @property
    def description(self) -> str:
        """What the engine does here, on which version of PyTorch."""
        n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        where = f"the CPU and {n_devices} CUDA device{'s'[: n_devices != 1]}" if n_devices else "the CPU"
        return f"PyTorch {torch.__version__} on {where}; every model by mini-batches, MF also by WALS"

    def unsupported(self, job: TrainingJob) -> str | None:
        """Return why the job cannot be done here, or None."""
        return devices.unavailable(job.device)

    def trainer(self, job: TrainingJob) -> Trainer:
        """Return a trainer."""
        if isinstance(job.optimizer, WALS):
            from mfcore_torch.wals import WalsTrainer

            return WalsTrainer(job)
        from mfcore_torch.batches import BatchTrainer

        return BatchTrainer(
            job,
            compile=self.compile,
            matmul=self.matmul,
            cut_tables=self.cut_tables,
            limits=self.limits,
        )

    def scorer(self, model: Model) -> Scorer:
        """Return the top-k of this engine, which answers for evaluation too."""
        from mfcore_torch.top_k import TopK

        return TopK(model)

    @torch.no_grad()
    def instances(self, job: TrainingJob, epoch: int, start: int, stop: int) -> StreamSlice:
        """Return what the stream on the device shows; where `compile` is True, the compiled one."""
        from mfcore_torch.compiling import compiled_for_any_length, left_alone
        from mfcore_torch.stream import Stream

        compiled = compiled_for_any_length if self.compile is True else left_alone
        found = Stream(job, devices.device_of(job.device), compiled).instances(epoch, start, stop)
        return StreamSlice(
            users=found.users.numpy(force=True),
            items=found.items.numpy(force=True),
            positive=found.positive.numpy(force=True),
            negatives=None if found.negatives is None else found.negatives.numpy(force=True),
        )

    def to_module(self, model: Model, *, sparse: bool = False) -> nn.Module:
        """Return a model as a PyTorch module; see `Model.to_torch`."""
        return modules.to_module(model, sparse=sparse)

    def from_module(
        self, module: nn.Module, spec: ModelSpec, n_users: int, n_items: int
    ) -> dict[str, Floats]:
        """Return a module's weights as the parameters of a spec; see `Model.from_torch`."""
        return modules.from_module(module, spec, n_users, n_items)


backend = TorchBackend()
