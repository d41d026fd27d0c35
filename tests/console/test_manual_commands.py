"""Every command of the README and the manual is run here as it stands, or says why not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from packaging.requirements import Requirement

from gym_http_server.client import Client

from ..languages.clients import commands
from ..languages.recipes import PAGE, recipes
from ..manual.commands import PROJECT, RUNNABLE, Fence, Reader, fences, is_declared
from ..manual.generated import DOCUMENTS
from ..support.serving import ROOT

pytestmark = pytest.mark.full

FENCES = {path: fences(path) for path in DOCUMENTS}
FOLLOWED = [path for path, found in FENCES.items() if any(_ for _ in found if _.language in RUNNABLE and not _.run_by)]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix("")).replace("gym_http_server/console/", "")


TOOLS = ("curl", "openssl")
OTHERS = {"text", "json", "yaml", "nginx", "haproxy"}
"""Languages of fences that nobody runs."""


def require(*tools: str) -> None:
    """Skip where bash or one of these tools is missing."""
    missing = [tool for tool in ("bash", *tools) if shutil.which(tool) is None]
    if missing:
        # Where CI installs them, their absence is a mistake of ours.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed: {', '.join(missing)}")


def is_followed(fence: Fence) -> bool:
    return fence.language in RUNNABLE and not fence.not_run and not fence.run_by


@pytest.mark.parametrize("path", FOLLOWED, ids=name_of)
def test_a_reader_can_do_what_a_document_says(path: Path, tmp_path: Path) -> None:
    """Each fence works in its order, beside the server that the document starts or one with the defaults."""
    require(*(tool for tool in TOOLS if f"{tool} " in path.read_text()))
    with Reader(tmp_path) as reader:
        for fence in filter(is_followed, FENCES[path]):
            reader.follow(fence)
    require(*reader.missing)


def test_a_mistake_in_a_document_would_be_seen(tmp_path: Path) -> None:
    """A request that the server refuses, a failing program, and a package without that extra each fail."""
    require("curl")
    with Reader(tmp_path) as reader:
        for language, code in (
            ("sh", "curl -s http://127.0.0.1:5000/v1/envs/ -H 'Content-Type: application/json' -d '{\"env_id\": 1}'"),
            ("sh", "id=$(curl -s http://127.0.0.1:5000/v1/nothing | cut -c1-9)"),
            ("sh", "pip install 'gymnasium[nonsense]'"),
            ("sh", "pip install '.[nonsense]'"),
            ("python", "import nonsense"),
        ):
            with pytest.raises(AssertionError):
                reader.follow(Fence(language, code, 1))
        reader.follow(Fence("sh", "id=5", 1))
        reader.follow(Fence("sh", "[ $id = 5 ]", 1))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_fence_is_run_or_says_why_not(path: Path) -> None:
    """It has a language, and a test that is said to run it is there."""
    for fence in FENCES[path]:
        assert fence.language in RUNNABLE | OTHERS, f"{path.name}:{fence.line}"
        for test in fence.run_by:
            file, _, name = test.partition("::")
            assert f"def {name or 'test_'}" in (ROOT / file).read_text(), f"{path.name}:{fence.line}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_no_command_hides_in_a_sentence(path: Path) -> None:
    """What a reader is to type stands in a fence, where it is run."""
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text())
    inline = [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]
    commands = re.compile(r"(pip|python|curl|npm|apt|pytest|gym-http-server) +\S")
    assert [code for code in inline if commands.match(code)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_versions_are_those_of_the_project(path: Path) -> None:
    """What a document says of a package's version, and the README of Python's, is what pyproject.toml says."""
    for text in re.findall(r"`([\w-]+(?:\[\w+\])?[>=]=[\d.]+)`", path.read_text()):
        assert is_declared(Requirement(text)), text
    versions = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if "Python :: 3." in text]
    if path == ROOT / "README.md":
        assert f"Python {versions[0]} to {versions[-1]}" in path.read_text()


def test_what_the_language_tests_are_said_to_run_they_run() -> None:
    """Each line and each program of those fences is one of a recipe."""
    lines = {line for recipe in recipes().values() for line in [recipe.make, *recipe.run.splitlines()]}
    lines |= set(commands().values())
    programs = [recipe.code for recipe in recipes().values()]
    programs += [path.read_text() for path in (ROOT / "tests/languages").glob("episodes.*")]
    marked = [fence for fence in FENCES[PAGE] if any(test.startswith("tests/languages/") for test in fence.run_by)]
    assert len(marked) > 8
    for fence in marked:
        if fence.language == "sh":
            assert set(fence.code.splitlines()) <= lines, fence.line
        else:
            assert any(fence.code.strip().partition("\n")[2].strip() in each for each in programs), fence.line


def test_start_server_runs_as_the_manual_says() -> None:
    """The program of the settings page serves until it is told to stop."""
    [fence] = [each for each in FENCES[PAGE.with_name("settings.md")] if each.language == "python"]
    code = fence.code.replace("port=5000", "port=0, on_start=lambda url: print(url, flush=True)")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline().startswith(b"http://127.0.0.1:")
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.skipif("PACKAGE_INDEX" not in os.environ, reason="asks the package index (see .ci/run)")
def test_the_first_commands_of_the_readme_serve(tmp_path: Path) -> None:
    """In a copy of the sources they make a virtual environment, install the project and start a server that has CartPole."""
    first = FENCES[ROOT / "README.md"][0]
    assert "test_the_first_commands_of_the_readme_serve" in first.run_by[0]
    for name in ("gym_http_server", "openapi", "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, tmp_path / name, ignore=ignored) if source.is_dir() else shutil.copy(source, tmp_path)
    script = first.code.strip() + " --port 0"
    assert script.endswith("gym-http-server --port 0")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.Popen(
        ["bash", "-euc", script.replace("\n.venv", "\nexec .venv")],  # noqa: S607 -- the shell is found as everything is
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "PIP_QUIET": "1"},
        stdout=subprocess.PIPE,
    )
    with process:
        url = re.search(r"listening on (\S+)", process.stdout.readline().decode())[1]
        for name in ("/", "/manual/settings", "/static/home.png", "/openapi.yaml"):
            with urllib.request.urlopen(url + name, timeout=60) as answer:
                assert answer.status == 200
        with Client(url) as client:
            assert client.reset_env(client.create_env("CartPole-v1")["instance_id"])["observation"]
        process.terminate()
        assert process.wait(60) == 0
