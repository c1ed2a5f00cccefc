"""NeuMF that starts from a trained GMF or MF and a trained MLP: `train --pretrained-gmf --pretrained-mlp`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt

from mfcore.cli.options import flag, opt
from mfcore.data import Interactions
from mfcore.errors import InvalidArgumentError
from mfcore.model import Model, load_model
from mfcore.settings import from_dict
from mfcore.specs import GMF, MF, MLP, NeuMF

ALPHA = 0.5
# What the two models settle.
SETTLED = ("n_factors", "layers", "activation", "fusion", "output", "init_std")
GMF_FILE, MLP_FILE = "--pretrained-gmf", "--pretrained-mlp"


@dataclass(frozen=True)
class PretrainedFiles:
    """The options; None where one was not given."""

    panel: ClassVar[str] = "NeuMF from pre-trained models"

    pretrained_gmf: Annotated[
        Path | None,
        opt(f"Start from this model's parameters, those of a gmf or an mf; with {MLP_FILE}.", "FILE"),
    ] = None
    pretrained_mlp: Annotated[
        Path | None, opt(f"Start from this model's parameters; with {GMF_FILE}.", "FILE")
    ] = None
    alpha: Annotated[
        float | None, opt(f"Weight of the gmf at the start; the mlp's is the rest. Default: {ALPHA}", "X")
    ] = None


@dataclass(frozen=True, eq=False)
class Pretrained:
    """The NeuMF, the models that it is made of by option, the options, and the GMF's objective if known."""

    model: Model
    parts: dict[str, Model]
    options: dict[str, Any]
    objective: str | None


def load_pretrained(files: PretrainedFiles, given: Mapping[str, Any]) -> Pretrained | None:
    """Return the NeuMF of two files, or None where none was asked for."""
    gmf_file, mlp_file = files.pretrained_gmf, files.pretrained_mlp
    if gmf_file is None and mlp_file is None:
        if files.alpha is not None:
            raise InvalidArgumentError(
                f"--alpha weighs pre-trained models; add {GMF_FILE} and {MLP_FILE}, or leave it out"
            )
        return None
    if gmf_file is None or mlp_file is None:
        option, other = (GMF_FILE, MLP_FILE) if mlp_file is None else (MLP_FILE, GMF_FILE)
        raise InvalidArgumentError(f"{option} needs {other} beside it: NeuMF starts from both")
    if (model := given.get("model", NeuMF.short_name)) != NeuMF.short_name:
        raise InvalidArgumentError(
            f"{GMF_FILE} and {MLP_FILE} apply to --model neumf, not to {model}; leave them out"
        )
    for name in SETTLED:
        if name in given:
            raise InvalidArgumentError(
                f"{flag(name)} does not apply: the pre-trained models settle it; leave it out"
            )
    alpha = ALPHA if files.alpha is None else files.alpha
    gmf, mlp = _load(gmf_file, GMF_FILE, GMF, MF), _load(mlp_file, MLP_FILE, MLP)
    product = GMF.from_mf(gmf) if isinstance(gmf.spec, MF) else gmf
    return Pretrained(
        model=NeuMF.from_pretrained(product, mlp, alpha=alpha),
        parts={GMF_FILE: gmf, MLP_FILE: mlp},
        options={"pretrained_gmf": str(gmf_file), "pretrained_mlp": str(mlp_file), "alpha": alpha},
        objective=_objective(gmf),
    )


def require_same_data(pretrained: Pretrained, train: Interactions) -> None:
    """Refuse models of other users or items, and those that were trained on what is held out now."""
    for option, model in pretrained.parts.items():
        if model.user_ids != train.user_ids or model.item_ids != train.item_ids:
            raise InvalidArgumentError(
                f"{option}: the model was trained on other users or items; pass the same DATA as then"
            )
        n_foreign = int((~np.isin(_pairs(model), _pairs(train))).sum())
        if n_foreign:
            raise InvalidArgumentError(
                f"{option}: the model was trained on {n_foreign:,} interactions that are held out now, so"
                " what is judged on them would be flattered; pass the same --test, --split, --seed and"
                " --validation as then"
            )


def _load(path: Path, option: str, *kinds: type[Any]) -> Model:
    model = load_model(path)
    if not isinstance(model.spec, kinds):
        raise InvalidArgumentError(
            f"{option}: {path} is a {type(model.spec).__name__}; pass a model that `mfcore train --model"
            f" {' or '.join(kind.short_name for kind in kinds)} --out` saved"
        )
    return model


def _objective(model: Model) -> str | None:
    if "objective" not in model.training:
        return None
    name: str = from_dict(model.training["objective"]).short_name
    return name.replace("_", "-")


def _pairs(data: Model | Interactions) -> npt.NDArray[np.int64]:
    """Return the pairs of user and item of the training data, each as one number."""
    owners = np.repeat(np.arange(data.n_users, dtype=np.int64), data.seen.counts)
    return owners * data.n_items + data.seen.indices
