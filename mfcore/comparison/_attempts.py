"""The result of a task on an engine, or why there is none, in this process or in a new one."""

import traceback
from collections.abc import Sequence
from contextlib import closing

from mfcore.comparison._runs import EngineRun, Failure, OnEpoch, RefusalError, run
from mfcore.comparison._tasks import Task
from mfcore.engines import BackendUnavailableError
from mfcore.errors import MfcoreError
from mfcore.processes import Death, Send, run_in_processes


def attempt(engine: str, task: Task, seeds: Sequence[int], on_epoch: OnEpoch) -> EngineRun | Failure:
    """Run a task on an engine in this process; return a `Failure` where that fails.

    Parameters
    ----------
    engine : str
        Of the registry.
    task : Task
    seeds : sequence of int
    on_epoch : callable
        Called with the seed and the `EpochRecord` of each epoch that has ended.

    Returns
    -------
    EngineRun or Failure

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.comparison import EvaluationPlan, ExampleUsers, Monitor, Task, attempt
    >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> train, test = mfcore.splits.ratio(data, test=0.2, seed=0)
    >>> task = Task(
    ...     mfcore.MF(2), train, {"epochs": 1}, Monitor(mfcore.RMSE(), None),
    ...     EvaluationPlan(test, [mfcore.RMSE()], []), ExampleUsers([3], k=2, min_count=1),
    ... )
    >>> run = attempt("reference", task, seeds=[0], on_epoch=lambda seed, record: None)
    >>> run.engine, len(run.records), len(run.rankings[0])
    ('reference', 1, 2)
    >>> attempt("absent", task, seeds=[0], on_epoch=lambda seed, record: None).reason[:25]
    "no backend 'absent' is in"
    """
    try:
        return run(engine, task, seeds, on_epoch)
    except (RefusalError, BackendUnavailableError) as error:
        return Failure(engine, str(error), refused=True)
    except MfcoreError as error:
        return Failure(engine, str(error))
    except Exception as error:
        return Failure(engine, f"{type(error).__name__}: {error}", log=traceback.format_exc())


def attempt_in_process(
    engine: str, task: Task, seeds: Sequence[int], on_epoch: OnEpoch
) -> EngineRun | Failure:
    """Run a task on an engine in a new process, which ends with this call, however it ends.

    Parameters
    ----------
    engine : str
        Of the registry.
    task : Task
    seeds : sequence of int
    on_epoch : callable
        Called with the seed and the `EpochRecord` of each epoch that has ended.

    Returns
    -------
    EngineRun or Failure
        A failure also where the process dies.

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.comparison import EvaluationPlan, ExampleUsers, Monitor, Task, attempt_in_process
    >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> train, test = mfcore.splits.ratio(data, test=0.2, seed=0)
    >>> task = Task(
    ...     mfcore.MF(2), train, {"epochs": 1}, Monitor(mfcore.RMSE(), None),
    ...     EvaluationPlan(test, [mfcore.RMSE()], []), ExampleUsers([3], k=2, min_count=1),
    ... )
    >>> run = attempt_in_process("reference", task, [0], lambda seed, record: print(seed, record.epoch))
    0 0
    >>> run.engine
    'reference'
    """
    outcome: EngineRun | Failure = Failure(engine, "its process was done without a result")
    with closing(run_in_processes(_work, [(engine, task, tuple(seeds))], 1)) as messages:
        for _, message in messages:
            if isinstance(message, Death):
                outcome = Failure(engine, message.reason, log=message.log)
            elif isinstance(message, EngineRun | Failure):
                outcome = message
            else:
                on_epoch(*message)
    return outcome


def _work(send: Send, engine: str, task: Task, seeds: Sequence[int]) -> None:
    send(attempt(engine, task, seeds, lambda seed, record: send((seed, record))))
