"""How long a job would take on an engine, estimated from measurements.

An epoch is described by the work that is in it, and an engine by what a unit of each kind of work costs:

    seconds = start + epochs x (steps x step + instances x instance
                                + negatives x negative + products x product)

The costs lie in costs.json, beside this file: for each engine and family of jobs, fitted to the benchmarks by
``python -m benchmarks.fit_costs``. They rank engines, on other machines too, rather than predict
times: see `Costs.seconds`.
"""

import json
from dataclasses import dataclass
from functools import cache
from math import ceil, prod
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mfcore.engines.contract import Backend, TrainingJob
from mfcore.optimizers import WALS
from mfcore.sampling import choose_n_blocks

PATH = Path(__file__).with_name("costs.json")
SINGLE_STEPS, BATCHES, THROUGH_LAYERS, IN_BATCH = (
    "single steps",
    "batches",
    "batches through layers",
    "in-batch softmax",
)


@dataclass(frozen=True)
class Work:
    """What an epoch of a job takes.

    Attributes
    ----------
    family : str
        Jobs of a family cost an engine the same, unit by unit: single steps of SGD, batches of models with
        and without dense layers, the in-batch softmax, and each solver of WALS.
    steps : float
        Steps that wait for one another; of single steps in the blocked order, rounds of one from each block.
    instances : float
        Training instances; of WALS, interactions.
    negatives : float
        Sampled ones.
    products : float
        Multiplications of a score's numbers: for each instance the factors of its user and item, and every
        dense kernel. Of the in-batch softmax all pairs of a batch as well, of WALS the rows' systems.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.engines import Work
    >>> from mfcore.training import make_job
    >>> data = mfcore.Interactions.from_columns([1, 1, 2], [5, 6, 5])
    >>> Work.of(make_job(mfcore.MF(2), data, optimizer="adam", batch_size=2))
    Work(family='batches', steps=2, instances=3, negatives=0, products=12)
    """

    family: str
    steps: float
    instances: float
    negatives: float
    products: float

    @classmethod
    def of(cls, job: TrainingJob) -> "Work":
        """Return the work of an epoch of a job.

        Parameters
        ----------
        job : TrainingJob

        Returns
        -------
        Work
        """
        if isinstance(job.optimizer, WALS):
            return cls._of_wals(job, job.optimizer)
        n, width = job.n_instances, _n_numbers(job)
        if job.objective.pairing == "in-batch":
            width += job.batch_size * _embedding_width(job)
        return cls(
            family=_family(job),
            steps=ceil(n / _n_together(job)),
            instances=n,
            negatives=len(job.data) * job.sampling.n_negatives,
            products=n * width * (1 + job.sampling.paired),
        )

    @classmethod
    def _of_wals(cls, job: TrainingJob, optimizer: WALS) -> "Work":
        """Return that of the systems of all rows, each formed from its interactions and solved."""
        k, steps = job.spec.parameter_shapes(1, 1)["user_factors"][1], optimizer.steps
        block = min(optimizer.block_size, k)
        by_interaction, by_row = {
            "cg": (2 * k * steps, k**2 * steps),
            "cholesky": (k**2 / 2, k**3 / 6),
            "subspace": (k * block / 2, k * block**2 / 6 + k**2),
        }[optimizer.solver]
        # Of users and of items: each interaction is in a system of both.
        n_rows = job.data.n_users + job.data.n_items
        products = 2 * len(job.data) * by_interaction + n_rows * by_row
        return cls(f"WALS by {optimizer.solver}", 0, len(job.data), 0, products)


@dataclass(frozen=True)
class Costs:
    """What work of a family costs on an engine.

    Attributes
    ----------
    start_s : float
        Seconds until the first epoch begins in a process that has not used the engine yet: to load it, and
        to load the code that it compiled for such a job, or to compile it where the engine does not keep it.
    step_us, instance_ns, negative_ns, product_ns : float
        Micro- and nanoseconds of a step, an instance, a negative and a product.
    threads : int
        The number that it was measured on.

    Examples
    --------
    >>> from mfcore.engines import Costs, Work
    >>> costs = Costs(2.0, step_us=50, instance_ns=20, negative_ns=10, product_ns=0.1, threads=2)
    >>> work = Work("batches", steps=1000, instances=1e6, negatives=0, products=1e8)
    >>> round(costs.seconds(work, epochs=10, threads=2), 2), costs.least_seconds_on_cuda(work, epochs=10)
    (2.8, 2.5)
    """

    start_s: float
    step_us: float
    instance_ns: float
    negative_ns: float
    product_ns: float
    threads: int

    def seconds(self, work: Work, epochs: int, threads: int) -> float:
        """Return how long a job takes.

        Steps wait for one another whatever the threads; the rest is assumed to be divided evenly among them.
        The float width, the optimizer and the size of the tables are left out: they cost all engines about
        alike.

        Parameters
        ----------
        work : Work
            Of an epoch.
        epochs : int
        threads : int

        Returns
        -------
        float
            Seconds.
        """
        nanoseconds = (
            work.instances * self.instance_ns
            + work.negatives * self.negative_ns
            + work.products * self.product_ns
        )
        epoch = work.steps * self.step_us * 1e-6 + nanoseconds * 1e-9 * self.threads / threads
        return self.start_s + epochs * epoch

    def least_seconds_on_cuda(self, work: Work, epochs: int) -> float:
        """Return the least that a job takes on a CUDA device: to start, and to call each step.

        Parameters
        ----------
        work : Work
            Of an epoch.
        epochs : int

        Returns
        -------
        float
            Seconds.
        """
        return self.start_s + epochs * work.steps * self.step_us * 1e-6


@runtime_checkable
class CostedBackend(Backend, Protocol):
    """An engine that estimates its own costs, so that backend="auto" weighs it against the others.

    mfcore's own do not: costs.json holds theirs, and they need not be loaded to be weighed.

    Examples
    --------
    >>> from mfcore.engines import CostedBackend
    >>> from mfcore.engines.reference import backend
    >>> isinstance(backend, CostedBackend)
    False
    """

    def costs(self, job: TrainingJob) -> Costs | None:
        """Return what the work of a job costs here.

        An engine without this method, or of unknown costs, is taken only where none of known costs does the
        job, but before the reference. `Work.of` says what work is counted, and
        ``python -m benchmarks.fit_costs`` how the costs of mfcore's own engines are measured.

        Parameters
        ----------
        job : TrainingJob
            One that is not unsupported.

        Returns
        -------
        Costs or None
            None where they are not known.

        Examples
        --------
        >>> from mfcore.engines import Costs
        >>> def costs(self, job):
        ...     return Costs(2.0, step_us=50, instance_ns=20, negative_ns=10, product_ns=0.1, threads=2)
        """


@dataclass(frozen=True)
class CostTable:
    """The measured costs.

    Attributes
    ----------
    machine : str
        The one that they were measured on.
    threads : int
    engines : dict of engine to dict of family to Costs
    on_cuda : frozenset of str
        Those of the engines that run on CUDA devices too.

    Examples
    --------
    >>> from mfcore.engines import CostTable
    >>> costs = {"start_s": 2.0, "step_us": 50, "instance_ns": 20, "product_ns": 0.1}
    >>> engine = {"negative_ns": 10, "on_cuda": False, "families": {"batches": costs}}
    >>> document = {"threads": 2, "machine": "a laptop", "engines": {"mine": engine}}
    >>> CostTable.from_document(document).engines["mine"]["batches"].start_s
    2.0
    """

    machine: str
    threads: int
    engines: dict[str, dict[str, Costs]]
    on_cuda: frozenset[str]

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "CostTable":
        """Return the table that costs.json holds.

        Parameters
        ----------
        document : dict
            As JSON has it: "threads", "machine" and "engines".

        Returns
        -------
        CostTable
        """
        threads = document["threads"]
        return cls(
            machine=document["machine"],
            threads=threads,
            engines={
                name: {
                    family: Costs(**costs, negative_ns=engine["negative_ns"], threads=threads)
                    for family, costs in engine["families"].items()
                }
                for name, engine in document["engines"].items()
            },
            on_cuda=frozenset(name for name, engine in document["engines"].items() if engine["on_cuda"]),
        )


@cache
def measured() -> CostTable:
    """Return the table of costs that comes with this version."""
    return CostTable.from_document(json.loads(PATH.read_text(encoding="utf-8")))


def _family(job: TrainingJob) -> str:
    if job.sampling.order == "blocked":
        return SINGLE_STEPS
    if job.objective.pairing == "in-batch":
        return IN_BATCH
    return THROUGH_LAYERS if getattr(job.spec, "layers", ()) else BATCHES


def _n_together(job: TrainingJob) -> int:
    """Return how many instances are trained on before the next ones are."""
    if job.sampling.order != "blocked":
        return job.batch_size
    return choose_n_blocks(job.n_instances, job.data.n_users, job.data.n_items)


def _n_numbers(job: TrainingJob) -> int:
    """Return how many parameters a model of one user and one item has."""
    return sum(prod(parameter.shape) for parameter in job.spec.parameters(1, 1).values() if parameter.trained)


def _embedding_width(job: TrainingJob) -> int:
    """Return the length of the vectors whose inner product is the score."""
    width: int = (getattr(job.spec, "layers", ()) or (getattr(job.spec, "n_factors", 1),))[-1]
    return width
