"""From a spec to what kernels train: packed rows of users and items, and one array of dense parameters."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfcore.engines import STEP, TrainingJob
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import (
    BIAS,
    GMF,
    KERNEL,
    LINEAR,
    MF,
    MLP,
    NCF,
    Floats,
    Layer,
    ModelSpec,
    NeuMF,
    Product,
    Tower,
    TwoTower,
)
from mfcore_numba import layers
from mfcore_numba.vectors import CACHE_LINE, aligned_copy, rows

SPECS = (MF, GMF, MLP, NeuMF, TwoTower)
SIDES = ("user", "item")
ABSENT = -1


class Rows(NamedTuple):
    """The trained parameters of one side, packed: all that belongs to a row is next to one another.

    A row holds the factors of the product, those of the tower and the bias, as far as the model has them;
    then each slot of the optimizer for all of these; and begins on a cache line.

    Attributes
    ----------
    numbers : array [n_rows * stride]
    like : rows
        Of no rows, as wide as a row's parameters: says to kernels how wide that is.
    width, stride : int
        Numbers of a row's parameters, and from one row to the next.
    n_slots : int
    bias : int
        Where the bias stands in a row, or ABSENT.
    """

    numbers: Any
    like: Any
    width: int
    stride: int
    n_slots: int
    bias: int


class Net(NamedTuple):
    """What scores are made of.

    A kernel is compiled for what there is: what is None costs neither time nor code.

    Attributes
    ----------
    by_sides : True or None
        Whether each side goes through a tower of its own.
    product, tower : rows, or None
        Of no rows, as wide as the factors of the product and of the tower.
    tower_at : int
        Where the tower's factors begin in a row; the product's begin at 0.
    biases : (array [n_users], array [n_items], number), or None
        Of users, of items, and the constant.
    dense, turned : arrays [n_dense]
        The parameters, and the transposed kernels of all layers; see `layers.turn`.
    layers : int64 [n_layers, 4]
        Of the tower over a pair's rows, its last one the output unit; see `layers.describe`.
    user_layers, item_layers : the same
        Of the towers over each side's rows.
    kernel : int
        Where the weights of the product's features begin in `dense`; ABSENT where they are all 1.
    shift : int
        Where the constant stands that is added to the score of a model without a tower, or ABSENT.
    """

    by_sides: Any
    product: Any
    tower: Any
    tower_at: int
    biases: Any
    dense: Any
    turned: Any
    layers: NDArray[np.int64]
    user_layers: NDArray[np.int64]
    item_layers: NDArray[np.int64]
    kernel: int
    shift: int


@dataclass(frozen=True)
class Roles:
    """Which of a spec's parameters are whose factors, (of users, of items); None where a model has none."""

    product: tuple[str, str] | None
    tower: tuple[str, str] | None

    def names(self, side: int) -> list[str]:
        """Return the parameters of a packed row, in their order."""
        factors = [pair[side] for pair in (self.product, self.tower) if pair]
        return [*factors, f"{SIDES[side]}_bias"]


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
        Parts of the arrays below, under the names of the core.
    users, items : Rows
    dense : array [n_dense]
    slots : list of arrays [n_dense]
        One for each slot of the optimizer.
    begins : dict of name to int
        Where each dense parameter begins in `dense`.
    """

    def __init__(self, job: TrainingJob, role: Roles) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        self.job, self.slot_names = job, job.optimizer.slot_names
        self.values = {name: aligned_copy(array) for name, array in job.parameters.items()}
        self.state: dict[str, NDArray[Any]] = {STEP: job.optimizer_state[STEP].copy()}
        self.users, self.items = (self._packed(role.names(side)) for side in range(2))
        layout = job.spec.parameters(job.data.n_users, job.data.n_items)
        # A layer's bias follows its kernel, as the layout of every spec has it.
        names = [name for name, one in layout.items() if one.side is None and one.trained]
        sizes = [job.parameters[name].size for name in names]
        self.begins = dict(zip(names, np.cumsum([0, *sizes]).tolist(), strict=False))
        n_dense = sum(sizes)
        self.dense: Floats = aligned_copy(np.zeros(n_dense, dtype=job.dtype))
        self.slots: list[Floats] = [aligned_copy(np.zeros_like(self.dense)) for _ in self.slot_names]
        for name in names:
            self._move(name, [self._dense_part(name, flat) for flat in (self.dense, *self.slots)])

    def _packed(self, names: list[str]) -> Rows:
        trained = [name for name in names if name in self.job.trained]
        n_rows = len(self.values[trained[0]])
        ends = np.cumsum([0, *(self.values[name].size // n_rows for name in trained)]).tolist()
        width, line = ends[-1], CACHE_LINE // self.job.dtype.itemsize
        stride = -(-width * (1 + len(self.slot_names)) // line) * line
        table = aligned_copy(np.zeros((n_rows, stride), dtype=self.job.dtype))
        for name, begin, end in zip(trained, ends[:-1], ends[1:], strict=True):
            parts = [
                table[:, slot * width + begin : slot * width + end]
                for slot in range(1 + len(self.slot_names))
            ]
            self._move(name, [part[:, 0] if self.values[name].ndim == 1 else part for part in parts])
        bias = ends[-2] if trained[-1].endswith("_bias") else ABSENT
        return Rows(table.reshape(-1), like(width, self.job.dtype), width, stride, len(self.slot_names), bias)

    def _dense_part(self, name: str, flat: Floats) -> Floats:
        array, begin = self.values[name], self.begins[name]
        return flat[begin : begin + array.size].reshape(array.shape)

    def _move(self, name: str, places: list[Floats]) -> None:
        """Move a parameter and its slots to their places."""
        sources = [(self.values, name, self.job.parameters)]
        if name in self.job.trained:
            sources += [(self.state, f"{name}/{slot}", self.job.optimizer_state) for slot in self.slot_names]
        for (own, key, given), place in zip(sources, places, strict=False):
            place[...] = given[key]
            own[key] = place


def like(width: int, dtype: np.dtype[np.floating]) -> NDArray[np.void]:
    """Return no rows of a width."""
    return rows(np.empty((0, width), dtype=dtype))


def make_net(arrays: Arrays, role: Roles, *, by_sides: bool) -> Net:
    """Return the description of what a job's scores are made of."""
    spec, begins, values = arrays.job.spec, arrays.begins, arrays.values
    widths = [0 if pair is None else values[pair[0]].shape[1] for pair in (role.product, role.tower)]
    product, tower = (like(width, arrays.dense.dtype) if width else None for width in widths)
    biases = None
    if "user_bias" in values:
        constant = arrays.dense.dtype.type(values["global_bias"][0])
        # Sliced, whether packed or not: kernels see them as of one kind.
        biases = (values["user_bias"][::1], values["item_bias"][::1], constant)
    none = layers.describe((), begins)
    whole, of_users, of_items, kernel, shift = none, none, none, ABSENT, ABSENT
    if isinstance(spec, TwoTower):
        of_users, of_items = (
            layers.describe(stack.layers, begins) for stack in (spec.user_stack, spec.item_stack)
        )
    elif isinstance(spec, NCF):
        kernel = begins[KERNEL] if any(isinstance(arm, Product) for arm in spec.arms) else ABSENT
        towers = [arm for arm in spec.arms if isinstance(arm, Tower)]
        whole = _with_output(towers[0], begins) if towers else none
        shift = ABSENT if towers else begins[BIAS]
    return Net(
        by_sides=by_sides or None,
        product=product,
        tower=tower,
        tower_at=widths[0],
        biases=biases,
        dense=arrays.dense,
        turned=np.zeros_like(arrays.dense),
        layers=whole,
        user_layers=of_users,
        item_layers=of_items,
        kernel=kernel,
        shift=shift,
    )


def _with_output(tower: Tower, begins: dict[str, int]) -> NDArray[np.int64]:
    """Return a tower's layers, with the output unit as their last."""
    output = Layer("output", tower.n_features, 1, LINEAR)
    # The tower's part of the output kernel stands behind the product's, and the bias behind both.
    return layers.describe((*tower.stack.layers, output), {**begins, KERNEL: begins[BIAS] - tower.n_features})
