"""The client in a virtual environment that has only numpy, msgpack and Gymnasium."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import gym_http_server

from ..support.serving import Server

PACKAGES = ("numpy", "msgpack", "gymnasium")
SESSION = Path(__file__).parents[1] / "support" / "client_session.py"


def closure(names: tuple[str, ...]) -> set[str]:
    """Return distributions and what they require, without extras."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            required = importlib.metadata.requires(name) or []
            left += [re.match(r"[\w.-]+", each)[0].lower() for each in required if "extra ==" not in each]
            left = [each for each in left if each not in {"importlib-metadata"}]  # of Pythons older than ours
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of a virtual environment with links to those packages, to what they require, and to this one."""
    directory = tmp_path_factory.mktemp("alone")
    venv.create(directory, with_pip=False, symlinks=True)
    [packages] = directory.glob("lib/python*/site-packages")
    for name in closure(PACKAGES):
        for file in importlib.metadata.files(name) or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (packages / top).exists():
                (packages / top).symlink_to(Path(file.locate()).parents[len(file.parts) - 1] / top)
    (packages / "gym_http_server").symlink_to(Path(gym_http_server.__file__).parent)
    return str(directory / "bin" / "python")


def run(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-I", "-W", "error", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_nothing_else_is_installed_there(python: str) -> None:
    """Neither the server's packages nor those that the client uses where it finds them can be imported."""
    others = (
        "flask",
        "connexion",
        "gym",
        "orjson",
        "httptools",
        "PIL",
        "tqdm",
        "uvicorn",
        "jsonschema_rs",
        "pygame",
        "markdown_it",
    )
    code = f"from importlib.util import find_spec; print([name for name in {others} if find_spec(name)])"
    assert run(python, "-c", code).stdout == "[]\n"


def test_a_whole_session_runs_there(server: Server, python: str) -> None:
    """All that a client can do works, and prints nothing, so not gym's notice either."""
    done = run(python, str(SESSION), server.url)
    assert (done.stderr, done.stdout) == ("", "done\n")


def test_gym_is_not_loaded_where_it_is_installed(server: Server) -> None:
    """A process that uses a remote environment does not print gym's notice."""
    done = run(sys.executable, str(SESSION), server.url)
    assert (done.stderr, done.stdout) == ("", "done\n")
