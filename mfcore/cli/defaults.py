"""The settings of `train`, and good defaults for each kind of data and each optimizer.

Those of ratings follow the settings that gorse publishes for biased matrix factorisation; those of implicit
data Rendle, Krichene, Zhang & Koren, "Revisiting the performance of iALS on item recommendation benchmarks",
RecSys 2022.
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
RATINGS = Settings(n_factors=50, biases=True, output="range", init_std=0.001, objective="squared")
IMPLICIT = Settings(n_factors=64, biases=False, init_std=0.0125)
RATINGS_BY_OPTIMIZER = {
    "sgd": Settings(learning_rate=0.01, l2=0.1, batch_size=1, n_negatives=0, epochs=100),
    "wals": Settings(unobserved_weight=0.0, l2=0.1, nu=1.0, solver="cholesky", epochs=20),
    "adagrad": Settings(learning_rate=0.1, l2=0.1, batch_size=256, n_negatives=0, epochs=30),
}
RATINGS_BY_GRADIENT = Settings(learning_rate=0.001, l2=0.1, batch_size=256, n_negatives=0, epochs=30)
IMPLICIT_BY_OPTIMIZER = {
    "wals": Settings(
        objective="weighted-squared", unobserved_weight=0.3, l2=0.007, nu=1.0, solver="cholesky", epochs=12
    ),
    "sgd": Settings(
        objective="logistic", learning_rate=0.02, l2=0.005, batch_size=1, n_negatives=8, epochs=64
    ),
    "adagrad": Settings(
        objective="logistic", learning_rate=0.1, l2=0.0, batch_size=256, n_negatives=4, epochs=20
    ),
}
IMPLICIT_BY_GRADIENT = Settings(
    objective="logistic", learning_rate=0.001, l2=0.0, batch_size=1024, n_negatives=4, epochs=20
)


def defaults_for(is_implicit: bool, optimizer: str) -> Settings:
    """Return all settings of an optimizer but its name, for implicit data or for ratings."""
    if is_implicit:
        by_optimizer = IMPLICIT_BY_OPTIMIZER.get(optimizer, IMPLICIT_BY_GRADIENT)
        return by_optimizer.over(IMPLICIT).over(COMMON)
    return RATINGS_BY_OPTIMIZER.get(optimizer, RATINGS_BY_GRADIENT).over(RATINGS).over(COMMON)


def describe_defaults() -> str:
    """Return the defaults in two sentences."""
    ratings, implicit = defaults_for(False, "sgd"), defaults_for(True, "wals")
    return (
        f"Ratings are fitted by biased matrix factorisation and SGD: {ratings.n_factors} factors, learning"
        f" rate {ratings.learning_rate:g}, l2 {ratings.l2:g}, {ratings.epochs} epochs, predictions clipped to the"
        f" range of the ratings. Data without ratings (all values equal, or an NCF split) are ranked by WALS:"
        f" {implicit.n_factors} factors, unobserved weight {implicit.unobserved_weight:g},"
        f" l2 {implicit.l2:g}, nu {implicit.nu:g}, {implicit.epochs} epochs."
    )
