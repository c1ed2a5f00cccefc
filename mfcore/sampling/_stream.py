"""What an epoch shows at each position: a pure function of (data, plan, seed, epoch).

This is the definition, in numpy. Engines compute the same instances natively; a simple engine uses
`epoch` as it is.

The epoch's list, before any shuffling, holds every interaction followed by its negatives: instance q
belongs to interaction q // (1 + n_negatives); slot q % (1 + n_negatives) = 0 is the interaction itself,
the other slots are its negatives. A paired epoch lists, for each interaction, one instance with each of its
negatives: instance q belongs to interaction q // n_negatives, and its negative is that of slot
1 + q % n_negatives above, the same item. The `shuffled` order shows instance shuffle(t) at position t. The
`blocked` order sorts the shuffled order by cell of a grid (stably) and visits the cells stratum by stratum.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfcore.data import Interactions
from mfcore.errors import InvalidArgumentError
from mfcore.sampling._grid import Grid, choose_n_blocks
from mfcore.sampling._negatives import PopularityTable, popular_negatives, uniform_negatives
from mfcore.sampling.philox import Words
from mfcore.sampling.shuffle import KeyedShuffle
from mfcore.settings import Settings
from mfcore.validation import require_integer, require_number

ORDERS = ("shuffled", "blocked")
INSTANCES_PER_PASS = 1 << 20


@dataclass(frozen=True)
class SamplingPlan(Settings):
    """How an epoch is made from the interactions.

    Attributes
    ----------
    n_negatives : int
        Sampled negatives per interaction, drawn anew in every epoch; 0 for none.
    order : {"shuffled", "blocked"}
    popularity_exponent : float
        Negatives are drawn with a chance proportional to (number of the item's interactions)^exponent; 0 for
        uniform ones.
    paired : bool
        Whether an instance is an interaction together with one of its negatives.

    Raises
    ------
    InvalidArgumentError
        A setting is outside its domain, or does not fit the others.

    Examples
    --------
    >>> from mfcore.sampling import SamplingPlan
    >>> SamplingPlan(n_negatives=4).n_instances(100), SamplingPlan(4, paired=True).n_instances(100)
    (500, 400)
    """

    n_negatives: int = 0
    order: Literal["shuffled", "blocked"] = "shuffled"
    popularity_exponent: float = 0.0
    paired: bool = False

    def __post_init__(self) -> None:
        if self.n_negatives < 0:
            raise InvalidArgumentError(f"n_negatives is {self.n_negatives}; it must be 0 or more")
        require_number("popularity_exponent", self.popularity_exponent, at_least=0)
        if self.popularity_exponent and not self.n_negatives:
            raise InvalidArgumentError(
                f"popularity_exponent is {self.popularity_exponent:g}, but no negatives are sampled; pass"
                " n_negatives too"
            )
        if self.paired and not self.n_negatives:
            raise InvalidArgumentError("a paired epoch needs negatives; pass n_negatives=1 or more")
        if self.paired and self.order == "blocked":
            raise InvalidArgumentError(
                "the blocked order keeps instances apart that share a user or an item, and those of a paired"
                " epoch have two items; pass order='shuffled'"
            )
        if self.order not in ORDERS:
            raise InvalidArgumentError(f"order is {self.order!r}; it must be one of {', '.join(ORDERS)}")

    def n_instances(self, n_interactions: int) -> int:
        """Return the number of instances of an epoch.

        Parameters
        ----------
        n_interactions : int

        Returns
        -------
        int

        Examples
        --------
        >>> from mfcore.sampling import SamplingPlan
        >>> SamplingPlan(n_negatives=4).n_instances(100)
        500
        """
        return n_interactions * self.per_interaction

    @property
    def per_interaction(self) -> int:
        """The number of instances of each interaction in an epoch."""
        return self.n_negatives if self.paired else 1 + self.n_negatives

    def popularity_table(self, data: Interactions) -> PopularityTable | None:
        """Return the table that negatives of these data are drawn from.

        Parameters
        ----------
        data : Interactions

        Returns
        -------
        PopularityTable or None
            None where negatives are uniform.

        Examples
        --------
        >>> from mfcore import Interactions
        >>> data = Interactions.from_columns(["ann", "ann", "bob"], ["a", "c", "b"])
        >>> from mfcore.sampling import SamplingPlan, epoch
        >>> plan = SamplingPlan(n_negatives=1, popularity_exponent=0.75)
        >>> table = plan.popularity_table(data)
        >>> [len(epoch(data, plan, seed=0, epoch=number, popularity=table)) for number in range(2)]
        [6, 6]
        """
        if not self.popularity_exponent:
            return None
        return PopularityTable.make(data.seen, data.item_counts, self.popularity_exponent)

    def bucketing_epoch(self, epoch: int) -> int:
        """Return the epoch whose shuffle orders the cells of the blocked order.

        With negatives the instances are new in every epoch and are sorted into cells again; without, they are
        sorted once and an epoch only rotates the cells.

        Parameters
        ----------
        epoch : int

        Returns
        -------
        int

        Examples
        --------
        >>> from mfcore.sampling import SamplingPlan
        >>> SamplingPlan(order="blocked").bucketing_epoch(3)
        0
        >>> SamplingPlan(n_negatives=4, order="blocked").bucketing_epoch(3)
        3
        """
        return epoch if self.n_negatives else 0


@dataclass(frozen=True, eq=False)
class Instances:
    """Training instances in the order in which they are shown.

    Attributes
    ----------
    users, items : int64 arrays [n]
        Rows.
    interactions : int64 array [n]
        The interaction that each instance belongs to; targets and weights of positives are looked up there.
    positive : bool array [n]
        False where the item is a sampled negative.
    negatives : int64 array [n] or None
        The item that each instance's item is compared with, in a paired epoch.

    Examples
    --------
    >>> from mfcore import Interactions
    >>> data = Interactions.from_columns(["ann", "ann", "bob"], ["a", "c", "b"])
    >>> from mfcore.sampling import SamplingPlan, epoch
    >>> shown = epoch(data, SamplingPlan(n_negatives=1), seed=0, epoch=0)
    >>> len(shown), int(shown.positive.sum())
    (6, 3)
    """

    users: Words
    items: Words
    interactions: Words
    positive: NDArray[np.bool_]
    negatives: Words | None = None

    def __len__(self) -> int:
        return len(self.users)

    def batches(self, batch_size: int) -> Iterator["Instances"]:
        """Cut the instances into successive batches.

        Parameters
        ----------
        batch_size : int

        Yields
        ------
        Instances
            batch_size of them; the last batch may be shorter.

        Examples
        --------
        >>> from mfcore import Interactions
        >>> data = Interactions.from_columns(["ann", "ann", "bob"], ["a", "c", "b"])
        >>> from mfcore.sampling import SamplingPlan, epoch
        >>> shown = epoch(data, SamplingPlan(n_negatives=1), seed=0, epoch=0)
        >>> [len(batch) for batch in shown.batches(4)]
        [4, 2]
        """
        for start in range(0, len(self), batch_size):
            yield self.take(slice(start, start + batch_size))

    def take(self, where: slice | Words) -> "Instances":
        """Return the instances at some positions.

        Parameters
        ----------
        where : slice or int64 array [m]

        Returns
        -------
        Instances
            m of them.

        Examples
        --------
        >>> from mfcore import Interactions
        >>> data = Interactions.from_columns(["ann", "ann", "bob"], ["a", "c", "b"])
        >>> from mfcore.sampling import SamplingPlan, epoch
        >>> shown = epoch(data, SamplingPlan(n_negatives=1), seed=0, epoch=0)
        >>> len(shown.take(shown.positive.nonzero()[0]))
        3
        """
        return Instances(
            self.users[where],
            self.items[where],
            self.interactions[where],
            self.positive[where],
            None if self.negatives is None else self.negatives[where],
        )


def shuffled_instances(
    data: Interactions,
    plan: SamplingPlan,
    *,
    seed: int,
    epoch: int,
    positions: Words,
    popularity: PopularityTable | None = None,
) -> Instances:
    """Return the instances at the given positions of the shuffled order.

    Parameters
    ----------
    data : Interactions
    plan : SamplingPlan
    seed : int in [0, 2^63)
    epoch : int
        Counted from 0.
    positions : int64 array [n]
        In [0, plan.n_instances(len(data))).
    popularity : PopularityTable, optional
        What `plan.popularity_table(data)` returns; built anew by each call where it is left out.

    Returns
    -------
    Instances
        n of them, in the order of the positions.

    Examples
    --------
    >>> import numpy as np
    >>> from mfcore import Interactions
    >>> data = Interactions.from_columns(["ann", "ann", "bob"], ["a", "c", "b"])
    >>> from mfcore.sampling import SamplingPlan, epoch, shuffled_instances
    >>> plan = SamplingPlan(n_negatives=1)
    >>> part = shuffled_instances(data, plan, seed=0, epoch=0, positions=np.array([4, 5]))
    >>> bool((part.items == epoch(data, plan, seed=0, epoch=0).items[4:]).all())
    True
    """
    shuffle = KeyedShuffle.make(plan.n_instances(len(data)), seed, epoch)
    interactions, slots = np.divmod(shuffle(positions), plan.per_interaction)
    users = data.users[interactions].astype(np.int64)
    items = data.items[interactions].astype(np.int64)
    if plan.paired:
        slots = slots + 1
    drawn = np.flatnonzero(slots)
    arguments: Any = {
        "seed": seed,
        "epoch": epoch,
        "instances": interactions[drawn] * (1 + plan.n_negatives) + slots[drawn],
    }
    if popularity is None:
        popularity = plan.popularity_table(data)
    if popularity is None:
        negatives = uniform_negatives(data.seen, data.n_items, users[drawn], **arguments)
    else:
        negatives = popular_negatives(popularity, data.seen, users[drawn], **arguments)
    if plan.paired:
        return Instances(users, items, interactions, np.ones(len(users), dtype=np.bool_), negatives)
    items[drawn] = negatives
    return Instances(users, items, interactions, slots == 0)


def slices(
    data: Interactions,
    plan: SamplingPlan,
    *,
    seed: int,
    epoch: int,
    size: int,
    start: int = 0,
    stop: int | None = None,
    popularity: PopularityTable | None = None,
) -> Iterator[Instances]:
    """Yield the instances of an epoch in the order of the plan, some at a time.

    Joined, the slices are `epoch(...)` between `start` and `stop`, whatever their size. Memory is that of one
    slice, and for the blocked order 8 bytes more for each instance of the epoch (some 30 while it is sorted).

    Parameters
    ----------
    data : Interactions
    plan : SamplingPlan
    seed : int in [0, 2^63)
    epoch : int
        Counted from 0.
    size : int
        Instances of a slice, at least 1; the last slice may be shorter.
    start, stop : int
        The positions of the epoch to yield: [start, stop), up to its end where `stop` is None.
    popularity : PopularityTable, optional
        What `plan.popularity_table(data)` returns: pass it to build it once for many epochs.

    Yields
    ------
    Instances
        `size` of them, or fewer at the end.

    Raises
    ------
    InvalidArgumentError
        When called: `size` is below 1, or the positions do not lie in the epoch.

    Examples
    --------
    >>> from mfcore import Interactions
    >>> data = Interactions.from_columns(["ann", "ann", "bob"], ["a", "c", "b"])
    >>> from mfcore.sampling import SamplingPlan, slices
    >>> plan = SamplingPlan(n_negatives=1)
    >>> [len(part) for part in slices(data, plan, seed=0, epoch=0, size=4)]
    [4, 2]
    """
    n_instances = plan.n_instances(len(data))
    require_integer("size", size, 1)
    end = require_integer("stop", n_instances if stop is None else stop, 0, n_instances)
    require_integer("start", start, 0, end)
    if popularity is None:
        popularity = plan.popularity_table(data)
    order: Words | None = None
    listed = epoch
    if plan.order == "blocked":
        order = _blocked_order(data, plan, seed, epoch, popularity)
        listed = plan.bucketing_epoch(epoch)
    return (
        shuffled_instances(data, plan, seed=seed, epoch=listed, positions=positions, popularity=popularity)
        for positions in _position_ranges(start, end, size, order)
    )


def _position_ranges(start: int, stop: int, size: int, order: Words | None) -> Iterator[Words]:
    """Yield the positions of the shuffled order that the positions [start, stop) of an epoch show."""
    for first in range(start, stop, size):
        last = min(first + size, stop)
        yield np.arange(first, last, dtype=np.int64) if order is None else order[first:last]


def _blocked_order(
    data: Interactions, plan: SamplingPlan, seed: int, epoch: int, popularity: PopularityTable | None
) -> Words:
    """Return, for each position of a blocked epoch, its position in the shuffled order, int64 [n]."""
    n_instances = plan.n_instances(len(data))
    n_blocks = choose_n_blocks(n_instances, data.n_users, data.n_items)
    grid = Grid.make(data.n_users, data.n_items, n_blocks, seed)
    cells = np.empty(n_instances, dtype=np.int32)
    for positions in _position_ranges(0, n_instances, INSTANCES_PER_PASS, None):
        part = shuffled_instances(
            data,
            plan,
            seed=seed,
            epoch=plan.bucketing_epoch(epoch),
            positions=positions,
            popularity=popularity,
        )
        cells[positions] = grid.cells(part.users, part.items)
    by_cell = np.argsort(cells, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=n_blocks**2))])
    return by_cell[grid.visit_order(starts, seed, epoch)]


def epoch(
    data: Interactions,
    plan: SamplingPlan,
    *,
    seed: int,
    epoch: int,
    popularity: PopularityTable | None = None,
) -> Instances:
    """Return all instances of an epoch in the order of the plan.

    Parameters
    ----------
    data : Interactions
    plan : SamplingPlan
    seed : int in [0, 2^63)
    epoch : int
        Counted from 0.
    popularity : PopularityTable, optional
        What `plan.popularity_table(data)` returns: pass it to build it once for many epochs.

    Returns
    -------
    Instances
        plan.n_instances(len(data)) of them.

    Examples
    --------
    >>> from mfcore import Interactions
    >>> from mfcore.sampling import SamplingPlan, epoch
    >>> data = Interactions.from_columns(["ann", "bob", "cat"], ["a", "b", "c"])
    >>> shown = epoch(data, SamplingPlan(), seed=0, epoch=0)
    >>> sorted(shown.interactions.tolist())
    [0, 1, 2]
    """
    n_instances = plan.n_instances(len(data))
    return next(slices(data, plan, seed=seed, epoch=epoch, size=n_instances, popularity=popularity))
