"""The structure of the code: layers, exports, import costs, and the sentences of the tests."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gym_http_server

from .manual.generated import DOCUMENTS, PARTS, updated

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "gym_http_server").rglob("*.py"))


def test_a_room_imports_only_from_rooms_below_it() -> None:
    """import-linter holds the layers that pyproject.toml declares."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["gym_http_server", "gym_http_server.client", "gym_http_server.errors"])
def test_importing_the_package_or_its_client_loads_neither_connexion_nor_gym(module: str) -> None:
    """What a client needs costs a client nothing more."""
    code = f"import sys, {module}; print([m for m in ('connexion', 'flask', 'gym', 'gymnasium', 'numpy') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_everything_that_is_exported_exists() -> None:
    """`__all__` names what can be imported, and nothing else can be got by mistake."""
    for name in gym_http_server.__all__:
        assert getattr(gym_http_server, name) is not None
        assert name in dir(gym_http_server)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = gym_http_server.nonsense


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(ROOT)) for path in MODULES])
def test_every_module_says_what_it_is(path: Path) -> None:
    """Each module begins with a docstring, and none has grown past 500 lines."""
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= (600 if path.name == "guest.py" else 500)  # the guest is one file


def test_no_public_class_name_stands_in_two_modules() -> None:
    """A public class has a name that no other module of the package gives to a class."""
    modules: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert len(modules) > 100
    assert {name: paths for name, paths in modules.items() if len(paths) > 1} == {}


MAX_METHODS, MAX_ATTRIBUTES = 20, 12

LARGE_CLASSES = {
    # Records: each attribute is a member of the contract, an option, or a number that a template draws.
    "CreateRequest": "the members of createEnv's body",
    "Description": "the members that getEnv tells of an environment",
    "InstanceRow": "what the pages show of an instance",
    "Evaluation": "the members of the contract's schema",
    "RecordedEpisode": "the columns of an episode",
    "Plot": "what the template of a learning curve draws",
    "Trajectories": "what a recording tells of its environment",
    "Settings": "an attribute for each option",
    # Protocols and processes.
    "ParsedReply": "the callbacks of its parser share the state of a reply",
    "WebSocket": "what the app, the connection and the heartbeat call",
    "HttpProtocol": "adds to one class of uvicorn's, whose callbacks share the state of a connection",
    # Beside an environment: state that a step needs without a further call.
    "Batch": "the functions that its spaces are compiled into",
    "Environment": "the functions that its spaces are compiled into",
    "Monitor": "counts a lone lane in plain numbers beside the arrays of many",
    "RolloutBuffer": "a column for each array of a trajectory",
    "Served": "an operation is a method",
}
"""The classes that have more methods or attributes than others may, and why."""


def attributes_of(node: ast.ClassDef) -> set[str]:
    """Return the fields of a dataclass, the slots of a class, and what its methods assign to `self`."""
    fields: list[str] = []
    if any("dataclass" in ast.unparse(each) for each in node.decorator_list):
        annotated = [each for each in node.body if isinstance(each, ast.AnnAssign)]
        fields += [ast.unparse(each.target) for each in annotated if "ClassVar" not in ast.unparse(each.annotation)]
    for each in node.body:
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "__slots__":
            fields += [name.value for name in ast.walk(each.value) if isinstance(name, ast.Constant)]
    stored = (each for each in ast.walk(node) if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store))
    return {*fields, *(each.attr for each in stored if ast.unparse(each.value) == "self")}


def test_classes_are_of_a_size_that_can_be_held_in_mind() -> None:
    """A class has at most 20 methods and 12 attributes, except exactly those that are listed with their reason."""
    large: dict[str, tuple[int, int]] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
                size = len(methods), len(attributes_of(node))
                if size[0] > MAX_METHODS or size[1] > MAX_ATTRIBUTES:
                    large[node.name] = size
    assert len(large) > 5
    assert sorted(large) == sorted(LARGE_CLASSES), large


def test_functions_named_like_questions_return_bool() -> None:
    """A function whose name begins with `is_` or `has_` is annotated to return a bool, or a type guard."""
    returned: dict[str, str | None] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and re.match("_?(is|has)_", node.name):
                annotation = None if node.returns is None else ast.unparse(node.returns)
                returned[f"{path.relative_to(ROOT)}: {node.name}"] = annotation
    assert len(returned) > 10
    assert {name: kind for name, kind in returned.items() if not re.match(r"bool$|Type(Guard|Is)\[", kind or "")} == {}


def test_every_test_is_a_sentence() -> None:
    """The docstring of every test states the behaviour in one paragraph that ends with a full stop."""
    suites = (Path(__file__).parent, ROOT / "gym_http_server" / "conformity" / "suite")
    for path in (each for suite in suites for each in suite.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                text = ast.get_docstring(node)
                assert text, f"{path.name}: {node.name}"
                assert text.endswith("."), f"{path.name}: {node.name}"


def test_the_generated_parts_of_the_manual_are_current() -> None:
    """`python -m tests.manual` would change nothing, and each part stands in a document."""
    texts = [path.read_text() for path in DOCUMENTS]
    for path, text in zip(DOCUMENTS, texts, strict=True):
        assert updated(text) == text, f"{path.name}: run python -m tests.manual"
    assert {name for text in texts for name in re.findall("<!-- generated: (.+) -->", text)} == set(PARTS)


@pytest.mark.full
def test_the_top_level_holds_nothing_else() -> None:
    """Beside dot-files, the top level is as the project's layout says."""
    tracked = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split("\n")  # noqa: S607 -- git is found as everything is
    top = {name.split("/")[0] for name in tracked if name and not name.startswith(".")}
    assert top <= {"openapi", "gym_http_server", "tests", "pyproject.toml", "README.md", "LICENSE"}
