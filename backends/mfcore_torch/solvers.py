"""Solvers of the rows' systems A x = y of WALS, for a group of rows at once.

    A = gram + sum a f f' + ridge I,    y = sum (b - a o) f - pull

The sums run over a row's interactions; f and o are the features and the offset of the other side's row.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from mfcore_torch.groups import Group, Part

# Columns of a system that are worked on at a time: of its lower half little more is then computed, and the
# products are still large.
FORMED, FACTORISED = 64, 32

ALL = slice(None)


class Half(NamedTuple):
    """What half an epoch reads: the other side's features and offsets, w0 times their sums, and the ridge.

    Attributes
    ----------
    features : tensor [n_others, width]
    offsets : tensor [n_others], or None for 0
    gram : tensor [width, width], or None for 0
    pull : tensor [width]
    ridge : tensor [n_rows]
    """

    features: Tensor
    offsets: Tensor | None
    gram: Tensor | None
    pull: Tensor
    ridge: Tensor


class Terms:
    """The interactions of a part of a group, with their features gathered: sums over them, row by row."""

    def __init__(self, half: Half, part: Part) -> None:
        n_rows, n_segments, length = part.others.shape
        others, width = part.others.flatten(), half.features.shape[1]
        self.segments, self.rows = (n_rows * n_segments, length), (n_rows, n_segments * length)
        self.a, self.b = part.a.view(self.rows), part.b.view(self.rows)
        self.features = half.features.index_select(0, others).view(*self.segments, width)
        self.offsets = None if half.offsets is None else half.offsets.index_select(0, others).view(self.rows)

    def products(self, x: Tensor) -> Tensor:
        """Return f.x of each interaction, [rows, n]."""
        # A row of few times a matrix: the other way round is several times slower on CPUs.
        return torch.bmm(x[:, None], self.features.view(*self.rows, x.shape[1]).mT)[:, 0]

    def scores(self, x: Tensor) -> Tensor:
        """Return o + f.x of each interaction, [rows, n]."""
        products = self.products(x)
        return products if self.offsets is None else products.add_(self.offsets)

    def sum(self, weights: Tensor, columns: slice) -> Tensor:
        """Return some columns of sum weight f, of weights [rows, n]."""
        n_segments, length = self.segments
        weights = weights.view(n_segments, 1, length)
        return self._over_segments(torch.bmm(weights, self.features[..., columns]))[:, 0]

    def add_squares(self, systems: Tensor, columns: slice) -> None:
        """Add some columns and rows of sum a f f' to the lower halves of systems."""
        features = self.features[..., columns]
        scaled = features * self.a.view(*self.segments, 1)
        width = features.shape[2]
        step = min(FORMED, -(-width // 2))
        for first in range(0, width, step):
            squares = torch.bmm(scaled[..., first:].mT, features[..., first : first + step])
            systems[:, first:, first : first + step] += self._over_segments(squares)

    def _over_segments(self, sums: Tensor) -> Tensor:
        n_rows = self.rows[0]
        return sums if len(sums) == n_rows else sums.view(n_rows, -1, *sums.shape[1:]).sum(dim=1)


class Equations:
    """The systems of a group's rows; x and what is like it is [rows, width]."""

    def __init__(self, half: Half, group: Group) -> None:
        self.half, self.group = half, group
        self.ridge = half.ridge.index_select(0, group.rows)[:, None]

    def residual(self, x: Tensor, columns: slice = ALL) -> Tensor:
        """Return some columns of y - A x."""
        result = -self.half.pull[columns] - self._regular(x, columns)
        for terms in self._terms():
            result += terms.sum(terms.b - terms.a * terms.scores(x), columns)
        return result

    def times(self, x: Tensor) -> Tensor:
        """Return A x."""
        result = self._regular(x, ALL)
        for terms in self._terms():
            result += terms.sum(terms.a * terms.products(x), ALL)
        return result

    def systems(self, columns: slice) -> Tensor:
        """Return some columns and rows of A; of each system the lower half only."""
        width = len(self.half.pull[columns])
        systems = self.ridge.new_zeros(len(self.ridge), width, width)
        if self.half.gram is not None:
            systems += self.half.gram[columns, columns]
        systems.diagonal(dim1=1, dim2=2).add_(self.ridge)
        for terms in self._terms():
            terms.add_squares(systems, columns)
        return systems

    def loss(self, x: Tensor) -> Tensor:
        """Return the sum of a s^2 - 2 b s over the interactions, with scores s; float64 []."""
        loss = self.ridge.new_zeros((), dtype=torch.float64)
        for terms in self._terms():
            scores = terms.scores(x)
            loss += ((terms.a * scores - 2 * terms.b) * scores).sum(dtype=torch.float64)
        return loss

    def _regular(self, x: Tensor, columns: slice) -> Tensor:
        """Return some columns of (gram + ridge I) x."""
        result = self.ridge * x[:, columns]
        return result if self.half.gram is None else result.addmm_(x, self.half.gram[:, columns])

    def _terms(self) -> Iterator[Terms]:
        if len(self.group.parts) == 1:
            yield self._only
        else:
            for part in self.group.parts:
                yield Terms(self.half, part)

    @cached_property
    def _only(self) -> Terms:
        return Terms(self.half, self.group.parts[0])


def conjugate_gradient(equations: Equations, x: Tensor, steps: int) -> Tensor:
    """Return x after some steps of conjugate gradient, each row stopping early by itself.

    The rule is that of `mfcore.engines.reference.conjugate_gradient`.
    """
    residual = equations.residual(x)
    direction = residual
    square = _dot(residual, residual)
    floor = square * 1e-20
    for _ in range(steps):
        image = equations.times(direction)
        curvature = _dot(direction, image)
        going = (square > floor) & (curvature > 0)
        length = torch.where(going, square / curvature, 0.0)
        x = torch.addcmul(x, length, direction)
        residual = torch.addcmul(residual, length, image, value=-1)
        new_square = _dot(residual, residual)
        direction = torch.addcmul(residual, torch.where(going, new_square / square, 0.0), direction)
        square = new_square
    return x


def _dot(x: Tensor, y: Tensor) -> Tensor:
    product: Tensor = torch.linalg.vecdot(x, y)
    return product[:, None]


def by_blocks(equations: Equations, x: Tensor, block_size: int) -> tuple[Tensor, Tensor]:
    """Return x after each block of its elements, in turn, was solved for with the others fixed.

    Returns
    -------
    x : tensor [rows, width]
    regular : bool tensor [rows]
        Whether a row's systems were positive definite; its x is meaningless where not.
    """
    x = x.clone()
    regular = torch.ones(len(x), dtype=torch.bool, device=x.device)
    for first in range(0, x.shape[1], block_size):
        columns = slice(first, first + block_size)
        systems = equations.systems(columns)
        regular &= factorise(systems)
        residual = equations.residual(x, columns)[..., None]
        x[:, columns] += torch.cholesky_solve(residual, systems.mT, upper=True)[..., 0]
    return x, regular


def factorise(systems: Tensor) -> Tensor:
    """Overwrite the lower halves of systems [n, width, width] with their Cholesky factors.

    Blocks of columns in turn, so that most of the work is in products of matrices: one and a half to three
    times as fast as one call of `torch.linalg.cholesky_ex`, measured on a CPU with widths from 64 to 256.

    Returns
    -------
    bool tensor [n]
        Whether a system is positive definite; its factor is meaningless where not.
    """
    regular = torch.ones(len(systems), dtype=torch.bool, device=systems.device)
    for first in range(0, systems.shape[1], FACTORISED):
        done, block = slice(0, first), slice(first, first + FACTORISED)
        panel = systems[:, first:, block]
        if first:
            panel = panel - torch.bmm(systems[:, first:, done], systems[:, block, done].mT)
        n_columns = panel.shape[2]
        # Transposed, both are stored column by column, as LAPACK takes them.
        factor, failed = torch.linalg.cholesky_ex(panel[:, :n_columns].mT, upper=True)
        regular &= failed == 0
        systems[:, block, block] = factor.mT
        systems[:, first + n_columns :, block] = torch.linalg.solve_triangular(
            factor, panel[:, n_columns:], upper=True, left=False
        )
    return regular
