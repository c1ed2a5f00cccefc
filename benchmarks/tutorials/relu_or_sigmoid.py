"""Two ends for the same model: ratings cut off below zero by relu, or squeezed into their range by a sigmoid.

Fifty factors and biases, by Adam at 0.005. It ends in the errors of both, each of its best epoch: a sigmoid
scaled to the range of the ratings knows what a rating may be, and does better.
"""

from collections.abc import Sequence

from benchmarks.tutorials.common import Tutorial, table
from mfcore import MF, RMSE, Adam, Model, RatingRange, ReLU, Uniform, fit


def main(arguments: Sequence[str] | None = None) -> tuple[dict[str, Model], dict[str, float]]:
    """Train, print, and return both models and the errors of their best epochs, by the name of the output."""
    told = Tutorial.parsed(__doc__, arguments, data="1m", epochs=5)
    train, test = told.split()
    low, high = float(train.values.min()), float(train.values.max())
    outputs = {"relu": ReLU(), "sigmoid": RatingRange(low, high, method="sigmoid")}
    models = {
        name: fit(
            MF(n_factors=50, biases=True, output=output, init=Uniform(-0.05, 0.05)),
            train,
            objective="squared",
            optimizer=Adam(learning_rate=0.005),
            batch_size=1024,
            epochs=told.epochs,
            backend=told.backend,
            seed=told.seed,
            validation=test,
            metrics=[RMSE()],
        )
        for name, output in outputs.items()
    }
    curves = {name: [record.metrics["RMSE"] for record in model.history] for name, model in models.items()}
    told.draw(curves, "validation RMSE")
    errors = {name: min(values) for name, values in curves.items()}
    print(table(list(errors.items()), ("output", "RMSE")))
    return models, errors


if __name__ == "__main__":
    main()
