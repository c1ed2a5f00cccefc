"""`mfcore evaluate`: the quality of a saved model on data that it has not been trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt

from mfcore.cli import quality
from mfcore.cli.console import Printer, note, working
from mfcore.cli.epochs import CHOSEN_ON
from mfcore.cli.options import DataArgument, JsonOption, ModelArgument, flag, opt
from mfcore.cli.quality import MetricOption, Task
from mfcore.cli.recipes import ranks
from mfcore.cli.sources import LoadedData, Negatives, Reading, read_source
from mfcore.data import Interactions
from mfcore.errors import InvalidArgumentError, InvalidDataError
from mfcore.metrics import (
    FullRanking,
    GivenNegatives,
    Metric,
    RankingProtocol,
    RatingMetric,
    SampledRanking,
    evaluate_quality,
)
from mfcore.model import Model, load_model

PROTOCOLS = ("full", "sampled", "given")
TIES = ("pessimistic", "average", "optimistic")
DEFAULT_NEGATIVES = 99


@dataclass(frozen=True)
class Ranking:
    """The options of ranking metrics; None where one was not given."""

    panel: ClassVar[str] = "Ranking metrics"

    protocol: Annotated[
        str | None,
        opt(
            "Among what a held-out item is ranked: full (the catalogue), sampled (drawn negatives) or"
            " given (the negatives of an NCF data set). Default: full, with given beside it where there are;"
            " for a two-tower model full, and full with the items of the training data among them.",
            "NAME",
            names=lambda: PROTOCOLS,
        ),
    ] = None
    n_negatives: Annotated[
        int | None,
        opt(f"Drawn for each held-out item, with --protocol sampled. Default: {DEFAULT_NEGATIVES}", "N"),
    ] = None
    seed: Annotated[int | None, opt("Of the drawn negatives. Default: 0", "N")] = None
    ties: Annotated[
        str | None,
        opt(
            f"Where a held-out item stands among equal scores: {', '.join(TIES)}. Default: {TIES[0]}",
            "RULE",
            names=lambda: TIES,
        ),
    ] = None

    def require_use(self, metrics: Sequence[Metric]) -> None:
        """Refuse options that would change nothing."""
        for name in ("n_negatives", "seed"):
            if getattr(self, name) is not None and self.protocol != "sampled":
                raise InvalidArgumentError(
                    f"{flag(name)} applies to --protocol sampled only; add that, or leave it out"
                )
        rank_nothing = all(isinstance(metric, RatingMetric) for metric in metrics)
        for field in fields(self):
            if rank_nothing and getattr(self, field.name) is not None:
                raise InvalidArgumentError(
                    f"{flag(field.name)} does not apply: {', '.join(metric.name for metric in metrics)} rank"
                    " nothing; leave it out, or add a ranking metric, such as --metric ndcg@10"
                )

    def protocols(self, task: Task, negatives: Negatives | None) -> list[RankingProtocol]:
        """Return what was asked for, by default what is usual for the task."""
        ties: Any = self.ties or TIES[0]
        if self.protocol == "sampled":
            n_negatives = DEFAULT_NEGATIVES if self.n_negatives is None else self.n_negatives
            return [SampledRanking(n_negatives, seed=self.seed or 0, ties=ties)]
        if self.protocol == "full":
            return [FullRanking(ties=ties)]
        if self.protocol == "given":
            assert negatives is not None
            return [GivenNegatives(negatives, ties=ties)]
        return quality.default_protocols(task, negatives, ties)


def evaluate(
    model: ModelArgument,
    data: DataArgument,
    *,
    metric: MetricOption = None,
    ranking: Ranking,
    reading: Reading,
    as_json: JsonOption = False,
) -> None:
    """Judge a saved model on the interactions of DATA that it was not trained on.

    Of an NCF data set that is its test part, ranked among the given negatives and, beside it, the whole
    catalogue.

    Examples
    --------
    mfcore evaluate m.safetensors ml-100k
    mfcore evaluate m.safetensors ml-1m-ncf --metric hr@10 --metric mrr
    mfcore evaluate m.safetensors new.csv --metric ndcg@10 --protocol sampled --n-negatives 99
    """
    metrics = quality.metrics_of(metric or ())
    trained = load_model(model)
    ranking.require_use(
        metrics or quality.default_metrics(quality.task_of(trained.spec, ranks=ranks(trained)))
    )
    source = read_source(data, reading)
    if ranking.protocol == "given" and source.negatives is None:
        raise InvalidArgumentError(f"--protocol given needs an NCF data set's negatives; {data} has none")
    test, negatives = _not_trained_on(trained, source)
    if trained.training.get(CHOSEN_ON) == "test":
        note("the epoch of this model was chosen on its test part; figures on that are optimistic")
    task = quality.task_of(trained.spec, ranks=ranks(trained), negatives=negatives)
    with working("Evaluating"):
        found = evaluate_quality(
            trained, test, metrics or quality.default_metrics(task), ranking.protocols(task, negatives)
        )
    printer = Printer(as_json)
    quality.show_quality(printer, found)
    printer.document({"model": str(model), "data": data, **found.document()})


def _not_trained_on(model: Model, source: LoadedData) -> tuple[Interactions, Negatives | None]:
    """Return the interactions whose pair of user and item is not in the model's training data."""
    data = source.data if source.test is None else source.test
    known = _seen(model, data)
    if known.all():
        raise InvalidDataError(
            f"the model was trained on every interaction of {source.name}; judge it on other data"
        )
    if not known.any():
        return data, source.negatives
    note(
        f"{int(known.sum()):,} of the {len(data):,} interactions of {source.name} were in the training data"
        " and are left out"
    )
    return data.select(~known), None if source.negatives is None else source.negatives[~known]


def _seen(model: Model, data: Interactions) -> npt.NDArray[np.bool_]:
    """Return bool [n]: which interactions are pairs of the model's training data."""
    users = model.user_ids.rows(data.user_ids.ids)[data.users]
    items = model.item_ids.rows(data.item_ids.ids)[data.items]
    owners = np.repeat(np.arange(model.n_users), model.seen.counts)
    # Unknown ids have row -1; as one number each, pairs with one would stand for others.
    pairs = np.where((users >= 0) & (items >= 0), users * model.n_items + items, -1)
    return np.isin(pairs, owners * model.n_items + model.seen.indices)
