"""NeuMF that starts from a trained GMF or MF and a trained MLP: `train --pretrained-gmf --pretrained-mlp`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mfcore import settings
from mfcore.cli.choices import flag
from mfcore.cli.defaults import Settings
from mfcore.data import Interactions
from mfcore.errors import InvalidArgumentError
from mfcore.model import Model, load_model
from mfcore.specs import GMF, MF, MLP, NeuMF

ALPHA = 0.5
# What the two models say.
SETTLED = ("n_factors", "layers", "activation", "fusion", "output", "init_std")


@dataclass(frozen=True)
class PretrainedFiles:
    """The options; None where one was not given.

    Attributes
    ----------
    gmf, mlp : Path or None
    alpha : float or None
        The weight of the GMF's score; the MLP's is 1 - alpha.
    """

    gmf: Path | None = None
    mlp: Path | None = None
    alpha: float | None = None


@dataclass(frozen=True, eq=False)
class Pretrained:
    """Where training starts.

    Attributes
    ----------
    model : Model
        The NeuMF.
    parts : dict of str to Model
        The models that it was made of, by option.
    options : dict
        The options that made it, by name.
    objective : str or None
        What the GMF was trained for, where its file says so.
    """

    model: Model
    parts: dict[str, Model]
    options: dict[str, Any]
    objective: str | None


def load_pretrained(files: PretrainedFiles, given: Settings) -> Pretrained | None:
    """Return the NeuMF of two files, or None where none was asked for.

    Raises
    ------
    InvalidArgumentError
        One file without the other, alpha without files, models that are no GMF and no MLP of the same data,
        and options that the models settle.
    ModelFileError
        A file is none of ours.
    """
    if files.gmf is None and files.mlp is None:
        if files.alpha is not None:
            raise InvalidArgumentError(
                "--alpha weighs pre-trained models; add --pretrained-gmf and --pretrained-mlp, or leave it"
                " out"
            )
        return None
    if files.gmf is None or files.mlp is None:
        option, other = ("gmf", "mlp") if files.mlp is None else ("mlp", "gmf")
        raise InvalidArgumentError(
            f"--pretrained-{option} needs --pretrained-{other} beside it: NeuMF starts from both"
        )
    if given.model not in (None, NeuMF.short_name):
        raise InvalidArgumentError(
            f"--pretrained-gmf and --pretrained-mlp apply to --model neumf, not to {given.model}; leave them"
            " out"
        )
    for name in SETTLED:
        if getattr(given, name) is not None:
            raise InvalidArgumentError(
                f"{flag(name)} does not apply: the pre-trained models settle it; leave it out"
            )
    alpha = ALPHA if files.alpha is None else files.alpha
    gmf, mlp = _load(files.gmf, "--pretrained-gmf", GMF, MF), _load(files.mlp, "--pretrained-mlp", MLP)
    product = GMF.from_mf(gmf) if isinstance(gmf.spec, MF) else gmf
    return Pretrained(
        model=NeuMF.from_pretrained(product, mlp, alpha=alpha),
        parts={"--pretrained-gmf": gmf, "--pretrained-mlp": mlp},
        options={"pretrained_gmf": str(files.gmf), "pretrained_mlp": str(files.mlp), "alpha": alpha},
        objective=_objective(gmf),
    )


def require_same_data(pretrained: Pretrained, train: Interactions) -> None:
    """Refuse models of other users or items, and those that were trained on what is held out now.

    Raises
    ------
    InvalidArgumentError
    """
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
    name: str = settings.from_dict(model.training["objective"]).short_name
    return name.replace("_", "-")


def _pairs(data: Model | Interactions) -> npt.NDArray[np.int64]:
    """Return the pairs of user and item of the training data, each as one number."""
    owners = np.repeat(np.arange(data.n_users, dtype=np.int64), data.seen.counts)
    return owners * data.n_items + data.seen.indices
