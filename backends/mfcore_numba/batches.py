"""Training by mini-batches: any spec and any gradient optimizer of the core.

A step has three parts, with a barrier after each: rows that earlier steps left alone are brought up to date;
the pairs of the batch are scored, chunk by chunk, and their gradients written down; the rows and the dense
parameters are moved. Every part is cut into tasks that depend on the batch alone, and every sum has one
order, so the bits do not depend on the number of threads.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfcore.engines import STEP, TrainingJob
from mfcore.objectives import InBatchSoftmax
from mfcore.optimizers import GradientOptimizer
from mfcore.specs import Floats, TwoTower
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
from mfcore_numba.stream import Listing, empty_listing, list_instances, pairs_of, shuffle_of, source
from mfcore_numba.updates import (
    DENSE_A_TASK,
    NONE,
    PAIRS_A_TASK,
    ROWS_A_TASK,
    Dense,
    Side,
    Step,
    Trained,
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
        by_sides = in_batch is not None or isinstance(job.spec, TwoTower)
        role = roles(job.spec, by_sides=by_sides)
        self.n_pairs = job.batch_size * pairs_of(job)
        self.arrays = Arrays(job, role)
        self.net = make_net(self.arrays, role, by_sides=by_sides)
        self.workers = Workers(min(job.threads, -(-self._work() // WORTH_SHARING)))
        self.scratch = self._scratch(in_batch)
        self.trained = Trained(
            net=self.net,
            users=self._side(self.arrays.users, job.data.n_users, pairs_of(job)),
            items=self._side(self.arrays.items, job.data.n_items, 1),
            dense=self._dense(),
        )
        for task in range(len(self.trained.dense.losses)):
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
        objective = self.workers.run(train, self.trained, listing, step, self.scratch)
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
            head=head(job),
            rule=rule,
            sparse=self.optimizer.sparse,
            l2=real(self.optimizer.l2),
            l2_dense=real(self.optimizer.l2_dense),
            batch_size=job.batch_size,
            pairs=pairs_of(job),
            coefficients=coefficients,
            idle=idle_of(self.optimizer, coefficients, done, learning_rate),
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

    def _scratch(self, in_batch: InBatchSoftmax | None) -> Scratch:
        net, dtype = self.net, self.job.dtype
        if net.by_sides:
            n_work = 2 * max(room(side, _width(net.tower)) for side in (net.user_layers, net.item_layers))
        else:
            n_work = room(net.layers, int(net.layers[0, N_IN]) if len(net.layers) else 0)
        return Scratch(
            slopes=np.empty(self.n_pairs, dtype=dtype),
            losses=np.zeros(-(-self.n_pairs // CHUNK)),
            work=np.zeros(self.workers.n * n_work, dtype=dtype),
            room=n_work,
            ends=None if in_batch is None else self._ends(in_batch),
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
def train(worker, trained, listing, step, scratch):
    """Take the steps of a listing as one of several workers; return the sum of the objective to the first."""
    objective, size, users, items = 0.0, step.batch_size * step.pairs, trained.users, trained.items
    for number in range(len(step.coefficients)):
        first = number * size
        batch = part_of(listing, first, min(first + size, len(listing.users)))
        prepare(worker, trained, batch, step, number)
        find_gradients(scratch.ends, trained.net.by_sides, worker, trained, batch, step, scratch)
        wait(worker)
        if worker.number == 0:
            objective += total_loss(scratch.ends, scratch, len(batch.users))
        move_all(worker, trained, batch, step, number)
        wait(worker)
        if worker.number == 0:
            objective += len(batch.users) // step.pairs * total_of(trained.dense.losses)
    if not step.sparse:
        for task in range(worker.number, n_tasks(len(users.done), ROWS_A_TASK), worker.n):
            catch_up_all(users, step, task)
        for task in range(worker.number, n_tasks(len(items.done), ROWS_A_TASK), worker.n):
            catch_up_all(items, step, task)
    return objective


@compiled(borrowing=True)
def part_of(listing, first, stop):
    """Return the pairs in [first, stop) of a listing; slices of what is empty are empty."""
    return Listing(
        listing.users[first:stop],
        listing.items[first:stop],
        listing.targets[first:stop],
        listing.weights[first:stop],
    )


@compiled(borrowing=True)
def n_tasks(n, size):
    """Return how many tasks of a size there are in n things."""
    return (n + size - 1) // size


@compiled(borrowing=True)
def n_shares_of(n_pairs):
    """Return in how many shares a batch adds up the dense gradient."""
    return min(MOST_SHARES, n_tasks(n_pairs, CHUNK))


@compiled(borrowing=True, inline=True)
def prepare(worker, trained, batch, step, number):
    """Chain the batch's pairs by row, and bring these rows to where the step finds them."""
    users, items = trained.users, trained.items
    if worker.number == 0:
        link(batch.users, users)
    if worker.number == worker.n - 1:
        link(batch.items, items)
    wait(worker)
    if not step.sparse:
        for task in range(worker.number, n_tasks(len(batch.users), PAIRS_A_TASK), worker.n):
            catch_up(batch.users, users, step, number, task)
            catch_up(batch.items, items, step, number, task)
        wait(worker)


@compiled(borrowing=True)
def find_gradients(ends, by_sides, worker, trained, batch, step, scratch):
    """Find the gradients of a batch.

    `ends` is None but for the in-batch softmax, and `by_sides` but for two towers: they are arguments of
    their own as Numba leaves out only branches on arguments that are None.
    """
    if ends is None:
        score_batch(by_sides, worker, trained, batch, step, scratch)
    else:
        compare_batch(ends, worker, trained, batch, step, scratch)


@compiled(borrowing=True)
def total_loss(ends, scratch, n_pairs):
    """Return the sum of the losses of a batch, and of what l2 adds."""
    total = total_of(scratch.losses[: n_tasks(n_pairs, CHUNK)])
    if ends is not None:
        total += total_of(ends.losses)
    return total


@compiled(borrowing=True, inline=True)
def move_all(worker, trained, batch, step, number):
    """Move the rows that the batch touches, and the dense parameters."""
    n_pairs, dense = len(batch.users), trained.dense
    share = type(step.l2)(1.0 / (n_pairs // step.pairs))
    for task in range(worker.number, n_tasks(n_pairs, PAIRS_A_TASK), worker.n):
        move_rows(batch.users, trained.users, step, number, share, task)
        move_rows(batch.items, trained.items, step, number, share, task)
    for task in range(worker.number, len(dense.losses), worker.n):
        move_dense(dense, step, number, n_shares_of(n_pairs), task)
        turn_all(trained.net, task)


@compiled(borrowing=True)
def turn_all(net, task):
    """Write the transposes of a task's dense parameters."""
    first, stop = task * DENSE_A_TASK, min((task + 1) * DENSE_A_TASK, len(net.dense))
    turn(net.layers, net.dense, net.turned, first, stop)
    turn(net.user_layers, net.dense, net.turned, first, stop)
    turn(net.item_layers, net.dense, net.turned, first, stop)


@compiled(borrowing=True, inline=True)
def chunk_of(number, worker, share, trained, batch, step, scratch):
    """Return a chunk of a batch, for a worker that adds to a share of the dense gradient."""
    begin = number * CHUNK
    stop = min(begin + CHUNK, len(batch.users))
    pairs = part_of(batch, begin, stop)
    return Chunk(
        pairs.users,
        pairs.items,
        pairs.targets,
        pairs.weights,
        scratch.slopes[begin:stop],
        begin,
        len(batch.users) // step.pairs,
        worker.number * scratch.room,
        share * len(trained.dense.values),
    )


@compiled(borrowing=True, inline=True)
def chunks_of(share, trained, batch):
    """Empty a share of the dense gradient; return the chunks that add to it, as (first, stop)."""
    n_dense, n_pairs = len(trained.dense.values), len(batch.users)
    fill(trained.dense.shares[share * n_dense : (share + 1) * n_dense], 0)
    n_chunks, n_shares = n_tasks(n_pairs, CHUNK), n_shares_of(n_pairs)
    return share * n_chunks // n_shares, (share + 1) * n_chunks // n_shares


@compiled(borrowing=True, inline=True)
def score_batch(by_sides, worker, trained, batch, step, scratch):
    """Find the gradients of a batch of pairs."""
    for share in range(worker.number, n_shares_of(len(batch.users)), worker.n):
        first, stop = chunks_of(share, trained, batch)
        for number in range(first, stop):
            chunk = chunk_of(number, worker, share, trained, batch, step, scratch)
            if by_sides is None:
                loss = train_pairs(trained, step, scratch, chunk)
            else:
                loss = train_sides(trained, step, scratch, chunk)
            scratch.losses[number] = loss


@compiled(borrowing=True, inline=True)
def compare_batch(ends, worker, trained, batch, step, scratch):
    """Find the gradients of a batch by the in-batch softmax."""
    n = len(batch.users)
    for number in range(worker.number, n_tasks(n, CHUNK), worker.n):
        chunk = chunk_of(number, worker, 0, trained, batch, step, scratch)
        find_ends(trained, scratch, ends, chunk, n)
    wait(worker)
    for share in range(worker.number, N_SHARES, worker.n):
        compare_users(batch.items, ends, worker.number, share, n)
    wait(worker)
    for share in range(worker.number, n_shares_of(n), worker.n):
        first, stop = chunks_of(share, trained, batch)
        for number in range(first, stop):
            chunk = chunk_of(number, worker, share, trained, batch, step, scratch)
            scratch.losses[number] = pass_ends(trained, step, scratch, ends, chunk, n)
