"""What this engine does, and which trainer does it."""

import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import tensorflow as tf

from mfcore.engines import API_VERSION, Gap, Scorer, StreamSlice, Trainer, TrainingJob
from mfcore.errors import InvalidArgumentError
from mfcore.optimizers import WALS, GradientOptimizer
from mfcore.specs import Floats, ModelSpec
from mfcore_keras import devices
from mfcore_keras.limits import Limits

if TYPE_CHECKING:
    from mfcore.model import Model


@dataclass(frozen=True)
class KerasBackend:
    """The engine, with settings of its own: pass an instance as `fit`'s backend to choose others.

    Training runs in TensorFlow, by the core's update rules; Keras has no part in it, and comes in where a
    model is exported or imported. Results do not depend on the number of threads but for rounding, and on
    the CPU they are the same from run to run. TensorFlow has one number of threads for a whole process, fixed
    when it first computes: that of the first job, unless `tf.config.threading` says otherwise.

    Attributes
    ----------
    compile : "auto", True or False
        Whether steps are compiled by XLA, which takes some seconds once; "auto" does so where an epoch is
        long enough for that to pay.
    limits : Limits
        How much is done at once, and from where on compiling pays.
    """

    name: ClassVar[str] = "keras"
    api_version: ClassVar[int] = API_VERSION
    gaps: ClassVar[tuple[Gap, ...]] = (
        Gap(
            "TensorFlow follows gradients there; WALS solves systems of equations, which the other engines"
            " have solvers for",
            optimizers=["wals by *"],
        ),
    )

    compile: Literal["auto"] | bool = "auto"
    limits: Limits = field(default_factory=Limits, repr=False)

    def __post_init__(self) -> None:
        if self.compile not in ("auto", True, False):
            raise InvalidArgumentError(
                f"KerasBackend: compile is {self.compile!r}; it must be 'auto', True or False"
            )

    @property
    def description(self) -> str:
        """What the engine does here, on which version of TensorFlow."""
        n_devices = len(devices.gpus())
        where = f"the CPU and {n_devices} CUDA device{'s'[: n_devices != 1]}" if n_devices else "the CPU"
        return (
            f"TensorFlow {tf.__version__} on {where}; every model by mini-batches, exported as Keras models"
        )

    def unsupported(self, job: TrainingJob) -> str | None:
        """Return why the job cannot be done here, or None."""
        if isinstance(job.optimizer, WALS):
            return (
                "it follows gradients alone, and WALS solves a system of equations for each row, which is"
                " work for engines with solvers of their own; use backend='numba', 'torch' or 'reference',"
                " or a gradient optimizer, e.g. mfcore.Adam()"
            )
        if not isinstance(job.optimizer, GradientOptimizer):
            return (
                f"it follows gradients alone, and {type(job.optimizer).__name__} is no GradientOptimizer: use"
                " one, e.g. mfcore.Adam()"
            )
        return devices.unavailable(job.device)

    def trainer(self, job: TrainingJob) -> Trainer:
        """Return a trainer."""
        from mfcore_keras.trainer import TensorFlowTrainer

        return TensorFlowTrainer(job, compile=self.compile, limits=self.limits)

    def scorer(self, model: "Model") -> Scorer | None:
        """Return None: the core's top-k serves these models."""
        return None

    def instances(self, job: TrainingJob, epoch: int, start: int, stop: int) -> StreamSlice:
        """Return what the stream on the device shows; where `compile` is True, the compiled one."""
        from mfcore_keras.compiling import compiled, in_graph
        from mfcore_keras.stream import Stream

        with tf.device(devices.device_of(job.device)):
            stream, n = Stream(job), stop - start
            positions, keys = stream.positions(epoch, start, n), stream.keys(epoch)
            if self.compile is True:
                draw = in_graph(partial(stream.instances, n=n, compiled=compiled))
                drawn = draw(positions, keys=keys)
            else:
                drawn = stream.instances(positions, n, keys)
        return StreamSlice(
            users=drawn.users.numpy(),
            items=drawn.items.numpy(),
            positive=drawn.positive.numpy(),
            negatives=None if drawn.negatives is None else drawn.negatives.numpy(),
        )

    def to_module(self, model: "Model") -> Any:
        """Return a model as a functional `keras.Model`; see `Model.to_keras`."""
        from mfcore_keras.models import to_keras

        return to_keras(model)

    def from_module(self, module: Any, spec: ModelSpec, n_users: int, n_items: int) -> dict[str, Floats]:
        """Return a Keras model's weights as the parameters of a spec; see `Model.from_keras`."""
        from mfcore_keras.models import from_keras

        return from_keras(module, spec, n_users, n_items)

    def export_top_k(
        self, model: "Model", path: str | os.PathLike[str], k: int = 10, *, exclude_seen: bool = True
    ) -> None:
        """Write a SavedModel that recommends; see `mfcore_keras.serving.export_top_k`."""
        from mfcore_keras.serving import export_top_k

        export_top_k(model, path, k, exclude_seen=exclude_seen)


backend = KerasBackend()
