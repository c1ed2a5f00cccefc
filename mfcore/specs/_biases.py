"""The biases of ratings: a constant, and one number for each user and each item, added to the score."""

from typing import Any

from mfcore.specs._base import Arrays, Parameter
from mfcore.specs._initializers import Constant


def bias_parameters(n_users: int, n_items: int) -> dict[str, Parameter]:
    """Return user_bias [n_users] and item_bias [n_items], zero at first, and the constant global_bias [1].

    The constant is the score of the best constant prediction on the training targets. Shifts of it are learnt
    by the other two, so training it as well would change nothing but make steps on separate rows depend on
    each other.
    """
    return {
        "user_bias": Parameter((n_users,), Constant(0.0), side="user", shared_by_items=True),
        "item_bias": Parameter((n_items,), Constant(0.0), side="item"),
        "global_bias": Parameter((1,), Constant(0.0), trained=False, decayed=False),
    }


def user_offsets(users: Arrays, dense: Arrays) -> Any:
    """Return the constant and the users' biases, [n], of a model with biases."""
    # An objective that compares a user's items leaves the users' biases alone, and engines leave them out.
    return dense["global_bias"] + users["user_bias"]
