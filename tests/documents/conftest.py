"""What the documents say, taken out of them, so that tests run what a reader would type."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from mfcore import settings
from mfcore.settings import load_plugin

ROOT = Path(__file__).parents[2]


def _blocks(document: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.S | re.M)


@pytest.fixture(scope="session")
def blocks() -> Callable[[str], list[str]]:
    """Return the function from a document's path to its blocks of Python, in their order."""
    return _blocks


@pytest.fixture(scope="module")
def own_parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """Import the module of docs/write_your_own.md, and forget its classes at the end."""
    tables = (settings._classes, settings._named)
    before = [dict(table) for table in tables]
    path = tmp_path_factory.mktemp("own") / "own_parts.py"
    path.write_text(_blocks("docs/write_your_own.md")[0], encoding="utf-8")
    earlier = sys.modules.pop("own_parts", None)
    yield load_plugin(str(path))
    sys.modules.pop("own_parts")
    if earlier is not None:
        sys.modules["own_parts"] = earlier
    for table, kept in zip(tables, before, strict=True):
        table.clear()
        table.update(kept)
