"""Weighted alternating least squares, in numpy: the definition of the three solvers.

For one row x (a user's factors, with biases also the user's bias) the other side gives features
f_i = q_i (with biases (q_i, 1)) and offsets o_i (with biases mu + b_i, else 0). The objective of
`mfcore.optimizers.WALS` as a function of x is minimal where A x = y, with

    A = w0 sum_all f f' + sum_observed a f f' + ridge I
    y = sum_observed (b - a o) f - w0 sum_all o f

with a and b from `WALS.terms`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfcore.engines import STEP, TrainingJob
from mfcore.optimizers import WALS
from mfcore.specs import Floats


class WalsTrainer:
    """A job of matrix factorisation by alternating least squares."""

    def __init__(self, job: TrainingJob) -> None:
        assert isinstance(job.optimizer, WALS)
        self.job = job
        self.optimizer: WALS = job.optimizer
        self.values = {name: array.copy() for name, array in job.parameters.items()}
        self.state = {name: array.copy() for name, array in job.optimizer_state.items()}
        a, b = job.optimizer.terms(job.targets, job.weights)
        self.observed = {
            "user": _by_row(job.data.users, job.data.items, a, b, job.data.n_users),
            "item": _by_row(job.data.items, job.data.users, a, b, job.data.n_items),
        }

    def run_epoch(self, epoch: int) -> float:
        """Solve for all users, then for all items; return the objective by the number of interactions."""
        self._half("user", "item")
        self._half("item", "user")
        self.state[STEP] += 1
        return self._objective() / len(self.job.data)

    def parameters(self) -> dict[str, Floats]:
        """Return copies of all parameters."""
        return {name: array.copy() for name, array in self.values.items()}

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return the number of epochs solved; WALS keeps nothing else."""
        return {name: array.copy() for name, array in self.state.items()}

    def _side(self, side: str) -> tuple[Floats, Floats]:
        """Return the features [n, d] and offsets [n] that this side gives to the other."""
        factors = self.values[f"{side}_factors"]
        if "global_bias" not in self.values:
            return factors, np.zeros(len(factors), dtype=factors.dtype)
        features = np.concatenate([factors, np.ones((len(factors), 1), dtype=factors.dtype)], axis=1)
        return features, self.values["global_bias"] + self.values[f"{side}_bias"]

    def _half(self, side: str, other: str) -> None:
        features, offsets = self._side(other)
        w0 = self.job.dtype.type(self.optimizer.unobserved_weight)
        gram, pull = w0 * (features.T @ features), w0 * (features.T @ offsets)
        rows = self.observed[side]
        ridge = self.optimizer.ridge([len(row[0]) for row in rows], len(features)).astype(self.job.dtype)
        for number, (others, a, b) in enumerate(rows):
            f = features[others]
            system = gram + (f.T * a) @ f
            system[np.diag_indices_from(system)] += ridge[number]
            right = f.T @ (b - a * offsets[others]) - pull
            self._store(side, number, self._solve(system, right, self._row(side, number)))

    def _row(self, side: str, number: int) -> Floats:
        row: Floats = self.values[f"{side}_factors"][number]
        if "global_bias" not in self.values:
            return row
        return np.concatenate([row, self.values[f"{side}_bias"][number, None]])

    def _store(self, side: str, number: int, row: Floats) -> None:
        n_factors = self.values[f"{side}_factors"].shape[1]
        self.values[f"{side}_factors"][number] = row[:n_factors]
        if "global_bias" in self.values:
            self.values[f"{side}_bias"][number] = row[n_factors]

    def _solve(self, system: Floats, right: Floats, start: Floats) -> Floats:
        if self.optimizer.solver == "cholesky":
            solution: Floats = np.linalg.solve(system, right)
            return solution
        if self.optimizer.solver == "cg":
            return conjugate_gradient(system, right, start, self.optimizer.steps)
        return subspace_pass(system, right, start, self.optimizer.block_size)

    def _objective(self) -> float:
        features, offsets = (array.astype(np.float64) for array in self._side("item"))
        constant = self.job.targets.astype(np.float64) ** 2
        if self.job.weights is not None:
            constant *= self.job.weights
        total = float(constant.sum())
        for number, (items, a, b) in enumerate(self.observed["user"]):
            scores = features @ self._row("user", number).astype(np.float64) + offsets
            seen = scores[items]
            total += self.optimizer.unobserved_weight * float(scores @ scores)
            total += float((a * seen - 2 * b) @ seen)
        for side, other in (("user", "item"), ("item", "user")):
            rows = self.observed[side]
            ridge = self.optimizer.ridge([len(row[0]) for row in rows], len(self.observed[other]))
            total += sum(
                float(ridge[number] * np.square(self._row(side, number), dtype=np.float64).sum())
                for number in range(len(rows))
            )
        return total


def conjugate_gradient(system: Floats, right: Floats, start: Floats, steps: int) -> Floats:
    """Return x after some steps of conjugate gradient on system x = right, from a start.

    It stops early where the squared residual has fallen by 1e-20, or is so small that the curvature along it
    underflows to 0: another step would divide rounding errors, or by 0.
    """
    x = start.copy()
    residual = right - system @ x
    direction = residual.copy()
    square = residual @ residual
    floor = square * right.dtype.type(1e-20)
    for _ in range(steps):
        if square <= floor:
            break
        image = system @ direction
        curvature = direction @ image
        if curvature <= 0:
            break
        length = square / curvature
        x = x + length * direction
        residual = residual - length * image
        new_square = residual @ residual
        direction = residual + (new_square / square) * direction
        square = new_square
    return x


def subspace_pass(system: Floats, right: Floats, start: Floats, block_size: int) -> Floats:
    """Return x after each block of its elements, in turn, was solved exactly with the others fixed."""
    x = start.copy()
    for first in range(0, len(x), block_size):
        block = slice(first, first + block_size)
        x[block] += np.linalg.solve(system[block, block], right[block] - system[block] @ x)
    return x


def _by_row(
    rows: NDArray[np.int32], others: NDArray[np.int32], a: Floats, b: Floats, n_rows: int
) -> list[tuple[NDArray[np.int32], Floats, Floats]]:
    order = np.argsort(rows, kind="stable")
    stops = np.cumsum(np.bincount(rows, minlength=n_rows))[:-1]
    return list(
        zip(
            np.split(others[order], stops),
            np.split(a[order], stops),
            np.split(b[order], stops),
            strict=True,
        )
    )
