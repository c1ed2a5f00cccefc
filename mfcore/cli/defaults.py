"""Good settings for each kind of data, each model, objective and optimizer.

Those of matrix factorisation on ratings were found on random splits of ml-100k and ml-1m, near the settings
that gorse publishes. On implicit data they are of Rendle, Krichene, Zhang & Koren, "Revisiting the
performance of iALS on item recommendation benchmarks", RecSys 2022, for WALS, and were found on the NCF split
of ml-1m for the others. Those of the neural models on implicit data are of the paper that proposed them, He
et al., "Neural collaborative filtering", WWW 2017; on ratings they were found on ml-100k. Those of the
two-tower model are of the retrieval tutorial of TensorFlow Recommenders.
"""

from typing import Any

IN_BATCH_SOFTMAX = "in-batch-softmax"
BATCHED_SGD = "batched-sgd"

# A row is for the runs that its words describe, and goes over those above it; None leaves a setting to the
# class. "batched-sgd" is SGD with momentum or with a batch_size above 1, and any SGD of the in-batch softmax
# and of other models than matrix factorisation. Its learning rate is multiplied by 1 - momentum: the velocity
# sums up that many gradients.
DEFAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("", {"seed": 0, "dtype": "float32"}),
    ("ratings", {"objective": "squared", "output": "range", "biases": True, "n_negatives": 0, "l2": 0.1}),
    ("implicit", {"objective": "logistic", "biases": False, "n_negatives": 4, "l2": 0.0}),
    ("mf", {"epochs": 20}),
    ("mf ratings", {"n_factors": 50, "init_std": 0.001, "learning_rate": 0.002, "batch_size": 256}),
    ("mf ratings sgd", {"learning_rate": 0.01, "l2": 0.07, "batch_size": 1, "epochs": 60}),
    ("mf ratings batched-sgd", {"learning_rate": 1.0, "epochs": 40}),
    ("mf ratings adagrad", {"learning_rate": 1.0, "epochs": 40}),
    ("mf implicit", {"n_factors": 64, "learning_rate": 0.001, "batch_size": 1024}),
    ("mf implicit sgd", {"learning_rate": 0.02, "l2": 0.005, "n_negatives": 8, "batch_size": 1}),
    ("mf implicit batched-sgd", {"learning_rate": 10.0, "batch_size": 256}),
    ("mf implicit adagrad", {"learning_rate": 1.0, "batch_size": 256}),
    ("mf wals", {"nu": 1.0, "solver": "cholesky"}),
    ("mf wals ratings", {"unobserved_weight": 0.0}),
    (
        "mf wals implicit",
        {"objective": "weighted-squared", "unobserved_weight": 0.3, "l2": 0.007, "epochs": 12},
    ),
    ("neural", {"n_factors": 8, "activation": "relu", "fusion": "concat", "init_std": 0.01, "l2_dense": 0.0}),
    ("neural", {"learning_rate": 0.001, "batch_size": 256, "epochs": 20}),
    ("neural ratings", {"epochs": 10}),
    ("neural ratings batched-sgd", {"learning_rate": 0.2}),
    ("neural ratings adagrad", {"learning_rate": 0.5}),
    ("neural implicit batched-sgd", {"learning_rate": 1.0}),
    ("neural implicit adagrad", {"learning_rate": 0.5}),
    ("two-tower", {"n_factors": 32, "epochs": 20, "init_std": None, "activation": None, "l2_dense": None}),
    ("own-model", dict.fromkeys(("n_factors", "activation", "fusion", "biases", "init_std", "output"))),
    ("own-objective", {"output": None}),
    ("in-batch", {"objective": IN_BATCH_SOFTMAX, "temperature": 1.0, "logq": True}),
    ("in-batch", {"remove_accidental_hits": True, "l2": 0.0, "n_negatives": None}),
    ("in-batch", {"learning_rate": 0.001, "batch_size": 1024, "epochs": 20}),
    ("in-batch batched-sgd", {"learning_rate": 10.0}),
    ("in-batch adagrad", {"learning_rate": 0.1, "batch_size": 8192, "epochs": 3}),
    ("neural wals", {"objective": "squared", "l2": None}),
    ("own-optimizer", {"learning_rate": None}),
    ("pre-trained batched-sgd", {"learning_rate": 0.001}),
)


def defaults_for(*words: str) -> dict[str, Any]:
    """Return the settings of a run that is described by some words of `DEFAULTS`.

    Left out are the names of the model and the optimizer, and what follows from other settings: the output
    function of implicit data, the standard deviation of its initial factors, and the layers.
    """
    found: dict[str, Any] = {}
    for condition, settings in DEFAULTS:
        if set(condition.split()) <= set(words):
            found |= settings
    return {name: value for name, value in found.items() if value is not None}


def default_of(name: str) -> str:
    """Return a setting's default for matrix factorisation, and for the neural models, in words."""
    ratings, implicit, neural = (
        defaults_for(*words.split())[name]
        for words in ("mf ratings sgd", "mf implicit wals", "neural implicit adam")
    )
    return (
        f"Default: {ratings} for ratings, {implicit} for implicit data, {neural} for neural models on these"
    )


def describe_defaults() -> str:
    """Return the defaults in a few sentences."""
    return (
        "Ratings are fitted by biased matrix factorisation and SGD: {0[n_factors]} factors, learning rate"
        " {0[learning_rate]:g}, l2 {0[l2]:g}, {0[epochs]} epochs, predictions clipped to the range of the"
        " ratings. Data without ratings (all values equal, or an NCF split) are ranked by WALS:"
        " {1[n_factors]} factors, unobserved weight {1[unobserved_weight]:g}, l2 {1[l2]:g}, nu {1[nu]:g},"
        " {1[epochs]} epochs.\n\nThe neural models (gmf, mlp, neumf) rank by the NCF paper's recipe:"
        " {2[objective]} loss, {2[n_negatives]} negatives, Adam {2[learning_rate]:g}, batch {2[batch_size]},"
        " {2[epochs]} epochs, of which the best one on a part of the training data is kept. Two-tower is for"
        " retrieval: {3[objective]}, {3[n_factors]} factors, Adagrad {3[learning_rate]:g}, batch"
        " {3[batch_size]}, {3[epochs]} epochs."
    ).format(
        defaults_for("mf", "ratings", "sgd"),
        defaults_for("mf", "implicit", "wals"),
        defaults_for("neural", "implicit", "adam"),
        defaults_for("neural", "implicit", "two-tower", "in-batch", "adagrad"),
    )
