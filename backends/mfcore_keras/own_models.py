"""Keras layers of specs and outputs of one's own: the core's definitions on TensorFlow's operators.

They are saved as part of an exported SavedModel, but not in a .keras file, which would have to hold the class
that somebody wrote.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from mfcore.errors import UnsupportedError
from mfcore.specs import Floats, ModelSpec, Output, Parameter
from mfcore_keras.operators import TENSORFLOW


class _OwnLayer(keras.layers.Layer):  # type: ignore[misc]  # Keras tells no types
    """A layer that is made from a Python object of somebody's own."""

    def get_config(self) -> dict[str, Any]:
        """Raise UnsupportedError: what the layer is made from is no part of a .keras file."""
        raise UnsupportedError(
            f"the layer {self.name!r} computes a spec or an output of your own, which a .keras file cannot"
            " hold: export the model, keras_model.export(path), or save mfcore's own (Model.save) and call"
            " to_keras() again"
        )


class OwnScore(_OwnLayer):
    """The score of a spec, from the rows of its parameters; those without a side are weights of its layers.

    Parameters
    ----------
    spec : ModelSpec
    layout : mapping of name to Parameter
    values : mapping of name to array
    weights : mapping of name to (layer, weight)
        Where each parameter without a side stands.
    **settings : object
        Of every Keras layer.
    """

    def __init__(
        self,
        spec: ModelSpec,
        layout: Mapping[str, Parameter],
        values: Mapping[str, Floats],
        weights: Mapping[str, tuple[str, str]],
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.spec = spec
        self.shapes = {name: one.shape[1:] for name, one in layout.items() if one.side is not None}
        self.sides = {name: one.side for name, one in layout.items()}
        self.layers = [
            keras.layers.Layer(name=name, dtype=self.dtype)
            for name in dict.fromkeys(layer for layer, _ in weights.values())
        ]
        by_name = {layer.name: layer for layer in self.layers}
        self.dense = {
            name: by_name[layer].add_weight(
                shape=values[name].shape,
                initializer=keras.initializers.Constant(values[name]),
                trainable=layout[name].trained,
                name=weight,
            )
            for name, (layer, weight) in weights.items()
        }
        # They have their weights, and are never called.
        for layer in self.layers:
            layer.built = True

    def call(self, rows: Mapping[str, Any]) -> Any:
        """Return the score [n, 1] of rows [n, their numbers] by the names of parameters."""
        users, items = (
            {
                name: tf.reshape(numbers, (-1, *self.shapes[name]))
                for name, numbers in rows.items()
                if self.sides[name] == side
            }
            for side in ("user", "item")
        )
        dense = {name: tf.convert_to_tensor(weight) for name, weight in self.dense.items()}
        return self.spec.score(TENSORFLOW, users, items, dense)[:, None]

    def compute_output_shape(self, shapes: Mapping[str, tuple[int | None, ...]]) -> tuple[int | None, int]:
        """Return (n, 1)."""
        return next(iter(shapes.values()))[0], 1


class OwnPrediction(_OwnLayer):
    """An output function of scores; in training what a squared loss compares with ratings.

    Parameters
    ----------
    output : Output
    **settings : object
        Of every Keras layer.
    """

    def __init__(self, output: Output, **settings: Any) -> None:
        super().__init__(**settings)
        self.output_function = output

    def call(self, scores: Any, training: bool | None = None) -> Any:
        """Return the predictions, in the shape of the scores."""
        output = self.output_function
        if training:
            return output.forward(TENSORFLOW)(scores, output.constants())[0]
        return output.predict(scores, TENSORFLOW)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the scores."""
        return shape
