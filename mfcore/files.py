"""Writing files so that a reader finds the old one or the new one, never a part of one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; move it to `path` once the body has succeeded.

    The content is flushed to disk before the move, so an interruption at any time leaves `path` as it was or
    complete. On an error the temporary file is removed.

    Parameters
    ----------
    path : str or path

    Yields
    ------
    Path
        To write to; it exists and is empty.

    Raises
    ------
    FileNotFoundError
        The folder does not exist.

    Examples
    --------
    >>> from pathlib import Path
    >>> from mfcore.files import replacing
    >>> with replacing("notes.txt") as scratch:
    ...     _ = scratch.write_text("whole", encoding="utf-8")
    >>> Path("notes.txt").read_text(encoding="utf-8")
    'whole'
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {target.parent} to write {target.name} to; create it first"
        )
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
