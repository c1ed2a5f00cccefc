"""What runs a job: the contract, the registry of engines, the choice of one and what it costs."""

from mfcore.engines._batch_trainer import BatchTrainer
from mfcore.engines._batches import Batch
from mfcore.engines._gradients import (
    BatchProblem,
    DifferentiableOperators,
    GatheredBatch,
    Gradients,
    batch_gradients,
    batch_objective,
    dense_decay,
    in_batch_part,
)
from mfcore.engines._layout import STEP, PackedTables, ParameterLayout, RowLayout
from mfcore.engines.contract import (
    API_VERSION,
    Backend,
    EvaluationScorer,
    Gap,
    PositiveRanks,
    Scorer,
    StreamBackend,
    StreamSlice,
    Trainer,
    TrainingJob,
    initial_optimizer_state,
    missing_slope,
    trained_parameters,
)
from mfcore.engines.costs import CostedBackend, Costs, CostTable, Work
from mfcore.engines.deferred_updates import (
    CatchUpTables,
    DeferredAdam,
    catch_up,
    catch_up_rule,
    defers,
    smooth_from,
)
from mfcore.engines.memory import smaller_batches
from mfcore.engines.registry import (
    REFERENCE,
    BackendBrokenError,
    BackendMissingError,
    BackendUnavailableError,
    backends,
    names,
)
from mfcore.engines.selection import choose_backend

__all__ = [
    "API_VERSION",
    "REFERENCE",
    "STEP",
    "Backend",
    "BackendBrokenError",
    "BackendMissingError",
    "BackendUnavailableError",
    "Batch",
    "BatchProblem",
    "BatchTrainer",
    "CatchUpTables",
    "CostTable",
    "CostedBackend",
    "Costs",
    "DeferredAdam",
    "DifferentiableOperators",
    "EvaluationScorer",
    "Gap",
    "GatheredBatch",
    "Gradients",
    "PackedTables",
    "ParameterLayout",
    "PositiveRanks",
    "RowLayout",
    "Scorer",
    "StreamBackend",
    "StreamSlice",
    "Trainer",
    "TrainingJob",
    "Work",
    "backends",
    "batch_gradients",
    "batch_objective",
    "catch_up",
    "catch_up_rule",
    "choose_backend",
    "defers",
    "dense_decay",
    "in_batch_part",
    "initial_optimizer_state",
    "missing_slope",
    "names",
    "smaller_batches",
    "smooth_from",
    "trained_parameters",
]
