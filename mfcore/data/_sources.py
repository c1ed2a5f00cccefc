"""Where a named data set comes from when it is not on disk: a zip, raw files, or a wheel that carries it.

What only a fetch needs (network, archives, processes) is imported where it is used: every `import mfcore`
passes through here.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mfcore.data._interactions import Interactions
from mfcore.data._movielens import GENRES_100K
from mfcore.data._ncf import NEGATIVE, TEST, TRAIN
from mfcore.data._published import NcfSplit, read_ncf
from mfcore.errors import DatasetUnavailableError

# u.data exactly as GroupLens published it, whichever way it came.
U_DATA_SHA256 = "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"
N_MOVIES_100K = 1682
PIP_TIMEOUT = 300


class Source(Protocol):
    """One way to get a data set."""

    @property
    def origin(self) -> str:
        """Address or requirement, for messages."""

    def fetch(self, folder: Path, *, progress: bool) -> None:
        """Make the folder, whole and verified; raise DatasetUnavailableError and leave nothing otherwise."""


@dataclass(frozen=True)
class ZipSource:
    """A zip at a URL, pinned by its SHA-256."""

    url: str
    sha256: str

    @property
    def origin(self) -> str:
        """The URL."""
        return self.url

    def fetch(self, folder: Path, *, progress: bool) -> None:
        """Download, verify and unpack."""
        import tempfile

        from mfcore.data._fetch import download, extract_zip

        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
            archive = Path(scratch) / "archive.zip"
            download(self.url, archive, sha256=self.sha256, progress=progress)
            extract_zip(archive, folder)


@dataclass(frozen=True)
class NcfSource:
    """The three files of an NCF data set below a URL, pinned by what they say.

    Nobody publishes digests of these files, and copies differ in the times of the training rows. So
    `content_sha256` pins the content instead: see `ncf_content_sha256`.
    """

    base_url: str
    prefix: str
    content_sha256: str

    @property
    def origin(self) -> str:
        """The common URL of the files."""
        return f"{self.base_url}/{self.prefix}"

    def fetch(self, folder: Path, *, progress: bool) -> None:
        """Download the files, read them, and verify what they say."""
        from mfcore.data._fetch import download, folder_in_place

        with folder_in_place(folder) as scratch:
            for suffix in (TRAIN, TEST, NEGATIVE):
                download(
                    self.origin + suffix, scratch / (self.prefix + suffix), sha256=None, progress=progress
                )
            actual = ncf_content_sha256(read_ncf(scratch))
            if actual != self.content_sha256:
                raise DatasetUnavailableError(
                    f"{self.origin} holds other data than expected, which were discarded: the SHA-256 of the "
                    f"content is {actual}, should be {self.content_sha256}"
                )


@dataclass(frozen=True)
class RecboleWheelSource:
    """ml-100k out of the wheel of RecBole, for machines that reach a package index and nothing else.

    pip downloads that one wheel, without its dependencies, from whatever index it is set up for. It carries
    the ratings byte for byte, and titles and genres in a format of its own, which is converted back.
    """

    requirement: str
    sha256: str

    @property
    def origin(self) -> str:
        """The requirement, as pip takes it."""
        return f"pip download {self.requirement}"

    def fetch(self, folder: Path, *, progress: bool) -> None:
        """Download the wheel, verify it, and convert what it carries."""
        import tempfile

        from mfcore.data._fetch import file_sha256

        with tempfile.TemporaryDirectory() as scratch:
            wheel = self._download(Path(scratch))
            actual = file_sha256(wheel)
            if actual != self.sha256:
                raise DatasetUnavailableError(
                    f"{wheel.name} is another file than expected: SHA-256 is {actual}, should be "
                    f"{self.sha256}"
                )
            convert_recbole_wheel(wheel, folder)

    def _download(self, folder: Path) -> Path:
        import subprocess

        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
        command += ["--disable-pip-version-check", "--dest", str(folder), self.requirement]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT, check=False)
        except subprocess.TimeoutExpired as error:
            raise DatasetUnavailableError(f"{self.origin} took longer than {PIP_TIMEOUT} s") from error
        wheels = list(folder.glob("*.whl"))
        if run.returncode != 0 or len(wheels) != 1:
            last = (run.stderr.strip().splitlines() or ["no wheel came"])[-1]
            remedy = "; python -m ensurepip installs pip" if "No module named pip" in last else ""
            raise DatasetUnavailableError(f"{self.origin} failed: {last}{remedy}")
        return wheels[0]


def convert_recbole_wheel(wheel: Path, folder: Path) -> None:
    """Write u.data and u.item of ml-100k, in the published layout, from the files of a RecBole wheel.

    Raises
    ------
    DatasetUnavailableError
        Where the wheel does not carry them, or the ratings are not the published ones byte for byte.
    """
    import hashlib
    from zipfile import BadZipFile, ZipFile

    from mfcore.data._fetch import folder_in_place

    inside = "recbole/dataset_example/ml-100k/ml-100k"
    try:
        with ZipFile(wheel) as archive:
            ratings, movies = archive.read(f"{inside}.inter"), archive.read(f"{inside}.item").decode("utf-8")
    except (BadZipFile, KeyError) as error:
        raise DatasetUnavailableError(f"{wheel.name} does not carry ml-100k: {error}") from error
    _, _, u_data = ratings.partition(b"\n")
    if hashlib.sha256(u_data).hexdigest() != U_DATA_SHA256:
        raise DatasetUnavailableError(f"the ratings in {wheel.name} are not those of ml-100k byte for byte")
    lines = [_u_item_line(*line.split("\t")) for line in movies.splitlines()[1:]]
    if len(lines) != N_MOVIES_100K:
        raise DatasetUnavailableError(f"{wheel.name} lists {len(lines)} films, not {N_MOVIES_100K}")
    with folder_in_place(folder) as scratch:
        (scratch / "u.data").write_bytes(u_data)
        (scratch / "u.item").write_bytes("".join(lines).encode("latin-1"))


def ncf_content_sha256(split: NcfSplit) -> str:
    """Return the SHA-256 of what an NCF data set says, whatever its line ends, order and times.

    That of, as little-endian int64: the training rows (user, item, rating) in ascending order, the test
    rows in the order of the file, and the negatives of each.
    """
    import hashlib

    train = _rows(split.train)
    negatives = split.test.item_ids.ids[split.negatives]
    digest = hashlib.sha256()
    for block in (train[np.lexsort(train.T[::-1])], _rows(split.test), negatives):
        digest.update(block.astype("<i8").tobytes())
    return digest.hexdigest()


def _rows(data: Interactions) -> npt.NDArray[np.int64]:
    return np.column_stack(
        [data.user_ids.ids[data.users], data.item_ids.ids[data.items], data.values.astype(np.int64)]
    )


def _u_item_line(movie_id: str, title: str, year: str, genres: str) -> str:
    """Return one line of u.item; release dates and addresses, which the wheel leaves out, stay empty."""
    # The one film without a name, "unknown" to GroupLens, has this spelling for title and year.
    name = "unknown" if year == "unkonwn" else f"{title} ({year})"
    known = set(genres.split(" "))
    flags = "|".join("1" if genre in known else "0" for genre in GENRES_100K)
    return f"{movie_id}|{name}||||{flags}\n"
