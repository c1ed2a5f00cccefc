"""What `import mfcore` brings into a fresh process."""

import subprocess
import sys
import textwrap

import pytest

HEAVY = [
    *("numba", "llvmlite", "torch", "tensorflow", "keras", "matplotlib", "polars", "pandas", "pyarrow"),
    *("scipy", "rich", "typer", "narwhals", "safetensors", "platformdirs", "psutil"),
]


def run(source):
    """Run Python source in a fresh process with this one's path, and return what it prints."""
    prelude = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(source)], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_neither_mfcore_nor_any_public_name_loads_a_heavy_library():
    loaded = run(
        """
        import time
        start = time.perf_counter()
        import mfcore
        print(f"import mfcore: {1000 * (time.perf_counter() - start):.0f} ms")
        for name in mfcore.__all__:
            getattr(mfcore, name)
        print(*(name for name in sys.modules))
        """
    )
    timing, modules = loaded.splitlines()
    print(timing)
    assert "mfcore" in modules.split()
    assert not set(HEAVY) & set(modules.split())


def test_the_core_works_where_no_framework_and_no_table_library_is_installed():
    printed = run(
        """
        ABSENT = {"numba", "llvmlite", "torch", "tensorflow", "keras", "pandas", "polars", "matplotlib"}

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ABSENT:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Absent())
        import mfcore

        data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [1, 2, 1], [1.0, 2.0, 3.0])
        model = mfcore.fit(mfcore.MF(2), data, epochs=1)
        print(model.training["backend"], model.recommend("bob")[0].items.tolist())
        """
    )
    assert printed.strip() == "reference [2]"


def test_public_names_are_what_they_are_called_in_any_order_of_use():
    printed = run(
        """
        import mfcore

        mfcore.datasets.available()
        print(callable(mfcore.data.synthetic), callable(mfcore.backends), callable(mfcore.evaluate))
        print(set(mfcore.__all__) <= set(dir(mfcore)))
        """
    )
    assert printed.split() == ["True"] * 4


def test_a_room_is_entered_by_its_door():
    grimp = pytest.importorskip("grimp", reason="import-linter's graph is not installed")
    graph = grimp.build_graph("mfcore", "mfcore_numba", "mfcore_torch", "mfcore_keras")
    trespassing = [
        f"{importer} -> {module}"
        for module in graph.modules
        if (name := module.rpartition(".")[2]).startswith("_") and not name.startswith("__")
        for importer in graph.find_modules_that_directly_import(module)
        if not importer.startswith(room := module.rpartition(".")[0]) and importer != room
    ]
    assert sorted(trespassing) == []
