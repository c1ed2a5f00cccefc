"""Fixtures that every group of tests shares."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder that holds ml-100k, ml-1m and ml-1m-ncf as published; skip where there is none."""
    candidates = [Path(__file__).resolve().parents[2] / "shared" / "data"]
    if os.environ.get("MFCORE_DATA"):
        candidates.insert(0, Path(os.environ["MFCORE_DATA"]))
    for folder in candidates:
        if (folder / "ml-100k" / "u.data").is_file():
            return folder
    pytest.skip("no MovieLens data: set MFCORE_DATA to a folder that holds ml-100k, ml-1m and ml-1m-ncf")
