"""The other process of `mfcore.comparison.processes`."""

import os
import pickle
import sys
import traceback
from collections.abc import Sequence

from mfcore.comparison._runs import EngineRun, Failure, RefusalError, Tell, run
from mfcore.comparison._tasks import Assignment
from mfcore.engines import BackendMissingError
from mfcore.errors import MfcoreError
from mfcore.model import EpochRecord


def work() -> None:
    """Read from standard input what to do; write to standard output each epoch, then what it came to."""
    # What frameworks print must not get between the messages.
    with os.fdopen(os.dup(1), "wb") as messages:
        os.dup2(2, 1)
        engine, assignment, seeds = pickle.load(sys.stdin.buffer)

        def tell(seed: int, record: EpochRecord) -> None:
            pickle.dump((seed, record), messages)
            messages.flush()

        pickle.dump(attempt(engine, assignment, seeds, tell), messages)


def attempt(engine: str, assignment: Assignment, seeds: Sequence[int], tell: Tell) -> EngineRun | Failure:
    """Do what `run` does, and return why it failed where it does."""
    try:
        return run(engine, assignment, seeds, tell)
    except (RefusalError, BackendMissingError) as error:
        return Failure(engine, str(error), refused=True)
    except MfcoreError as error:
        return Failure(engine, str(error))
    except Exception as error:
        return Failure(engine, f"{type(error).__name__}: {error}", log=traceback.format_exc())
