"""One step: rows are read and scored, the gradients of each are added up, and the rule moves it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mfcore.contract import TrainingJob
from mfcore.idle import rest
from mfcore.objectives import InBatchSoftmax, Pointwise
from mfcore.optimizers import GradientOptimizer, Rule
from mfcore_torch import losses, scores
from mfcore_torch.rows import Rows, Store, Weights
from mfcore_torch.scores import Multiply
from mfcore_torch.touched import Touched

# Pairs of the in-batch softmax that are scored together.
PAIRS_AT_ONCE = 1 << 22


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
    """What it takes to make up for idle steps; see `mfcore.idle`.

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


class Gradients(NamedTuple):
    """The gradients of a batch by the rows that it touches, [m, width], and by the dense parameters."""

    users: Tensor
    items: Tensor
    dense: Tensor


@dataclass(frozen=True, eq=False)
class Stepper:
    """What all steps of a job share.

    Attributes
    ----------
    job : TrainingJob
    store : Store
    multiply : callable
        The matrix product of dense layers.
    """

    job: TrainingJob
    store: Store
    multiply: Multiply

    @property
    def optimizer(self) -> GradientOptimizer:
        """The job's optimizer."""
        assert isinstance(self.job.optimizer, GradientOptimizer)
        return self.job.optimizer

    def step(self, weights: Weights, batch: Batch, c: Tensor, number: Tensor, idle: Idle | None) -> Tensor:
        """Take a step; return the objective before it, summed over the batch's instances, float64.

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
        users = read(weights.users, batch.users, number - 1, idle)
        items = read(weights.items, batch.items, number - 1, idle)
        objective, gradients = self.gradients(users[:, 0], items[:, 0], weights, batch)
        decays = self.optimizer.l2_dense * self.store.dense.decays(weights.dense)
        if self.optimizer.l2_dense:
            gradients = gradients._replace(dense=gradients.dense + decays * weights.dense[0])
            penalty = 0.5 * (decays * weights.dense[0].square()).sum(dtype=torch.float64)
            objective = objective + len(batch.targets) * penalty
        rule = self.optimizer.rule(torch.sqrt)
        write(weights.users, batch.users, moved(rule, users, gradients.users, c), number, idle)
        write(weights.items, batch.items, moved(rule, items, gradients.items, c), number, idle)
        weights.dense.copy_(moved(rule, weights.dense[None], gradients.dense[None], c)[0])
        return objective

    def gradients(
        self, users: Tensor, items: Tensor, weights: Weights, batch: Batch
    ) -> tuple[Tensor, Gradients]:
        """Return the objective summed over the instances, without l2_dense, and the gradients of its mean.

        `users` and `items` are the parameters of the rows that the batch touches, [m, width].
        """
        n = len(batch.targets)
        of_users, of_items = users[batch.users.places], items[batch.items.places]
        find = self._in_batch if isinstance(self.job.objective, InBatchSoftmax) else self._by_pairs
        objective, by_users, by_items, by_dense = find(of_users, of_items, weights, batch)
        l2 = self.optimizer.l2
        if l2:
            by_users, by_items = by_users + (l2 / n) * of_users, by_items + (l2 / n) * of_items
            for touched in (of_users, of_items):
                objective = objective + 0.5 * l2 * touched.square().sum(dtype=torch.float64)
        summed = batch.users.add_up(by_users), batch.items.add_up(by_items)
        return objective, Gradients(*summed, by_dense)

    def _by_pairs(self, users: Tensor, items: Tensor, weights: Weights, batch: Batch) -> tuple[Tensor, ...]:
        """Return objective and gradients where an instance is a pair, or the difference of two."""
        n = len(batch.targets)

        def score(users: Tensor, items: Tensor, dense: Tensor) -> Tensor:
            split = self.store.users.split(users), self.store.items.split(items)
            return scores.score_rows(self.job.spec, *split, self._named(dense, weights), self.multiply)

        both = len(items) == 2 * n
        found, backward = pulled_back(score, users.repeat(2, 1) if both else users, items, weights.dense[0])
        if both:
            loss, slopes = losses.pairwise(found[:n] - found[n:])
            slopes = torch.cat([slopes, -slopes])
        else:
            assert isinstance(self.job.objective, Pointwise)
            loss, slopes = losses.pointwise(self.job.objective, self.job.spec.output, found, batch.targets)
            if batch.weights is not None:
                loss, slopes = loss * batch.weights, slopes * batch.weights
        by_users, by_items, by_dense = backward(slopes / n)
        if both:
            by_users = by_users[:n] + by_users[n:]
        return loss.sum(dtype=torch.float64), by_users, by_items, by_dense

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
        by_users, by_items, by_offsets = [], torch.zeros_like(of_items), torch.zeros_like(offsets)
        for first in range(0, n, max(1, PAIRS_AT_ONCE // n)):
            part = of_users[first : first + max(1, PAIRS_AT_ONCE // n)]
            found = self.multiply(part, of_items.T) + offsets
            loss, slopes = losses.in_batch(objective, found, first, batch.item_rows, batch.log_q)
            slopes = slopes / n
            total = total + loss.sum(dtype=torch.float64)
            by_users.append(self.multiply(slopes, of_items))
            by_items = by_items + self.multiply(slopes.T, part)
            by_offsets = by_offsets + slopes.sum(dim=0)
        return total, *backward((torch.cat(by_users), by_items, by_offsets))

    def _named(self, dense: Tensor, weights: Weights) -> dict[str, Tensor]:
        return {**self.store.dense.split(dense), **weights.constants}


def pulled_back(function: Callable[..., Any], *inputs: Tensor) -> tuple[Any, Callable[..., Any]]:
    """Return a function's value, and what turns derivatives by the value into those by the inputs."""
    found: Any = torch.func.vjp(function, *inputs)
    value, backward = found
    return value, backward


def read(rows: Rows, touched: Touched, number: Tensor, idle: Idle | None) -> Tensor:
    """Return the touched rows with their slots, [m, 1 + n_slots, width], as step `number` leaves them."""
    if touched.rows is None:
        return rows.numbers
    found = rows.numbers[touched.rows]
    return found if idle is None else rested(found, rows.latest[touched.rows], number, idle)


def write(rows: Rows, touched: Touched, numbers: Tensor, number: Tensor, idle: Idle | None) -> None:
    """Put the touched rows back after step `number`."""
    if touched.rows is None:
        rows.numbers.copy_(numbers)
        return
    rows.numbers.index_copy_(0, touched.rows, numbers)
    if idle is not None:
        rows.latest.index_copy_(0, touched.rows, number.expand(len(touched.rows)))


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
