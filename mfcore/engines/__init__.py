"""What runs a job: the contract, the registry of engines, the choice of one and what it costs."""

from mfcore.engines.contract import (
    API_VERSION,
    STEP,
    Backend,
    EvaluationScorer,
    PositiveRanks,
    Scorer,
    StreamBackend,
    StreamSlice,
    Trainer,
    TrainingJob,
    initial_optimizer_state,
    trained_parameters,
)
from mfcore.engines.costs import CostedBackend, Costs, CostTable, Work
from mfcore.engines.deferred_updates import N_TERMS, IdleAdam, rest, smooth_from
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
    "N_TERMS",
    "REFERENCE",
    "STEP",
    "Backend",
    "BackendBrokenError",
    "BackendMissingError",
    "BackendUnavailableError",
    "CostTable",
    "CostedBackend",
    "Costs",
    "EvaluationScorer",
    "IdleAdam",
    "PositiveRanks",
    "Scorer",
    "StreamBackend",
    "StreamSlice",
    "Trainer",
    "TrainingJob",
    "Work",
    "backends",
    "choose_backend",
    "initial_optimizer_state",
    "names",
    "rest",
    "smaller_batches",
    "smooth_from",
    "trained_parameters",
]
