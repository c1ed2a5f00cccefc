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
from mfcore_numba.layers import CHUNK, N_IN, N_OUT, room, transpose
from mfcore_numba.limits import Limits
from mfcore_numba.nets import make_net
from mfcore_numba.objectives import built_in_loss, no_loss
from mfcore_numba.own_parts import own_rule, own_terms
from mfcore_numba.pairs import Chunk, Scratch, train_pairs
from mfcore_numba.rules import OWN_RULE, deferred_steps, rule_of
from mfcore_numba.sides import (
    N_SHARES,
    USERS_A_BLOCK,
    InBatch,
    backward_embeddings,
    embed_chunk,
    score_users,
    train_sides,
)
from mfcore_numba.store import PackedRows, ParameterStore
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


class BatchTrainer:
    """A job with a gradient optimizer.

    Parameters
    ----------
    job : TrainingJob
    limits : Limits, optional
    """

    def __init__(self, job: TrainingJob, limits: Limits | None = None) -> None:
        assert isinstance(job.optimizer, GradientOptimizer)
        self.job = job
        self.limits = limits or Limits()
        self.optimizer: GradientOptimizer = job.optimizer
        self.steps_done = int(job.optimizer_state[STEP][0])
        loss, self.rule = built_in_loss(job), rule_of(job.optimizer)
        self.loss = loss or no_loss(job.dtype)
        # As objects, so that the functions live as long as the trainer.
        self.own_terms = None if loss else own_terms(job)
        self.own_rule = own_rule(job.optimizer, job.dtype) if self.rule == OWN_RULE else None
        in_batch = job.objective if isinstance(job.objective, InBatchSoftmax) else None
        self.n_pairs = job.batch_size * pairs_of(job)
        self.store = ParameterStore(job)
        self.net = make_net(self.store, by_sides=in_batch is not None or isinstance(job.spec, TwoTower))
        self.workers = Workers(min(job.threads, -(-self._work() // self.limits.worth_sharing)))
        self.scratch = self._scratch(in_batch)
        self.trained = Trained(
            net=self.net,
            users=self._side(self.store.users, job.data.n_users, pairs_of(job)),
            items=self._side(self.store.items, job.data.n_items, 1),
            dense=self._dense(),
        )
        for task in range(len(self.trained.dense.losses)):
            transpose_all(self.net, task)

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
        return self.store.parameters()

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the optimizer's state."""
        return self.store.optimizer_state(self.steps_done)

    def _train(self, listing: Any, epoch: int) -> float:
        """Train the instances of a listing; return the sum of the objective over them."""
        step = self._step(len(listing.users), epoch)
        objective = self.workers.run(train, self.trained, listing, step, self.scratch)
        self.steps_done += len(step.coefficients)
        return float(objective)

    def _step(self, n_pairs: int, epoch: int) -> Step:
        job, real, optimizer = self.job, self.job.dtype.type, self.optimizer
        done, learning_rate = self.steps_done, optimizer.learning_rate_at(epoch)
        steps = done + 1 + np.arange(-(-n_pairs // self.n_pairs))
        table = [optimizer.coefficients(int(step), learning_rate) for step in steps]
        coefficients = np.array(table, dtype=job.dtype)
        return Step(
            loss=self.loss,
            own_terms=self.own_terms and self.own_terms.address,
            rule=self.rule,
            own_rule=self.own_rule and self.own_rule.address,
            sparse=optimizer.sparse,
            l2=real(optimizer.l2),
            l2_dense=real(optimizer.l2_dense),
            batch_size=job.batch_size,
            pairs=pairs_of(job),
            coefficients=coefficients,
            deferred=deferred_steps(optimizer, coefficients, done, learning_rate),
        )

    def _work(self) -> int:
        """Return about how many numbers a step handles."""
        in_rows, n_dense = self.store.users.width + self.store.items.width, self.store.layout.dense.width
        n_compared = self.job.batch_size if self.job.objective.pairing == "in-batch" else 0
        return int(self.n_pairs * (4 * in_rows + n_dense + n_compared))

    def _n_at_once(self) -> int:
        """Return how many instances to train between two returns to Python: whole batches."""
        job, size, limits = self.job, self.job.batch_size, self.limits
        # All rows are brought up to date before each return, which should stay a small part of the work.
        fewest = 0 if self.optimizer.sparse else 2 * (job.data.n_users + job.data.n_items)
        n = min(max(limits.numbers_at_once * size // self._work(), fewest), limits.instances_at_once)
        return size * int(np.clip(n // size, 1, limits.steps_at_once))

    def _scratch(self, objective: InBatchSoftmax | None) -> Scratch:
        net, dtype = self.net, self.job.dtype
        if net.by_sides:
            n_work = 2 * max(room(side, _width(net.tower)) for side in (net.user_layers, net.item_layers))
        else:
            n_work = room(net.layers, int(net.layers[0, N_IN]) if len(net.layers) else 0)
        return Scratch(
            grad_scores=np.empty(self.n_pairs, dtype=dtype),
            losses=np.zeros(-(-self.n_pairs // CHUNK)),
            work=np.zeros(self.workers.n * n_work, dtype=dtype),
            room=n_work,
            in_batch=None if objective is None else self._in_batch(objective),
        )

    def _in_batch(self, objective: InBatchSoftmax) -> InBatch:
        job, n, layers = self.job, self.n_pairs, self.net.user_layers
        width = int(layers[-1, N_OUT]) if len(layers) else _width(self.net.tower)
        users, items, transposed, grad_users = (np.empty(n * (width + 1), dtype=job.dtype) for _ in range(4))
        return InBatch(
            users=users,
            items=items,
            transposed=transposed,
            grad_users=grad_users,
            grad_items=np.empty(N_SHARES * n * (width + 1), dtype=job.dtype),
            scores=np.empty(self.workers.n * USERS_A_BLOCK * n, dtype=job.dtype),
            log_q=job.log_q,
            losses=np.zeros(N_SHARES),
            width=width,
            temperature=job.dtype.type(objective.temperature),
            remove_accidental_hits=objective.remove_accidental_hits,
        )

    def _side(self, rows: PackedRows, n_rows: int, pairs_sharing_row: int) -> Side:
        return Side(
            rows=rows,
            gradient=np.zeros(self.n_pairs * rows.width, dtype=self.job.dtype),
            latest=np.full(n_rows, NONE, dtype=np.int32),
            previous=np.empty(self.n_pairs, dtype=np.int32),
            done=np.zeros(n_rows, dtype=np.int64),
            pairs_sharing_row=pairs_sharing_row,
        )

    def _dense(self) -> Dense:
        store, job = self.store, self.job
        layout, n = store.layout.dense, store.layout.dense.width
        segments = [
            (begin, begin + size, decayed)
            for (name, begin), size, decayed in zip(
                layout.offsets.items(), layout.sizes, layout.decayed, strict=True
            )
            if name in job.trained
        ]
        n_shares = min(MOST_SHARES, len(self.scratch.losses))
        none = np.empty(0, dtype=job.dtype)
        slot0, slot1 = (
            store.dense[(1 + slot) * n : (2 + slot) * n] if slot < len(store.layout.slots) else none
            for slot in range(2)
        )
        return Dense(
            values=store.dense[:n],
            slot0=slot0,
            slot1=slot1,
            shares=np.zeros(n_shares * n, dtype=job.dtype),
            trained=np.array(segments, dtype=np.int64).reshape(len(segments), 3),
            losses=np.zeros(-(-n // DENSE_A_TASK)),
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
        find_gradients(scratch.in_batch, trained.net.by_sides, worker, trained, batch, step, scratch)
        wait(worker)
        if worker.number == 0:
            objective += total_loss(scratch.in_batch, scratch, len(batch.users))
        move_all(worker, trained, batch, step, number)
        wait(worker)
        if worker.number == 0:
            objective += len(batch.users) // step.pairs * total_of(trained.dense.losses)
    if not step.sparse:
        for task in range(worker.number, n_tasks(len(users.done), ROWS_A_TASK), worker.n):
            catch_up_all(step.own_rule, users, step, task)
        for task in range(worker.number, n_tasks(len(items.done), ROWS_A_TASK), worker.n):
            catch_up_all(step.own_rule, items, step, task)
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
            catch_up(step.own_rule, batch.users, users, step, number, task)
            catch_up(step.own_rule, batch.items, items, step, number, task)
        wait(worker)


@compiled(borrowing=True)
def find_gradients(in_batch, by_sides, worker, trained, batch, step, scratch):
    """Find the gradients of a batch.

    `in_batch` is None but for the in-batch softmax, and `by_sides` but for two towers: they are arguments of
    their own as Numba leaves out only branches on arguments that are None.
    """
    if in_batch is None:
        score_batch(by_sides, worker, trained, batch, step, scratch)
    else:
        in_batch_gradients(in_batch, worker, trained, batch, step, scratch)


@compiled(borrowing=True)
def total_loss(in_batch, scratch, n_pairs):
    """Return the sum of the losses of a batch, and of what l2 adds."""
    total = total_of(scratch.losses[: n_tasks(n_pairs, CHUNK)])
    if in_batch is not None:
        total += total_of(in_batch.losses)
    return total


@compiled(borrowing=True, inline=True)
def move_all(worker, trained, batch, step, number):
    """Move the rows that the batch pairs_sharing_row, and the dense parameters."""
    n_pairs, dense = len(batch.users), trained.dense
    share = type(step.l2)(1.0 / (n_pairs // step.pairs))
    for task in range(worker.number, n_tasks(n_pairs, PAIRS_A_TASK), worker.n):
        move_rows(step.own_rule, batch.users, trained.users, step, number, share, task)
        move_rows(step.own_rule, batch.items, trained.items, step, number, share, task)
    for task in range(worker.number, len(dense.losses), worker.n):
        move_dense(step.own_rule, dense, step, number, n_shares_of(n_pairs), task)
        transpose_all(trained.net, task)


@compiled(borrowing=True)
def transpose_all(net, task):
    """Write the transposes of a task's dense parameters."""
    first, stop = task * DENSE_A_TASK, min((task + 1) * DENSE_A_TASK, len(net.dense))
    transpose(net.layers, net.dense, net.transposed, first, stop)
    transpose(net.user_layers, net.dense, net.transposed, first, stop)
    transpose(net.item_layers, net.dense, net.transposed, first, stop)


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
        scratch.grad_scores[begin:stop],
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
def in_batch_gradients(in_batch, worker, trained, batch, step, scratch):
    """Find the gradients of a batch by the in-batch softmax."""
    n = len(batch.users)
    for number in range(worker.number, n_tasks(n, CHUNK), worker.n):
        chunk = chunk_of(number, worker, 0, trained, batch, step, scratch)
        embed_chunk(trained, scratch, in_batch, chunk, n)
    wait(worker)
    for share in range(worker.number, N_SHARES, worker.n):
        score_users(batch.items, in_batch, worker.number, share, n)
    wait(worker)
    for share in range(worker.number, n_shares_of(n), worker.n):
        first, stop = chunks_of(share, trained, batch)
        for number in range(first, stop):
            chunk = chunk_of(number, worker, share, trained, batch, step, scratch)
            scratch.losses[number] = backward_embeddings(trained, step, scratch, in_batch, chunk, n)
