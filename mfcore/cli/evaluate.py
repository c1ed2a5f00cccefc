"""`mfcore evaluate`: the quality of a saved model on data that it has not been trained on."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from mfcore.cli.choices import choose, flag, metrics_of
from mfcore.cli.console import Output, note
from mfcore.cli.help import HelpedCommand, examples
from mfcore.cli.options import (
    ColumnsOption,
    DataArgument,
    DuplicatesOption,
    JsonOption,
    MetricOption,
    ModelArgument,
    StringIdsOption,
)
from mfcore.cli.quality import default_metrics, judge, show_quality
from mfcore.cli.recipes import ranks
from mfcore.cli.sources import Negatives, Reading, read_source
from mfcore.data import Interactions
from mfcore.errors import InvalidArgumentError, InvalidDataError
from mfcore.metrics import (
    FullRanking,
    GivenNegatives,
    Metric,
    RankingProtocol,
    RatingMetric,
    SampledRanking,
    Ties,
)
from mfcore.model import Model
from mfcore.model_file import load_model

PROTOCOLS = ("full", "sampled", "given")
TIES: tuple[Ties, ...] = ("pessimistic", "average", "optimistic")
DEFAULT_NEGATIVES = 99
RANKING = "Ranking metrics"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "evaluate",
        cls=HelpedCommand,
        help="Judge a saved model on the interactions of DATA that it was not trained on.\n\nOf an NCF data"
        " set that is its test part, ranked among the given negatives and, beside it, the whole catalogue.",
        epilog=examples(
            "mfcore evaluate m.safetensors ml-100k",
            "mfcore evaluate m.safetensors ml-1m-ncf --metric hr@10 --metric mrr",
            "mfcore evaluate m.safetensors new.csv --metric ndcg@10 --protocol sampled --n-negatives 99",
        ),
    )(evaluate)


def evaluate(
    model: ModelArgument,
    data: DataArgument,
    *,
    metric: MetricOption = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=RANKING,
            show_default=False,
            help="Among what a held-out item is ranked: full (the catalogue), sampled (drawn negatives) or"
            " given (the negatives of an NCF data set). Default: full, with given beside it where there are.",
        ),
    ] = None,
    n_negatives: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            rich_help_panel=RANKING,
            show_default=False,
            help=f"Drawn for each held-out item, with --protocol sampled. Default: {DEFAULT_NEGATIVES}",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            rich_help_panel=RANKING,
            show_default=False,
            help="Of the drawn negatives. Default: 0",
        ),
    ] = None,
    ties: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            rich_help_panel=RANKING,
            show_default=False,
            help=f"Where a held-out item stands among equal scores: {', '.join(TIES)}. Default: {TIES[0]}",
        ),
    ] = None,
    columns: ColumnsOption = None,
    string_ids: StringIdsOption = False,
    duplicates: DuplicatesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do what the command's help says."""
    metrics = metrics_of(metric or ())
    options = {"protocol": protocol, "n_negatives": n_negatives, "seed": seed, "ties": ties}
    if protocol is not None:
        protocol = choose("--protocol", protocol, PROTOCOLS)
    rule = TIES[0] if ties is None else TIES[TIES.index(choose("--ties", ties, TIES))]
    for name, value in (("n-negatives", n_negatives), ("seed", seed)):
        if value is not None and protocol != "sampled":
            raise InvalidArgumentError(
                f"--{name} applies to --protocol sampled only; add that, or leave it out"
            )
    trained = load_model(model)
    metrics = metrics or default_metrics(ranks(trained))
    _require_ranking(metrics, options)
    source = read_source(data, Reading(columns, string_ids, duplicates))
    test, negatives = _not_trained_on(
        trained, source.data if source.test is None else source.test, source.negatives, source.name
    )
    protocols: list[RankingProtocol] = []
    if protocol == "given" and negatives is None:
        raise InvalidArgumentError(
            f"--protocol given needs the negatives of an NCF data set; {data} has none"
        )
    if negatives is not None and protocol in (None, "given"):
        protocols.append(GivenNegatives(negatives, ties=rule))
    if protocol == "sampled":
        drawn = DEFAULT_NEGATIVES if n_negatives is None else n_negatives
        protocols.append(SampledRanking(drawn, seed=seed or 0, ties=rule))
    if protocol in (None, "full"):
        protocols.append(FullRanking(ties=rule))
    quality = judge(trained, test, metrics, protocols)
    out = Output(as_json)
    show_quality(out, quality)
    out.document({"model": str(model), "data": data, **quality.document()})


def _require_ranking(metrics: Sequence[Metric], options: dict[str, Any]) -> None:
    if not all(isinstance(metric, RatingMetric) for metric in metrics):
        return
    for name, value in options.items():
        if value is not None:
            raise InvalidArgumentError(
                f"{flag(name)} does not apply: {', '.join(metric.name for metric in metrics)} rank nothing;"
                " leave it out, or add a ranking metric, such as --metric ndcg@10"
            )


def _not_trained_on(
    model: Model, data: Interactions, negatives: Negatives | None, name: str
) -> tuple[Interactions, Negatives | None]:
    """Return the interactions whose pair of user and item is not among the model's training data."""
    known = _seen(model, data)
    if known.all():
        raise InvalidDataError(
            f"the model was trained on every interaction of {name}; judge it on data that it has not seen"
        )
    if not known.any():
        return data, negatives
    note(
        f"{int(known.sum()):,} of the {len(data):,} interactions of {name} were in the training data and are"
        " left out"
    )
    return data.select(~known), None if negatives is None else negatives[~known]


def _seen(model: Model, data: Interactions) -> npt.NDArray[np.bool_]:
    """Return bool [n]: which interactions are pairs of the model's training data."""
    users = model.user_ids.rows(data.user_ids.ids)[data.users]
    items = model.item_ids.rows(data.item_ids.ids)[data.items]
    owners = np.repeat(np.arange(model.n_users), model.seen.counts)
    # Ascending, as users are and as the items of each user are.
    trained = owners * model.n_items + model.seen.indices
    pairs = np.where((users >= 0) & (items >= 0), users * model.n_items + items, -1)
    places = np.minimum(np.searchsorted(trained, pairs), len(trained) - 1)
    found: npt.NDArray[np.bool_] = trained[places] == pairs
    return found
