"""The parameters of matrix factorisation, as kernels read and write them."""

from typing import Any, NamedTuple

import numpy as np

from mfcore.specs import Floats
from mfcore_numba.vectors import rows


class Tables(NamedTuple):
    """Factors as rows of vectors; biases are empty where the model has none."""

    user_factors: Any
    item_factors: Any
    user_bias: Any
    item_bias: Any
    global_bias: Any


def tables(parameters: dict[str, Floats], dtype: np.dtype[np.floating]) -> Tables:
    """Return parameters for kernels, sharing their memory."""
    none = np.empty(0, dtype=dtype)
    return Tables(
        rows(parameters["user_factors"]),
        rows(parameters["item_factors"]),
        parameters.get("user_bias", none),
        parameters.get("item_bias", none),
        dtype.type(parameters["global_bias"][0]) if "global_bias" in parameters else dtype.type(0),
    )
