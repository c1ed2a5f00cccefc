"""The biases of ratings: a constant, and one number for each user and each item, added to the score."""

from mfcore.specs._base import Floats, Parameter, Parameters, Rows
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


def with_biases(scores: Floats, parameters: Parameters, users: Rows, items: Rows) -> Floats:
    """Return the scores of pairs, [n], with their biases."""
    biased: Floats = scores + (
        parameters["global_bias"] + parameters["user_bias"][users] + parameters["item_bias"][items]
    )
    return biased


def add_to_catalogue(scores: Floats, parameters: Parameters, users: Rows) -> None:
    """Add the biases to the scores of all items, [n, n_items], in place."""
    scores += parameters["item_bias"]
    scores += (parameters["global_bias"] + parameters["user_bias"][users])[:, None]
