"""Matrix factorisation and neural collaborative filtering: one spec, any engine, the same answer."""

import os as _os
from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from mfcore import data
    from mfcore.data import Interactions, datasets, splits
    from mfcore.engines import backends
    from mfcore.errors import MfcoreError
    from mfcore.metrics import (
        AUC,
        MAE,
        MAP,
        MRR,
        NDCG,
        RMSE,
        Coverage,
        Evaluation,
        FullRanking,
        GivenNegatives,
        HitRate,
        Precision,
        Recall,
        RoundedMAE,
        SampledRanking,
        TopKAccuracy,
        evaluate,
    )
    from mfcore.model import Model
    from mfcore.objectives import BPR, InBatchSoftmax, Logistic, Squared, WeightedSquared
    from mfcore.optimizers import SGD, WALS, Adagrad, Adam, AdamW, LazyAdam, RMSprop, Schedule
    from mfcore.specs import (
        GMF,
        MF,
        MLP,
        Constant,
        GlorotUniform,
        Linear,
        NeuMF,
        Normal,
        RatingRange,
        ReLU,
        Sigmoid,
        TwoTower,
        Uniform,
    )
    from mfcore.training import fit

__version__ = "0.1.0"

__all__ = [
    "AUC",
    "BPR",
    "GMF",
    "MAE",
    "MAP",
    "MF",
    "MLP",
    "MRR",
    "NDCG",
    "RMSE",
    "SGD",
    "WALS",
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "Coverage",
    "Evaluation",
    "FullRanking",
    "GivenNegatives",
    "GlorotUniform",
    "HitRate",
    "InBatchSoftmax",
    "Interactions",
    "LazyAdam",
    "Linear",
    "Logistic",
    "MfcoreError",
    "Model",
    "NeuMF",
    "Normal",
    "Precision",
    "RMSprop",
    "RatingRange",
    "ReLU",
    "Recall",
    "RoundedMAE",
    "SampledRanking",
    "Schedule",
    "Sigmoid",
    "Squared",
    "TopKAccuracy",
    "TwoTower",
    "Uniform",
    "WeightedSquared",
    "backends",
    "data",
    "datasets",
    "evaluate",
    "fit",
    "load",
    "splits",
]

# The rooms that define the names above, in the order in which they are asked for one.
_ROOMS = ("specs", "data", "optimizers", "objectives", "errors", "metrics", "model", "engines", "training")


def load(path: "str | _os.PathLike[str]") -> "Model":
    """Return the model that `Model.save` wrote.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Model

    Raises
    ------
    ModelFileError
        The file is missing, truncated, foreign, or written by a newer mfcore.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> wals = mfcore.WALS(l2=0.1)
    >>> model = mfcore.fit(mfcore.MF(2), data, optimizer=wals, epochs=1, backend="reference")
    >>> model.save("model.safetensors")
    >>> mfcore.load("model.safetensors").predict(3, [5]) == model.predict(3, [5])
    array([ True])
    """
    from mfcore.model import load_model

    return load_model(path)


def __getattr__(name: str) -> _Any:
    """Import a public name when it is first asked for, so that `import mfcore` costs next to nothing."""
    if name in __all__:
        if name == "data":
            return _import_module("mfcore.data")
        for room in _ROOMS:
            found = getattr(_import_module(f"mfcore.{room}"), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return [*__all__, "__version__"]
