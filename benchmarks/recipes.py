"""Recipes for published tables: what is trained, how it is judged, what was published, and what we reach.

Sources are named by the recipes; `Recipe.reached` is what the benchmarks hold mfcore to.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from statistics import mean, median
from typing import Any, Literal

import mfcore
from benchmarks.ours import THREADS
from mfcore.data import NcfSplit
from mfcore.specs import ModelSpec

LOWER_IS_BETTER = ("RMSE", "MAE", "rounded MAE")
SIGMOID = mfcore.Sigmoid()


@dataclass(frozen=True)
class Found:
    """What a run of a recipe came to.

    Attributes
    ----------
    metrics : dict of name to float
    seconds : float
        Of all training, compiling included and judging between epochs too.
    epoch_seconds : float
        The median of the epochs after the first; of the last model, where several are trained.
    """

    metrics: Mapping[str, float]
    seconds: float
    epoch_seconds: float


Run = Callable[[str, int], Found]


@dataclass(frozen=True)
class Recipe:
    """One line of a published table.

    Attributes
    ----------
    table : str
        One of `TABLES`.
    name : str
    setting : str
    run : function of (engine, seed)
    published : dict of metric to float
        Empty where nobody has published figures for it.
    source : str
        Of the published figures; empty where there are none.
    reached : dict of metric to float
        What the mean over `n_seeds` seeds comes to at least; of errors, at most.
    minutes : float
        About, for one seed by the numba engine on two cores.
    data : str
        The data set that it needs.
    n_seeds : int
        How many seeds the figure is the mean of.
    times_as_long : float
        Other engines take about so many times as long.
    """

    table: str
    name: str
    setting: str
    run: Run
    published: Mapping[str, float]
    source: str
    reached: Mapping[str, float]
    minutes: float
    data: str = "ml-1m-ncf"
    n_seeds: int = 1
    times_as_long: float = 3

    def minutes_on(self, engine: str) -> float:
        """Return about how many minutes a seed takes on an engine."""
        return self.minutes * (1 if engine == "numba" else self.times_as_long)

    def is_quick(self, engine: str) -> bool:
        """Return whether it is done in about two minutes, all seeds together."""
        return self.minutes_on(engine) * self.n_seeds <= 2

    def missed(self, metrics: Mapping[str, float]) -> list[str]:
        """Return what falls short of `reached`, in words."""
        return [
            f"{self.name}: {name} is {metrics[name]:.4f}, and the bound {bound:g}"
            for name, bound in self.reached.items()
            if (metrics[name] > bound if name in LOWER_IS_BETTER else metrics[name] < bound)
        ]


def mean_of(found: Sequence[Found]) -> Found:
    """Return the mean over runs."""
    metrics = {name: mean(one.metrics[name] for one in found) for name in found[0].metrics}
    return Found(metrics, mean(one.seconds for one in found), median(one.epoch_seconds for one in found))


@dataclass
class Trainer:
    """Trains models on an engine from a seed, and adds up the seconds."""

    engine: str
    seed: int
    seconds: float = 0.0
    epoch_seconds: float = field(default=float("nan"))

    def fit(self, spec: ModelSpec, data: mfcore.Interactions, **settings: Any) -> mfcore.Model:
        start = time.perf_counter()
        model = mfcore.fit(
            spec, data, backend=self.engine, seed=self.seed, threads=THREADS, progress=False, **settings
        )
        self.seconds += time.perf_counter() - start
        self.epoch_seconds = median([record.seconds for record in model.history][1:] or [self.seconds])
        return model

    def found(self, metrics: Mapping[str, float]) -> Found:
        return Found(dict(metrics), self.seconds, self.epoch_seconds)


# MovieLens 100K and 1M: predicted ratings


def biased_mf(n_factors: int, optimizer: mfcore.SGD, folds: str, engine: str, seed: int) -> Found:
    """Train by plain SGD for 100 epochs on each of five folds; errors are means over the folds."""
    spec = mfcore.MF(
        n_factors=n_factors, biases=True, output=mfcore.RatingRange(1, 5), init=mfcore.Normal(std=0.001)
    )
    trainer = Trainer(engine, seed)
    errors = []
    for train, test in folds_of(folds, seed):
        model = trainer.fit(spec, train, epochs=100, optimizer=optimizer, dtype="float64")
        errors.append(mfcore.evaluate(model, test, [mfcore.RMSE(), mfcore.MAE()]))
    return trainer.found({name: mean(fold[name] for fold in errors) for name in ("RMSE", "MAE")})


def folds_of(name: str, seed: int) -> Any:
    """Return five pairs of training and test ratings: those published with ml-100k, random ones of ml-1m."""
    if name == "u1 to u5":
        return mfcore.datasets.movielens_folds("100k")
    return mfcore.splits.k_fold(mfcore.datasets.movielens("1m"), 5, seed=seed)


def three_factors(engine: str, seed: int) -> Found:
    """Train the model of the Keras tutorial, and judge predictions rounded to whole stars."""
    train, test = mfcore.splits.ratio(mfcore.datasets.movielens("100k"), test=0.2, seed=seed)
    trainer = Trainer(engine, seed)
    model = trainer.fit(
        mfcore.MF(n_factors=3, init=mfcore.Uniform(0, 1)),
        train,
        epochs=100,
        optimizer=mfcore.Adam(learning_rate=0.001),
        batch_size=32,
    )
    return trainer.found(mfcore.evaluate(model, test, [mfcore.RoundedMAE()]))


# MovieLens 100K: retrieval


def two_towers(objective: mfcore.InBatchSoftmax, engine: str, seed: int) -> Found:
    """Train two towers of 32 factors by Adagrad, and rank the catalogue with the items that were seen."""
    train, test = mfcore.splits.ratio(mfcore.datasets.movielens("100k"), test=0.2, seed=seed)
    batch_size = 8_192
    trainer = Trainer(engine, seed)
    # The tutorial minimises the sum over a batch, and this the mean: Adagrad's steps are the same if what its
    # sums begin with, and what is added to their roots, shrink likewise.
    optimizer = mfcore.Adagrad(
        learning_rate=0.1, initial_accumulator=0.1 / batch_size**2, epsilon=1e-7 / batch_size
    )
    model = trainer.fit(
        mfcore.TwoTower(32),
        train,
        epochs=3,
        objective=objective,
        optimizer=optimizer,
        batch_size=batch_size,
    )
    metrics = [mfcore.TopKAccuracy(k) for k in (1, 5, 10, 50, 100)]
    return trainer.found(mfcore.evaluate(model, test, metrics, mfcore.FullRanking(exclude_seen=False)))


# MovieLens 1M, leave one out: ranking among 99 negatives


@cache
def leave_one_out() -> NcfSplit:
    """Return the split of the NCF paper."""
    return mfcore.datasets.ncf("ml-1m")


def ranked(model: mfcore.Model) -> dict[str, float]:
    """Return HR@10 and NDCG@10 among the 99 negatives of the paper."""
    split = leave_one_out()
    protocol = mfcore.GivenNegatives(split.negatives)
    return dict(mfcore.evaluate(model, split.test, [mfcore.HitRate(10), mfcore.NDCG(10)], protocol))


def ials(solver: Literal["cg", "cholesky"], engine: str, seed: int) -> Found:
    """Train by WALS on all pairs."""
    optimizer = mfcore.WALS(**IALS, solver=solver)
    spec = mfcore.MF(n_factors=IALS_FACTORS, init=mfcore.Normal(std=0.1 / IALS_FACTORS**0.5))
    trainer = Trainer(engine, seed)
    model = trainer.fit(spec, leave_one_out().train, epochs=IALS_EPOCHS, optimizer=optimizer)
    return trainer.found(ranked(model))


IALS_FACTORS, IALS_EPOCHS = 192, 12
IALS: dict[str, Any] = {"unobserved_weight": 0.3, "l2": 0.007, "nu": 1.0, "steps": 3, "zero_pairs": "all"}


def logistic_mf(n_factors: int, learning_rate: float, epochs: int, engine: str, seed: int) -> Found:
    """Train matrix factorisation by plain SGD on the log loss, with eight negatives."""
    trainer = Trainer(engine, seed)
    spec = mfcore.MF(n_factors, biases=True, output=SIGMOID, init=mfcore.Normal(std=0.1))
    model = trainer.fit(
        spec,
        leave_one_out().train,
        epochs=epochs,
        objective="logistic",
        optimizer=mfcore.SGD(learning_rate=learning_rate, l2=0.005),
        n_negatives=8,
    )
    return trainer.found(ranked(model))


def ncf(spec: ModelSpec, engine: str, seed: int) -> Found:
    """Train by the paper's recipe."""
    model, trainer = ncf_model(spec, engine, seed)
    return trainer.found(best_epoch(model))


@cache
def ncf_model(spec: ModelSpec, engine: str, seed: int) -> tuple[mfcore.Model, Trainer]:
    """Return a model trained by the paper's recipe, once for all that start from it."""
    trainer = Trainer(engine, seed)
    return fit_ncf(trainer, spec), trainer


def fit_ncf(trainer: Trainer, spec: ModelSpec, **settings: Any) -> mfcore.Model:
    """Train for 20 epochs, of which the best one on the test part itself is kept, as the paper does.

    That is optimistic, and for comparison with published figures only: `mfcore train` chooses on a validation
    part unless told otherwise.
    """
    split = leave_one_out()
    return trainer.fit(
        spec,
        split.train,
        **{
            "objective": "logistic",
            "optimizer": mfcore.Adam(learning_rate=0.001),
            "n_negatives": 4,
            "batch_size": 256,
            "epochs": 20,
            "validation": split.test,
            "metrics": [mfcore.HitRate(10), mfcore.NDCG(10)],
            "protocol": mfcore.GivenNegatives(split.negatives),
            **settings,
        },
    )


def best_epoch(model: mfcore.Model) -> dict[str, float]:
    """Return the metrics of the epoch that was kept, and its number."""
    kept = model.history[model.epochs_trained - 1]
    return {**kept.metrics, "epoch": float(model.epochs_trained)}


GMF_64, MLP_64 = mfcore.GMF(64, output=SIGMOID), mfcore.MLP((256, 128, 64), output=SIGMOID)


def pre_trained(engine: str, seed: int) -> Found:
    """Put NeuMF together of GMF and MLP, and train it further by SGD."""
    (gmf, of_gmf), (mlp, of_mlp) = (ncf_model(spec, engine, seed) for spec in (GMF_64, MLP_64))
    start = mfcore.NeuMF.from_pretrained(gmf, mlp, alpha=0.5)
    trainer = Trainer(engine, seed, seconds=of_gmf.seconds + of_mlp.seconds)
    model = fit_ncf(trainer, start.spec, optimizer=mfcore.SGD(learning_rate=0.001), initial=start)
    return trainer.found(best_epoch(model))


def pre_trained_by_mf(engine: str, seed: int) -> Found:
    """Put NeuMF together of a matrix factorisation by plain SGD and MLP, without training it further."""
    mlp, part = ncf_model(MLP_64, engine, seed)
    trainer = Trainer(engine, seed, seconds=part.seconds)
    mf = fit_ncf(
        trainer,
        mfcore.MF(64, output=SIGMOID, init=mfcore.Normal(0.1)),
        optimizer=mfcore.SGD(learning_rate=0.015, l2=0.005),
        batch_size=1,
        n_negatives=8,
        epochs=50,
        keep_best=False,
    )
    return trainer.found(ranked(mfcore.NeuMF.from_pretrained(mfcore.GMF.from_mf(mf), mlp, alpha=0.8)))


GORSE = "gorse's benchmarks of rating prediction (gorse.io)"
IRSPACK = "irspack 0.5.2, its tuned settings, measured on these files; Rendle et al., RecSys 2022"
RENDLE = "Rendle et al., 'Neural collaborative filtering vs. matrix factorization revisited', RecSys 2020"
HE = "He et al., 'Neural collaborative filtering', WWW 2017"
GUOYANG = "github.com/guoyang9/NCF"
TFRS = "the retrieval tutorial of TensorFlow Recommenders"
KERAS = "the Keras tutorial on matrix factorisation, ml-100k"
NOBODY = ""

# Engines without kernels of their own take single steps round by round.
SINGLE_STEPS_TIMES_AS_LONG = 200

TABLES = {
    "ratings": "Predicted ratings",
    "retrieval": "ml-100k: retrieval from the whole catalogue",
    "ials": "ml-1m, 1+99: matrix factorisation by least squares",
    "sgd": "ml-1m, 1+99: matrix factorisation by logistic SGD",
    "ncf": "ml-1m, 1+99: neural models, epoch chosen on the test part",
}

RECIPES = (
    Recipe(
        "ratings",
        "biased MF, u1-u5",
        "ml-100k, k=50, SGD .01, l2 .1, 100 epochs, float64",
        partial(biased_mf, 50, mfcore.SGD(learning_rate=0.01, l2=0.1), "u1 to u5"),
        {"RMSE": 0.9073, "MAE": 0.7151},
        GORSE,
        {"RMSE": 0.910, "MAE": 0.718},
        minutes=0.2,
        data="ml-100k",
        times_as_long=SINGLE_STEPS_TIMES_AS_LONG,
    ),
    Recipe(
        "ratings",
        "biased MF, 5 folds",
        "ml-1m, k=80, SGD .005, l2 .05, 100 epochs, float64",
        partial(biased_mf, 80, mfcore.SGD(learning_rate=0.005, l2=0.05), "random"),
        {"RMSE": 0.8425, "MAE": 0.6619},
        GORSE,
        {"RMSE": 0.845, "MAE": 0.664},
        minutes=0.8,
        data="ml-1m",
        times_as_long=SINGLE_STEPS_TIMES_AS_LONG,
    ),
    Recipe(
        "ratings",
        "MF, three factors",
        "ml-100k, Adam .001, batches of 32, 100 epochs, random 20 %",
        three_factors,
        {"rounded MAE": 0.6946},
        KERAS,
        {"rounded MAE": 0.70},
        minutes=0.2,
        data="ml-100k",
    ),
    Recipe(
        "retrieval",
        "two towers",
        "d=32, Adagrad .1, batch 8,192, 3 epochs, plain softmax; splits of five seeds",
        partial(two_towers, mfcore.InBatchSoftmax(1.0, logq=False, remove_accidental_hits=False)),
        {
            "TopK@1": 0.0010,
            "TopK@5": 0.0087,
            "TopK@10": 0.0212,
            "TopK@50": 0.1218,
            "TopK@100": 0.2334,
        },
        TFRS,
        {"TopK@100": 0.2334, "TopK@50": 0.115},
        minutes=0.15,
        data="ml-100k",
        n_seeds=5,
        times_as_long=15,
    ),
    Recipe(
        "retrieval",
        "two towers, logQ",
        "the same, with logQ correction and without accidental hits",
        partial(two_towers, mfcore.InBatchSoftmax(1.0, logq=True, remove_accidental_hits=True)),
        {},
        NOBODY,
        {"TopK@100": 0.385},
        minutes=0.15,
        data="ml-100k",
        n_seeds=5,
        times_as_long=15,
    ),
    Recipe(
        "ials",
        "iALS by CG",
        "d=192, w0 .3, l2 .007, nu 1, 12 epochs",
        partial(ials, "cg"),
        {"HR@10": 0.7300, "NDCG@10": 0.4541},
        IRSPACK,
        {"HR@10": 0.729, "NDCG@10": 0.453},
        minutes=0.2,
    ),
    Recipe(
        "ials",
        "iALS by Cholesky",
        "d=192, w0 .3, l2 .007, nu 1, 12 epochs",
        partial(ials, "cholesky"),
        {"HR@10": 0.7316, "NDCG@10": 0.4543},
        IRSPACK,
        # .003 less, for the luck of the seed.
        {"HR@10": 0.726, "NDCG@10": 0.450},
        minutes=0.4,
    ),
    Recipe(
        "sgd",
        "MF-64 by SGD",
        "d=64, rate .01, l2 .005, 8 negatives, 40 epochs: in a sixth of the epochs",
        partial(logistic_mf, 64, 0.01, 40),
        {"HR@10": 0.7294, "NDCG@10": 0.4523},
        RENDLE,
        {"HR@10": 0.71, "NDCG@10": 0.43},
        minutes=1.5,
        times_as_long=SINGLE_STEPS_TIMES_AS_LONG,
    ),
    Recipe(
        "sgd",
        "MF-192 by SGD",
        "d=192, rate .002, l2 .005, 8 negatives, 256 epochs",
        partial(logistic_mf, 192, 0.002, 256),
        {"HR@10": 0.7294, "NDCG@10": 0.4523},
        RENDLE,
        {"HR@10": 0.722, "NDCG@10": 0.445},
        minutes=20,
        times_as_long=SINGLE_STEPS_TIMES_AS_LONG,
    ),
    Recipe(
        "ncf",
        "NeuMF-8",
        "64-32-16-8, Adam .001, 4 negatives, batch 256, 20 epochs",
        partial(ncf, mfcore.NeuMF(8, (64, 32, 16, 8), output=SIGMOID)),
        {"HR@10": 0.688, "NDCG@10": 0.410},
        f"{HE}, table 2",
        # Single runs spread over .012, and rounding alone sets two runs of one seed apart.
        {"HR@10": 0.679, "NDCG@10": 0.402},
        minutes=1,
        n_seeds=3,
    ),
    Recipe(
        "ncf",
        "GMF-32",
        "Adam .001, 4 negatives, batch 256, 20 epochs",
        partial(ncf, mfcore.GMF(32, output=SIGMOID)),
        {"HR@10": 0.708, "NDCG@10": 0.429},
        GUOYANG,
        {"HR@10": 0.705, "NDCG@10": 0.427},
        minutes=1,
        n_seeds=2,
    ),
    Recipe(
        "ncf",
        "MLP-32",
        "256-128-64-32, Adam .001, 4 negatives, batch 256, 20 epochs",
        partial(ncf, mfcore.MLP((256, 128, 64, 32), output=SIGMOID)),
        {},
        NOBODY,
        {"HR@10": 0.690, "NDCG@10": 0.416},
        minutes=4,
    ),
    Recipe(
        "ncf",
        "MLP-4, 64 factors",
        "512-256-128-64, Adam .001, 4 negatives, batch 256, 20 epochs",
        partial(ncf, mfcore.MLP((512, 256, 128, 64), output=SIGMOID)),
        {"HR@10": 0.707, "NDCG@10": 0.432},
        f"{HE}, tables 3 and 4",
        {},
        minutes=12,
    ),
    Recipe(
        "ncf",
        "NeuMF-64 pre-trained",
        "of GMF-64 and MLP 256-128-64, alpha .5, then SGD .001",
        pre_trained,
        {"HR@10": 0.730, "NDCG@10": 0.447},
        f"{HE}, table 2",
        # Ahead of what it is made of: .7015 and .4243.
        {"HR@10": 0.702, "NDCG@10": 0.425},
        minutes=10,
    ),
    Recipe(
        "ncf",
        "NeuMF-64 of MF, MLP",
        "product arm of MF-64 by SGD .015, l2 .005, 8 negatives, 50 epochs; alpha .8, not trained further",
        pre_trained_by_mf,
        {"HR@10": 0.730, "NDCG@10": 0.447},
        f"{HE}, table 2; the product arm as in {RENDLE}",
        {"HR@10": 0.725, "NDCG@10": 0.445},
        minutes=6,
    ),
)
