"""From a spec to what kernels train: tables of rows for both sides, and one array of dense parameters."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfcore.contract import STEP, TrainingJob
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import GMF, MF, MLP, NeuMF, TwoTower
from mfcore.specs.arms import Product, Tower
from mfcore.specs.base import Floats, ModelSpec
from mfcore.specs.dense import LINEAR, Layer
from mfcore.specs.ncf import BIAS, KERNEL, NCF
from mfcore_numba import layers
from mfcore_numba.vectors import aligned_copy, rows

SPECS = (MF, GMF, MLP, NeuMF, TwoTower)
ABSENT = -1


class Tables(NamedTuple):
    """The rows that scores are made of: (of users, of items), or None where a model has none.

    A kernel is compiled for what is there: what is None costs neither time nor code.
    """

    product: Any
    tower: Any
    biases: Any


class Net(NamedTuple):
    """What the dense parameters are.

    Attributes
    ----------
    dense : array [n_dense]
    layers : int64 [n_layers, 4]
        Of the tower over a pair's rows, its last one the output unit; see `layers.describe`.
    user_layers, item_layers : the same
        Of the towers over each side's rows.
    kernel : int
        Where the weights of the product's features begin in `dense`; ABSENT where they are all 1.
    shift : int
        Where the constant stands that is added to the score of a model without a tower, or ABSENT.
    """

    dense: Any
    layers: NDArray[np.int64]
    user_layers: NDArray[np.int64]
    item_layers: NDArray[np.int64]
    kernel: int
    shift: int


@dataclass(frozen=True)
class Roles:
    """Which of a spec's parameters are which rows; None where a model has none."""

    product: tuple[str, str] | None
    tower: tuple[str, str] | None


def roles(spec: ModelSpec, *, by_sides: bool) -> Roles:
    """Return a spec's roles; `by_sides` where each side goes through a tower of its own."""
    if isinstance(spec, NCF) and not by_sides:
        found = {type(arm): (arm.user_factors, arm.item_factors) for arm in spec.arms}
        return Roles(found.get(Product), found.get(Tower))
    factors = ("user_factors", "item_factors")
    return Roles(None, factors) if by_sides else Roles(factors, None)


class Arrays:
    """A job's parameters and optimizer state, in memory that kernels and `mfcore` share.

    Attributes
    ----------
    values, state : dict of name to array
        The dense ones are parts of `dense` and `slots`.
    dense : array [n_dense]
    slots : two arrays [n_dense], or empty
    begins : dict of name to int
        Where each dense parameter begins in `dense`.
    """

    def __init__(self, job: TrainingJob) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        layout = job.spec.parameters(job.data.n_users, job.data.n_items)
        # A layer's bias follows its kernel, as the layout of every spec has it.
        self.dense_names = [name for name, one in layout.items() if one.side is None and one.trained]
        sizes = [job.parameters[name].size for name in self.dense_names]
        self.begins = dict(zip(self.dense_names, np.cumsum([0, *sizes]).tolist(), strict=False))
        self.dense: Floats = aligned_copy(np.zeros(sum(sizes), dtype=job.dtype))
        self.values = self._placed(self.dense, job.parameters, "")
        self.state: dict[str, NDArray[Any]] = {STEP: job.optimizer_state[STEP].copy()}
        self.slots: list[Floats] = []
        for slot in job.optimizer.slot_names:
            flat = aligned_copy(np.zeros_like(self.dense))
            kept = {name: job.optimizer_state[f"{name}/{slot}"] for name in job.trained}
            self.state.update(self._placed(flat, kept, f"/{slot}"))
            self.slots.append(flat)

    def table(self, name: str, slot: str | None = None) -> NDArray[np.void]:
        """Return the rows of a parameter, or of one of its slots; one number a row for biases."""
        source = self.values if slot is None else self.state
        array = source[name if slot is None else f"{name}/{slot}"]
        return rows(array.reshape(len(array), -1))

    def _placed(self, flat: Floats, arrays: Any, suffix: str) -> dict[str, Floats]:
        placed = {}
        for name, array in arrays.items():
            if name not in self.begins:
                placed[f"{name}{suffix}"] = aligned_copy(array)
                continue
            part = flat[self.begins[name] : self.begins[name] + array.size].reshape(array.shape)
            part[...] = array
            placed[f"{name}{suffix}"] = part
        return placed


def make_tables(arrays: Arrays, role: Roles) -> Tables:
    """Return the rows for kernels, sharing the memory of the arrays."""
    values = arrays.values
    biases = None
    if "user_bias" in values:
        constant = arrays.dense.dtype.type(values["global_bias"][0])
        biases = (values["user_bias"], values["item_bias"], constant)
    product, tower = (
        None if names is None else (arrays.table(names[0]), arrays.table(names[1]))
        for names in (role.product, role.tower)
    )
    return Tables(product, tower, biases)


def make_net(job: TrainingJob, arrays: Arrays, *, by_sides: bool) -> Net:
    """Return the description of the dense parameters."""
    spec, begins = job.spec, arrays.begins
    none = layers.describe((), begins)
    if isinstance(spec, TwoTower):
        of_users, of_items = (
            layers.describe(stack.layers, begins) for stack in (spec.user_stack, spec.item_stack)
        )
        return Net(arrays.dense, none, of_users, of_items, ABSENT, ABSENT)
    if not isinstance(spec, NCF):
        return Net(arrays.dense, none, none, none, ABSENT, ABSENT)
    product = any(isinstance(arm, Product) for arm in spec.arms)
    kernel = begins[KERNEL] if product else ABSENT
    towers = [arm for arm in spec.arms if isinstance(arm, Tower)]
    if not towers:
        return Net(arrays.dense, none, none, none, kernel, begins[BIAS])
    stack = towers[0].stack
    output = Layer("output", towers[0].n_features, 1, LINEAR)
    # The tower's part of the output kernel stands behind the product's, and the bias behind both.
    begin = begins[BIAS] - towers[0].n_features
    whole = layers.describe((*stack.layers, output), {**begins, KERNEL: begin})
    return Net(arrays.dense, whole, none, none, kernel, ABSENT)
