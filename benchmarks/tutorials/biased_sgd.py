"""Biased matrix factorisation by SGD with momentum: ten factors, batches of 128, 15 epochs.

The prediction is the mean of all ratings, plus a bias of the user and one of the film, plus an inner product.
It ends in the curves of training and validation.
"""

from collections.abc import Sequence

import numpy as np

from benchmarks.tutorials.common import Tutorial, table
from mfcore import MF, RMSE, SGD, Model, Uniform, fit

# Keras minimises the squared error, and mfcore half of it: twice the tutorial's rate makes the same steps.
LEARNING_RATE = 2 * 0.08


def main(arguments: Sequence[str] | None = None) -> tuple[Model, dict[str, float]]:
    """Train, print, and return the model with its last errors in training and validation."""
    told = Tutorial.parsed(__doc__, arguments, data="1m", epochs=15)
    train, test = told.split()
    model = fit(
        MF(n_factors=10, biases=True, init=Uniform(-0.05, 0.05)),
        train,
        objective="squared",
        optimizer=SGD(learning_rate=LEARNING_RATE, momentum=0.9),
        batch_size=128,
        epochs=told.epochs,
        backend=told.backend,
        seed=told.seed,
        validation=test,
        metrics=[RMSE()],
        keep_best=False,
    )
    curves = {
        "train": [float(np.sqrt(2 * record.objective)) for record in model.history],
        "validation": [record.metrics["RMSE"] for record in model.history],
    }
    told.draw(curves, "RMSE")
    errors = {name: values[-1] for name, values in curves.items()}
    print(table(list(errors.items()), (f"after {told.epochs} epochs", "RMSE")))
    return model, errors


if __name__ == "__main__":
    main()
