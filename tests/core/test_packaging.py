"""What an installation exposes, and that the documented commands are the ones that are run."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"mfcore", "mfcore_numba", "mfcore_torch", "mfcore_keras"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


def visible_from(site, elsewhere):
    """Return which of the repository's folders a process can import with `site` as its site directory."""
    script = (
        "import importlib.util, site, sys\n"
        "sys.path = [p for p in sys.path if 'site-packages' not in p]\n"
        f"site.addsitedir({str(site)!r})\n"
        f"names = {[*sorted(PACKAGES), 'backends', 'tests', 'benchmarks', 'core']!r}\n"
        "print(*[name for name in names if importlib.util.find_spec(name)])\n"
    )
    found = subprocess.check_output([sys.executable, "-S", "-c", script], cwd=elsewhere, text=True)
    return set(found.split())


def test_the_wheel_installs_only_our_packages(wheel, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path / "site", wheel],
        check=True,
        capture_output=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    folders = {path.name for path in (tmp_path / "site").iterdir() if not path.name.endswith(".dist-info")}
    assert folders - {"bin"} == PACKAGES
    assert visible_from(tmp_path / "site", tmp_path) == PACKAGES


def test_the_wheel_carries_types_licence_and_the_engines_entry_points(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = archive.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert any(name.endswith("LICENSE") for name in names)
    assert not [name for name in names if name.split("/")[0] in ("tests", "benchmarks", "backends")]
    assert "numba = mfcore_numba:backend" in entry_points
    assert "torch = mfcore_torch:backend" in entry_points
    assert "keras = mfcore_keras:backend" in entry_points


def test_an_editable_install_does_not_leak_the_repository(tmp_path):
    script = "import hatchling.build, sys; print(hatchling.build.build_editable(sys.argv[1]))"
    name = subprocess.check_output([sys.executable, "-c", script, tmp_path], cwd=ROOT, text=True).split()[-1]
    with zipfile.ZipFile(tmp_path / name) as archive:
        archive.extractall(tmp_path / "site")
    import editables

    package = Path(editables.__file__).parent
    (tmp_path / "site" / "editables").symlink_to(package, target_is_directory=True)
    assert visible_from(tmp_path / "site", tmp_path) == PACKAGES


def test_continuous_integration_runs_the_readme_s_test_line():
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    lines = [line for line in readme if line.startswith("python3 -m venv")]
    assert [line.split(" && ")[-1] for line in lines] == [
        ".venv/bin/mfcore compare",
        ".venv/bin/python -m pytest -n 2",
    ]
    assert "grep -m1 -E '^python3 -m venv .* -m pytest' README.md" in (ROOT / ".ci" / "run").read_text()


def test_the_constraints_pin_every_dependency():
    import tomllib
    from re import match, split

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [
        name for extra, names in project["optional-dependencies"].items() if extra != "all" for name in names
    ]
    pinned = {split("==", line)[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    names = {match(r"[A-Za-z0-9_-]+", requirement)[0] for requirement in wanted}
    assert {name.replace("_", "-") for name in names} <= {name.replace("_", "-") for name in pinned}
