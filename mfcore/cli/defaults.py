"""The settings of `train`, and good defaults for each kind of data and each optimizer.

Those of ratings were found on random splits of ml-100k and ml-1m, near the settings that gorse publishes for
biased matrix factorisation. Those of implicit data are of Rendle, Krichene, Zhang & Koren, "Revisiting the
performance of iALS on item recommendation benchmarks", RecSys 2022, for WALS, and were found on the NCF split
of ml-1m for the others.
"""

from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Settings:
    """The options of `train` that make a recipe, under their names; None where one is not set."""

    model: str | None = None
    n_factors: int | None = None
    biases: bool | None = None
    output: str | None = None
    init_std: float | None = None
    objective: str | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    l2: float | None = None
    momentum: float | None = None
    batch_size: int | None = None
    n_negatives: int | None = None
    unobserved_weight: float | None = None
    nu: float | None = None
    solver: str | None = None
    epochs: int | None = None
    seed: int | None = None
    dtype: str | None = None

    def given(self) -> dict[str, Any]:
        """Return those that are set, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def over(self, others: "Settings") -> "Settings":
        """Return these, and the others' where these are not set."""
        return replace(others, **self.given())


COMMON = Settings(model="mf", seed=0, dtype="float32")
RATINGS = Settings(n_factors=50, biases=True, output="range", init_std=0.001, objective="squared").over(
    COMMON
)
IMPLICIT = Settings(n_factors=64, biases=False).over(COMMON)
BY_WALS = Settings(nu=1.0, solver="cholesky")

# "batched sgd" is SGD with momentum or with a batch_size above 1. Its learning rate is multiplied by
# 1 - momentum: the velocity sums up that many gradients.
BATCHED_SGD = "batched sgd"
RATINGS_BY_GRADIENT = Settings(learning_rate=0.002, l2=0.1, n_negatives=0, batch_size=256, epochs=20).over(
    RATINGS
)
RATINGS_BY_OPTIMIZER = {
    "sgd": Settings(learning_rate=0.01, l2=0.07, batch_size=1, epochs=60).over(RATINGS_BY_GRADIENT),
    BATCHED_SGD: Settings(learning_rate=1.0, epochs=40).over(RATINGS_BY_GRADIENT),
    "adagrad": Settings(learning_rate=1.0, epochs=40).over(RATINGS_BY_GRADIENT),
    "wals": Settings(unobserved_weight=0.0, l2=0.1, epochs=20).over(BY_WALS).over(RATINGS),
}
IMPLICIT_BY_GRADIENT = Settings(
    objective="logistic", learning_rate=0.001, l2=0.0, n_negatives=4, batch_size=1024, epochs=20
).over(IMPLICIT)
IMPLICIT_BY_OPTIMIZER = {
    "sgd": Settings(learning_rate=0.02, l2=0.005, n_negatives=8, batch_size=1).over(IMPLICIT_BY_GRADIENT),
    BATCHED_SGD: Settings(learning_rate=10.0, batch_size=256).over(IMPLICIT_BY_GRADIENT),
    "adagrad": Settings(learning_rate=1.0, batch_size=256).over(IMPLICIT_BY_GRADIENT),
    "wals": Settings(objective="weighted-squared", unobserved_weight=0.3, l2=0.007, epochs=12)
    .over(BY_WALS)
    .over(IMPLICIT),
}


def defaults_for(is_implicit: bool, optimizer: str) -> Settings:
    """Return the settings of an optimizer (or `BATCHED_SGD`) for implicit data or for ratings.

    Left open are the optimizer's name, and what follows from other settings: the output function of implicit
    data and the standard deviation of their initial factors.
    """
    if is_implicit:
        return IMPLICIT_BY_OPTIMIZER.get(optimizer, IMPLICIT_BY_GRADIENT)
    return RATINGS_BY_OPTIMIZER.get(optimizer, RATINGS_BY_GRADIENT)


def default_of(name: str) -> str:
    """Return a setting's default for both kinds of data, each with its default optimizer, in words."""
    ratings, implicit = (
        defaults_for(False, "sgd").given().get(name),
        defaults_for(True, "wals").given().get(name),
    )
    return f"Default: {ratings} for ratings, {implicit} for implicit data"


def describe_defaults() -> str:
    """Return the defaults in two sentences."""
    ratings, implicit = defaults_for(False, "sgd"), defaults_for(True, "wals")
    return (
        f"Ratings are fitted by biased matrix factorisation and SGD: {ratings.n_factors} factors, learning"
        f" rate {ratings.learning_rate:g}, l2 {ratings.l2:g}, {ratings.epochs} epochs, predictions clipped to"
        " the range of the ratings. Data without ratings (all values equal, or an NCF split) are ranked by"
        f" WALS: {implicit.n_factors} factors, unobserved weight {implicit.unobserved_weight:g},"
        f" l2 {implicit.l2:g}, nu {implicit.nu:g}, {implicit.epochs} epochs."
    )
