"""One step: rows are read and scored, the gradients of each are added up, and the rule moves it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mfcore.engines import TrainingJob, rest
from mfcore.objectives import InBatchSoftmax, Pointwise
from mfcore.optimizers import GradientOptimizer, Rule
from mfcore_torch import losses, scores
from mfcore_torch.ranks import Ranks
from mfcore_torch.rows import Rows, Store, Weights
from mfcore_torch.scores import Multiply
from mfcore_torch.touched import Touched

# Pairs of the in-batch softmax that are scored together: on a CPU as many as its cache holds.
PAIRS_AT_ONCE = {"cpu": 1 << 18, "cuda": 1 << 25}


class Batch(NamedTuple):
    """One batch of n instances.

    Attributes
    ----------
    users : Touched
        By the n instances.
    items : Touched
        By the n items, and then the n negatives of a pairwise objective.
    targets : Tensor [n]
    weights : Tensor [n], or None for 1
    item_rows : int64 Tensor [n], or None
        The items, and
    log_q : Tensor [n], or None
        what is subtracted from their logits, for the in-batch softmax.
    """

    users: Touched
    items: Touched
    targets: Tensor
    weights: Tensor | None
    item_rows: Tensor | None
    log_q: Tensor | None


class Idle(NamedTuple):
    """What it takes to make up for idle steps; see `mfcore.engines.deferred_updates`.

    Attributes
    ----------
    sums : Tensor [n_fading + 1, 4, 6]
    kept : float64 Tensor [3]
        The logarithms of what a step leaves of a parameter and of its slots, its own move aside.
    scale : float64 Tensor [1]
        The polynomials' argument at beta_2^t is scale * beta_2^t / (1 - beta_2^t).
    epsilon : Tensor [1]
    """

    sums: Tensor
    kept: Tensor
    scale: Tensor
    epsilon: Tensor


class Found(NamedTuple):
    """What a batch finds, before anything is moved.

    Attributes
    ----------
    users, items : Tensors [m, 1 + n_slots, width]
        The rows that the batch touches, with their slots, as the step before left them.
    by_users, by_items : Tensors [m, width]
        The gradients of the mean objective, of this rank's share of the batch, by these rows.
    by_dense : Tensor [n_dense]
    objective : float64 Tensor
        Summed over the share's instances, without what l2_dense adds.
    """

    users: Tensor
    items: Tensor
    by_users: Tensor
    by_items: Tensor
    by_dense: Tensor
    objective: Tensor


@dataclass(frozen=True, eq=False)
class Stepper:
    """What all steps of a job share.

    Attributes
    ----------
    job : TrainingJob
    store : Store
    multiply : callable
        The matrix product of dense layers.
    ranks : Ranks
    are_apart : bool
        Whether each instance of a batch is a step of its own, as those that share no row can be.
    compare : callable
        `losses.in_batch`, compiled or not.
    """

    job: TrainingJob
    store: Store
    multiply: Multiply
    ranks: Ranks
    are_apart: bool = False
    compare: Callable[..., tuple[Tensor, Tensor]] = losses.in_batch

    @property
    def optimizer(self) -> GradientOptimizer:
        """The job's optimizer."""
        assert isinstance(self.job.optimizer, GradientOptimizer)
        return self.job.optimizer

    def step(self, weights: Weights, batch: Batch, c: Tensor, number: Tensor, idle: Idle | None) -> Tensor:
        """Take a step alone; return the objective before it, summed over the batch's instances, float64.

        Parameters
        ----------
        weights : Weights
            Moved in place.
        batch : Batch
        c : Tensor [n_coefficients]
            The rule's coefficients of this step.
        number : int64 Tensor [1]
            Of this step, counted from 1.
        idle : Idle, or None
            Given where idle steps are put off.
        """
        found = self.find(weights, batch, number, idle)
        return found.objective + self.move(weights, batch, found, c, number, idle)

    def find(self, weights: Weights, batch: Batch, number: Tensor, idle: Idle | None) -> Found:
        """Read the rows that a batch touches, score its instances and find the gradients."""
        users = self._read(weights.users, batch.users, number - 1, idle)
        items = self._read(weights.items, batch.items, number - 1, idle)
        n = len(batch.targets)
        mine = self.ranks.share(n)
        in_batch = isinstance(self.job.objective, InBatchSoftmax)
        user_places, item_places = batch.users.places, batch.items.places
        n_items = len(item_places) // n
        if self.ranks.n > 1:
            user_places = user_places[mine]
            if not in_batch:
                item_places = item_places.view(n_items, n)[:, mine].reshape(-1)
        of_users, of_items = users[:, 0][user_places], items[:, 0][item_places]
        find = self._in_batch if in_batch else self._by_pairs
        objective, by_users, by_items, by_dense = find(of_users, of_items, weights, batch)
        l2 = self.optimizer.l2
        if l2:
            share = l2 / self._n_averaged(batch)
            decayed = of_items
            if in_batch and self.ranks.n > 1:
                # All ranks hold the gradients of all items; each adds what its own instances touch.
                decayed = torch.zeros_like(of_items)
                decayed[mine] = of_items[mine]
            by_users, by_items = by_users + share * of_users, by_items + share * decayed
            for touched in (of_users, decayed):
                objective = objective + 0.5 * l2 * touched.square().sum(dtype=torch.float64)
        return Found(
            users=users,
            items=items,
            by_users=batch.users.add_up(self._spread(by_users, 1, n)),
            by_items=batch.items.add_up(by_items if in_batch else self._spread(by_items, n_items, n)),
            by_dense=by_dense,
            objective=objective,
        )

    def move(
        self, weights: Weights, batch: Batch, found: Found, c: Tensor, number: Tensor, idle: Idle | None
    ) -> Tensor:
        """Move what a batch touches; return what l2_dense adds to the sum of its objective, float64."""
        store, rule = self.store, self.optimizer.rule(torch.sqrt)
        by_dense, penalty = found.by_dense, found.objective.new_zeros(())
        if self.optimizer.l2_dense:
            decays = self.optimizer.l2_dense * store.dense.decays(weights.dense)
            by_dense = by_dense + decays * weights.dense[0]
            penalty = 0.5 * len(batch.targets) * (decays * weights.dense[0].square()).sum(dtype=torch.float64)
        for rows, touched, before, gradient in (
            (weights.users, batch.users, found.users, found.by_users),
            (weights.items, batch.items, found.items, found.by_items),
        ):
            if store.is_cut and not self.optimizer.sparse and idle is None:
                self._move_all_held(rows, touched, gradient, c)
            else:
                self._write(rows, touched, moved(rule, before, gradient, c), number, idle)
        weights.dense.copy_(moved(rule, weights.dense[None], by_dense[None], c)[0])
        return penalty

    def _read(self, rows: Rows, touched: Touched, number: Tensor, idle: Idle | None) -> Tensor:
        """Return the touched rows with their slots as step `number` leaves them."""
        if touched.rows is None:
            return rows.numbers
        if self.store.is_cut:
            found = self.store.cut_of(rows).read(rows.numbers, touched.rows)
        else:
            found = rows.numbers[touched.rows]
        return found if idle is None else rested(found, rows.latest[touched.rows], number, idle)

    def _write(
        self, rows: Rows, touched: Touched, numbers: Tensor, number: Tensor, idle: Idle | None
    ) -> None:
        """Put the touched rows back after step `number`."""
        if touched.rows is None:
            rows.numbers.copy_(numbers)
            return
        if self.store.is_cut:
            self.store.cut_of(rows).write(rows.numbers, touched.rows, numbers)
        else:
            rows.numbers.index_copy_(0, touched.rows, numbers)
        if idle is not None:
            rows.latest.index_copy_(0, touched.rows, number.expand(len(touched.rows)))

    def _move_all_held(self, rows: Rows, touched: Touched, gradient: Tensor, c: Tensor) -> None:
        """Move all rows that this rank holds of a cut table, touched or not."""
        assert touched.rows is not None
        held = rows.numbers
        gradients = held.new_zeros(len(held), gradient.shape[1])
        self.store.cut_of(rows).write(gradients, touched.rows, gradient)
        held.copy_(moved(self.optimizer.rule(torch.sqrt), held, gradients, c))

    def _spread(self, gradients: Tensor, n_items: int, n: int) -> Tensor:
        """Return the gradients of a batch's pairs, given those of this rank's share of them."""
        if self.ranks.n == 1:
            return gradients
        width = gradients.shape[1]
        spread = gradients.new_zeros(n_items, n, width)
        spread[:, self.ranks.share(n)] = gradients.view(n_items, len(gradients) // n_items, width)
        return spread.flatten(0, 1)

    def _by_pairs(self, users: Tensor, items: Tensor, weights: Weights, batch: Batch) -> tuple[Tensor, ...]:
        """Return objective and gradients where an instance is a pair, or the difference of two."""
        n, n_mine = len(batch.targets), len(users)
        mine = self.ranks.share(n)

        def score(users: Tensor, items: Tensor, dense: Tensor) -> Tensor:
            split = self.store.users.split(users), self.store.items.split(items)
            return scores.score_rows(self.job.spec, *split, self._named(dense, weights), self.multiply)

        def difference(users: Tensor, items: Tensor, dense: Tensor) -> Tensor:
            # Apart: what both have in common cancels to the last bit, where Adam would follow the rounding.
            return score(users, items[:n_mine], dense) - score(users, items[n_mine:], dense)

        if self.job.objective.pairing == "pairwise":
            found, backward = pulled_back(difference, users, items, weights.dense[0])
            loss, slopes = losses.pairwise(found)
            return loss.sum(dtype=torch.float64), *backward(slopes / n)
        assert isinstance(self.job.objective, Pointwise)
        found, backward = pulled_back(score, users, items, weights.dense[0])
        loss, slopes = losses.pointwise(self.job.objective, self.job.spec.output, found, batch.targets[mine])
        if batch.weights is not None:
            loss, slopes = loss * batch.weights[mine], slopes * batch.weights[mine]
        return loss.sum(dtype=torch.float64), *backward(slopes / self._n_averaged(batch))

    def _in_batch(self, users: Tensor, items: Tensor, weights: Weights, batch: Batch) -> tuple[Tensor, ...]:
        """Return the same where an instance is a row of the matrix of all users and items of the batch."""
        objective, n = self.job.objective, len(batch.targets)
        assert isinstance(objective, InBatchSoftmax)
        assert batch.item_rows is not None
        assert batch.log_q is not None

        def ends(users: Tensor, items: Tensor, dense: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            split = self.store.users.split(users), self.store.items.split(items)
            named = self._named(dense, weights)
            # What is added to all scores of a user cancels.
            found = scores.ends(self.job.spec, *split, named, self.multiply)
            return found[0], found[1], items.new_zeros(n) if found[3] is None else found[3]

        (of_users, of_items, offsets), backward = pulled_back(ends, users, items, weights.dense[0])
        total = torch.zeros((), dtype=torch.float64, device=users.device)
        # A rank has no instance of a last batch of fewer instances than ranks.
        by_users, by_items, by_offsets = [of_users[:0]], torch.zeros_like(of_items), torch.zeros_like(offsets)
        begin, n_at_once = self.ranks.share(n).start, max(1, PAIRS_AT_ONCE[users.device.type] // n)
        for first in range(0, len(of_users), n_at_once):
            part = of_users[first : first + n_at_once]
            found = self.multiply(part, of_items.T) + offsets
            loss, slopes = self.compare(objective, found, begin + first, batch.item_rows, batch.log_q)
            slopes = slopes / n
            total = total + loss.sum(dtype=torch.float64)
            by_users.append(self.multiply(slopes, of_items))
            by_items = by_items + self.multiply(slopes.T, part)
            by_offsets = by_offsets + slopes.sum(dim=0)
        return total, *backward((torch.cat(by_users), by_items, by_offsets))

    def _n_averaged(self, batch: Batch) -> int:
        """Return over how many instances a step takes the mean."""
        return 1 if self.are_apart else len(batch.targets)

    def _named(self, dense: Tensor, weights: Weights) -> dict[str, Tensor]:
        return {**self.store.dense.split(dense), **weights.constants}


def pulled_back(function: Callable[..., Any], *inputs: Tensor) -> tuple[Any, Callable[..., Any]]:
    """Return a function's value, and what turns derivatives by the value into those by the inputs."""
    found: Any = torch.func.vjp(function, *inputs)
    value, backward = found
    return value, backward


def moved(rule: Rule, numbers: Tensor, gradient: Tensor, c: Tensor) -> Tensor:
    """Return parameters and slots, [m, 1 + n_slots, width], after one step."""
    parameter, *slots = numbers.unbind(dim=1)
    first, second = [*slots, 0.0, 0.0][:2]
    after = rule(parameter, gradient, first, second, c)
    return torch.stack(after[: 1 + len(slots)], dim=1)


def rested(numbers: Tensor, latest: Tensor, number: Tensor, idle: Idle) -> Tensor:
    """Return rows after the steps from `latest` to `number`, none of which touched them."""
    parameter, first, second = numbers.unbind(dim=1)
    n_steps, dtype = number - latest, numbers.dtype
    decay = (idle.kept[2] * latest).exp()
    place = (idle.scale * decay / (1 - decay)).to(dtype)[:, None]
    terms = idle.sums[n_steps.clamp(max=len(idle.sums) - 1)]
    sums = terms[:, :, -1]
    for power in range(terms.shape[2] - 2, -1, -1):
        sums = sums * place + terms[:, :, power]
    beta_2 = idle.kept[2].exp()
    start = (beta_2 / (1 - beta_2 * decay)).sqrt()
    kept = (idle.kept * n_steps[:, None]).exp()
    columns = (start, *sums.unbind(1), idle.epsilon.expand_as(start), *kept.unbind(1), torch.ones_like(start))
    # One tensor of them all: compiled, each would be worked out again for every number of a row.
    c = torch.stack([column.to(dtype) for column in columns], dim=1)
    return torch.stack(_rest(parameter, first, second, c[:, None].unbind(-1)), dim=1)


_rest: Callable[..., tuple[Tensor, Tensor, Tensor]] = rest(torch.sqrt)
