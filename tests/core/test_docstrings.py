"""Public names are documented, completely and in one style, and every example in a docstring runs."""

import ast
import doctest
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import mfcore

DOORS = (
    *("mfcore", "mfcore.data", "mfcore.data.datasets", "mfcore.data.splits"),
    *("mfcore.metrics", "mfcore.sampling", "mfcore.sampling.philox", "mfcore.report"),
    *("mfcore.engines", "mfcore.objectives", "mfcore.optimizers", "mfcore.specs", "mfcore.settings"),
    *("mfcore.operators", "mfcore.model", "mfcore.training", "mfcore.processes"),
    *("mfcore.testing", "mfcore.testing.conformance", "mfcore.verification", "mfcore.comparison"),
)
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
SECTION = re.compile(r"^(?P<title>[A-Z]\w+(?: \w+)*)\n-{3,}$", re.MULTILINE)
PARAMETER = re.compile(r"^(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*)(?P<type> : \S.*)?$", re.MULTILINE)


def sections_of(doc: str) -> dict[str, str]:
    """Return the text of each section of a docstring, by its heading."""
    headings = [*SECTION.finditer(doc)]
    ends = [*(heading.start() for heading in headings), len(doc)][1:]
    return {heading["title"]: doc[heading.end() : end] for heading, end in zip(headings, ends, strict=True)}


@dataclass(frozen=True, eq=False)
class Documented:
    """A public class, function or method, with what its docstring says."""

    name: str
    value: Any
    owner: type | None = None

    @cached_property
    def doc(self) -> str:
        return inspect.cleandoc(self.value.__doc__ or "")

    @cached_property
    def sections(self) -> dict[str, str]:
        return sections_of(self.doc)

    @property
    def is_class(self) -> bool:
        return inspect.isclass(self.value)

    @property
    def is_described_elsewhere(self) -> bool:
        """Whether a base class documents the method, or the class of an interface shows its use."""
        if self.owner is None:
            return False
        method = self.name.rpartition(".")[2]
        return any(method in vars(base) for base in self.owner.__mro__[1:])

    @property
    def is_shown_by_its_class(self) -> bool:
        """Whether the examples of its class call the method."""
        if self.owner is None:
            return False
        return f".{self.value.__name__}(" in sections_of(inspect.getdoc(self.owner) or "").get("Examples", "")

    @property
    def is_one_sentence(self) -> bool:
        """Whether an abstract method says all in one line, such as "Return e to the power of x"."""
        words = re.findall(r"\w+", self.doc)
        is_line = "\n" not in self.doc and self.doc.startswith("Return ")
        return self.is_abstract and is_line and set(self.parameters) <= set(words)

    @property
    def is_abstract(self) -> bool:
        protocol = getattr(self.owner, "_is_protocol", False)
        return bool(protocol or getattr(self.value, "__isabstractmethod__", False))

    @cached_property
    def parameters(self) -> list[str]:
        is_protocol = getattr(self.value, "_is_protocol", False)
        if self.is_class and (is_protocol or issubclass(self.value, BaseException | int)):
            return []
        given = inspect.signature(self.value).parameters.values()
        return [one.name for one in given if one.name not in ("self", "cls") and one.name[0] != "_"]

    @cached_property
    def described_parameters(self) -> set[str]:
        text = self.sections.get("Parameters", "") + self.sections.get("Attributes", "")
        names = (match["names"].split(", ") for match in PARAMETER.finditer(text))
        return {name.lstrip("*") for several in names for name in several}

    def bodies(self) -> Iterator[ast.AST]:
        """Yield the source of what a call of it runs, as far as it is written in it."""
        functions = [self.value]
        if self.is_class:
            own = (vars(self.value).get(name) for name in ("__init__", "__post_init__"))
            functions = [one for one in own if getattr(one, "__module__", "").startswith("mfcore")]
        for function in functions:
            try:
                yield ast.parse(textwrap.dedent(inspect.getsource(function)))
            except OSError:  # what dataclasses write has no source
                continue


def public_names(door: str) -> list[str]:
    module = importlib.import_module(door)
    defined = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == door]
    return list(getattr(module, "__all__", [name for name in defined if name[0] != "_"]))


def methods_of(owner: type) -> Iterator[tuple[str, Any]]:
    for name, value in vars(owner).items():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if not name.startswith(("_", "test_", "pytest_")) and inspect.isfunction(function):
            yield name, function


def documented_objects() -> list[Documented]:
    """Return every public class, function and method once, by the first name that it goes by."""
    found: dict[Any, Documented] = {}
    for door in DOORS:
        for name in public_names(door):
            value = getattr(importlib.import_module(door), name)
            value = value.__func__ if inspect.ismethod(value) else value
            if inspect.isclass(value) or inspect.isfunction(value):
                found.setdefault(value, Documented(f"{door}.{name}", value))
    for owner in [one for one in found.values() if one.is_class]:
        for name, function in methods_of(owner.value):
            found[function] = Documented(f"{owner.name}.{name}", function, owner.value)
    return list(found.values())


OBJECTS = {one.name: one for one in documented_objects()}


def shortcomings(one: Documented) -> Iterator[str]:
    """Yield what a docstring lacks."""
    if not one.doc:
        yield "has no docstring"
        return
    if one.is_described_elsewhere or one.is_one_sentence:
        return
    shown = one.is_abstract or one.is_shown_by_its_class or ">>>" in one.sections.get("Examples", "")
    if not shown:
        yield "has no section Examples with >>>"
    for parameter in one.parameters:
        if parameter not in one.described_parameters:
            yield f"does not describe the parameter {parameter}"
    yield from missing_returns(one)
    yield from missing_raises(one)


def missing_returns(one: Documented) -> Iterator[str]:
    if one.is_class or inspect.signature(one.value).return_annotation in (None, "None"):
        return
    says_so = {"Returns", "Yields"} & set(one.sections)
    if not says_so and (one.parameters or not one.doc.startswith("Return ")):
        yield "has no section Returns or Yields"


def missing_raises(one: Documented) -> Iterator[str]:
    named = one.sections.get("Raises", "")
    for node in (node for body in one.bodies() for node in ast.walk(body)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            error = ast.unparse(node.exc.func)
            if error.rpartition(".")[2] not in named:
                yield f"does not say that it raises {error}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2].lstrip("_")
            if called.startswith(("require_", "check_")) and not named:
                yield f"has no section Raises, but calls {called}"


@pytest.mark.parametrize("name", OBJECTS)
def test_a_public_name_is_documented_completely(name):
    assert list(shortcomings(OBJECTS[name])) == []


ROOT = Path(mfcore.__file__).parent


def test_every_docstring_names_types_in_one_style():
    """Write 'name : type' under Parameters and Attributes, in private modules too."""
    untyped = []
    for path in [*ROOT.rglob("*.py"), *(ROOT.parent / "backends").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                sections = sections_of(ast.get_docstring(node) or "")
                text = sections.get("Parameters", "") + sections.get("Attributes", "")
                names = [entry["names"] for entry in PARAMETER.finditer(text) if entry["type"] is None]
                untyped += [f"{path.relative_to(ROOT.parent)}: {node.name}: {name}" for name in names]
    assert untyped == []


# Methods whose examples run where the framework is installed: its module and what the method is named after.
FRAMEWORKS = {"_torch": "torch", "_keras": "tensorflow"}


def lacks_framework(name: str) -> bool:
    """Return whether a docstring's examples need a framework that is not installed."""
    return any(name.endswith(end) and find_spec(module) is None for end, module in FRAMEWORKS.items())


SOURCES = {
    ".".join(["mfcore", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
}


@pytest.mark.parametrize("module", SOURCES)
def test_the_examples_of_a_module_run(module, tmp_path, monkeypatch, registry_kept):
    """Each docstring by itself, with what it imports, in an empty folder and without data sets at hand."""
    found = doctest.DocTestFinder().find(importlib.import_module(module), module, globs={})
    examples = [example for test in found for example in test.examples]
    assert len(examples) == SOURCES[module].read_text(encoding="utf-8").count(">>> ")
    assert not [example.source for example in examples if doctest.SKIP in example.options]
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    reports: list[str] = []
    for test in (test for test in found if not lacks_framework(test.name)):
        folder = tmp_path / test.name
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("MFCORE_DATA", str(folder))
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        test.globs["__name__"] = "__main__"
        runner.run(test, out=reports.append)
    assert not runner.failures, "".join(reports)
