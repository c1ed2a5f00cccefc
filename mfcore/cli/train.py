"""`mfcore train`: from data to a model, its quality and some recommendations, in one go."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mfcore.cli.choices import choose, metrics_of, widths_of
from mfcore.cli.console import Output
from mfcore.cli.defaults import Settings, default_of, describe_defaults
from mfcore.cli.epochs import Choosing
from mfcore.cli.help import HelpedCommand, examples
from mfcore.cli.options import (
    ColumnsOption,
    DataArgument,
    DuplicatesOption,
    JsonOption,
    StringIdsOption,
    k_option,
    metric_option,
    min_count_option,
)
from mfcore.cli.pretraining import ALPHA, PretrainedFiles
from mfcore.cli.recipes import ACTIVATION_NAMES, FUSIONS, OBJECTIVE_NAMES, OUTPUTS, checked_names
from mfcore.cli.run import Request, run_training
from mfcore.cli.sources import SPLITS, Reading
from mfcore.engines import names as backend_names
from mfcore.optimizers import OPTIMIZERS, SOLVERS
from mfcore.specs import MODELS
from mfcore.validation import require_integer

HOLDING_OUT, MODEL, TRAINING, NEGATIVES, SOFTMAX, WALS, PRETRAINING, RESULTS = (
    "Data held out",
    "Model",
    "Training",
    "Sampled negatives",
    "In-batch softmax",
    "Training by WALS",
    "NeuMF from pre-trained models",
    "Results",
)


def _option(panel: str, help: str, *names: str, metavar: str = "N") -> Any:
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=panel, show_default=False)


def _switch(panel: str, help: str, names: str) -> Any:
    return typer.Option(names, help=help, rich_help_panel=panel, show_default=False)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "train",
        cls=HelpedCommand,
        help="Train a model on DATA, judge it on a held-out part, and recommend something.\n\n"
        + describe_defaults(),
        epilog=examples(
            "mfcore train ml-100k",
            "mfcore train ml-1m-ncf --n-factors 192 --out m.safetensors",
            "mfcore train ml-100k --optimizer adam --epochs 100 --n-factors 3 --no-biases --l2 0.05",
            "mfcore train ml-1m --n-negatives 8 --patience 5 --metric ndcg@10",
            "mfcore train ml-1m-ncf --model neumf --out neumf.safetensors",
            "mfcore train ml-1m-ncf --model neumf --pretrained-gmf gmf.safetensors"
            " --pretrained-mlp mlp.safetensors",
            "mfcore train ml-100k --model two-tower",
            "mfcore train ml-100k --resume m.safetensors --epochs 200 --out m.safetensors",
        ),
    )(train)


def train(
    data: DataArgument,
    *,
    test: Annotated[
        float | None,
        _option(HOLDING_OUT, "Share held out; 0 trains on everything. Default: 0.2", metavar="SHARE"),
    ] = None,
    split: Annotated[
        str | None,
        _option(
            HOLDING_OUT,
            f"How: {', '.join(SPLITS)}. Default: leave-one-out for implicit data with times, else ratio.",
            metavar="NAME",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        _option(
            HOLDING_OUT,
            "Stop after so many epochs without a better one, and keep the best: judged on a further part of"
            " the training data, never on the held-out part unless --choose-on-test says so.",
        ),
    ] = None,
    validation: Annotated[
        bool | None,
        _switch(
            HOLDING_OUT,
            "Keep the epoch that is best on a further part of the training data; else the last. Default: yes"
            " for neural models on implicit data, and with --patience.",
            "--validation/--no-validation",
        ),
    ] = None,
    choose_on_test: Annotated[
        bool,
        typer.Option(
            "--choose-on-test",
            help="Keep the epoch that is best on the held-out part itself, as the NCF paper did: its figures"
            " are then optimistic.",
            rich_help_panel=HOLDING_OUT,
        ),
    ] = False,
    columns: ColumnsOption = None,
    string_ids: StringIdsOption = False,
    duplicates: DuplicatesOption = None,
    model: Annotated[
        str | None, _option(MODEL, f"One of: {', '.join(MODELS)}. Default: mf", metavar="NAME")
    ] = None,
    n_factors: Annotated[
        int | None, _option(MODEL, f"Length of the factors; not for mlp. {default_of('n_factors')}")
    ] = None,
    layers: Annotated[
        str | None,
        _option(
            MODEL,
            "Widths of the layers: of mlp and neumf first that of a user's and an item's factors together, by"
            " default 8, 4, 2 and 1 times --n-factors; of two-tower those after the factors, by default"
            " none.",
            metavar="64,32,16,8",
        ),
    ] = None,
    activation: Annotated[
        str | None,
        _option(MODEL, f"Of the layers: {', '.join(ACTIVATION_NAMES)}. Default: relu", metavar="NAME"),
    ] = None,
    fusion: Annotated[
        str | None,
        _option(
            MODEL,
            f"Of neumf: {', '.join(FUSIONS)} (the layers' end is brought to --n-factors). Default: concat",
            metavar="NAME",
        ),
    ] = None,
    biases: Annotated[
        bool | None,
        _switch(
            MODEL,
            "Biases of users and items; of mf and gmf. Default: yes for ratings.",
            "--biases/--no-biases",
        ),
    ] = None,
    output: Annotated[
        str | None,
        _option(
            MODEL,
            f"From score to prediction: {', '.join(OUTPUTS)}. Default: range for ratings.",
            metavar="NAME",
        ),
    ] = None,
    init_std: Annotated[
        float | None, _option(MODEL, "Standard deviation of the initial factors.", metavar="X")
    ] = None,
    optimizer: Annotated[
        str | None,
        _option(
            TRAINING,
            f"One of: {', '.join(OPTIMIZERS)}. Default: sgd for ratings, wals for implicit data, adam for"
            " neural models, adagrad for the in-batch softmax.",
            metavar="NAME",
        ),
    ] = None,
    objective: Annotated[
        str | None, _option(TRAINING, f"One of: {', '.join(OBJECTIVE_NAMES)}.", metavar="NAME")
    ] = None,
    epochs: Annotated[int | None, _option(TRAINING, f"Epochs in all. {default_of('epochs')}")] = None,
    learning_rate: Annotated[float | None, _option(TRAINING, "Not for wals.", metavar="X")] = None,
    l2: Annotated[
        float | None,
        _option(TRAINING, f"Weight of the regularisation. {default_of('l2')}", "--l2", metavar="X"),
    ] = None,
    l2_dense: Annotated[
        float | None,
        _option(TRAINING, "The same for the kernels of dense layers. Default: 0", "--l2-dense", metavar="X"),
    ] = None,
    momentum: Annotated[float | None, _option(TRAINING, "For sgd only.", metavar="X")] = None,
    initial_accumulator: Annotated[
        float | None,
        _option(
            TRAINING,
            "Where the sum of squares of adagrad starts. Default: 0.1; of the in-batch softmax that by the"
            " square of the batch size, which is 0.1 for a sum over the batch.",
            metavar="X",
        ),
    ] = None,
    epsilon: Annotated[
        float | None,
        _option(TRAINING, "What adagrad, rmsprop and the adams add to the root they divide by.", metavar="X"),
    ] = None,
    batch_size: Annotated[int | None, _option(TRAINING, "Not for wals.")] = None,
    n_negatives: Annotated[
        int | None,
        _option(NEGATIVES, "So many for each interaction; makes data implicit. Not for wals."),
    ] = None,
    popularity_exponent: Annotated[
        float | None,
        _option(
            NEGATIVES,
            "Draw an item with a chance proportional to its interactions to this power. Default: 0, all"
            " alike.",
            metavar="X",
        ),
    ] = None,
    temperature: Annotated[
        float | None, _option(SOFTMAX, "What scores are divided by. Default: 1", metavar="X")
    ] = None,
    logq: Annotated[
        bool | None,
        _switch(
            SOFTMAX,
            "Correct for popular items' being in batches more often. Default: yes; the TFRS tutorial: no",
            "--logq/--no-logq",
        ),
    ] = None,
    remove_accidental_hits: Annotated[
        bool | None,
        _switch(
            SOFTMAX,
            "Whether an item is no negative of its own in a batch that shows it twice. Default: remove; the"
            " TFRS tutorial: keep",
            "--remove-accidental-hits/--keep-accidental-hits",
        ),
    ] = None,
    seed: Annotated[
        int | None, _option(TRAINING, "Of the split, the initial values and the samples. Default: 0")
    ] = None,
    dtype: Annotated[str | None, _option(TRAINING, "float32 (default) or float64.", metavar="NAME")] = None,
    backend: Annotated[
        str, _option(TRAINING, "Engine; see mfcore backends. Default: auto", metavar="NAME")
    ] = "auto",
    device: Annotated[
        str, _option(TRAINING, "auto, cpu, cuda, cuda:1. Default: the engine chooses.", metavar="NAME")
    ] = "auto",
    threads: Annotated[int | None, _option(TRAINING, "Default: all. Does not change the result.")] = None,
    unobserved_weight: Annotated[
        float | None,
        _option(WALS, "Weight of pairs without an interaction; makes data implicit.", metavar="X"),
    ] = None,
    nu: Annotated[
        float | None, _option(WALS, "l2 grows with the interactions of a row to this power.", metavar="X")
    ] = None,
    solver: Annotated[str | None, _option(WALS, f"One of: {', '.join(SOLVERS)}.", metavar="NAME")] = None,
    pretrained_gmf: Annotated[
        Path | None,
        _option(
            PRETRAINING,
            "Start from this model's parameters, those of a gmf or an mf; with --pretrained-mlp.",
            metavar="FILE",
        ),
    ] = None,
    pretrained_mlp: Annotated[
        Path | None,
        _option(PRETRAINING, "Start from this model's parameters; with --pretrained-gmf.", metavar="FILE"),
    ] = None,
    alpha: Annotated[
        float | None,
        _option(
            PRETRAINING,
            f"Weight of the gmf at the start; the mlp's is the rest. Default: {ALPHA}",
            metavar="X",
        ),
    ] = None,
    metric: Annotated[list[str] | None, metric_option(RESULTS)] = None,
    recommend_for: Annotated[
        str | None,
        _option(
            RESULTS, "Show recommendations for this user. Default: one of middling activity.", metavar="USER"
        ),
    ] = None,
    k: Annotated[int, k_option(RESULTS)] = 10,
    min_count: Annotated[int | None, min_count_option("20 for ratings", RESULTS)] = None,
    out: Annotated[
        Path | None, _option(RESULTS, "Save the model there, ready to be resumed.", metavar="FILE")
    ] = None,
    resume: Annotated[
        Path | None,
        _option(
            RESULTS, "Go on training a saved model on the same data, up to --epochs in all.", metavar="FILE"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Do what the command's help says."""
    for name, number in (("--k", k), ("--epochs", epochs), ("--threads", threads), ("--patience", patience)):
        if number is not None:
            require_integer(name, number, 1)
    run_training(
        Request(
            data=data,
            reading=Reading(columns, string_ids, duplicates),
            split=split,
            test=test,
            choosing=Choosing(validation, choose_on_test, patience),
            settings=checked_names(
                Settings(
                    model=model,
                    n_factors=n_factors,
                    layers=None if layers is None else widths_of("--layers", layers),
                    activation=activation,
                    fusion=fusion,
                    biases=biases,
                    output=output,
                    init_std=init_std,
                    objective=objective,
                    temperature=temperature,
                    logq=logq,
                    remove_accidental_hits=remove_accidental_hits,
                    optimizer=optimizer,
                    learning_rate=learning_rate,
                    l2=l2,
                    l2_dense=l2_dense,
                    momentum=momentum,
                    initial_accumulator=initial_accumulator,
                    epsilon=epsilon,
                    batch_size=batch_size,
                    n_negatives=n_negatives,
                    popularity_exponent=popularity_exponent,
                    unobserved_weight=unobserved_weight,
                    nu=nu,
                    solver=solver,
                    epochs=epochs,
                    seed=seed,
                    dtype=dtype,
                )
            ),
            pretrained=PretrainedFiles(pretrained_gmf, pretrained_mlp, alpha),
            backend=choose("--backend", backend, ["auto", *backend_names()]),
            device=device,
            threads=threads,
            metrics=metrics_of(metric or ()),
            user=recommend_for,
            k=k,
            min_count=min_count,
            out=out,
            resume=resume,
        ),
        Output(as_json),
    )
