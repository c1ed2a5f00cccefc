"""What an engine makes of a task, or why it makes nothing of it, in this process or in a new one."""

import traceback
from collections.abc import Sequence
from contextlib import closing

from mfcore.comparison._runs import EngineRun, Failure, OnEpoch, RefusalError, run
from mfcore.comparison._tasks import Task
from mfcore.engines import BackendUnavailableError
from mfcore.errors import MfcoreError
from mfcore.processes import Death, Send, run_in_processes


def attempt(engine: str, task: Task, seeds: Sequence[int], on_epoch: OnEpoch) -> EngineRun | Failure:
    """Do what `run` does, and return why it failed where it does."""
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
    """Do what `attempt` does in a new process, which ends with this call, however it ends.

    Returns
    -------
    EngineRun or Failure
        A failure also where the process dies.
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
