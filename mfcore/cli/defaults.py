"""The settings of `train`, and good defaults for each kind of data, each model and each optimizer.

Those of matrix factorisation on ratings were found on random splits of ml-100k and ml-1m, near the settings
that gorse publishes. On implicit data they are of Rendle, Krichene, Zhang & Koren, "Revisiting the
performance of iALS on item recommendation benchmarks", RecSys 2022, for WALS, and were found on the NCF split
of ml-1m for the others. Those of the neural models on implicit data are of the paper that proposed them, He
et al., "Neural collaborative filtering", WWW 2017; on ratings they were found on ml-100k. Those of the
two-tower model are of the retrieval tutorial of TensorFlow Recommenders.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

from mfcore.specs import MODELS, NCF


@dataclass(frozen=True)
class Settings:
    """The options of `train` that make a recipe, under their names; None where one is not set."""

    model: str | None = None
    n_factors: int | None = None
    layers: tuple[int, ...] | None = None
    activation: str | None = None
    fusion: str | None = None
    biases: bool | None = None
    output: str | None = None
    init_std: float | None = None
    objective: str | None = None
    temperature: float | None = None
    logq: bool | None = None
    remove_accidental_hits: bool | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    l2: float | None = None
    l2_dense: float | None = None
    momentum: float | None = None
    initial_accumulator: float | None = None
    epsilon: float | None = None
    batch_size: int | None = None
    n_negatives: int | None = None
    popularity_exponent: float | None = None
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

    def without(self, *names: str) -> "Settings":
        """Return these with some of them not set."""
        return replace(self, **dict.fromkeys(names))


IN_BATCH_SOFTMAX = "in-batch-softmax"

COMMON = Settings(seed=0, dtype="float32")
RATINGS = Settings(n_factors=50, biases=True, output="range", init_std=0.001, objective="squared").over(
    COMMON
)
IMPLICIT = Settings(n_factors=64, biases=False).over(COMMON)
BY_WALS = Settings(nu=1.0, solver="cholesky")

# "batched sgd" is SGD with momentum or with a batch_size above 1, and any SGD of the in-batch softmax and of
# other models than matrix factorisation. Its learning rate is multiplied by 1 - momentum: the velocity sums
# up that many gradients.
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

NEURAL = Settings(
    n_factors=8,
    activation="relu",
    fusion="concat",
    init_std=0.01,
    learning_rate=0.001,
    l2=0.0,
    l2_dense=0.0,
    batch_size=256,
    epochs=20,
).over(COMMON)
NEURAL_RATINGS = Settings(
    biases=True, output="range", objective="squared", l2=0.1, n_negatives=0, epochs=10
).over(NEURAL)
NEURAL_IMPLICIT = Settings(biases=False, objective="logistic", n_negatives=4).over(NEURAL)
NEURAL_RATINGS_BY_OPTIMIZER = {
    BATCHED_SGD: Settings(learning_rate=0.2).over(NEURAL_RATINGS),
    "adagrad": Settings(learning_rate=0.5).over(NEURAL_RATINGS),
}
NEURAL_IMPLICIT_BY_OPTIMIZER = {
    BATCHED_SGD: Settings(learning_rate=1.0).over(NEURAL_IMPLICIT),
    "adagrad": Settings(learning_rate=0.5).over(NEURAL_IMPLICIT),
}
PRE_TRAINED = Settings(learning_rate=0.001)
TWO_TOWER = Settings(n_factors=32, epochs=20)

IN_BATCH = Settings(
    objective=IN_BATCH_SOFTMAX,
    temperature=1.0,
    logq=True,
    remove_accidental_hits=True,
    learning_rate=0.001,
    l2=0.0,
    batch_size=1024,
    epochs=20,
)
IN_BATCH_BY_OPTIMIZER = {
    BATCHED_SGD: Settings(learning_rate=10.0).over(IN_BATCH),
    "adagrad": Settings(learning_rate=0.1, batch_size=8192, epochs=3).over(IN_BATCH),
}


def is_neural(model: str) -> bool:
    """Return whether a model's name is that of one of neural collaborative filtering."""
    return issubclass(MODELS[model], NCF)


def defaults_for(
    is_implicit: bool, optimizer: str, model: str = "mf", objective: str | None = None
) -> Settings:
    """Return the settings of a model and an optimizer (or `BATCHED_SGD`) for implicit data or for ratings.

    Left open are the names of both, and what follows from other settings: the output function of implicit
    data, the standard deviation of the initial factors and the layers.
    """
    if model == "mf":
        of_ratings = RATINGS_BY_OPTIMIZER.get(optimizer, RATINGS_BY_GRADIENT)
        of_implicit = IMPLICIT_BY_OPTIMIZER.get(optimizer, IMPLICIT_BY_GRADIENT)
    else:
        of_ratings = NEURAL_RATINGS_BY_OPTIMIZER.get(optimizer, NEURAL_RATINGS)
        of_implicit = NEURAL_IMPLICIT_BY_OPTIMIZER.get(optimizer, NEURAL_IMPLICIT)
    found = of_implicit if is_implicit else of_ratings
    if model == "two-tower":
        found = TWO_TOWER.over(found).without("init_std", "activation", "l2_dense")
    if objective == IN_BATCH_SOFTMAX:
        return IN_BATCH_BY_OPTIMIZER.get(optimizer, IN_BATCH).over(found).without("n_negatives")
    return found


def default_of(name: str) -> str:
    """Return a setting's default for matrix factorisation, and for the neural models, in words."""
    ratings, implicit, neural = (
        defaults.given().get(name)
        for defaults in (
            defaults_for(False, "sgd"),
            defaults_for(True, "wals"),
            defaults_for(True, "adam", "neumf"),
        )
    )
    return (
        f"Default: {ratings} for ratings, {implicit} for implicit data, {neural} for neural models on these"
    )


def describe_defaults() -> str:
    """Return the defaults in a few sentences."""
    ratings, implicit = defaults_for(False, "sgd"), defaults_for(True, "wals")
    neural = defaults_for(True, "adam", "neumf")
    retrieval = defaults_for(True, "adagrad", "two-tower", IN_BATCH_SOFTMAX)
    return (
        f"Ratings are fitted by biased matrix factorisation and SGD: {ratings.n_factors} factors, learning"
        f" rate {ratings.learning_rate:g}, l2 {ratings.l2:g}, {ratings.epochs} epochs, predictions clipped to"
        " the range of the ratings. Data without ratings (all values equal, or an NCF split) are ranked by"
        f" WALS: {implicit.n_factors} factors, unobserved weight {implicit.unobserved_weight:g},"
        f" l2 {implicit.l2:g}, nu {implicit.nu:g}, {implicit.epochs} epochs.\n\n"
        f"The neural models (gmf, mlp, neumf) rank by the NCF paper's recipe: {neural.objective} loss,"
        f" {neural.n_negatives} negatives, Adam {neural.learning_rate:g}, batch {neural.batch_size},"
        f" {neural.epochs} epochs, of which the best one on a part of the training data is kept. Two-tower"
        f" is for retrieval: {retrieval.objective}, {retrieval.n_factors} factors, Adagrad"
        f" {retrieval.learning_rate:g}, batch {retrieval.batch_size}, {retrieval.epochs} epochs."
    )
