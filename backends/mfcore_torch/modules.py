"""Models as ordinary `nn.Module`s: exported with trained values, or initial ones, and imported again.

A module's state_dict has a spec's parameters under names of PyTorch's kind:

- rows of users and items, "user_factors" [n_users, n_factors]: the `nn.Embedding` "user_factors.weight" of
  the same shape; biases [n_users]: "user_bias.weight" [n_users, 1];
- dense layers, "dense_0/kernel" [n_in, n_out] and "dense_0/bias" [n_out]: the `nn.Linear` "dense_0.weight"
  [n_out, n_in], transposed, and "dense_0.bias" [n_out];
- the constant "global_bias" [1]: a buffer of that name, which no optimizer of PyTorch moves;
- any other parameter of a spec of somebody's own: under its name, with "." for "/".

Modules of mfcore's own specs are written so that `torch.jit.script`, `torch.compile` and `torch.export` take
them as they are; that of any other spec, `SpecModule`, is for the latter two.
"""

from collections.abc import Mapping
from math import prod
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mfcore.errors import InvalidArgumentError, InvalidDataError
from mfcore.model import Model
from mfcore.specs import (
    GMF,
    MF,
    MLP,
    Floats,
    Linear,
    ModelSpec,
    NeuMF,
    Output,
    Parameter,
    Parameters,
    RatingRange,
    ReLU,
    Sigmoid,
    TwoTower,
)
from mfcore.validation import require_instance, require_integer
from mfcore_torch.operators import OPERATORS

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}

# What torch.compile, DistributedDataParallel and DataParallel put into the names of what they wrap.
WRAPPERS = ("_orig_mod", "module")

_NUMPY_DTYPES: dict[torch.dtype, np.dtype[np.floating]] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}


class ScaledSigmoid(nn.Module):
    """low + (high - low) sigmoid(score).

    Attributes
    ----------
    low, high : float
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = float(low), float(high)

    def forward(self, scores: Tensor) -> Tensor:
        """Return the predictions, in the shape of the scores."""
        return self.low + (self.high - self.low) * torch.sigmoid(scores)

    def extra_repr(self) -> str:
        """Return what the module's repr shows of it."""
        return f"low={self.low}, high={self.high}"


class OutputModule(nn.Module):
    """An output function of somebody's own.

    Attributes
    ----------
    output : Output
    """

    def __init__(self, output: Output) -> None:
        super().__init__()
        self.output = output

    def forward(self, scores: Tensor) -> Tensor:
        """Return the predictions, in the shape of the scores."""
        predictions: Tensor = self.output.predict(scores, OPERATORS)
        return predictions

    def extra_repr(self) -> str:
        """Return what the module's repr shows of it."""
        return repr(self.output)


class ScoreModule(nn.Module):
    """Base of the modules: from pairs of rows to scores, which losses take, and on to predictions.

    A module that is made by its class has PyTorch's own initial values; `build_module` gives the spec's.

    Parameters
    ----------
    spec : ModelSpec
        Of the kind that the class is for.
    n_users, n_items : int
    sparse : bool
        Whether the gradients of embeddings are sparse tensors, which `torch.optim.SparseAdam` and SGD take.

    Attributes
    ----------
    prediction : nn.Module
        The spec's output function.
    """

    # Not at run time: torch.jit.script would read the annotations as those of TorchScript's own types.
    if TYPE_CHECKING:
        user_factors: nn.Embedding
        item_factors: nn.Embedding
        user_bias: nn.Embedding
        item_bias: nn.Embedding
        global_bias: Tensor

    def __init__(self, spec: ModelSpec, n_users: int, n_items: int, *, sparse: bool = False) -> None:
        super().__init__()
        layout = spec.parameters(n_users, n_items)
        for name, parameter in layout.items():
            layer, _, part = name.rpartition("/")
            if parameter.side is not None:
                n_rows, width = _place(name, parameter, layout).shape
                table = nn.Embedding(n_rows, width, sparse=sparse)
                table.weight.requires_grad_(parameter.trained)
                self.add_module(name, table)
            elif _is_kernel(name, parameter):
                n_in, n_out = parameter.shape
                path, _, last = layer.rpartition("/")
                linear = nn.Linear(n_in, n_out, bias=f"{layer}/bias" in layout)
                _holder(self, path).add_module(last, linear)
            elif not parameter.trained:
                _holder(self, layer).register_buffer(part, torch.zeros(parameter.shape))
            elif not _is_bias(name, layout):
                weights = nn.Parameter(torch.zeros(parameter.shape))
                _holder(self, layer).register_parameter(part, weights)
        self.prediction = _prediction(spec.output)

    @torch.jit.export
    def predict(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the prediction of each pair, [n]: the score after the output function; see `forward`."""
        predictions: Tensor = self.prediction(self.forward(users, items))
        return predictions

    def with_biases(self, scores: Tensor, users: Tensor, items: Tensor) -> Tensor:
        """Return the scores of pairs, [n], with the biases, where the model has any."""
        # hasattr, as torch.jit.script leaves out the branch of a module that has none.
        if hasattr(self, "user_bias"):
            of_users, of_items = self.user_bias(users).squeeze(-1), self.item_bias(items).squeeze(-1)
            scores = scores + (self.global_bias + of_users + of_items)
        return scores


class MFModule(ScoreModule):
    """Matrix factorisation; see `mfcore.MF`."""

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the score of each pair.

        Parameters
        ----------
        users, items : int64 tensors [n]
            Rows of the model's ids, ``model.user_ids.rows(ids)``, on the module's device.

        Returns
        -------
        tensor [n] in the module's dtype
        """
        products = self.user_factors(users) * self.item_factors(items)
        return self.with_biases(products.sum(-1), users, items)


class GMFModule(ScoreModule):
    """Generalised matrix factorisation; see `mfcore.GMF`."""

    if TYPE_CHECKING:
        output: nn.Linear

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the score of each pair, [n]; see `MFModule.forward`."""
        products = self.user_factors(users) * self.item_factors(items)
        return self.with_biases(self.output(products).squeeze(-1), users, items)


class SpecModule(ScoreModule):
    """A spec of somebody's own, scored by its own `score`.

    Attributes
    ----------
    spec : ModelSpec
    """

    def __init__(self, spec: ModelSpec, n_users: int, n_items: int, *, sparse: bool = False) -> None:
        super().__init__(spec, n_users, n_items, sparse=sparse)
        self.spec = spec
        layout = spec.parameters(n_users, n_items)
        self._places = {
            name: (parameter.side, parameter.shape, _place(name, parameter, layout))
            for name, parameter in layout.items()
        }

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the score of each pair, [n]; see `MFModule.forward`."""
        rows = {"user": users, "item": items}
        arrays: dict[str | None, dict[str, Tensor]] = {"user": {}, "item": {}, None: {}}
        for name, (side, shape, place) in self._places.items():
            if side is not None:
                found = self.get_submodule(name)(rows[side]).reshape(-1, *shape[1:])
            else:
                found = attrgetter(place.name)(self)
                found = found.T if place.transposed else found
            arrays[side][name] = found
        scores: Tensor = self.spec.score(OPERATORS, arrays["user"], arrays["item"], arrays[None])
        return scores


class StackModule(ScoreModule):
    """Base of the modules with stacks of dense layers.

    Attributes
    ----------
    activation : nn.Module
        What follows a dense layer.
    """

    def __init__(
        self, spec: MLP | NeuMF | TwoTower, n_users: int, n_items: int, *, sparse: bool = False
    ) -> None:
        super().__init__(spec, n_users, n_items, sparse=sparse)
        self.activation = ACTIVATIONS[spec.activation]()

    def stacked(self, prefix: str, inputs: Tensor) -> Tensor:
        """Return what the last of the layers prefix0, prefix1, ... makes of the inputs, not yet activated."""
        outputs = inputs
        # torch.jit.script unrolls this loop; it takes neither a computed attribute nor a list of modules.
        for name, layer in self.named_children():
            if name.startswith(prefix):
                if name != prefix + "0":
                    outputs = self.activation(outputs)
                outputs = layer(outputs)
        return outputs


class MLPModule(StackModule):
    """A tower over the concatenated factors; see `mfcore.MLP`."""

    if TYPE_CHECKING:
        output: nn.Linear

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the score of each pair, [n]; see `MFModule.forward`."""
        inputs = torch.cat([self.user_factors(users), self.item_factors(items)], dim=-1)
        scores: Tensor = self.output(self.activation(self.stacked("dense_", inputs))).squeeze(-1)
        return scores


class NeuMFModule(StackModule):
    """A product and a tower under one dense unit; see `mfcore.NeuMF`."""

    if TYPE_CHECKING:
        mlp_user_factors: nn.Embedding
        mlp_item_factors: nn.Embedding
        projection: nn.Linear
        output: nn.Linear

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the score of each pair, [n]; see `MFModule.forward`."""
        products = self.user_factors(users) * self.item_factors(items)
        inputs = torch.cat([self.mlp_user_factors(users), self.mlp_item_factors(items)], dim=-1)
        tower = self.activation(self.stacked("dense_", inputs))
        if hasattr(self, "projection"):
            tower = self.projection(tower)
        scores: Tensor = self.output(torch.cat([products, tower], dim=-1)).squeeze(-1)
        return scores


class TwoTowerModule(StackModule):
    """A tower for users and one for items; see `mfcore.TwoTower`."""

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the score of each pair, [n]; see `MFModule.forward`."""
        return (self.user_embeddings(users) * self.item_embeddings(items)).sum(-1)

    @torch.jit.export
    def user_embeddings(self, users: Tensor) -> Tensor:
        """Return the users' tower outputs, [n, width of the last layer], for user rows [n]."""
        return self.stacked("user_dense_", self.user_factors(users))

    @torch.jit.export
    def item_embeddings(self, items: Tensor) -> Tensor:
        """Return the items', for an index: scores are ``user_embeddings @ item_embeddings.T``."""
        return self.stacked("item_dense_", self.item_factors(items))


# Written out for torch.jit.script; of a subclass somebody may have changed the score.
MODULES: dict[type[ModelSpec], type[ScoreModule]] = {
    MF: MFModule,
    GMF: GMFModule,
    MLP: MLPModule,
    NeuMF: NeuMFModule,
    TwoTower: TwoTowerModule,
}


def build_module(
    spec: ModelSpec,
    n_users: int,
    n_items: int,
    dtype: torch.dtype = torch.float32,
    *,
    sparse: bool = False,
    seed: int = 0,
    best_constant: float = 0.0,
) -> ScoreModule:
    """Return a module with the spec's initial values, those that `fit` starts from.

    Parameters
    ----------
    spec : ModelSpec
    n_users, n_items : int
    dtype : torch.float32 or torch.float64
    sparse : bool
        Whether the gradients of embeddings are sparse tensors.
    seed : int
    best_constant : float
        The value of a global bias, which is not trained: the score of the best constant prediction.

    Returns
    -------
    ScoreModule
        On the CPU. PyTorch's own random numbers are not used.

    Raises
    ------
    InvalidArgumentError
        No spec, another dtype, or numbers of rows below 1.
    """
    require_instance("build_module: spec", spec, ModelSpec, "MF()")
    for name, number in (("n_users", n_users), ("n_items", n_items)):
        require_integer(f"build_module: {name}", number, 1)
    if dtype not in _NUMPY_DTYPES:
        raise InvalidArgumentError(
            f"build_module: dtype is {dtype!r}; it must be torch.float32 or torch.float64"
        )
    values = spec.initial_parameters(
        n_users, n_items, seed=seed, dtype=_NUMPY_DTYPES[dtype], best_constant=best_constant
    )
    return _filled(spec, n_users, n_items, values, sparse)


def to_module(model: Model, *, sparse: bool = False) -> ScoreModule:
    """Return a model as a module, with copies of its parameters; see `mfcore.Model.to_torch`."""
    require_instance("to_torch: sparse", sparse, bool, "True")
    return _filled(model.spec, model.n_users, model.n_items, model.parameters, sparse)


def from_module(module: nn.Module, spec: ModelSpec, n_users: int, n_items: int) -> dict[str, Floats]:
    """Return copies of a module's weights as the parameters of a spec; see `mfcore.Model.from_torch`.

    Parameters
    ----------
    module : nn.Module
        Of any class, on any device, wrapped or not: what counts are the names and shapes of its state_dict.
    spec : ModelSpec
    n_users, n_items : int

    Returns
    -------
    dict of name to array
        As `spec.parameter_shapes` says, in the module's dtype.

    Raises
    ------
    InvalidArgumentError
        The state_dict lacks a name, has one that the spec has no place for, or one of another shape or dtype.
    InvalidDataError
        A weight is NaN or infinite.
    """
    require_instance("from_torch: module", module, nn.Module, "model.to_torch()")
    state = _weights(module)
    layout = spec.parameters(n_users, n_items)
    places = {name: _place(name, parameter, layout) for name, parameter in layout.items()}
    whose = f"{spec} of {n_users:,} users and {n_items:,} items"
    _check_names(state, places, whose)
    _check_shapes(state, places, whose)
    _check_values(state)
    return {name: place.array(state[place.name], layout[name].shape) for name, place in places.items()}


class _Place(NamedTuple):
    """Where a module keeps a parameter.

    Attributes
    ----------
    name : str
        In the state_dict.
    shape : tuple of int
    transposed : bool
        Whether the axes of the parameter are in the other order there.
    """

    name: str
    shape: tuple[int, ...]
    transposed: bool

    def tensor(self, array: Floats) -> Tensor:
        """Return a copy of the parameter as the module has it."""
        weights = array.T if self.transposed else array.reshape(self.shape)
        return torch.from_numpy(np.array(weights, order="C"))

    def array(self, tensor: Tensor, shape: tuple[int, ...]) -> Floats:
        """Return a copy of what the module has, in the parameter's shape."""
        weights = tensor.cpu().numpy()
        return np.array(weights.T if self.transposed else weights.reshape(shape), order="C")


def _place(name: str, parameter: Parameter, layout: Mapping[str, Parameter]) -> _Place:
    if parameter.side is not None:
        n_rows, *width = parameter.shape
        return _Place(f"{name}.weight", (n_rows, prod(width)), transposed=False)
    if _is_kernel(name, parameter):
        layer = name.removesuffix("/kernel").replace("/", ".")
        return _Place(f"{layer}.weight", parameter.shape[::-1], transposed=True)
    return _Place(name.replace("/", "."), parameter.shape, transposed=False)


def _is_kernel(name: str, parameter: Parameter) -> bool:
    """Whether a parameter without a side is the kernel of an `nn.Linear`."""
    return name.endswith("/kernel") and len(parameter.shape) == 2 and parameter.trained


def _is_bias(name: str, layout: Mapping[str, Parameter]) -> bool:
    """Whether a parameter without a side is the bias of an `nn.Linear`."""
    kernel = f"{name.removesuffix('/bias')}/kernel"
    return name.endswith("/bias") and kernel in layout and _is_kernel(kernel, layout[kernel])


def _holder(module: nn.Module, path: str) -> nn.Module:
    """Return the module at a path of names with "/" between them, made where there is none."""
    for name in path.split("/") if path else ():
        if not hasattr(module, name):
            module.add_module(name, nn.Module())
        module = getattr(module, name)
    return module


def _filled(spec: ModelSpec, n_users: int, n_items: int, values: Parameters, sparse: bool) -> ScoreModule:
    # Nothing is allocated or drawn for values that are replaced at once.
    with torch.device("meta"):
        module = MODULES.get(type(spec), SpecModule)(spec, n_users, n_items, sparse=sparse)
    layout = spec.parameters(n_users, n_items)
    places = {name: _place(name, one, layout) for name, one in layout.items()}
    state = {place.name: place.tensor(values[name]) for name, place in places.items()}
    module.load_state_dict(state, assign=True)
    return module


def _prediction(output: Output) -> nn.Module:
    if type(output) is RatingRange:
        limits = (float(output.low), float(output.high))
        return nn.Hardtanh(*limits) if output.method == "clip" else ScaledSigmoid(*limits)
    kinds: dict[type[Output], type[nn.Module]] = {Linear: nn.Identity, ReLU: nn.ReLU, Sigmoid: nn.Sigmoid}
    return kinds[type(output)]() if type(output) in kinds else OutputModule(output)


def _weights(module: nn.Module) -> Mapping[str, Tensor]:
    """Return a module's weights by name, without what wrappers add to names."""
    return {
        ".".join(part for part in name.split(".") if part not in WRAPPERS): weights
        for name, weights in module.state_dict().items()
        if isinstance(weights, Tensor)
    }


def _check_names(state: Mapping[str, Tensor], places: Mapping[str, _Place], whose: str) -> None:
    expected = {place.name: place.shape for place in places.values()}
    missing = [f"{name!r} {shape}" for name, shape in expected.items() if name not in state]
    if missing:
        raise InvalidArgumentError(
            f"the module's state_dict lacks {', '.join(missing)}, which {whose} needs; it has"
            f" {', '.join(map(repr, state)) or 'nothing'}. Pass the spec that the module was made from, or"
            " name its parts as those of Model.to_torch are"
        )
    unknown = [f"{name!r} {tuple(one.shape)}" for name, one in state.items() if name not in expected]
    if unknown:
        raise InvalidArgumentError(
            f"the module's state_dict has {', '.join(unknown)}, for which {whose} has no place: scores would"
            " lack it. Pass the spec that the module was made from, or the part of it that the spec describes"
        )


def _check_shapes(state: Mapping[str, Tensor], places: Mapping[str, _Place], whose: str) -> None:
    for name, shape, _ in places.values():
        found = tuple(state[name].shape)
        if found != shape:
            raise InvalidArgumentError(
                f"the module's {name!r} has shape {found}, but {whose} needs {shape}; pass the spec, and the"
                " users and items, that the module was made for"
            )


def _check_values(state: Mapping[str, Tensor]) -> None:
    first, *_ = state
    for name, weights in state.items():
        if weights.dtype not in _NUMPY_DTYPES or weights.dtype != state[first].dtype:
            raise InvalidArgumentError(
                f"the module's {name!r} is {weights.dtype} and its {first!r} {state[first].dtype}; all must"
                " be float32, or all float64: call module.float() or module.double() before"
            )
        finite = torch.isfinite(weights)
        if not finite.all():
            place = tuple((~finite).nonzero()[0].tolist())
            raise InvalidDataError(
                f"the module's {name!r} holds {weights[place].item()} at {place}; go back to weights from"
                " before training diverged, and train with a lower learning rate"
            )
