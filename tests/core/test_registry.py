"""The registry: finding, loading and explaining engines."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from mfcore import backends
from mfcore.engines import API_VERSION, Backend, registry
from mfcore.engines.reference import ReferenceBackend
from mfcore.errors import MfcoreError


@dataclass
class StubBackend:
    name: str = "stub"
    api_version: int = API_VERSION
    description: str = "a stub"

    def unsupported(self, job):
        return None

    def trainer(self, job):
        raise NotImplementedError

    def scorer(self, model):
        return None


@pytest.fixture
def broken_engine(monkeypatch, tmp_path):
    """A function that installs an engine of that name whose module does what the source says on import."""

    def install(name, source):
        module = f"broken_engine_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        entry = EntryPoint(name=name, value=f"{module}:backend", group=registry.GROUP)
        monkeypatch.setattr(registry, "entry_points", lambda *, group: [entry])
        return name

    return install


def test_the_reference_engine_is_built_in():
    assert registry.names()[0] == "reference"
    assert isinstance(registry.get("reference"), ReferenceBackend)
    assert isinstance(registry.get("reference"), Backend)


def test_an_installed_engine_is_found_by_its_name(install_backend):
    stub = StubBackend()
    install_backend("stub", stub)
    assert registry.names() == ["reference", "stub"]
    assert registry.get("stub") is stub


def test_names_are_listed_without_loading_an_engine(broken_engine):
    broken_engine("stub", "raise SystemExit('loaded')")
    assert registry.names() == ["reference", "stub"]


def test_an_unknown_name_lists_what_is_installed_and_the_closest_match(install_backend):
    install_backend("stub", StubBackend())
    with pytest.raises(
        ValueError, match="no backend 'stud' is installed; there are: reference, stub; did you mean 'stub'"
    ):
        registry.get("stud")


@pytest.mark.parametrize("name", ["zzz", None, 3])
def test_a_name_like_no_other_has_no_closest_match(install_backend, name):
    install_backend("stub", StubBackend())
    with pytest.raises(ValueError, match=rf"no backend {name!r} is installed; there are: reference, stub$"):
        registry.get(name)


@pytest.mark.parametrize(
    ("name", "missing"),
    [("numba", "numba"), ("numba", "llvmlite.binding"), ("torch", "torch"), ("keras", "tensorflow")],
)
def test_a_missing_framework_names_the_command_that_installs_it(broken_engine, name, missing):
    message = f"No module named {missing!r}"
    broken_engine(name, f"raise ModuleNotFoundError({message!r}, name={missing!r})")
    with pytest.raises(ImportError, match=rf"needs {missing}.*: pip install 'mfcore\[{name}\]'") as caught:
        registry.get(name)
    assert isinstance(caught.value, MfcoreError)
    assert caught.value.name == missing


def test_a_framework_that_is_really_absent_is_a_missing_framework(broken_engine, monkeypatch):
    monkeypatch.setitem(registry.FRAMEWORKS, "stub", frozenset({"no_such_framework_at_all"}))
    broken_engine("stub", "import no_such_framework_at_all.deep")
    with pytest.raises(registry.BackendMissingError, match="needs no_such_framework_at_all"):
        registry.get("stub")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import some_helper_of_the_engine", ModuleNotFoundError),
        ("from math import no_such_function", ImportError),
        ("1 / 0", ZeroDivisionError),
    ],
    ids=["another module is missing", "a name is missing", "any other error"],
)
def test_any_other_failure_of_an_engines_import_propagates_untouched(broken_engine, source, error):
    broken_engine("torch", source)
    with pytest.raises(error) as caught:
        registry.get("torch")
    assert not isinstance(caught.value, MfcoreError)


@pytest.mark.parametrize("version", [API_VERSION - 1, API_VERSION + 1])
def test_an_engine_of_another_contract_is_refused(install_backend, version):
    install_backend("stub", StubBackend(api_version=version))
    with pytest.raises(
        MfcoreError, match=f"speaks version {version} of the contract, this mfcore version {API_VERSION}"
    ):
        registry.get("stub")


def test_an_engine_is_loaded_once(broken_engine):
    name = broken_engine("stub", "backend = type('B', (), {'api_version': 1})()")
    assert registry.get(name) is registry.get(name)


def test_the_list_of_engines_says_what_each_can_do(install_backend):
    install_backend("stub", StubBackend())
    install_backend("old", StubBackend(api_version=0))
    found = {info.name: info for info in backends()}
    assert list(found) == ["reference", "old", "stub"]
    assert found["reference"].available
    assert "numpy" in found["reference"].detail
    assert (found["stub"].available, found["stub"].detail) == (True, "a stub")
    assert not found["old"].available
    assert "upgrade the older of the two" in found["old"].detail


def test_the_list_of_engines_tells_of_a_missing_framework(broken_engine):
    broken_engine("torch", "raise ModuleNotFoundError('No module named torch', name='torch')")
    found = {info.name: info for info in backends()}
    assert not found["torch"].available
    assert "pip install 'mfcore[torch]'" in found["torch"].detail
