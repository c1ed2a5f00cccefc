"""Training by mini-batches: any spec and any gradient optimizer of the core.

A step has three parts, with a barrier after each: rows that earlier steps left alone are brought up to date;
the pairs of the batch are scored, chunk by chunk, and their gradients written down; the rows and the dense
parameters are moved. Every part is cut into tasks that depend on the batch alone, and every sum has one
order, so the bits do not depend on the number of threads.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfcore.contract import STEP, TrainingJob
from mfcore.objectives import InBatchSoftmax
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import TwoTower
from mfcore.specs.base import Floats
from mfcore_numba.compiling import compiled, single_threaded_blas, threads
from mfcore_numba.layers import CHUNK, N_OUT, room
from mfcore_numba.losses import head
from mfcore_numba.nets import Arrays, Roles, make_net, make_tables, roles
from mfcore_numba.pairs import Scratch, pairs_at, train_pairs
from mfcore_numba.rules import NEVER, rule_of, settled_from
from mfcore_numba.sides import (
    N_SHARES,
    USERS_A_BLOCK,
    Ends,
    compare_users,
    find_ends,
    pass_ends,
    train_sides,
)
from mfcore_numba.stream import empty_listing, list_instances, pairs_of, shuffle_of, source
from mfcore_numba.updates import (
    DENSE_A_TASK,
    NONE,
    PAIRS_A_TASK,
    ROWS_A_TASK,
    Dense,
    Part,
    Side,
    Step,
    catch_up,
    catch_up_all,
    link,
    move_dense,
    move_rows,
)
from mfcore_numba.workers import Workers, wait

# Chunks of a batch share so many sums of the dense gradient at most.
MOST_SHARES = 16
# Instances between two returns to Python, where an interrupt is noticed, and the steps of so many.
INSTANCES_AT_ONCE, STEPS_AT_ONCE = 1_000_000, 20_000
# Numbers handled in a step below which a barrier costs more than a second thread gains.
WORTH_SHARING = 10_000


class BatchTrainer:
    """A job with a gradient optimizer."""

    def __init__(self, job: TrainingJob) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        self.job = job
        self.optimizer: GradientOptimizer = job.optimizer
        in_batch = job.objective if isinstance(job.objective, InBatchSoftmax) else None
        self.by_sides = in_batch is not None or isinstance(job.spec, TwoTower)
        role = roles(job.spec, by_sides=self.by_sides)
        self.n_pairs = job.batch_size * pairs_of(job)
        self.arrays = Arrays(job)
        self.net = make_net(job, self.arrays, by_sides=self.by_sides)
        self.tables = make_tables(self.arrays, role)
        self.workers = Workers(min(job.threads, -(-self._work() // WORTH_SHARING)))
        self.scratch = self._scratch()
        self.ends = self._ends(in_batch) if in_batch else None
        self.users, self.items = (self._side(side, role) for side in range(2))
        self.dense = self._dense()

    def run_epoch(self, epoch: int) -> float:
        """Train one epoch and return its mean objective."""
        job = self.job
        data, shuffle = source(job), shuffle_of(job, epoch)
        n, size = job.n_instances, self._n_at_once()
        listing = empty_listing(job, min(size, n))
        objective = 0.0
        for start in range(0, n, size):
            stop = min(start + size, n)
            with threads(job.threads):
                list_instances(data, shuffle, epoch, start, stop, listing, 0)
            objective += self._train(listing.part((stop - start) * pairs_of(job)), epoch)
        return objective / n

    def parameters(self) -> dict[str, Floats]:
        """Return copies of all parameters."""
        return {name: array.copy() for name, array in self.arrays.values.items()}

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the optimizer's state."""
        return {name: array.copy() for name, array in self.arrays.state.items()}

    def _train(self, listing: Any, epoch: int) -> float:
        """Train the instances of a listing; return the sum of the objective over them."""
        step = self._step(len(listing.users), epoch)
        arguments = (
            # None where there is nothing of the kind: kernels are compiled for what there is.
            self.by_sides or None,
            self.net,
            self.tables,
            self.dense,
            self.users,
            self.items,
            listing,
            head(self.job),
            step,
            self.scratch,
            self.ends,
        )
        with single_threaded_blas():
            objective = float(self.workers.run(train, *arguments))
        self.arrays.state[STEP] += len(step.coefficients)
        return objective

    def _step(self, n_pairs: int, epoch: int) -> Step:
        job, real = self.job, self.job.dtype.type
        rule = rule_of(job.optimizer)
        assert rule is not None
        done, learning_rate = int(self.arrays.state[STEP][0]), self.optimizer.learning_rate_at(epoch)
        steps = done + 1 + np.arange(-(-n_pairs // self.n_pairs))
        coefficients = [self.optimizer.coefficients(int(step), learning_rate) for step in steps]
        settled = settled_from(self.optimizer)
        return Step(
            rule=rule,
            sparse=self.optimizer.sparse,
            l2=real(self.optimizer.l2),
            l2_dense=real(self.optimizer.l2_dense),
            batch_size=job.batch_size,
            pairs=pairs_of(job),
            coefficients=np.array(coefficients, dtype=job.dtype),
            settled=settled if settled == NEVER else max(0, settled - done),
        )

    def _work(self) -> int:
        """Return about how many numbers a step handles."""
        trained = [self.arrays.values[name] for name in self.job.trained]
        n_dense = self.arrays.dense.size
        n_in_rows = sum(array.size // len(array) for array in trained) - n_dense
        n_compared = self.job.batch_size if self.job.objective.pairing == "in-batch" else 0
        return int(self.n_pairs * (4 * max(n_in_rows, 1) + n_dense + n_compared))

    def _n_at_once(self) -> int:
        """Return how many instances to train between two returns to Python: whole batches."""
        size = self.job.batch_size
        return size * int(np.clip(INSTANCES_AT_ONCE // size, 1, STEPS_AT_ONCE))

    def _scratch(self) -> Scratch:
        n, dtype, tables = self.n_pairs, self.job.dtype, self.tables
        product, tower = _width(tables.product), _width(tables.tower)
        if not self.by_sides:
            inputs = [np.empty(n * (2 * tower + 1), dtype=dtype)] * 2
            n_work = room(self.net.layers, 2 * tower)
        else:
            inputs = [np.empty(n * (tower + 1), dtype=dtype) for _ in range(2)]
            n_work = 2 * max(room(side, tower) for side in (self.net.user_layers, self.net.item_layers))
        return Scratch(
            slopes=np.empty(n, dtype=dtype),
            product_users=np.empty(n * product, dtype=dtype),
            product_items=np.empty(n * product, dtype=dtype),
            tower_users=inputs[0],
            tower_items=inputs[1],
            losses=np.zeros(-(-n // CHUNK)),
            work=np.zeros(self.workers.n * n_work, dtype=dtype),
            room=n_work,
        )

    def _ends(self, objective: InBatchSoftmax) -> Ends:
        job, n, layers = self.job, self.n_pairs, self.net.user_layers
        width = int(layers[-1, N_OUT]) if len(layers) else _width(self.tables.tower)
        return Ends(
            users=np.empty(n * (width + 1), dtype=job.dtype),
            items=np.empty(n * (width + 1), dtype=job.dtype),
            by_users=np.empty(n * (width + 1), dtype=job.dtype),
            by_items=np.empty(N_SHARES * n * (width + 1), dtype=job.dtype),
            scores=np.empty(self.workers.n * USERS_A_BLOCK * n, dtype=job.dtype),
            log_q=job.log_q,
            losses=np.zeros(N_SHARES),
            width=width,
            temperature=job.dtype.type(objective.temperature),
            remove_accidental_hits=objective.remove_accidental_hits,
        )

    def _side(self, side: int, role: Roles) -> Side:
        """Return the parameters of the users (0) or the items (1)."""
        job, scratch = self.job, self.scratch
        product, tower = _width(self.tables.product), _width(self.tables.tower)
        of_product = ((scratch.product_users, scratch.product_items)[side], product, 0)
        of_tower: tuple[Floats, int, int] = (scratch.tower_users, 2 * tower + 1, side * tower)
        of_bias: tuple[Floats, int, int] = (scratch.slopes, 1, 0)
        if self.by_sides:
            of_tower = ((scratch.tower_users, scratch.tower_items)[side], tower + 1, 0)
        if self.ends:
            of_bias = (self.ends.by_items, self.ends.width + 1, self.ends.width)
        n_rows = (job.data.n_users, job.data.n_items)[side]
        return Side(
            product=self._part(role.product and role.product[side], *of_product),
            tower=self._part(role.tower and role.tower[side], *of_tower),
            bias=self._part(("user_bias", "item_bias")[side], *of_bias),
            latest=np.full(n_rows, NONE, dtype=np.int32),
            previous=np.empty(self.n_pairs, dtype=np.int32),
            done=np.zeros(n_rows, dtype=np.int64),
            touches=pairs_of(job) if side == 0 else 1,
        )

    def _part(self, name: str | None, gradient: Floats, stride: int, offset: int) -> Part | None:
        if name is None or name not in self.job.trained:
            return None
        table = self.arrays.table(name)
        slots = [self.arrays.table(name, slot) for slot in self.optimizer.slot_names]
        slot0, slot1 = [*slots, table[:0], table[:0]][:2]
        return Part(table, slot0, slot1, gradient, stride, offset)

    def _dense(self) -> Dense:
        arrays, job = self.arrays, self.job
        layout = job.spec.parameters(job.data.n_users, job.data.n_items)
        segments = [
            (begin, begin + arrays.values[name].size, layout[name].decayed)
            for name, begin in arrays.begins.items()
            if name in job.trained
        ]
        n_shares = min(MOST_SHARES, len(self.scratch.losses))
        none = np.empty(0, dtype=job.dtype)
        slot0, slot1 = [*arrays.slots, none, none][:2]
        return Dense(
            values=arrays.dense,
            slot0=slot0,
            slot1=slot1,
            shares=np.zeros(n_shares * arrays.dense.size, dtype=job.dtype),
            trained=np.array(segments, dtype=np.int64).reshape(len(segments), 3),
            losses=np.zeros(-(-arrays.dense.size // DENSE_A_TASK)),
        )


def _width(tables: Any) -> int:
    """Return how many numbers the rows of two tables have; 0 where there are none."""
    return 0 if tables is None else int(tables[0].dtype["row"].shape[0])


@compiled()
def train(
    worker, n_workers, barrier, by_sides, net, tables, dense, users, items, listing, head, step, scratch, ends
):
    """Take the steps of a listing as one of several workers; return the sum of the objective to worker 0."""
    objective, size = 0.0, step.batch_size * step.pairs
    for number in range(len(step.coefficients)):
        first = number * size
        stop = min(first + size, len(listing.users))
        batch = (stop - first) // step.pairs
        touched = pairs_at(listing, first, stop)
        prepare(worker, n_workers, barrier, touched, users, items, step, number)
        if ends is None:
            score_batch(
                worker, n_workers, by_sides, net, tables, dense, listing, head, step, scratch, first, stop
            )
        else:
            compare_batch(
                worker, n_workers, barrier, net, tables, dense, listing, step, scratch, ends, first, stop
            )
        wait(barrier, n_workers)
        if worker == 0:
            objective += total_loss(scratch, ends, stop - first)
        share = type(step.l2)(1.0 / batch)
        for task in range(worker, n_tasks(stop - first, PAIRS_A_TASK), n_workers):
            move_rows(touched[0], users, step, number, share, task)
            move_rows(touched[1], items, step, number, share, task)
        n_shares = min(MOST_SHARES, n_tasks(stop - first, CHUNK))
        for task in range(worker, len(dense.losses), n_workers):
            move_dense(dense, step, number, n_shares, task)
        wait(barrier, n_workers)
        if worker == 0:
            objective += batch * dense.losses.sum()
    if not step.sparse:
        for task in range(worker, n_tasks(len(users.done), ROWS_A_TASK), n_workers):
            catch_up_all(users, step, task)
        for task in range(worker, n_tasks(len(items.done), ROWS_A_TASK), n_workers):
            catch_up_all(items, step, task)
    return objective


@compiled()
def prepare(worker, n_workers, barrier, touched, users, items, step, number):
    """Chain the batch's pairs by row, and bring these rows to where the step finds them."""
    if worker == 0:
        link(touched[0], users)
    if worker == n_workers - 1:
        link(touched[1], items)
    wait(barrier, n_workers)
    if not step.sparse:
        for task in range(worker, n_tasks(len(touched[0]), PAIRS_A_TASK), n_workers):
            catch_up(touched[0], users, step, number, task)
            catch_up(touched[1], items, step, number, task)
        wait(barrier, n_workers)


@compiled()
def total_loss(scratch, ends, n_pairs):
    """Return the sum of the losses of a batch, and of what l2 adds."""
    total = scratch.losses[: n_tasks(n_pairs, CHUNK)].sum()
    if ends is not None:
        total += ends.losses.sum()
    return total


@compiled()
def n_tasks(n, size):
    """Return how many tasks of a size there are in n things."""
    return (n + size - 1) // size


@compiled()
def score_batch(worker, n_workers, by_sides, net, tables, dense, listing, head, step, scratch, first, stop):
    """Find the gradients of a batch of pairs."""
    n, n_dense = stop - first, len(dense.values)
    n_chunks, batch = n_tasks(n, CHUNK), n // step.pairs
    n_shares = min(MOST_SHARES, n_chunks)
    for share in range(worker, n_shares, n_workers):
        dense.shares[share * n_dense : (share + 1) * n_dense] = 0
        for chunk in range(share * n_chunks // n_shares, (share + 1) * n_chunks // n_shares):
            begin, end = chunk * CHUNK, min((chunk + 1) * CHUNK, n)
            if by_sides is None:
                loss = train_pairs(
                    net, tables, dense, listing, head, step, scratch, worker, share, first, batch, begin, end
                )
            else:
                loss = train_sides(
                    net, tables, dense, listing, head, step, scratch, worker, share, first, batch, begin, end
                )
            scratch.losses[chunk] = loss


@compiled()
def compare_batch(worker, n_workers, barrier, net, tables, dense, listing, step, scratch, ends, first, stop):
    """Find the gradients of a batch by the in-batch softmax."""
    n, n_dense = stop - first, len(dense.values)
    n_chunks = n_tasks(n, CHUNK)
    n_shares = min(MOST_SHARES, n_chunks)
    for chunk in range(worker, n_chunks, n_workers):
        find_ends(
            net, tables, listing, scratch, ends, worker, first, chunk * CHUNK, min((chunk + 1) * CHUNK, n)
        )
    wait(barrier, n_workers)
    for share in range(worker, N_SHARES, n_workers):
        compare_users(listing, ends, worker, share, first, n)
    wait(barrier, n_workers)
    for share in range(worker, n_shares, n_workers):
        dense.shares[share * n_dense : (share + 1) * n_dense] = 0
        for chunk in range(share * n_chunks // n_shares, (share + 1) * n_chunks // n_shares):
            begin, end = chunk * CHUNK, min((chunk + 1) * CHUNK, n)
            scratch.losses[chunk] = pass_ends(
                net, tables, dense, listing, step, scratch, ends, worker, share, first, n, begin, end
            )
