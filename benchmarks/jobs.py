"""Jobs for engines, made without training them."""

from collections.abc import Mapping
from typing import Any

from mfcore import Interactions
from mfcore.contract import TrainingJob
from mfcore.jobs import make_job

DEFAULTS: dict[str, Any] = {
    "objective": None,
    "optimizer": None,
    "batch_size": None,
    "n_negatives": 0,
    "order": "auto",
    "device": "cpu",
    "threads": 1,
    "dtype": "float32",
    "seed": 0,
}


def job_of(settings: Mapping[str, Any], data: Interactions) -> TrainingJob:
    """Return the job of some of `fit`'s arguments, the spec among them."""
    return make_job(data=data, **{**DEFAULTS, **settings})
