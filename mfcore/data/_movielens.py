"""MovieLens, in every layout that GroupLens has published, from a folder or straight from its zip.

=============  =======================================  ==========================================
layout         ratings                                  titles and genres
=============  =======================================  ==========================================
100k           u.data, tabs                             u.item, "|", latin-1, one flag a genre
1m, 10m        ratings.dat, "::"                        movies.dat, "::", latin-1 or utf-8
20m and later  ratings.csv, comma, with a header        movies.csv, quoted, utf-8
=============  =======================================  ==========================================

Source: F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", TiiS 5(4), 2015,
and the README of each archive.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from mfcore.data._delimited import parse_ratings
from mfcore.data._raw import ROLES, RawInteractions
from mfcore.errors import InvalidDataError

if TYPE_CHECKING:
    from zipfile import ZipFile

GENRES_100K = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
NO_GENRES = "(no genres listed)"


@dataclass(frozen=True)
class Movie:
    """What a MovieLens file says of one film: title with year, and genres."""

    title: str
    genres: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """Where one layout keeps its ratings and films, and how to parse them."""

    ratings: str
    movies: str
    separator: str
    header_rows: int
    parse_movies: Callable[[str], Iterator[tuple[int, Movie]]]


def parse_movielens(path: Path) -> RawInteractions:
    """Return the ratings of a MovieLens folder or zip, with titles and genres where it holds its films."""
    with _archive(path) as archive:
        layout = find_layout(archive.names)
        if layout is None:
            raise InvalidDataError(
                f"{path} holds no MovieLens ratings: expected u.data, ratings.dat or ratings.csv in it"
            )
        movies = _parse_movies(archive, layout) if layout.movies in archive.names else None
        with archive.open(layout.ratings) as file:
            table = parse_ratings(
                file,
                separator=layout.separator,
                skip_rows=layout.header_rows,
                where=path / layout.ratings,
            )
    return RawInteractions.from_roles(
        path,
        {role: table[role] for role in ROLES},
        item_names=None if movies is None else {one_id: movie.title for one_id, movie in movies.items()},
        item_genres=None if movies is None else {one_id: movie.genres for one_id, movie in movies.items()},
    )


def find_layout(names: Sequence[str]) -> Layout | None:
    """Return the layout whose file of ratings is among the file names, None where there is none."""
    return next((layout for layout in LAYOUTS if layout.ratings in names), None)


def read_movies(folder: str | Path) -> dict[int, Movie]:
    """Return the films of a MovieLens folder or zip by id, rated or not."""
    path = Path(folder)
    with _archive(path) as archive:
        layout = next((layout for layout in LAYOUTS if layout.movies in archive.names), None)
        if layout is None:
            raise InvalidDataError(
                f"{path} holds no MovieLens films: expected u.item, movies.dat or movies.csv"
            )
        return _parse_movies(archive, layout)


def _parse_movies(archive: _Folder | _Zip, layout: Layout) -> dict[int, Movie]:
    with archive.open(layout.movies) as file:
        raw = file.read()
    # 1m is latin-1 and 10m utf-8 under the same file name; titles with accents are no utf-8 by accident.
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    movies: dict[int, Movie] = {}
    try:
        movies.update(layout.parse_movies(text))
    except (ValueError, IndexError) as error:
        after = f" after movie {next(reversed(movies))}" if movies else ""
        raise InvalidDataError(f"{archive.path}: {layout.movies} cannot be parsed{after}: {error}") from error
    return movies


def _movies_100k(text: str) -> Iterator[tuple[int, Movie]]:
    for line in _lines(text):
        if line:
            movie_id, title, *fields = line.split("|")
            flags = fields[-len(GENRES_100K) :]
            genres = (genre for genre, flag in zip(GENRES_100K, flags, strict=True) if flag == "1")
            yield int(movie_id), Movie(title.strip(), tuple(genres))


def _movies_dat(text: str) -> Iterator[tuple[int, Movie]]:
    for line in _lines(text):
        if line:
            movie_id, title, genres = line.split("::")
            yield int(movie_id), Movie(title.strip(), _split_genres(genres))


def _movies_csv(text: str) -> Iterator[tuple[int, Movie]]:
    rows = csv.reader(io.StringIO(text))
    next(rows, None)
    for movie_id, title, genres in rows:
        yield int(movie_id), Movie(title.strip(), _split_genres(genres))


def _lines(text: str) -> Iterator[str]:
    # str.splitlines would also break at control characters that latin-1 text may hold.
    return (line.rstrip("\r") for line in text.split("\n"))


def _split_genres(genres: str) -> tuple[str, ...]:
    return () if genres in ("", NO_GENRES) else tuple(genres.split("|"))


LAYOUTS = (
    Layout("u.data", "u.item", "\t", 0, _movies_100k),
    Layout("ratings.dat", "movies.dat", "::", 0, _movies_dat),
    Layout("ratings.csv", "movies.csv", ",", 1, _movies_csv),
)


@dataclass(frozen=True)
class _Folder:
    """The files of a folder by name."""

    path: Path

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self.path.iterdir()]

    def open(self, name: str) -> IO[bytes]:
        return (self.path / name).open("rb")


@dataclass(frozen=True)
class _Zip:
    """The files of a zip by name, whatever folder inside it holds them; the shallowest one counts."""

    path: Path
    archive: ZipFile

    @property
    def members(self) -> dict[str, str]:
        ordered = sorted(self.archive.namelist(), key=lambda member: -member.count("/"))
        return {
            PurePosixPath(member).name: member for member in ordered if not member.startswith("__MACOSX/")
        }

    @property
    def names(self) -> list[str]:
        return list(self.members)

    def open(self, name: str) -> IO[bytes]:
        return self.archive.open(self.members[name])


@contextmanager
def _archive(path: Path) -> Iterator[_Folder | _Zip]:
    if path.is_dir():
        yield _Folder(path)
        return
    if not path.is_file():
        raise InvalidDataError(f"{path} does not exist; pass a MovieLens folder or zip")
    from zipfile import BadZipFile, ZipFile

    try:
        with ZipFile(path) as archive:
            yield _Zip(path, archive)
    except BadZipFile as error:
        raise InvalidDataError(
            f"{path} is no complete zip archive ({error}); fetch it again, or pass the folder"
        ) from error
