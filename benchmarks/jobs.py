"""Jobs for engines, made without training them."""

from collections.abc import Mapping
from typing import Any

from mfcore import Interactions
from mfcore.engines import TrainingJob
from mfcore.training import make_job


def job_of(settings: Mapping[str, Any], data: Interactions) -> TrainingJob:
    """Return the job of some of `fit`'s arguments, the spec among them: one CPU thread unless said."""
    return make_job(data=data, **{"device": "cpu", "threads": 1, **settings})
