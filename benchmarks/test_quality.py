"""The recipes of published tables: on every engine they reach what mfcore is held to. Peers by the same."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import mfcore
from benchmarks import data, judging, ours, peers, recipes
from benchmarks.recipes import RECIPES, Recipe
from benchmarks.results import Measure, Result
from mfcore.errors import UnsupportedError

# Of biased MF by SGD.
EPOCHS = 100


def on_engines() -> Iterator[Any]:
    """Yield each recipe with each engine, those that take long marked."""
    for recipe in RECIPES:
        for engine in ours.engines():
            minutes = recipe.minutes_on(engine) * recipe.n_seeds
            marks = () if recipe.is_quick(engine) else pytest.mark.long(minutes=minutes)
            yield pytest.param(recipe, engine, marks=marks, id=f"{recipe.name}-{engine}")


def result_of(recipe: Recipe, engine: str, found: recipes.Found) -> Result:
    return Result(
        f"{recipes.TABLES[recipe.table]}: {recipe.name}",
        recipe.setting,
        engine,
        found.epoch_seconds,
        "epoch",
        quality={**found.metrics, "seconds in all": found.seconds},
    )


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
def test_irspack(solver: str, measure: Measure) -> None:
    peers.load("irspack")
    data.require("ml-1m-ncf")
    recipe = named("iALS by CG" if solver == "cg" else "iALS by Cholesky")
    split = recipes.leave_one_out()

    def work() -> Result:
        trained = peers.ials(
            sparse.csr_matrix(split.train.to_csr() > 0, dtype=np.float32),
            epochs=recipes.IALS_EPOCHS,
            n_components=recipes.IALS_FACTORS,
            alpha0=recipes.IALS["unobserved_weight"],
            reg=recipes.IALS["l2"],
            nu=recipes.IALS["nu"],
            init_std=0.1,
            solver_type=solver.upper(),
            max_cg_steps=recipes.IALS["steps"],
            loss_type="IALSPP",
        )
        seconds = trained.of_run(recipes.IALS_EPOCHS)
        metrics = judging.ranking(trained.as_model(split.train), split)
        return result_of(recipe, "irspack", recipes.Found(metrics, seconds, trained.epoch_seconds))

    measure(work)


def test_surprise(measure: Measure) -> None:
    peers.load("surprise")
    data.require("ml-100k")
    recipe = named("biased MF, u1-u5")

    def work() -> Result:
        found = []
        for train, test in mfcore.datasets.movielens_folds("100k"):
            times, predictions = peers.surprise(
                train, test, n_factors=50, lr_all=0.01, reg_all=0.1, init_std_dev=0.001, epochs=EPOCHS
            )
            errors = judging.errors(predictions, test)
            found.append(recipes.Found(errors, times.of_run(EPOCHS), times.epoch_seconds))
        return result_of(recipe, "Surprise", recipes.mean_of(found))

    measure(work)


@pytest.mark.parametrize(("recipe", "engine"), list(on_engines()))
def test_a_recipe_reaches_what_mfcore_is_held_to(recipe: Recipe, engine: str, measure: Measure) -> None:
    ours.load(engine)
    data.require(recipe.data)

    def work() -> Result:
        try:
            found = [recipe.run(engine, seed) for seed in range(recipe.n_seeds)]
        except UnsupportedError as error:
            pytest.skip(str(error))
        return result_of(recipe, f"mfcore ({engine})", recipes.mean_of(found))

    assert not recipe.missed(measure(work).quality)


def named(name: str) -> Recipe:
    return next(recipe for recipe in RECIPES if recipe.name == name)
