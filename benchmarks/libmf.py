"""LIBMF through ctypes: as pip installs it, and compiled for this processor's vectors.

``python -m benchmarks.libmf FOLDER`` fetches the source that pip would install and compiles it there; set
MFCORE_LIBMF to that folder, or to one library. LIBMF: Chin, Yuan, Yang, Zhuang, Juan & Lin, "LIBMF: a
library for parallel matrix factorization in shared-memory systems", JMLR 17(86), 2016. Its steps are
Adagrad's, one rate for some factors of a row and one for the rest.
"""

import ctypes
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.ours import THREADS, Training
from mfcore import Interactions

VARIABLE = "MFCORE_LIBMF"
BUILDS = {"avx": ("-DUSEAVX", "-mavx"), "native": ("-DUSEAVX", "-march=native")}
# The default of the Python package.
N_BINS = 26
RATING = np.dtype([("user", np.int32), ("item", np.int32), ("value", np.float32)])


class Problem(ctypes.Structure):
    """mf_problem of mf.h."""

    _fields_ = (("m", ctypes.c_int), ("n", ctypes.c_int), ("nnz", ctypes.c_longlong), ("R", ctypes.c_void_p))


class Parameter(ctypes.Structure):
    """mf_parameter of mf.h."""

    _fields_ = (
        ("fun", ctypes.c_int),
        ("k", ctypes.c_int),
        ("nr_threads", ctypes.c_int),
        ("nr_bins", ctypes.c_int),
        ("nr_iters", ctypes.c_int),
        ("lambda_p1", ctypes.c_float),
        ("lambda_p2", ctypes.c_float),
        ("lambda_q1", ctypes.c_float),
        ("lambda_q2", ctypes.c_float),
        ("eta", ctypes.c_float),
        ("do_nmf", ctypes.c_bool),
        ("quiet", ctypes.c_bool),
        ("copy_data", ctypes.c_bool),
    )


class FoundModel(ctypes.Structure):
    """mf_model of mf.h."""

    _fields_ = (
        ("fun", ctypes.c_int),
        ("m", ctypes.c_int),
        ("n", ctypes.c_int),
        ("k", ctypes.c_int),
        ("b", ctypes.c_float),
        ("P", ctypes.POINTER(ctypes.c_float)),
        ("Q", ctypes.POINTER(ctypes.c_float)),
    )


def find(build: str) -> Path:
    """Return the library of a build: "pip", or one of `BUILDS`; skip where there is none."""
    named = Path(os.environ.get(VARIABLE, ""))
    if build == "pip":
        return _installed()
    if not os.environ.get(VARIABLE):
        pytest.skip(f"set {VARIABLE} to the folder that `python -m benchmarks.libmf FOLDER` filled")
    path = named / f"libmf_{build}.so" if named.is_dir() else named
    if not path.is_file() or path.stem != f"libmf_{build}":
        pytest.skip(f"{VARIABLE} is {named}, where there is no libmf_{build}.so")
    return path


def train(
    library: Path, data: Interactions, *, n_factors: int, l2: float, learning_rate: float, epochs: int
) -> Training:
    """Train by squared loss without biases; an epoch's time is the difference of a long and a short run.

    Parameters
    ----------
    library : Path
    data : Interactions
    n_factors : int
    l2, learning_rate : float
        lambda of both sides, and eta.
    epochs : int
        From 2.
    """
    lib = _load(library)
    ratings = np.empty(len(data), dtype=RATING)
    ratings["user"], ratings["item"], ratings["value"] = data.users, data.items, data.values
    problem = Problem(data.n_users, data.n_items, len(data), ratings.ctypes.data)

    def parameter(n_epochs: int) -> Parameter:
        return Parameter(
            0, n_factors, THREADS, N_BINS, n_epochs, 0, l2, 0, l2, learning_rate, False, True, True
        )

    with _run(lib, problem, parameter(1)) as (_, short):
        pass
    with _run(lib, problem, parameter(epochs)) as (model, long):
        users = np.ctypeslib.as_array(model.P, (model.m, model.k)).copy()
        items = np.ctypeslib.as_array(model.Q, (model.n, model.k)).copy()
    return Training((long - short) / (epochs - 1), short, users, items)


@contextmanager
def _run(lib: Any, problem: Problem, parameter: Parameter) -> Iterator[tuple[Any, float]]:
    """Train, hand out the model and the seconds that it took, and free it."""
    start = time.perf_counter()
    pointer = lib.mf_train(ctypes.byref(problem), parameter)
    seconds = time.perf_counter() - start
    try:
        yield pointer.contents, seconds
    finally:
        lib.mf_destroy_model(ctypes.byref(pointer))


def _load(path: Path) -> Any:
    lib = ctypes.CDLL(str(path))
    lib.mf_train.argtypes = (ctypes.POINTER(Problem), Parameter)
    lib.mf_train.restype = ctypes.POINTER(FoundModel)
    lib.mf_destroy_model.restype = None
    return lib


def _installed() -> Path:
    try:
        found = [file for file in files("libmf") or () if file.suffix in (".so", ".pyd")]
    except PackageNotFoundError:
        found = []
    if not found:
        pytest.skip("libmf is not installed: pip install 'mfcore[peers]'")
    return Path(str(found[0].locate()))


def compile_into(folder: Path) -> list[Path]:
    """Fetch the source of the libmf package by pip, and compile each of `BUILDS` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*pip, "--quiet", "--dest", str(folder), "libmf==0.9.2"], check=True)
    with tarfile.open(folder / "libmf-0.9.2.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    source = folder / "libmf-0.9.2" / "src_cpp"
    made = []
    for build, flags in BUILDS.items():
        target = folder / f"libmf_{build}.so"
        command = ["g++", "-O3", "-std=c++11", "-fPIC", "-shared", "-pthread", *flags, "-o", str(target)]
        subprocess.run([*command, str(source / "mf.cpp"), str(source / "libmf_interface.cpp")], check=True)
        made.append(target)
    return made


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.libmf FOLDER")
    print(*compile_into(Path(sys.argv[1])), sep="\n")
