"""The registry: finding, loading and explaining engines."""

from dataclasses import dataclass

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


def test_the_reference_engine_is_built_in():
    assert registry.names()[0] == "reference"
    assert isinstance(registry.get("reference"), ReferenceBackend)
    assert isinstance(registry.get("reference"), Backend)


def test_an_installed_engine_is_found_by_its_name(install_backend):
    stub = StubBackend()
    install_backend("stub", stub)
    assert registry.names() == ["reference", "stub"]
    assert registry.get("stub") is stub


def test_names_are_listed_without_loading_an_engine(install_source):
    install_source("stub", "raise SystemExit('loaded')")
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


# Engines that cannot be used


@pytest.mark.parametrize(
    ("name", "missing"),
    [("numba", "numba"), ("numba", "llvmlite.binding"), ("torch", "torch"), ("keras", "tensorflow")],
)
def test_a_missing_framework_names_the_command_that_installs_it(install_source, name, missing):
    message = f"No module named {missing!r}"
    install_source(name, f"raise ModuleNotFoundError({message!r}, name={missing!r})", "mfcore")
    with pytest.raises(ImportError, match=rf"needs {missing}.*: pip install 'mfcore\[{name}\]'") as caught:
        registry.get(name)
    assert isinstance(caught.value, MfcoreError)
    assert caught.value.name == missing


def test_a_missing_framework_of_another_distribution_names_that(install_source):
    install_source("stub", "import no_such_framework_at_all.deep", "stub-for-mfcore")
    with pytest.raises(
        registry.BackendMissingError, match=r"needs no_such_framework_at_all, .*; see what stub-for-mfcore"
    ):
        registry.get("stub")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("from math import no_such_function", "ImportError: cannot import name 'no_such_function'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise RuntimeError('no\\n driver')", "RuntimeError: no driver"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("from .elsewhere import backend", "ImportError: attempted relative import"),
        (
            "import sys; raise ModuleNotFoundError('lost', name=__name__ + '.part')",
            "ModuleNotFoundError: lost",
        ),
        ("", "has no attribute 'backend'"),
    ],
    ids=["a name", "an error", "two lines", "exit", "a relative import", "a module of its own", "no backend"],
)
def test_an_engine_that_fails_when_it_is_imported_is_broken(install_source, source, says):
    install_source("stub", source, "stub-for-mfcore")
    with pytest.raises(
        registry.BackendBrokenError, match=f"'stub' of stub-for-mfcore fails when it is imported: .*{says}"
    ) as caught:
        registry.get("stub")
    assert not isinstance(caught.value, registry.BackendMissingError)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("version", [API_VERSION - 1, API_VERSION + 1])
def test_an_engine_of_another_contract_is_refused(install_backend, version):
    install_backend("stub", StubBackend(api_version=version))
    with pytest.raises(
        registry.BackendBrokenError,
        match=f"speaks version {version} of the contract, this mfcore version {API_VERSION}",
    ):
        registry.get("stub")


def test_an_engine_that_lacks_something_is_refused_with_what_it_lacks(install_backend):
    install_backend("half", type("Half", (), {"name": "half", "unsupported": None})())
    with pytest.raises(
        registry.BackendBrokenError, match=r"'half' has no api_version, trainer, scorer; mfcore\."
    ):
        registry.get("half")


def test_an_engine_is_loaded_once(install_source):
    name = install_source(
        "stub",
        "class Stub:\n    name, api_version = 'stub', 1\n    unsupported = trainer = scorer = len\n"
        "backend = Stub()",
    )
    assert registry.get(name) is registry.get(name)


# Names


def test_two_engines_of_one_name_are_refused_with_who_brings_them(install_backend):
    for distribution in ("one-for-mfcore", "another-for-mfcore"):
        install_backend("stub", StubBackend(), distribution)
    assert registry.names() == ["reference", "stub"]
    with pytest.raises(
        registry.BackendBrokenError,
        match="several distributions bring a backend 'stub': one-for-mfcore, another-for-mfcore; uninstall",
    ):
        registry.get("stub")


@pytest.mark.parametrize("order", [1, -1])
def test_an_engine_of_mfcore_is_not_replaced_and_its_rival_is_told(install_backend, order):
    own, rival = StubBackend("numba", description="our own"), StubBackend("numba", description="a rival")
    for backend, distribution in [(own, "mfcore"), (rival, "rival-for-mfcore")][::order]:
        install_backend("numba", backend, distribution)
    assert registry.get("numba") is own
    told = [(info.name, info.available, info.detail) for info in backends()[1:]]
    assert told[0] == ("numba", True, "our own")
    assert told[1][:2] == ("numba", False)
    assert "rival-for-mfcore brings a backend of this name, which is mfcore's own" in told[1][2]


@pytest.mark.parametrize("name", ["reference", "auto"])
def test_names_that_mean_something_else_are_not_taken(install_backend, name):
    install_backend(name, StubBackend(), "rival-for-mfcore")
    assert registry.names() == ["reference"]
    assert [info.name for info in backends() if not info.available] == [name]


# The list


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


def test_the_list_of_engines_tells_of_those_that_cannot_be_used(install_source, install_backend):
    class Moody(StubBackend):
        @property
        def description(self):
            raise RuntimeError("the driver sulks")

        @description.setter
        def description(self, value):
            pass

    install_source("torch", "raise ModuleNotFoundError('No module named torch', name='torch')", "mfcore")
    install_source("broken", "raise RuntimeError('no driver')", "broken-for-mfcore")
    install_backend("moody", Moody())
    install_backend("stub", StubBackend())
    found = {info.name: info for info in backends()}
    assert [info.name for info in backends() if info.available] == ["reference", "stub"]
    assert "pip install 'mfcore[torch]'" in found["torch"].detail
    assert "broken-for-mfcore fails when it is imported: RuntimeError: no driver" in found["broken"].detail
    assert found["moody"].detail == "RuntimeError: the driver sulks"


# What engines need


def test_an_engine_needs_what_the_extra_of_its_name_asks_for(install_entry):
    requires = [
        "numpy>=2",
        "no-such-thing>=3; extra == 'stub'",
        'scipy ; extra == "stub"',
        "x; extra == 'stu'",
    ]
    install_entry("stub", "nowhere:backend", "mfcore", requires)
    assert registry.requirements("stub") == ["no-such-thing", "scipy"]
    assert not registry.has_requirements("stub")


def test_an_engine_without_such_an_extra_needs_what_its_distribution_does(install_entry):
    requires = ["numpy>=2", "scipy[fast]; python_version > '3'", "no-such-thing; extra == 'docs'"]
    install_entry("stub", "nowhere:backend", "stub-for-mfcore", requires)
    assert registry.requirements("stub") == ["numpy", "scipy"]
    assert registry.has_requirements("stub")


def test_a_requirement_is_there_as_a_module_or_as_a_distribution(install_entry):
    install_entry("stub", "nowhere:backend", "stub-for-mfcore", ["pytest-xdist", "pyyaml-or-so", "json"])
    assert not registry.has_requirements("stub")
    install_entry("able", "nowhere:backend", "able-for-mfcore", ["pytest-xdist", "json"])
    assert registry.has_requirements("able")


def test_of_an_engine_that_tells_nothing_all_is_taken_to_be_there(install_entry):
    install_entry("stub", "nowhere:backend")
    assert registry.requirements("stub") == []
    assert registry.has_requirements("stub")
