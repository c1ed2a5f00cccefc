"""One step: rows are read and scored, the gradients of each are added up, and the rule moves it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mfcore.engines import BatchProblem, CatchUpTables, GatheredBatch, Gradients, batch_gradients, dense_decay
from mfcore.objectives import InBatchObjective
from mfcore.optimizers import GradientOptimizer, Rule
from mfcore_torch.batch_rows import BatchRows
from mfcore_torch.deferral import Deferred, caught_up
from mfcore_torch.operators import TorchOperators
from mfcore_torch.ranks import Ranks
from mfcore_torch.store import ParameterStore, Rows, Weights

Part = Callable[[Tensor], tuple[Tensor, ...]]


class Batch(NamedTuple):
    """One batch of n instances.

    Attributes
    ----------
    users : BatchRows
        By the n instances.
    items : BatchRows
        By the n items, and then the n negatives of a pairwise objective.
    targets : Tensor [n]
    weights : Tensor [n], or None for 1
    item_rows : int64 Tensor [n], or None
        The items, and
    log_q : Tensor [n], or None
        what is subtracted from their logits, of an in-batch objective.
    """

    users: BatchRows
    items: BatchRows
    targets: Tensor
    weights: Tensor | None
    item_rows: Tensor | None
    log_q: Tensor | None


class StepGradients(NamedTuple):
    """What a step is made of, before anything is moved.

    Attributes
    ----------
    users, items : Tensors [m, 1 + n_slots, width]
        The rows that the batch touches, with their slots, as the step before left them.
    grad_users, grad_items : Tensors [m, width]
        The gradients of the mean objective, of this rank's share of the batch, by these rows.
    grad_dense : Tensor [n_dense]
    objective : float64 Tensor
        Summed over the share's instances, without what l2_dense adds.
    """

    users: Tensor
    items: Tensor
    grad_users: Tensor
    grad_items: Tensor
    grad_dense: Tensor
    objective: Tensor


@dataclass(frozen=True, eq=False)
class Stepper:
    """What all steps of a job share.

    Attributes
    ----------
    problem : BatchProblem
    optimizer : GradientOptimizer
    store : ParameterStore
    xp : TorchOperators
    ranks : Ranks
    are_apart : bool
        Whether each instance of a batch is a step of its own, as those that share no row can be.
    n_scores : int
        Scores of an in-batch objective that are worked out together.
    matrix_part : callable or None
        `mfcore.engines.in_batch_part` of the objective, compiled or not.
    """

    problem: BatchProblem
    optimizer: GradientOptimizer
    store: ParameterStore
    xp: TorchOperators
    ranks: Ranks
    are_apart: bool
    n_scores: int
    matrix_part: Callable[..., tuple[Tensor, ...]] | None

    def step(
        self, weights: Weights, batch: Batch, c: Tensor, number: Tensor, deferred: Deferred | None
    ) -> Tensor:
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
        deferred : Deferred, or None
            Given where updates are deferred.
        """
        found = self.gradients(weights, batch, number, deferred)
        return found.objective + self.move(weights, batch, found, c, number, deferred)

    def gradients(
        self, weights: Weights, batch: Batch, number: Tensor, deferred: Deferred | None
    ) -> StepGradients:
        """Read the rows that a batch touches, score its instances and find the gradients."""
        of_users, of_items = deferred or (None, None)
        users = self._read(weights.users, batch.users, number - 1, of_users)
        items = self._read(weights.items, batch.items, number - 1, of_items)
        found = self._of_share(users[:, 0], items[:, 0], weights, batch)
        n = len(batch.targets)
        grad_items = found.items
        if not self._is_in_batch:
            of_pairs = [self._spread(one, n) for one in (found.items, found.negatives) if one is not None]
            grad_items = of_pairs[0] if len(of_pairs) == 1 else torch.cat(of_pairs)
        return StepGradients(
            users=users,
            items=items,
            grad_users=batch.users.add_up(self._spread(found.users, n)),
            grad_items=batch.items.add_up(grad_items),
            grad_dense=found.dense,
            objective=found.objective,
        )

    def move(
        self,
        weights: Weights,
        batch: Batch,
        found: StepGradients,
        c: Tensor,
        number: Tensor,
        deferred: Deferred | None,
    ) -> Tensor:
        """Move what a batch touches; return what l2_dense adds to the sum of its objective, float64."""
        rule = self.optimizer.rule(self.xp)
        grad_dense, penalty = found.grad_dense, found.objective.new_zeros(())
        if self.problem.l2_dense:
            decay, of_mean = dense_decay(self.xp, self.problem, weights.dense[0])
            grad_dense, penalty = grad_dense + decay, len(batch.targets) * of_mean
        of_users, of_items = deferred or (None, None)
        for rows, touched, before, gradient, tables in (
            (weights.users, batch.users, found.users, found.grad_users, of_users),
            (weights.items, batch.items, found.items, found.grad_items, of_items),
        ):
            if self.store.is_cut and not self.optimizer.sparse and tables is None:
                self._move_all_held(rows, touched, gradient, c)
            else:
                self._write(rows, touched, moved(rule, before, gradient, c), number, tables)
        weights.dense.copy_(moved(rule, weights.dense[None], grad_dense[None], c)[0])
        return penalty

    def _of_share(self, users: Tensor, items: Tensor, weights: Weights, batch: Batch) -> Gradients:
        """Return the gradients of this rank's instances, given the parameters of the rows [m, width]."""
        n, is_in_batch = len(batch.targets), self._is_in_batch
        mine = self.ranks.share(n)
        of_items = items[batch.items.positions].split(n)
        every = torch.arange(n, device=users.device) if is_in_batch else None
        decayed_items = None
        if is_in_batch and self.ranks.n > 1:
            # All ranks hold the gradients of all items; each adds what its own instances touch.
            decayed_items = torch.zeros_like(of_items[0])
            decayed_items[mine] = of_items[0][mine]
        gathered = GatheredBatch(
            users=users[batch.users.positions[mine]],
            items=of_items[0] if is_in_batch else of_items[0][mine],
            negatives=of_items[1][mine] if len(of_items) > 1 else None,
            dense=weights.dense[0],
            constants=weights.constants,
            targets=batch.targets[mine] if len(of_items) == 1 else None,
            weights=None if batch.weights is None else batch.weights[mine],
            positions=None if every is None else every[mine],
            every=every,
            item_rows=batch.item_rows,
            log_q=batch.log_q,
        )
        return batch_gradients(
            self.xp,
            self.problem,
            gathered,
            n=1 if self.are_apart else n,
            decayed_items=decayed_items,
            in_parts=self._in_parts(len(gathered.users), n, users.device) if is_in_batch else None,
            matrix_part=self.matrix_part if len(gathered.users) else None,
        )

    @property
    def _is_in_batch(self) -> bool:
        return isinstance(self.problem.objective, InBatchObjective)

    def _in_parts(self, n_mine: int, n: int, device: torch.device) -> Callable[[Part], tuple[Tensor, ...]]:
        """Return what works an in-batch objective out for some instances after others."""

        def in_parts(part: Part) -> tuple[Tensor, ...]:
            # Of a rank without instances there is one part, of none.
            parts = torch.arange(n_mine, device=device).split(max(1, self.n_scores // n))
            total, grad_users, *others = part(parts[0])
            of_users = [grad_users]
            for numbers in parts[1:]:
                loss, grad_users, *more = part(numbers)
                total = total + loss
                of_users.append(grad_users)
                others = [one + another for one, another in zip(others, more, strict=True)]
            return total, torch.cat(of_users), *others

        return in_parts

    def _read(self, rows: Rows, touched: BatchRows, number: Tensor, tables: CatchUpTables | None) -> Tensor:
        """Return the touched rows with their slots as step `number` leaves them."""
        if touched.rows is None:
            return rows.numbers
        if self.store.is_cut:
            found = self.store.cut_of(rows).read(rows.numbers, touched.rows)
        else:
            found = rows.numbers[touched.rows]
        return (
            found if tables is None else caught_up(self.xp, found, rows.latest[touched.rows], number, tables)
        )

    def _write(
        self, rows: Rows, touched: BatchRows, numbers: Tensor, number: Tensor, tables: CatchUpTables | None
    ) -> None:
        """Put the touched rows back after step `number`."""
        if touched.rows is None:
            rows.numbers.copy_(numbers)
            return
        if self.store.is_cut:
            self.store.cut_of(rows).write(rows.numbers, touched.rows, numbers)
        else:
            rows.numbers.index_copy_(0, touched.rows, numbers)
        if tables is not None:
            rows.latest.index_copy_(0, touched.rows, number.expand(len(touched.rows)))

    def _move_all_held(self, rows: Rows, touched: BatchRows, gradient: Tensor, c: Tensor) -> None:
        """Move all rows that this rank holds of a cut table, touched or not."""
        assert touched.rows is not None
        held = rows.numbers
        gradients = held.new_zeros(len(held), gradient.shape[1])
        self.store.cut_of(rows).write(gradients, touched.rows, gradient)
        held.copy_(moved(self.optimizer.rule(self.xp), held, gradients, c))

    def _spread(self, gradients: Tensor, n: int) -> Tensor:
        """Return the gradients of all n pairs of a batch, given those of this rank's share of them."""
        if self.ranks.n == 1:
            return gradients
        spread = gradients.new_zeros(n, gradients.shape[1])
        spread[self.ranks.share(n)] = gradients
        return spread


def moved(rule: Rule, numbers: Tensor, gradient: Tensor, c: Tensor) -> Tensor:
    """Return parameters and slots, [m, 1 + n_slots, width], after one step."""
    parameter, *slots = numbers.unbind(dim=1)
    first, second = [*slots, 0.0, 0.0][:2]
    after: Any = rule(parameter, gradient, first, second, c)
    return torch.stack(after[: 1 + len(slots)], dim=1)
