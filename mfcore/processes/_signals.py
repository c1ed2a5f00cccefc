"""What to do about Ctrl-C and termination while other processes are at work."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

TERMINATION = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Give a folder that is removed afterwards, even if this process is terminated in between.

    Parameters
    ----------
    prefix : str
        Of the folder's name.

    Yields
    ------
    Path

    Examples
    --------
    >>> from mfcore.processes import temporary_folder
    >>> with temporary_folder("mfcore-docs-") as folder:
    ...     folder.is_dir()
    True
    >>> folder.exists()
    False
    """
    with (
        _termination_as_exit(),
        TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder,
    ):
        yield Path(folder)


@contextmanager
def interruptions_held() -> Iterator[None]:
    """Hold back Ctrl-C and termination until the end of the block; processes that it starts hold them too."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, *TERMINATION])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _termination_as_exit() -> Iterator[None]:
    """Raise SystemExit where a signal would end this process without clearing up."""
    # Only the main thread may set handlers; handlers that others have set stay.
    is_main = threading.current_thread() is threading.main_thread()
    replaced = [one for one in TERMINATION if is_main and signal.getsignal(one) is signal.SIG_DFL]

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for one in replaced:
        signal.signal(one, leave)
    try:
        yield
    finally:
        for one in replaced:
            signal.signal(one, signal.SIG_DFL)
