"""Models as functional Keras models: exported with trained values, or initial ones, and imported again.

A Keras model takes rows of users and items as two inputs, "user" and "item", int32 [n], in this order or as a
dict by name. It gives predictions, [n, 1]: what `mfcore.Model.predict_pairs` gives, and what a squared loss
compares with ratings. Its layers have a spec's parameters, in the same shapes but for biases, [n_rows, 1],
under names of Keras's kind:

- rows, "user_factors" and "item_factors": the `Embedding`s "user_embedding" and "item_embedding"; the tower's
  own of NeuMF: "mlp_user_embedding", "mlp_item_embedding"; biases: "user_bias", "item_bias";
- dense layers, "dense_0/kernel" and "dense_0/bias": the `Dense` "dense_0"; likewise "projection", "output",
  "user_dense_0", "item_dense_0";
- the constant "global_bias": the offset of the `Rescaling` "global_bias", which no optimizer moves.

The layer "score" gives the score, [n, 1], on which ranking works, and losses with from_logits=True; a layer
after it, "prediction", is the output function, which Linear does without. All layers are Keras's own, so that
files load wherever Keras is, but for `RatingClip` and those of a spec or an output of your own.

Of such a spec the layer "score" is `OwnScore`, which computes the score that the spec defines: rows are
`Embedding`s as above, of all numbers of a row side by side; the parameter "layer/weight" is a weight of a
layer within it, and one without a slash, "temperature", say, the weight "temperature" of the layer
"temperature".
"""

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from mfcore.errors import InvalidArgumentError, InvalidDataError
from mfcore.specs import (
    GMF,
    LINEAR,
    MF,
    MLP,
    NCF,
    Branch,
    Floats,
    Layer,
    Linear,
    ModelSpec,
    NeuMF,
    Parameter,
    Parameters,
    Product,
    RatingRange,
    ReLU,
    Sigmoid,
    Tower,
    TwoTower,
)
from mfcore.validation import require_instance, require_integer
from mfcore_keras.loading import load_keras

if TYPE_CHECKING:
    from mfcore.model import Model

load_keras()

import keras  # noqa: E402

from mfcore_keras.own_models import OwnPrediction, OwnScore  # noqa: E402

SPECS = (MF, GMF, MLP, NeuMF, TwoTower)
OUTPUTS = (Linear, ReLU, Sigmoid, RatingRange)
DTYPES = ("float32", "float64")
CONSTANT = "global_bias"
FACTORS, EMBEDDING = "factors", "embedding"


@keras.saving.register_keras_serializable(package="mfcore")
class RatingClip(keras.layers.Layer):  # type: ignore[misc]  # Keras tells no types
    """Scores clipped to [low, high], but not in training: a score outside is still pulled back then.

    Attributes
    ----------
    low, high : float
    """

    def __init__(self, low: float, high: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.low, self.high = float(low), float(high)

    def call(self, scores: Any, training: bool | None = None) -> Any:
        """Return the predictions, in the shape of the scores; in training the scores."""
        return scores if training else keras.ops.clip(scores, self.low, self.high)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the scores."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """Return what the layer is made from."""
        return {**super().get_config(), "low": self.low, "high": self.high}


def build_model(
    spec: ModelSpec,
    n_users: int,
    n_items: int,
    dtype: str = "float32",
    *,
    seed: int = 0,
    best_constant: float = 0.0,
) -> Any:
    """Return a Keras model with the spec's initial values, those that `fit` starts from.

    Parameters
    ----------
    spec : ModelSpec
    n_users, n_items : int
    dtype : "float32" or "float64"
    seed : int
    best_constant : float
        The value of a global bias, which is not trained: the score of the best constant prediction.

    Returns
    -------
    keras.Model
        Not compiled. Keras's own random numbers are not used.

    Raises
    ------
    InvalidArgumentError
        Another dtype, or numbers of rows below 1.
    """
    for name, number in (("n_users", n_users), ("n_items", n_items)):
        require_integer(f"build_model: {name}", number, 1)
    if dtype not in DTYPES:
        raise InvalidArgumentError(f"build_model: dtype is {dtype!r}; it must be one of {', '.join(DTYPES)}")
    values = spec.initial_parameters(
        n_users, n_items, seed=seed, dtype=np.dtype(dtype), best_constant=best_constant
    )
    return _Builder(spec, spec.parameters(n_users, n_items), values).model()


def to_keras(model: "Model") -> Any:
    """Return a model as a Keras model, with copies of its parameters; see `mfcore.Model.to_keras`."""
    layout = model.spec.parameters(model.n_users, model.n_items)
    return _Builder(model.spec, layout, model.parameters).model()


def from_keras(keras_model: Any, spec: ModelSpec, n_users: int, n_items: int) -> dict[str, Floats]:
    """Return copies of a Keras model's weights as the parameters of a spec; see `mfcore.Model.from_keras`.

    Parameters
    ----------
    keras_model : keras.Model
        Of any make: what counts are the names of its layers and the shapes of their weights.
    spec : ModelSpec
    n_users, n_items : int

    Returns
    -------
    dict of name to array
        As `spec.parameter_shapes` says, in the model's dtype.

    Raises
    ------
    InvalidArgumentError
        A layer is missing, has weights that the spec has no place for, or weights of another shape or dtype.
    InvalidDataError
        A weight is NaN or infinite.
    """
    require_instance("from_keras: keras_model", keras_model, keras.Model, "model.to_keras()")
    layout = spec.parameters(n_users, n_items)
    whose = f"{spec} of {n_users:,} users and {n_items:,} items"
    found = _weights(keras_model, constant=CONSTANT in layout)
    locations = {name: _location(name, parameter) for name, parameter in layout.items()}
    _check_names(found, list(locations.values()), whose)
    weights = {name: found[location] for name, location in locations.items()}
    dtype = next(array.dtype for name, array in weights.items() if name != CONSTANT)
    if CONSTANT in weights:
        weights[CONSTANT] = weights[CONSTANT].astype(dtype)
    for name, array in weights.items():
        _check_weight(locations[name], array, layout[name], dtype, whose)
    return {name: np.array(array.reshape(layout[name].shape), order="C") for name, array in weights.items()}


class _Builder:
    """Puts the layers of a model together, each with its values."""

    def __init__(self, spec: ModelSpec, layout: Mapping[str, Parameter], values: Parameters) -> None:
        self.spec = spec
        self.layout = layout
        self.values = values
        self.dtype = str(next(iter(values.values())).dtype)
        self.user, self.item = (keras.Input((), dtype="int32", name=side) for side in ("user", "item"))

    def model(self) -> Any:
        """Return the model."""
        prediction = self._predicted(self._score())
        name = self.spec.short_name.replace("-", "_")
        return keras.Model([self.user, self.item], prediction, name=name)

    def _score(self) -> Any:
        if type(self.spec) not in SPECS:
            return self._own_score()
        terms = [self._features()]
        if CONSTANT in self.layout:
            terms += [self._rows("user_bias"), self._rows("item_bias")]
        score = self._layer("Add", "biased")(terms) if len(terms) > 1 else terms[0]
        if CONSTANT in self.layout:
            # Of a Python float Keras would make float32.
            offset = np.array(self.values[CONSTANT][0])
            score = self._layer("Rescaling", CONSTANT, scale=1.0, offset=offset)(score)
        return self._layer("Identity", "score")(score)

    def _own_score(self) -> Any:
        """Return the score as a spec of somebody's own defines it."""
        dense = {name: one for name, one in self.layout.items() if one.side is None}
        weights = {name: _location(name, one) for name, one in dense.items()}
        score = OwnScore(self.spec, self.layout, self.values, weights, name="score", dtype=self.dtype)
        return score({name: self._rows(name) for name in self.layout if name not in dense})

    def _features(self) -> Any:
        """Return the score without its biases."""
        if isinstance(self.spec, NCF):
            features = [self._branch(branch) for branch in self.spec.branches]
            return self._dense(Layer("output", 0, 1, LINEAR))(self._concatenated("features", features))
        embeddings = [self._rows("user_factors"), self._rows("item_factors")]
        if isinstance(self.spec, TwoTower):
            stacks = (self.spec.user_stack, self.spec.item_stack)
            embeddings = [
                self._stacked(stack.layers, rows) for stack, rows in zip(stacks, embeddings, strict=True)
            ]
        return self._layer("Dot", "dot", axes=-1)(embeddings)

    def _branch(self, branch: Branch) -> Any:
        factors = [self._rows(branch.user_factors), self._rows(branch.item_factors)]
        if isinstance(branch, Product):
            return self._layer("Multiply", "product")(factors)
        assert isinstance(branch, Tower)
        return self._stacked(branch.stack.layers, self._concatenated("pair", factors))

    def _stacked(self, layers: tuple[Layer, ...], inputs: Any) -> Any:
        for layer in layers:
            inputs = self._dense(layer)(inputs)
        return inputs

    def _concatenated(self, name: str, inputs: list[Any]) -> Any:
        return inputs[0] if len(inputs) == 1 else self._layer("Concatenate", name)(inputs)

    def _rows(self, name: str) -> Any:
        values = self.values[name].reshape(self.layout[name].shape[0], -1)
        layer = self._layer("Embedding", _location(name, self.layout[name])[0], *values.shape)
        rows = layer(self.user if self.layout[name].side == "user" else self.item)
        layer.set_weights([values])
        return rows

    def _dense(self, layer: Layer) -> Any:
        """Return a dense layer, to be called once."""
        kernel, bias = self.values[layer.kernel], self.values[layer.bias]
        dense = self._layer("Dense", layer.name, layer.n_out, activation=layer.activation)
        dense.build((None, len(kernel)))
        dense.set_weights([kernel, bias])
        return dense

    def _predicted(self, score: Any) -> Any:
        output = self.spec.output
        if type(output) not in OUTPUTS:
            return OwnPrediction(output, name="prediction", dtype=self.dtype)(score)
        if isinstance(output, ReLU):
            return self._layer("ReLU", "prediction")(score)
        if isinstance(output, Sigmoid):
            return self._layer("Activation", "prediction", "sigmoid")(score)
        if not isinstance(output, RatingRange):
            return score
        if output.method == "clip":
            return RatingClip(output.low, output.high, name="prediction", dtype=self.dtype)(score)
        share = self._layer("Activation", "sigmoid", "sigmoid")(score)
        return self._layer("Rescaling", "prediction", output.high - output.low, offset=output.low)(share)

    def _layer(self, kind: str, name: str, *settings: Any, **named: Any) -> Any:
        return getattr(keras.layers, kind)(*settings, name=name, dtype=self.dtype, **named)


# The layer of a weight, and which of the layer's.
_Location = tuple[str, str]


def _location(name: str, parameter: Parameter) -> _Location:
    layer, _, weight = name.rpartition("/")
    if parameter.side is not None:
        return name.replace(FACTORS, EMBEDDING), "embeddings"
    return (layer, weight) if layer else (name, "offset" if name == CONSTANT else name)


def _weights(keras_model: Any, constant: bool) -> dict[_Location, Floats]:
    """Return a model's weights by their locations, and the constant's."""
    found: dict[_Location, Floats] = {}
    # Layers without variables, inputs among them, have none.
    for layer in keras_model._flatten_layers(include_self=False, recursive=True):
        if constant and layer.name == CONSTANT and hasattr(layer, "offset"):
            found[CONSTANT, "offset"] = np.reshape(layer.offset, 1).astype(np.float64)
        for variable in () if getattr(layer, "layers", None) else layer.weights:
            found[layer.name, variable.name] = variable.numpy()
    return found


def _check_names(found: Mapping[_Location, Floats], locations: list[_Location], whose: str) -> None:
    missing = [f"{layer!r} ({part})" for layer, part in locations if (layer, part) not in found]
    if missing:
        layers = ", ".join(dict.fromkeys(repr(layer) for layer, _ in found)) or "none"
        raise InvalidArgumentError(
            f"the Keras model lacks the layers {', '.join(missing)}, which {whose} needs; it has weights in"
            f" {layers}. Pass the spec that the model was made from, or name its layers as those of"
            " Model.to_keras are"
        )
    unknown = [
        f"{layer!r} ({part}) {array.shape}"
        for (layer, part), array in found.items()
        if (layer, part) not in locations
    ]
    if unknown:
        raise InvalidArgumentError(
            f"the Keras model has {', '.join(unknown)}, for which {whose} has no place: scores would lack it."
            " Pass the spec that the model was made from, or the part of it that the spec describes"
        )


def _check_weight(location: _Location, array: Floats, parameter: Parameter, dtype: Any, whose: str) -> None:
    what = f"the {location[1]} of the Keras model's layer {location[0]!r}"
    if str(array.dtype) not in DTYPES or array.dtype != dtype:
        raise InvalidArgumentError(
            f"{what} are {array.dtype}, others {dtype}; all must be float32, or all float64: build the model"
            " with one dtype"
        )
    shape = parameter.shape
    expected = shape if parameter.side is None else (shape[0], prod(shape[1:]))
    if array.shape != expected:
        raise InvalidArgumentError(
            f"{what} have shape {array.shape}, but {whose} needs {expected}; pass the spec, and the users and"
            " items, that the model was made for"
        )
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(int(index) for index in np.argwhere(~finite)[0])
        raise InvalidDataError(
            f"{what} hold {array[where]} at {where}; go back to weights from before training diverged, and"
            " train with a lower learning rate"
        )
