"""A small film data set, a model of it, and the command itself."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mfcore
from mfcore.cli import main

N_USERS, N_FILMS = 40, 24
TITLES = [
    "Alien (1979)",
    "Aliens (1986)",
    "Brazil (1985)",
    "Casablanca (1942)",
    "[REC] (2007)",
    "Star Wars (1977)",
    *(f"Film {number} (1990)" for number in range(7, N_FILMS + 1)),
]


@dataclass(frozen=True)
class Outcome:
    """How the command ended, and what it printed."""

    status: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs `mfcore` with some arguments in this process."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a process that finds no data sets, wherever they may lie on this machine."""
    empty = str(tmp_path_factory.mktemp("no_data_sets"))
    return {**os.environ, "MFCORE_DATA": empty, "XDG_CACHE_HOME": empty}


@pytest.fixture
def process(environment: dict[str, str]) -> Command:
    """Return a function that runs `mfcore` with some arguments in a process of its own, through pipes."""

    def run(*arguments: object) -> Outcome:
        words = [sys.executable, "-m", "mfcore", *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environment)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(autouse=True)
def _no_data_sets(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MFCORE_DATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, environment[name])


def ratings() -> tuple[Any, Any, Any]:
    """Return users, items (from 1) and stars by a planted taste; each user rates half of the films."""
    generator = np.random.default_rng(0)
    users = np.repeat(np.arange(1, N_USERS + 1), N_FILMS // 2)
    items = np.concatenate([generator.permutation(N_FILMS)[: N_FILMS // 2] + 1 for _ in range(N_USERS)])
    taste = np.where((users % 2) == (items % 2), 1.2, -1.2)
    stars = np.clip(np.rint(3 + taste + 0.7 * generator.standard_normal(len(users))), 1, 5)
    return users, items, stars.astype(int)


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 480 ratings of 24 films in the layout of MovieLens 100K."""
    folder = tmp_path_factory.mktemp("films")
    lines = [
        f"{user}\t{item}\t{stars}\t{880_000_000 + time}"
        for time, (user, item, stars) in enumerate(zip(*ratings(), strict=True))
    ]
    (folder / "u.data").write_text("\n".join(lines) + "\n")
    flags = "|".join("0" for _ in range(18))
    (folder / "u.item").write_text(
        "".join(f"{number}|{title}|||url|1|{flags}\n" for number, title in enumerate(TITLES, start=1)),
        encoding="latin-1",
    )
    return folder


@pytest.fixture(scope="session")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a CSV file of users and items with string ids, times and nothing to tell them apart by."""
    path = tmp_path_factory.mktemp("clicks") / "clicks.csv"
    rows = [f"u{user},i{item},{time}" for time, (user, item, _) in enumerate(zip(*ratings(), strict=True))]
    path.write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    return path


@pytest.fixture(scope="session")
def ncf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an NCF data set: the last film of each user held out, five negatives each."""
    folder = tmp_path_factory.mktemp("ncf")
    users, items, stars = ratings()
    train, test, negatives = [], [], []
    for user in range(1, N_USERS + 1):
        seen = items[users == user]
        rows = [f"{user}\t{item}\t{star}\t0" for item, star in zip(seen, stars[users == user], strict=True)]
        train += rows[:-1]
        test.append(rows[-1])
        unseen = [str(item) for item in range(1, N_FILMS + 1) if item not in seen][:5]
        negatives.append("\t".join([f"({user},{seen[-1]})", *unseen]))
    for suffix, lines in (("train.rating", train), ("test.rating", test), ("test.negative", negatives)):
        (folder / f"small.{suffix}").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def model_file(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a model of the films, trained on a random 80 % of the ratings."""
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    train, _ = mfcore.splits.ratio(mfcore.Interactions.read(films), 0.2, seed=0)
    spec = mfcore.MF(n_factors=3, biases=True, output=mfcore.RatingRange(1, 5))
    optimizer = mfcore.WALS(l2=0.1)
    model = mfcore.fit(spec, train, optimizer=optimizer, epochs=5, backend="reference", progress=False)
    model.save(path, optimizer_state=True)
    return path
