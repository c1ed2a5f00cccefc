"""Matrix factorisation of MovieLens 100K with three factors, by Adam: 100 epochs in batches of 32.

No biases: users and films are three numbers each, and a rating their inner product. It ends in the mean
absolute error of predictions rounded to whole stars, and in the films' factors as a table.
"""

from collections.abc import Sequence

from benchmarks.tutorials.common import Tutorial, table
from mfcore import MAE, MF, RMSE, Adam, Model, RoundedMAE, Uniform, evaluate, fit
from mfcore.report import popular_factors

SPEC = MF(n_factors=3, init=Uniform(-0.05, 0.05))
OPTIMIZER, BATCH_SIZE = Adam(learning_rate=0.001), 32
N_FILMS = 10


def main(arguments: Sequence[str] | None = None) -> tuple[Model, dict[str, float]]:
    """Train, print, and return the model with its errors on the held-out ratings."""
    told = Tutorial.parsed(__doc__, arguments, data="100k", epochs=100)
    train, test = told.split()
    model = fit(
        SPEC,
        train,
        objective="squared",
        optimizer=OPTIMIZER,
        batch_size=BATCH_SIZE,
        epochs=told.epochs,
        backend=told.backend,
        seed=told.seed,
    )
    errors = dict(evaluate(model, test, [RoundedMAE(), MAE(), RMSE()]))
    # The objective is half of the squared error.
    losses = [2 * record.objective for record in model.history]
    told.draw({"train": losses}, "mean squared error", logarithmic=True)
    print(table(list(errors.items()), (f"{len(test):,} held-out ratings", "error")))
    print(f"\n{factors_of(model)}")
    return model, errors


def factors_of(model: Model) -> str:
    """Return the factors of the most popular films as a table."""
    found = popular_factors(model, N_FILMS)
    width = max(map(len, found.titles))
    heading = f"{'':{width}}" + "".join(f"{f'factor {number}':>10}" for number in (1, 2, 3))
    rows = (
        f"{title:{width}}" + "".join(f"{factor:10.3f}" for factor in factors)
        for title, factors in zip(found.titles, found.factors, strict=True)
    )
    return "\n".join([heading, *rows])


if __name__ == "__main__":
    main()
