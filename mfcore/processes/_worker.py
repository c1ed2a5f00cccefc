"""What the other process does."""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path


def work(sender: "Connection[object, object]", payload: bytes, log: Path) -> None:
    """Call a function that is given `send` and its arguments; send () when it is done.

    Parameters
    ----------
    sender : Connection
        Of each message (message,) is sent.
    payload : bytes
        The pickled function and arguments: unpickled here, so that what comes of it is noted in the log.
    log : Path
        Where all that is printed goes: frameworks print greetings and warnings that a user cannot act on.
    """
    # On a terminal Ctrl-C is for the process that started this one, and ends it with all that it has started.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _write_to(log)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    function, arguments = pickle.loads(payload)
    function(lambda message: sender.send((message,)), *arguments)
    sender.send(())


def _write_to(log: Path) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with log.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)


def _end_with_parent() -> None:
    """End this process when its parent was killed and could not end it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
