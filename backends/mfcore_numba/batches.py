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
from mfcore_numba.compiling import compiled, threads
from mfcore_numba.layers import CHUNK, N_IN, N_OUT, room, turn
from mfcore_numba.losses import head
from mfcore_numba.nets import Arrays, Rows, make_net, roles
from mfcore_numba.pairs import Chunk, Scratch, train_pairs
from mfcore_numba.rules import idle_of, rule_of
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
    Side,
    Step,
    catch_up,
    catch_up_all,
    fill,
    link,
    move_dense,
    move_rows,
    total_of,
)
from mfcore_numba.workers import Workers, wait

# Chunks of a batch share so many sums of the dense gradient at most.
MOST_SHARES = 16
# Between two returns to Python, where an interrupt is noticed: numbers handled, instances and steps at most.
NUMBERS_AT_ONCE, INSTANCES_AT_ONCE, STEPS_AT_ONCE = 500_000_000, 1_000_000, 20_000
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
        self.arrays = Arrays(job, role)
        self.net = make_net(self.arrays, role)
        self.workers = Workers(min(job.threads, -(-self._work() // WORTH_SHARING)))
        self.scratch = self._scratch()
        self.ends = self._ends(in_batch) if in_batch else None
        self.users = self._side(self.arrays.users, job.data.n_users, pairs_of(job))
        self.items = self._side(self.arrays.items, job.data.n_items, 1)
        self.dense = self._dense()
        for task in range(len(self.dense.losses)):
            turn_all(self.net, task)

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
        objective = self.workers.run(
            train,
            # None where there is nothing of the kind: kernels are compiled for what there is.
            self.by_sides or None,
            self.net,
            self.users,
            self.items,
            self.dense,
            listing,
            head(self.job),
            step,
            self.scratch,
            self.ends,
        )
        self.arrays.state[STEP] += len(step.coefficients)
        return float(objective)

    def _step(self, n_pairs: int, epoch: int) -> Step:
        job, real = self.job, self.job.dtype.type
        rule = rule_of(job.optimizer)
        assert rule is not None
        done, learning_rate = int(self.arrays.state[STEP][0]), self.optimizer.learning_rate_at(epoch)
        steps = done + 1 + np.arange(-(-n_pairs // self.n_pairs))
        coefficients = np.array(
            [self.optimizer.coefficients(int(step), learning_rate) for step in steps], dtype=job.dtype
        )
        return Step(
            rule=rule,
            sparse=self.optimizer.sparse,
            l2=real(self.optimizer.l2),
            l2_dense=real(self.optimizer.l2_dense),
            batch_size=job.batch_size,
            pairs=pairs_of(job),
            coefficients=coefficients,
            idle=idle_of(self.optimizer, coefficients, done),
        )

    def _work(self) -> int:
        """Return about how many numbers a step handles."""
        in_rows = self.arrays.users.width + self.arrays.items.width
        n_compared = self.job.batch_size if self.job.objective.pairing == "in-batch" else 0
        return int(self.n_pairs * (4 * in_rows + self.arrays.dense.size + n_compared))

    def _n_at_once(self) -> int:
        """Return how many instances to train between two returns to Python: whole batches."""
        job, size = self.job, self.job.batch_size
        # All rows are brought up to date before each return, which should stay a small part of the work.
        fewest = 0 if self.optimizer.sparse else 2 * (job.data.n_users + job.data.n_items)
        n = min(max(NUMBERS_AT_ONCE * size // self._work(), fewest), INSTANCES_AT_ONCE)
        return size * int(np.clip(n // size, 1, STEPS_AT_ONCE))

    def _scratch(self) -> Scratch:
        net, dtype = self.net, self.job.dtype
        if self.by_sides:
            n_work = 2 * max(room(side, _width(net.tower)) for side in (net.user_layers, net.item_layers))
        else:
            n_work = room(net.layers, int(net.layers[0, N_IN]) if len(net.layers) else 0)
        return Scratch(
            slopes=np.empty(self.n_pairs, dtype=dtype),
            losses=np.zeros(-(-self.n_pairs // CHUNK)),
            work=np.zeros(self.workers.n * n_work, dtype=dtype),
            room=n_work,
        )

    def _ends(self, objective: InBatchSoftmax) -> Ends:
        job, n, layers = self.job, self.n_pairs, self.net.user_layers
        width = int(layers[-1, N_OUT]) if len(layers) else _width(self.net.tower)
        users, items, turned, by_users = (np.empty(n * (width + 1), dtype=job.dtype) for _ in range(4))
        return Ends(
            users=users,
            items=items,
            turned=turned,
            by_users=by_users,
            by_items=np.empty(N_SHARES * n * (width + 1), dtype=job.dtype),
            scores=np.empty(self.workers.n * USERS_A_BLOCK * n, dtype=job.dtype),
            log_q=job.log_q,
            losses=np.zeros(N_SHARES),
            width=width,
            temperature=job.dtype.type(objective.temperature),
            remove_accidental_hits=objective.remove_accidental_hits,
        )

    def _side(self, rows: Rows, n_rows: int, touches: int) -> Side:
        return Side(
            rows=rows,
            gradient=np.zeros(self.n_pairs * rows.width, dtype=self.job.dtype),
            latest=np.full(n_rows, NONE, dtype=np.int32),
            previous=np.empty(self.n_pairs, dtype=np.int32),
            done=np.zeros(n_rows, dtype=np.int64),
            touches=touches,
        )

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


def _width(like: NDArray[np.void]) -> int:
    """Return how many numbers a row has."""
    return int(like.dtype["row"].shape[0])


@compiled(borrowing=True)
def train(worker, n_workers, barrier, by_sides, net, users, items, dense, listing, head, step, scratch, ends):
    """Take the steps of a listing as one of several workers; return the sum of the objective to worker 0."""
    objective, size = 0.0, step.batch_size * step.pairs
    for number in range(len(step.coefficients)):
        first = number * size
        stop = min(first + size, len(listing.users))
        of_users, of_items = listing.users[first:stop], listing.items[first:stop]
        prepare(worker, n_workers, barrier, of_users, of_items, users, items, step, number)
        if ends is None:
            score_batch(
                worker,
                n_workers,
                by_sides,
                net,
                users,
                items,
                dense,
                listing,
                head,
                step,
                scratch,
                first,
                stop,
            )
        else:
            compare_batch(
                worker,
                n_workers,
                barrier,
                net,
                users,
                items,
                dense,
                listing,
                step,
                scratch,
                ends,
                first,
                stop,
            )
        wait(barrier, n_workers)
        if worker == 0:
            objective += total_loss(scratch, ends, stop - first)
        move_all(worker, n_workers, of_users, of_items, users, items, dense, net, step, number)
        wait(barrier, n_workers)
        if worker == 0:
            objective += (stop - first) // step.pairs * total_of(dense.losses)
    if not step.sparse:
        for task in range(worker, n_tasks(len(users.done), ROWS_A_TASK), n_workers):
            catch_up_all(users, step, task)
        for task in range(worker, n_tasks(len(items.done), ROWS_A_TASK), n_workers):
            catch_up_all(items, step, task)
    return objective


@compiled(borrowing=True)
def n_tasks(n, size):
    """Return how many tasks of a size there are in n things."""
    return (n + size - 1) // size


@compiled(borrowing=True)
def n_shares_of(n_pairs):
    """Return in how many shares a batch adds up the dense gradient."""
    return min(MOST_SHARES, n_tasks(n_pairs, CHUNK))


@compiled(borrowing=True)
def prepare(worker, n_workers, barrier, of_users, of_items, users, items, step, number):
    """Chain the batch's pairs by row, and bring these rows to where the step finds them."""
    if worker == 0:
        link(of_users, users)
    if worker == n_workers - 1:
        link(of_items, items)
    wait(barrier, n_workers)
    if not step.sparse:
        for task in range(worker, n_tasks(len(of_users), PAIRS_A_TASK), n_workers):
            catch_up(of_users, users, step, number, task)
            catch_up(of_items, items, step, number, task)
        wait(barrier, n_workers)


@compiled(borrowing=True)
def move_all(worker, n_workers, of_users, of_items, users, items, dense, net, step, number):
    """Move the rows that the batch touches, and the dense parameters."""
    n_pairs = len(of_users)
    share = type(step.l2)(1.0 / (n_pairs // step.pairs))
    for task in range(worker, n_tasks(n_pairs, PAIRS_A_TASK), n_workers):
        move_rows(of_users, users, step, number, share, task)
        move_rows(of_items, items, step, number, share, task)
    for task in range(worker, len(dense.losses), n_workers):
        move_dense(dense, step, number, n_shares_of(n_pairs), task)
        turn_all(net, task)


@compiled(borrowing=True)
def turn_all(net, task):
    """Write the transposes of a task's dense parameters."""
    first, stop = task * DENSE_A_TASK, min((task + 1) * DENSE_A_TASK, len(net.dense))
    turn(net.layers, net.dense, net.turned, first, stop)
    turn(net.user_layers, net.dense, net.turned, first, stop)
    turn(net.item_layers, net.dense, net.turned, first, stop)


@compiled(borrowing=True)
def total_loss(scratch, ends, n_pairs):
    """Return the sum of the losses of a batch, and of what l2 adds."""
    total = total_of(scratch.losses[: n_tasks(n_pairs, CHUNK)])
    if ends is not None:
        total += total_of(ends.losses)
    return total


@compiled(borrowing=True)
def chunk_of(number, listing, step, scratch, dense, worker, share, first, stop):
    """Return a chunk of the batch that stands at [first, stop) of a listing."""
    begin = number * CHUNK
    end = min(begin + CHUNK, stop - first)
    # Slices of what is empty are empty.
    return Chunk(
        listing.users[first + begin : first + end],
        listing.items[first + begin : first + end],
        listing.targets[first + begin : first + end],
        listing.weights[first + begin : first + end],
        scratch.slopes[begin:end],
        begin,
        (stop - first) // step.pairs,
        worker * scratch.room,
        share * len(dense.values),
    )


@compiled(borrowing=True)
def score_batch(
    worker, n_workers, by_sides, net, users, items, dense, listing, head, step, scratch, first, stop
):
    """Find the gradients of a batch of pairs."""
    n_dense, n_chunks, n_shares = len(dense.values), n_tasks(stop - first, CHUNK), n_shares_of(stop - first)
    for share in range(worker, n_shares, n_workers):
        fill(dense.shares[share * n_dense : (share + 1) * n_dense], 0)
        for number in range(share * n_chunks // n_shares, (share + 1) * n_chunks // n_shares):
            chunk = chunk_of(number, listing, step, scratch, dense, worker, share, first, stop)
            if by_sides is None:
                loss = train_pairs(net, users, items, dense, head, step, scratch, chunk)
            else:
                loss = train_sides(net, users, items, dense, head, step, scratch, chunk)
            scratch.losses[number] = loss


@compiled(borrowing=True)
def compare_batch(
    worker, n_workers, barrier, net, users, items, dense, listing, step, scratch, ends, first, stop
):
    """Find the gradients of a batch by the in-batch softmax."""
    n, n_dense = stop - first, len(dense.values)
    n_chunks, n_shares = n_tasks(n, CHUNK), n_shares_of(n)
    for number in range(worker, n_chunks, n_workers):
        chunk = chunk_of(number, listing, step, scratch, dense, worker, 0, first, stop)
        find_ends(net, users, items, scratch, ends, chunk, n)
    wait(barrier, n_workers)
    for share in range(worker, N_SHARES, n_workers):
        compare_users(listing.items[first:stop], ends, worker, share, n)
    wait(barrier, n_workers)
    for share in range(worker, n_shares, n_workers):
        fill(dense.shares[share * n_dense : (share + 1) * n_dense], 0)
        for number in range(share * n_chunks // n_shares, (share + 1) * n_chunks // n_shares):
            chunk = chunk_of(number, listing, step, scratch, dense, worker, share, first, stop)
            scratch.losses[number] = pass_ends(net, users, items, dense, step, scratch, ends, chunk, n)
