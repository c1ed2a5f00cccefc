"""Downloads that are whole or not there: verified, moved into place in one step, unpacked within bounds."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import stat
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile, ZipInfo

from mfcore.errors import DatasetUnavailableError
from mfcore.files import replacing

CHUNK = 2**20
MAX_UNPACKED_BYTES = 8 * 2**30


def download(
    url: str,
    destination: Path,
    *,
    sha256: str | None,
    progress: bool = True,
    timeout: float = 20.0,
    retries: int = 2,
) -> None:
    """Fetch one file.

    The bytes go to a temporary file in the destination's folder, which takes the destination's name only when
    complete and verified; on any failure nothing is left behind.

    Parameters
    ----------
    url : str
        http, https or file address.
    destination : Path
        Path to write; its folder is made. An existing file is replaced.
    sha256 : str or None
        Expected SHA-256 in hexadecimal; None only where none is known.
    progress : bool
        Show a bar on stderr, if that is a terminal.
    timeout : float
        Seconds without an answer before giving up.
    retries : int
        Further attempts after a transfer that broke off or a server that was busy. A server that cannot be
        reached at all is not tried again.

    Raises
    ------
    DatasetUnavailableError
        Where the server cannot be reached, refuses, breaks off every time, or sends other bytes.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(retries + 1):
        try:
            with replacing(destination) as scratch, scratch.open("wb") as file:
                actual = _transfer(url, file, progress=progress, timeout=timeout)
                _verify(url, actual, sha256)
            return
        except _Transient as error:
            if attempt == retries:
                raise DatasetUnavailableError(f"{url}: {error} (tried {retries + 1} times)") from error
            time.sleep(0.2 * 2**attempt)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def extract_zip(archive: Path, destination: Path, *, max_bytes: int = MAX_UNPACKED_BYTES) -> None:
    """Unpack a zip into a new folder, which appears complete or not at all.

    A single folder at the top of the archive is left out, so that ``ml-100k/u.data`` in the archive becomes
    ``destination/u.data``. Where another process has made the destination meanwhile, that one stays.

    Parameters
    ----------
    archive : Path
        Path of the zip.
    destination : Path
        Folder to make; its parent exists.
    max_bytes : int
        Bound on the unpacked size.

    Raises
    ------
    DatasetUnavailableError
        For a damaged archive, one that unpacks to more than the bound, and members that are links or would
        land outside the destination.
    """
    with folder_in_place(destination) as folder:
        try:
            with ZipFile(archive) as zipped:
                members = [member for member in zipped.infolist() if _is_wanted(member)]
                _check_members(archive, members, max_bytes)
                top = _common_top([PurePosixPath(member.filename) for member in members])
                for member in members:
                    path = folder / PurePosixPath(member.filename).relative_to(top)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with zipped.open(member) as source, path.open("wb") as target:
                        shutil.copyfileobj(source, target, CHUNK)
        except (BadZipFile, EOFError, RuntimeError, zlib.error) as error:
            raise DatasetUnavailableError(f"{archive} is a damaged zip archive: {error}") from error


@contextmanager
def folder_in_place(destination: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the destination's name at the end; on an error it goes away."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        try:
            os.replace(scratch, destination)
        except OSError:
            # Whoever fetched the same data set at the same time has verified the same bytes.
            if not destination.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Transient(Exception):
    """A failure that may pass when tried again."""


def _transfer(url: str, file: BinaryIO, *, progress: bool, timeout: float) -> str:
    """Copy the answer of a server to a file, and return its SHA-256."""
    request = urllib.request.Request(url, headers={"User-Agent": "mfcore"})
    digest = hashlib.sha256()
    received = 0
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            expected = int(response.headers.get("Content-Length") or 0)
            with _progress_bar(url, expected, progress) as advance:
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    received += len(chunk)
                    advance(len(chunk))
    except urllib.error.HTTPError as error:
        if error.code in (429, 500, 502, 503, 504):
            raise _Transient(f"the server answered {error.code} {error.reason}") from error
        raise DatasetUnavailableError(f"{url}: the server answered {error.code} {error.reason}") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _Transient(f"the transfer broke off after {received:,} bytes ({error!r})") from error
    except (urllib.error.URLError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise DatasetUnavailableError(f"{url} cannot be reached: {reason}") from error
    if received < expected:
        raise _Transient(f"the transfer broke off after {received:,} of {expected:,} bytes")
    return digest.hexdigest()


def _verify(url: str, actual: str, expected: str | None) -> None:
    if expected is not None and actual != expected:
        raise DatasetUnavailableError(
            f"{url} sent other bytes than expected, which were discarded: SHA-256 is {actual}, should be "
            f"{expected}. The file was replaced at its source, or changed on the way"
        )


@contextmanager
def _progress_bar(url: str, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    if not (shown and sys.stderr.isatty()):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(url.rpartition("/")[2], total=total or None)
        yield lambda n_bytes: bar.advance(task, n_bytes)


def _is_wanted(member: ZipInfo) -> bool:
    return not member.is_dir() and not member.filename.startswith("__MACOSX/")


def _check_members(archive: Path, members: list[ZipInfo], max_bytes: int) -> None:
    if not members:
        raise DatasetUnavailableError(f"{archive} holds no files")
    for member in members:
        path = PurePosixPath(member.filename)
        foreign = "\\" in member.filename or ":" in path.parts[0]
        if path.is_absolute() or ".." in path.parts or foreign:
            raise DatasetUnavailableError(
                f"{archive} was not unpacked: its member {member.filename!r} would land outside the folder"
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DatasetUnavailableError(f"{archive} was not unpacked: its member {path} is a link")
    # zipfile stops at the declared size of a member, so the declared total bounds the real one.
    total = sum(member.file_size for member in members)
    if total > max_bytes:
        raise DatasetUnavailableError(
            f"{archive} was not unpacked: it holds {total:,} bytes, more than the {max_bytes:,} allowed"
        )


def _common_top(paths: list[PurePosixPath]) -> PurePosixPath:
    tops = {path.parts[0] for path in paths}
    flat = any(len(path.parts) == 1 for path in paths)
    return PurePosixPath(tops.pop()) if len(tops) == 1 and not flat else PurePosixPath()
