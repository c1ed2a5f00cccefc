"""One safetensors file per model: parameters, ids, spec, seen items, titles and history; no pickle.

Tensors: "parameters/NAME"; "user_ids" and "item_ids" (int64, or UTF-8 bytes with ".offsets"); "seen.indptr"
and "seen.indices"; "item_names" with ".offsets"; "optimizer/NAME". Metadata: "format", "format_version" and
"model", a JSON object.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfcore.data import SeenItems, Vocabulary
from mfcore.errors import ModelFileError
from mfcore.files import replacing
from mfcore.model._history import EpochRecord, History
from mfcore.model._state import ModelState
from mfcore.settings import from_dict, require_storable, to_dict
from mfcore.specs import ModelSpec

FORMAT = "mfcore"
FORMAT_VERSION = 1

Tensors = dict[str, NDArray[Any]]


def write_state(model: ModelState, path: str | os.PathLike[str], *, optimizer_state: bool) -> None:
    """Write a model atomically; see `Model.save`."""
    from safetensors.numpy import save_file

    require_storable(model.spec)
    for part in model.training.values():
        if isinstance(part, Mapping):
            require_storable(part)
    tensors: Tensors = {f"parameters/{name}": array for name, array in model.parameters.items()}
    tensors |= _packed_ids("user_ids", model.user_ids) | _packed_ids("item_ids", model.item_ids)
    tensors |= {"seen.indptr": model.seen.indptr, "seen.indices": model.seen.indices}
    if model.item_names is not None:
        tensors |= _packed_strings("item_names", model.item_names)
    if optimizer_state and model.optimizer_state is not None:
        tensors |= {f"optimizer/{name}": array for name, array in model.optimizer_state.items()}
    description = {
        "spec": to_dict(model.spec),
        "training": model.training,
        "history": [dataclasses.asdict(record) for record in model.history],
        "epochs_trained": model.epochs_trained,
    }
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "model": json.dumps(description),
    }
    with replacing(path) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, temporary, metadata)


def read_state(path: str | os.PathLike[str]) -> ModelState:
    """Return what a file holds; see `mfcore.load`."""
    metadata, tensors = _read(Path(path))
    try:
        description = json.loads(metadata["model"])
        spec = from_dict(description["spec"])
        if not isinstance(spec, ModelSpec):
            raise TypeError(f"its spec is {spec}")
        names = _strings("item_names", tensors) if "item_names" in tensors else None
        optimizer_state = {
            name.removeprefix("optimizer/"): array
            for name, array in tensors.items()
            if name.startswith("optimizer/")
        }
        model = ModelState(
            spec=spec,
            parameters={
                name.removeprefix("parameters/"): array
                for name, array in tensors.items()
                if name.startswith("parameters/")
            },
            user_ids=_ids("user_ids", tensors),
            item_ids=_ids("item_ids", tensors),
            seen=SeenItems(tensors["seen.indptr"], tensors["seen.indices"]),
            item_names=names,
            training=description["training"],
            history=History(tuple(EpochRecord(**record) for record in description["history"])),
            epochs_trained=int(description["epochs_trained"]),
            optimizer_state=optimizer_state or None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} is not a whole mfcore model: {error}") from error
    _check(model, path)
    return model


def _read(path: Path) -> tuple[dict[str, str], Tensors]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelFileError(f"there is no model file {path}")
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ModelFileError(f"{path} was not written by mfcore; Model.save writes such files")
            version = metadata.get("format_version", "")
            if not version.isdecimal() or int(version) > FORMAT_VERSION:
                raise ModelFileError(
                    f"{path} has format version {version!r}, this mfcore reads up to {FORMAT_VERSION}:"
                    " upgrade mfcore"
                )
            return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelFileError(f"{path} is no safetensors file, or was cut short: {error}") from error


def _check(model: ModelState, path: str | os.PathLike[str]) -> None:
    expected = model.spec.parameter_shapes(model.n_users, model.n_items)
    found = {name: array.shape for name, array in model.parameters.items()}
    if found != expected:
        raise ModelFileError(f"{path}: parameters are {found}, but the spec has {expected}")
    for name, array in model.parameters.items():
        if not np.isfinite(array).all():
            raise ModelFileError(f"{path}: {name} holds values that are not finite")
    indptr, indices = model.seen.indptr, model.seen.indices
    whole = len(indptr) == model.n_users + 1 and (np.diff(indptr) >= 0).all() and indptr[-1] == len(indices)
    if not whole or (len(indices) and not 0 <= indices.min() <= indices.max() < model.n_items):
        raise ModelFileError(
            f"{path}: the seen items do not fit {model.n_users} users and {model.n_items} items"
        )
    if model.item_names is not None and len(model.item_names) != model.n_items:
        raise ModelFileError(f"{path}: there are {len(model.item_names)} titles for {model.n_items} items")


def _packed_ids(name: str, ids: Vocabulary) -> Tensors:
    return _packed_strings(name, ids.ids) if ids.is_string else {name: ids.ids}


def _ids(name: str, tensors: Tensors) -> Vocabulary:
    return Vocabulary(_strings(name, tensors) if f"{name}.offsets" in tensors else tensors[name])


def _packed_strings(name: str, strings: NDArray[Any]) -> Tensors:
    encoded = [str(string).encode() for string in strings]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return {name: np.frombuffer(b"".join(encoded), dtype=np.uint8), f"{name}.offsets": offsets}


def _strings(name: str, tensors: Tensors) -> NDArray[Any]:
    content, offsets = tensors[name].tobytes(), tensors[f"{name}.offsets"]
    strings = [content[start:end].decode() for start, end in pairwise(offsets)]
    return np.array(strings, dtype=np.dtypes.StringDType())
