"""One cell on one engine: how far it is off."""

from mfcore.engines import Backend, StreamBackend
from mfcore.testing import _arrays as arrays
from mfcore.testing import _streams as streams
from mfcore.testing._cells import SOLVERS, Cell, small_data_cut
from mfcore.testing._deviations import Deviation, Outcome
from mfcore.testing._measures import INITIAL, STREAM, Measured, Measures, of_first_step, of_last_step
from mfcore.testing._references import References


def examine(backend: Backend, cell: Cell, references: References, device: str = "cpu") -> Measures:
    """Return how far an engine is from the reference engine in a cell that it does.

    Parameters
    ----------
    backend : Backend
    cell : Cell
    references : References
    device : str
        Where the engine trains; the reference engine has the CPU alone.

    Returns
    -------
    dict of str to Measured
        By aspect, those of `measures.ASPECTS` that the cell shows.

    Raises
    ------
    ConformanceError
        Arrays of other names, shapes or dtypes than the contract's, or views of what the trainer works on.
    """
    with small_data_cut():
        return {
            **_of_stream(backend, cell, device),
            **_of_first_step(backend, cell, references, device),
            **_of_whole_run(backend, cell, references, device),
        }


def _of_stream(backend: Backend, cell: Cell, device: str) -> Measures:
    if not isinstance(backend, StreamBackend) or cell.optimizer in SOLVERS:
        return {}
    job = cell.job(device)
    differing = [
        streams.n_differences(backend, job, epoch, 0, job.n_instances) for epoch in range(cell.epochs)
    ]
    return {STREAM: Measured(sum(differing), 0)}


def _of_first_step(backend: Backend, cell: Cell, references: References, device: str) -> Measures:
    job = cell.first_step(device)
    found = Outcome.of(backend, job, 1)
    return of_first_step(cell, Deviation.between(references.first_step(cell), found, job.parameters))


def _of_whole_run(backend: Backend, cell: Cell, references: References, device: str) -> Measures:
    job = cell.job(device)
    trainer = backend.trainer(job)
    arrays.require_arrays(trainer, job)
    initial = Measured(arrays.n_differences(trainer.parameters(), job.parameters), 0)
    found = Outcome.of_trainer(trainer, range(cell.epochs))
    arrays.require_arrays(trainer, job)
    whole = of_last_step(cell, Deviation.between(references.whole(cell), found, job.parameters))
    return {INITIAL: initial, **whole}
