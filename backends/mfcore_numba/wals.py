"""Matrix factorisation by weighted alternating least squares; `mfcore.engines.reference` has the equations.

Half an epoch solves one small system a row, rows in parallel. Conjugate gradient never forms the system: it
runs over the row's interactions, with the row's vectors in registers. The other solvers form it from
gathered blocks of features by BLAS.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mfcore.engines import STEP, TrainingJob
from mfcore.errors import InvalidArgumentError
from mfcore.optimizers import WALS
from mfcore.specs import Floats
from mfcore_numba.compiling import compiled, single_threaded_blas, threads
from mfcore_numba.solvers import conjugate_gradient, solve_blocks
from mfcore_numba.sorting import counting_sort
from mfcore_numba.vectors import aligned_copy, dot, load, rows

# Parts of about equal work that a call shares among threads; fixed, so that sums do not depend on threads.
N_PARTS = 64
N_GRAMS = 16
# Multiplications between two returns to Python, where an interrupt is noticed.
AT_ONCE = 20_000_000_000


class Observed(NamedTuple):
    """One side's interactions, row by row, with their terms in the row's system; see `WALS.terms`."""

    starts: NDArray[np.int64]
    others: NDArray[np.int32]
    a: Any
    b: Any


class Half(NamedTuple):
    """What half an epoch reads: the other side's features and offsets, w0 times their sums, and the ridge.

    Arrays that appear twice share their memory: as rows of vectors, and as numbers. `offsets` and `gram` are
    empty where they are zero.
    """

    features: Any
    table: Any
    offsets: Any
    gram: Any
    gram_rows: Any
    pull: Any
    pull_numbers: Any
    ridge: Any


class WalsTrainer:
    """A job of `MF` with `WALS`."""

    def __init__(self, job: TrainingJob) -> None:
        assert isinstance(job.optimizer, WALS)
        self.job = job
        self.optimizer: WALS = job.optimizer
        self.values = {name: aligned_copy(array) for name, array in job.parameters.items()}
        self.state = {name: array.copy() for name, array in job.optimizer_state.items()}
        a, b = job.optimizer.terms(job.targets, job.weights)
        self.biased = "global_bias" in self.values
        with threads(job.threads):
            users = _by_row(job.data.users, job.data.items, a, b, job.data.n_users)
            # From the list by user, so that an item's users ascend: neighbours in memory follow one another.
            owners = np.repeat(np.arange(job.data.n_users, dtype=np.int32), np.diff(users.starts))
            items = _by_row(users.others, owners, users.a, users.b, job.data.n_items)
        self.observed = {"user": users, "item": items}
        squares = np.einsum("n,n->n", job.targets, job.targets)
        weights = np.ones_like(squares) if job.weights is None else job.weights
        self.constant = float(np.einsum("n,n->", squares, weights, dtype=np.float64))

    def run_epoch(self, epoch: int) -> float:
        """Solve for all users, then for all items; return the objective per interaction."""
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

    def _rows(self, side: str) -> Floats:
        """Return a side's rows as its half solves for them: the factors, with biases (p, b)."""
        factors = self.values[f"{side}_factors"]
        if not self.biased:
            return factors
        return aligned_copy(np.concatenate([factors, self.values[f"{side}_bias"][:, None]], axis=1))

    def _keep(self, side: str, solved: Floats) -> None:
        if self.biased:
            self.values[f"{side}_factors"][:] = solved[:, :-1]
            self.values[f"{side}_bias"][:] = solved[:, -1]

    def _half_of(self, side: str, other: str) -> Half:
        """Return what the half that solves for `side` reads."""
        real = self.job.dtype.type
        features, n = self.values[f"{other}_factors"], len(self.values[f"{other}_factors"])
        offsets = np.empty(0, dtype=self.job.dtype)
        if self.biased:
            features = aligned_copy(np.concatenate([features, np.ones((n, 1), dtype=self.job.dtype)], axis=1))
            offsets = self.values["global_bias"] + self.values[f"{other}_bias"]
        w0, width = real(self.optimizer.unobserved_weight), features.shape[1]
        gram = aligned_copy(w0 * gram_of(features)) if w0 else np.empty((0, width), dtype=self.job.dtype)
        pull = np.zeros((1, width), dtype=self.job.dtype)
        if w0 and self.biased:
            pull[0] = w0 * (features.T @ offsets)
        pull = aligned_copy(pull)
        ridge = self.optimizer.ridge(np.diff(self.observed[side].starts), n).astype(self.job.dtype)
        return Half(rows(features), features, offsets, gram, rows(gram), rows(pull), pull[0], ridge)

    def _half(self, side: str, other: str) -> None:
        job, optimizer, observed = self.job, self.optimizer, self.observed[side]
        solved = self._rows(side)
        with threads(job.threads), single_threaded_blas():
            half = self._half_of(side, other)
            for bounds in self._parts(observed.starts, solved.shape[1]):
                if not self._solve(half, solved, observed, bounds):
                    raise InvalidArgumentError(
                        f"WALS: the system of a {side} is singular in {job.dtype}: raise l2 (it is"
                        f" {optimizer.l2}) or pass dtype='float64'"
                    )
        self._keep(side, solved)

    def _solve(self, half: Half, solved: Floats, observed: Observed, bounds: NDArray[np.int64]) -> bool:
        """Solve the rows within bounds; return whether their systems are positive."""
        positive = np.ones(len(bounds) - 1, dtype=np.bool_)
        if self.optimizer.solver == "cg":
            solve_by_cg(half, rows(solved), observed, bounds, self.optimizer.steps)
        else:
            width, block_size = solved.shape[1], self.optimizer.block_size
            block_size = width if self.optimizer.solver == "cholesky" else min(block_size, width)
            solve_by_blocks(half, solved, observed, bounds, block_size, positive)
        return bool(positive.all())

    def _parts(self, starts: NDArray[np.int64], width: int) -> list[NDArray[np.int64]]:
        """Cut the rows into calls of bounded work, and each call into parts of about equal work."""
        direct = self.optimizer.solver != "cg"
        per_interaction = width * (width if direct else 2 * (self.optimizer.steps + 1))
        per_row = width**2 * (width // 3 + 1 if direct else self.optimizer.steps + 1)
        work = np.cumsum(np.diff(starts) * float(per_interaction) + per_row)
        n_calls = int(work[-1] // AT_ONCE) + 1
        edges = np.searchsorted(work, work[-1] * np.arange(1, n_calls * N_PARTS) / (n_calls * N_PARTS))
        edges = np.concatenate([[0], edges, [len(work)]])
        return [edges[call * N_PARTS : (call + 1) * N_PARTS + 1] for call in range(n_calls)]

    def _objective(self) -> float:
        """Return the objective at the present parameters, in float64."""
        w0 = self.optimizer.unobserved_weight
        users, items = (self._rows(side).astype(np.float64) for side in ("user", "item"))
        objective = self.constant
        for side, solved in (("user", users), ("item", items)):
            n_others = self.job.data.n_items if side == "user" else self.job.data.n_users
            ridge = self.optimizer.ridge(np.diff(self.observed[side].starts), n_others)
            objective += float(ridge @ np.einsum("nk,nk->n", solved, solved))
        if w0:
            if self.biased:
                mu, n = float(self.values["global_bias"][0]), len(users)
                users = np.concatenate([users, np.ones((n, 1))], axis=1)
                items = np.concatenate([items[:, :-1], np.ones((len(items), 1)), mu + items[:, -1:]], axis=1)
            with threads(self.job.threads), single_threaded_blas():
                objective += w0 * float((gram_of(users) * gram_of(items)).sum())
        offsets = [np.empty(0, dtype=self.job.dtype)] * 2
        if self.biased:
            offsets = [self.values["user_bias"] + self.values["global_bias"], self.values["item_bias"]]
        bounds = self._parts(self.observed["user"].starts, self.values["user_factors"].shape[1])
        with threads(self.job.threads):
            for part in bounds:
                objective += observed_loss(
                    rows(self.values["user_factors"]),
                    rows(self.values["item_factors"]),
                    offsets[0],
                    offsets[1],
                    self.observed["user"],
                    part,
                ).sum()
        return float(objective)


def _by_row(
    owners: NDArray[np.int32], others: NDArray[np.int32], a: Floats, b: Floats, n_rows: int
) -> Observed:
    order, starts = counting_sort(owners, n_rows)
    return Observed(starts, others[order], a[order], b[order])


def gram_of(table: Floats) -> Floats:
    """Return table' table, from partial sums that do not depend on the number of threads."""
    bounds = np.linspace(0, len(table), N_GRAMS + 1).astype(np.int64)
    grams = np.empty((N_GRAMS, table.shape[1], table.shape[1]), dtype=table.dtype)
    partial_grams(table, bounds, grams)
    gram: Floats = grams.sum(axis=0)
    return gram


@compiled(parallel=True)
def partial_grams(table, bounds, grams):
    """Write the gram matrix of each part of a table's rows."""
    for part in numba.prange(len(grams)):
        gram_of_rows(table, bounds[part], bounds[part + 1], grams, part)


@compiled()
def gram_of_rows(table, first, stop, grams, part):
    """Write the gram matrix of rows first..stop."""
    np.dot(table[first:stop].T, table[first:stop], grams[part])


@compiled(parallel=True)
def solve_by_cg(half, solved, observed, bounds, steps):
    """Improve the rows of each part by conjugate gradient."""
    for part in numba.prange(len(bounds) - 1):
        conjugate_gradient(half, solved, observed, bounds[part], bounds[part + 1], steps)


@compiled(parallel=True)
def solve_by_blocks(half, solved, observed, bounds, block_size, positive):
    """Improve the rows of each part block by block."""
    for part in numba.prange(len(bounds) - 1):
        positive[part] = solve_blocks(half, solved, observed, bounds[part], bounds[part + 1], block_size)


@compiled(parallel=True)
def observed_loss(p_rows, q_rows, user_offsets, item_offsets, observed, bounds):
    """Return the sum of a s^2 - 2 b s over the interactions of each part."""
    sums = np.zeros(len(bounds) - 1)
    for part in numba.prange(len(bounds) - 1):
        sums[part] = observed_loss_of(
            p_rows, q_rows, user_offsets, item_offsets, observed, bounds[part], bounds[part + 1]
        )
    return sums


@compiled()
def observed_loss_of(p_rows, q_rows, user_offsets, item_offsets, observed, first, stop):
    """Return the sum over the interactions of some users; offsets may be empty."""
    loss = 0.0
    for user in range(first, stop):
        p, row_loss = load(p_rows, user), 0.0
        for position in range(observed.starts[user], observed.starts[user + 1]):
            item = observed.others[position]
            score = dot(p, load(q_rows, item))
            if len(user_offsets):
                score += user_offsets[user] + item_offsets[item]
            row_loss += (observed.a[position] * score - 2 * observed.b[position]) * score
        loss += row_loss
    return loss
